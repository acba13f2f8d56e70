"""``mrdo sweep`` and ``mrdo status`` on tiny clips: complete, resumed, interrupted, failing, scored again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command import Mrdo

from encoder_bridge.encoder import BuildInfo
from encoder_bridge.shell import run_cli
from models import judge_model_path
from models.scenes import SceneConfig, SceneSource
from sweeps.cli import cli
from sweeps.store import ResultStore

PLAN = """
inputs = ["clips"]
scales = [0.5, 1.0]
[codecs.dummy]
qualities = [10, 20]
[codecs.jpeg]
qualities = [20, 60]
gray = [false, true]
"""
RUNS = 2 * 2 * (2 + 4)
LONG_PLAN = """
inputs = ["clips"]
scales = [0.5, 1.0]
[codecs.jpeg]
qualities = "4-96:2"
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from encoder_bridge.decode import write_video

    folder = tmp_path_factory.mktemp("sweep")
    for number, name in enumerate(("a.y4m", "sub/b.y4m")):
        (folder / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(SceneSource(SceneConfig(128, 96, 2, seed=number)), folder / "clips" / name)
    (folder / "plan.toml").write_text(PLAN)
    return folder


def events(told: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told.splitlines()]


def results(folder: Path) -> dict[str, tuple[Any, ...]]:
    """What must not depend on how a sweep was run."""
    return {r.key: (r.status, r.bits, r.scores, r.psnr, r.confusion, r.stream) for r in ResultStore(folder)}


def leftovers(folder: Path) -> list[str]:
    names = [str(path.relative_to(folder)) for path in folder.rglob(".*")]
    return [name for name in names if name != ".results.jsonl.lock"]


@pytest.fixture(scope="module")
def done(clips: Path) -> Path:
    folder = clips / "done"
    assert run_cli(cli, ["sweep", str(clips / "plan.toml"), "-o", str(folder)]) == 0
    return folder


def test_every_planned_run_has_a_record_and_nothing_else_is_left(done: Path) -> None:
    records = list(ResultStore(done))
    assert len(records) == RUNS and all(record.status == "ok" for record in records)
    assert {(r.input["name"], r.config["codec"], r.config["scale"]) for r in records} == {
        (name, codec, scale) for name in ("a.y4m", "sub/b.y4m") for codec in ("dummy", "jpeg") for scale in (0.5, 1.0)
    }
    assert all((done / str(record.stream)).stat().st_size * 8 == record.bits for record in records)
    assert leftovers(done) == []
    labels = list((done / "labels").glob("*.npy"))
    assert len(labels) == 2, "one for each clip and network"


def test_again_it_repeats_nothing(mrdo: Mrdo, done: Path, clips: Path) -> None:
    before = (done / "results.jsonl").read_bytes()
    code, told, _ = mrdo("sweep", clips / "plan.toml", "-o", done, "--json")
    (result,) = events(told)
    assert code == 0 and (result["had"], result["done"], result["planned"]) == (RUNS, 0, RUNS)
    assert (done / "results.jsonl").read_bytes() == before


def test_workers_make_the_same_records(mrdo: Mrdo, done: Path, clips: Path, tmp_path: Path) -> None:
    code, told, errors = mrdo("sweep", clips / "plan.toml", "-o", tmp_path / "out", "--workers", 2, "--json")
    assert code == 0, errors
    assert results(tmp_path / "out") == results(done) and leftovers(tmp_path / "out") == []
    kinds = [event["event"] for event in events(told)]
    assert kinds == ["point"] * RUNS + ["result"]


def test_a_comparison_uses_what_a_sweep_made(mrdo: Mrdo, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("codecs = {dummy = {qualities = [4, 16, 24, 34], scales = 1}}")
    clip = clips / "clips" / "a.y4m"
    assert mrdo("sweep", tmp_path / "p.toml", clip, "-o", tmp_path / "out")[0] == 0
    np.save(tmp_path / "map.npy", np.ones((2, 6, 8), np.float32))
    words = ("--codec", "dummy", "--qps", "4,16,24,34", "--no-neutral", "--map", tmp_path / "map.npy")
    assert mrdo("compare", clip, *words, "--bootstrap", 10, "-o", tmp_path / "out")[0] == 0
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 8, "four plain runs, four with the map"


def test_kept_streams_are_scored_again_without_an_encoder(mrdo: Mrdo, clips: Path, tmp_path: Path) -> None:
    words = ("sweep", clips / "plan.toml", clips / "clips" / "a.y4m", "-o", tmp_path)
    assert mrdo(*words)[0] == 0
    first, old = results(tmp_path), {p: p.stat().st_mtime_ns for p in (tmp_path / "streams").iterdir()}
    code, told, errors = mrdo(*words, "--rescore", "--judge", judge_model_path(), "--json")
    assert code == 0, errors
    assert events(told)[-1]["done"] == RUNS / 2
    again = {key: value for key, value in results(tmp_path).items() if key not in first}
    assert len(again) == RUNS / 2 and all(len(value[2]) == 2 for value in again.values())
    assert sorted(v[5] for v in again.values()) == sorted(v[5] for v in first.values())
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "streams").iterdir()} == old
    driving = {value[5]: value[2]["segmentation"] for value in first.values()}
    assert all(value[2]["segmentation"] == driving[value[5]] for value in again.values())


def test_streams_may_go_and_then_cannot_be_scored_again(mrdo: Mrdo, clips: Path, tmp_path: Path) -> None:
    words = ("sweep", clips / "plan.toml", clips / "clips" / "a.y4m", "-o", tmp_path, "--keep-streams", "none")
    assert mrdo(*words)[0] == 0
    assert list((tmp_path / "streams").iterdir()) == []
    assert all(record.stream is None and record.bits > 0 for record in ResultStore(tmp_path))
    code, told, errors = mrdo(*words, "--rescore", "--judge", judge_model_path(), "--json")
    assert code == 0 and events(told)[-1]["skipped"] == RUNS / 2 and "no kept stream" in errors


def test_an_input_that_cannot_be_read_fails_alone(mrdo: Mrdo, clips: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.y4m"
    bad.write_bytes((clips / "clips" / "a.y4m").read_bytes()[:-999])
    words = ("sweep", clips / "plan.toml", clips / "clips" / "a.y4m", bad, "-o", tmp_path / "out")
    code, told, errors = mrdo(*words, "--json")
    result = events(told)[-1]
    assert code == 1 and (result["done"], result["failed"]) == (RUNS / 2, RUNS / 2)
    assert errors.count("failed: bad.y4m") == RUNS / 2 and "cut short" in errors
    assert f"mrdo encode {bad} --codec jpeg" in errors
    code, told, _ = mrdo(*words, "--json")
    assert code == 1 and events(told)[-1]["done"] == 0, "a failure is not tried again unasked"
    bad.write_bytes((clips / "clips" / "sub" / "b.y4m").read_bytes())
    code, told, errors = mrdo(*words, "--retry", "failed", "--json")
    assert code == 0 and events(told)[-1]["done"] == RUNS / 2, errors


def test_too_many_failures_end_it(mrdo: Mrdo, clips: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.y4m"
    bad.write_bytes((clips / "clips" / "a.y4m").read_bytes()[:-999])
    words = ("sweep", clips / "plan.toml", bad, clips / "clips" / "a.y4m", "-o", tmp_path / "out")
    code, told, errors = mrdo(*words, "--abort-above", 3, "--json")
    assert code == 1 and events(told)[-1]["aborted"] and events(told)[-1]["failed"] == 4 and "Aborted" in errors
    assert len(ResultStore(tmp_path / "out")) == 4


def test_a_failing_encoder_is_named_with_its_command(
    mrdo: Mrdo, clips: Path, tmp_path: Path, x265_hooked: BuildInfo
) -> None:
    (tmp_path / "p.toml").write_text('codecs = {x265 = {qualities = 32, extra = "--nonsense"}}')
    code, told, errors = mrdo("sweep", tmp_path / "p.toml", clips / "clips" / "a.y4m", "-o", tmp_path / "out", "--json")
    assert code == 1
    assert "EncoderError" in errors and f"[command: {x265_hooked.path}" in errors and "--nonsense" in errors
    assert [event["type"] for event in events(told) if event["event"] == "failure"] == ["EncoderError"]


def test_a_map_beside_its_plain_stream(mrdo: Mrdo, clips: Path, tmp_path: Path, x265_hooked: BuildInfo) -> None:
    (tmp_path / "p.toml").write_text(
        'codecs = {x265 = {qualities = [32, 40], rdo = ["psnr", "map"], preset = "ultrafast"}}\n[map]\nname = "kl"\n'
    )
    words = (
        "sweep",
        tmp_path / "p.toml",
        clips / "clips" / "a.y4m",
        "-o",
        tmp_path / "out",
        "--keep-streams",
        "failed",
    )
    code, _, errors = mrdo(*words)
    assert code == 0, errors
    modes = {(r.config["rdo"], r.config["qp"]) for r in ResultStore(tmp_path / "out")}
    assert modes == {("psnr", 32), ("psnr", 40), ("map", 32), ("map", 40)}
    assert list((tmp_path / "out" / "streams").iterdir()) == []


def test_a_sweep_from_options_alone(mrdo: Mrdo, clips: Path, tmp_path: Path) -> None:
    words = ("--codec", "dummy", "--qps", "10,20", "--scales", "0.5,1", "--rdo", "psnr", "--judge", judge_model_path())
    code, told, errors = mrdo("sweep", clips / "clips", *words, "-o", tmp_path, "--json")
    points = [event for event in events(told) if event["event"] == "point"]
    assert code == 0 and len(points) == 8, errors
    assert all(set(point["scores"]) == {"segmentation", "judge"} for point in points)


def test_what_a_plan_decides_is_refused_beside_it(mrdo: Mrdo, clips: Path, tmp_path: Path) -> None:
    for words, said in (
        (("--qp", 3), "--qps beside plan"),
        (("--strength", 2), "--strength beside plan"),
        (("--frames", 2), "--frames without an input"),
        (("--abort-above", "many"), "expected a number of failures"),
        (("--cluster-option", "queue", "--workers", 1), "expected NAME=VALUE"),
    ):
        code, _, errors = mrdo("sweep", clips / "plan.toml", "-o", tmp_path / "out", *words)
        assert code == 2 and said in errors, errors
    code, _, errors = mrdo("sweep", clips / "plan.toml")
    assert code == 2 and "-o" in errors


def test_dry_run_counts_and_estimates_and_runs_nothing(mrdo: Mrdo, clips: Path, tmp_path: Path) -> None:
    code, told, _ = mrdo("sweep", clips / "plan.toml", "--dry-run", "--json", "-o", tmp_path / "out")
    planned = {event["codec"]: event for event in events(told) if event["event"] == "planned"}
    assert code == 0 and planned["jpeg"]["configurations"] == 8 and planned["jpeg"]["runs"] == 16
    result = events(told)[-1]
    assert result["runs"] == RUNS and result["basis"] == ["probes"] and not (tmp_path / "out").exists()
    assert all(event["seconds"] > 0 for event in planned.values())


def test_dry_run_takes_recorded_rates_where_there_are_any(mrdo: Mrdo, clips: Path, done: Path) -> None:
    code, told, _ = mrdo("sweep", clips / "plan.toml", "--dry-run", "--json", "-o", done)
    result = events(told)[-1]
    real = sum(record.bits for record in ResultStore(done)) / 8
    assert code == 0 and result["basis"] == ["records"] and 0.5 * real < result["bytes"] < 2 * real


def test_dry_run_names_what_is_missing(mrdo: Mrdo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MRDO_CACHE", str(tmp_path))
    for name in ("X265", "VVENC", "JM"):
        monkeypatch.delenv(f"MRDO_{name}", raising=False)
        monkeypatch.delenv(f"MRDO_{name}_HOOKED", raising=False)
    code, told, errors = mrdo("sweep", "seed001", "--dry-run", "--json")
    assert code == 0 and events(told)[-1]["configurations"] == 1486
    assert {event["codec"] for event in events(told) if event["event"] == "missing"} == {"jm", "x265", "vvenc"}
    assert "mrdo build x265" in errors
    code, _, errors = mrdo("sweep", "seed001", "embedded", "-o", tmp_path / "out")
    assert code == 1 and "ToolNotFoundError" in errors and "mrdo build x265" in errors


def test_status_after_and_before(mrdo: Mrdo, done: Path, tmp_path: Path) -> None:
    code, told, _ = mrdo("status", done, "--json")
    rows = {event["codec"]: event for event in events(told) if event["event"] == "status"}
    assert code == 0 and {codec: row["done"] for codec, row in rows.items()} == {"dummy": 8, "jpeg": 16}
    assert events(told)[-1] | {"holder": None} == events(told)[-1] and events(told)[-1]["missing"] == 0
    code, _, errors = mrdo("status", tmp_path)
    assert code == 1 and "expected the folder of a sweep" in errors


@pytest.mark.slow
def test_ended_by_a_signal_it_goes_on_and_status_sees_it_run(
    mrdo: Mrdo, clips: Path, tmp_path: Path, repo_root: Path
) -> None:
    plan, ended, whole = clips / "long.toml", tmp_path / "ended", tmp_path / "whole"
    plan.write_text(LONG_PLAN)
    assert mrdo("sweep", plan, "-o", whole)[0] == 0
    command = [sys.executable, "-m", "sweeps.cli", "sweep", str(plan), "-o", str(ended), "--workers", "2"]
    process = subprocess.Popen(command, cwd=repo_root, stderr=subprocess.PIPE, text=True)
    try:
        _wait_for(lambda: len(ResultStore(ended, read_only=True)) >= 3)
        process.send_signal(signal.SIGSTOP)  # it must not finish before it was looked at
        code, told, _ = mrdo("status", ended, "--json")
        assert code == 0 and events(told)[-1]["running"] and events(told)[-1]["holder"]["pid"] == process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert leftovers(ended) == []
    seen = results(ended)
    assert 3 <= len(seen) < len(results(whole)) and seen.items() <= results(whole).items()
    assert mrdo("sweep", plan, "-o", ended)[0] == 0
    assert results(ended) == results(whole)


def _wait_for(ready: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it did not begin"
        time.sleep(0.05)


def test_only_one_sweep_writes_a_folder(mrdo: Mrdo, clips: Path, tmp_path: Path) -> None:
    with ResultStore(tmp_path):
        code, _, errors = mrdo("sweep", clips / "plan.toml", "-o", tmp_path)
    assert code == 1 and f"process {os.getpid()}" in errors

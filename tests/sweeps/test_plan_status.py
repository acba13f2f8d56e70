"""Progress of a sweep from its folder, and estimates from records."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from encoder_bridge.config import CodingConfig
from encoder_bridge.frames import VideoFormat
from sweeps.driving.bench import Bench, Setup
from sweeps.driving.estimate import Extent, recorded_rates
from sweeps.driving.keys import KeyMaker
from sweeps.driving.ledger import KnownInput
from sweeps.driving.schedule import Schedule, save
from sweeps.driving.showing import encode_command
from sweeps.driving.status import holder_of, progress_of, running_s
from sweeps.driving.tidying import tidy
from sweeps.plan import InputFile, parse_plan
from sweeps.records import RunRecord
from sweeps.store import ResultStore


@pytest.fixture
def schedule(tmp_path: Path) -> Schedule:
    plan = parse_plan({"codecs": {"dummy": {"qualities": "1-4"}, "jpeg": {"qualities": "1-2"}}}, "p", Path())
    known = KnownInput(InputFile("a", "a"), "s", "d" * 64, VideoFormat(64, 64), 3)
    made = Schedule(plan, [known], KeyMaker(Bench(Setup(str(tmp_path)))))
    save(tmp_path, "p", 2, made.saved())
    return made


def test_counts_and_time_left(schedule: Schedule, tmp_path: Path) -> None:
    runs = sorted(schedule, key=lambda run: run.config.codec)
    with ResultStore(tmp_path) as store:
        for run, seconds in zip(runs[:2], (1.0, 3.0), strict=True):
            store.append(RunRecord(run.key, seconds=seconds))
        error = {"type": "EncoderError", "message": "x"}
        store.append(RunRecord(runs[2].key, "error", error))
        store.append(RunRecord("of another plan", seconds=100.0))
        progress = progress_of(tmp_path)
        assert progress.holder is not None and progress.holder["pid"] == os.getpid()
        assert math.isnan(progress.left_s), "nothing tells of jpeg yet"
        store.append(RunRecord(runs[4].key, seconds=5.0))
        progress = progress_of(tmp_path)
    assert (progress.planned, progress.done, progress.failed) == (
        {"dummy": 4, "jpeg": 2},
        {"dummy": 2, "jpeg": 1},
        {"dummy": 1},
    )
    assert (progress.missing("dummy"), progress.missing("jpeg")) == (1, 1)
    assert progress.left_s == (1 * 2.0 + 1 * 5.0) / 2


def test_who_writes(tmp_path: Path) -> None:
    holder = tmp_path / ".results.jsonl.holder"
    assert holder_of(tmp_path) is None
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    since = "2020-01-01T00:00:00+00:00"
    holder.write_text(json.dumps({"pid": process.pid, "host": socket.gethostname(), "since": since}))
    assert holder_of(tmp_path) is None, "it was killed"
    holder.write_text(json.dumps({"pid": process.pid, "host": "elsewhere", "since": since}))
    found = holder_of(tmp_path)
    assert found is not None and (running_s(found) or 0) > 1e8 and running_s({}) is None
    holder.write_text("torn")
    assert holder_of(tmp_path) is None


def test_only_temporary_files_of_ours_are_tidied_away(tmp_path: Path) -> None:
    ours = [tmp_path / "streams" / ".abc.0123456789ab.part.hevc", tmp_path / "sub" / ".x.0123456789ab.part.mp4"]
    others = [tmp_path / ".bashrc", tmp_path / ".my.part.mp4", tmp_path / "streams" / "abc.hevc"]
    for path in (*ours, *others, tmp_path / ".work" / "deep" / "file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    tidy(tmp_path)
    assert not any(path.exists() for path in ours) and all(path.exists() for path in others)
    assert not (tmp_path / ".work").exists()


def test_rates_of_records_scale_with_samples_and_lie_between_qualities(tmp_path: Path) -> None:
    configs = {qp: CodingConfig("x265", qp=qp, scale=0.5) for qp in (20, 40)}
    with ResultStore(tmp_path) as store:
        for qp, bits in ((20, 4000), (40, 1000)):
            store.append(
                RunRecord(str(qp), config=configs[qp].as_dict(), input={"width": 100, "height": 100}, bits=bits,
                          frames=2, encode_s=1.0, seconds=3.0)
            )  # fmt: skip
        rate = recorded_rates(store.heads())["x265", "psnr"]
    full, half = CodingConfig("x265", qp=30), CodingConfig("x265", qp=30, scale=0.5)
    samples = Extent(10, 200_000.0, True).samples
    assert rate.seconds(half, samples) == pytest.approx(10 * 3.0)
    assert rate.seconds(full, samples) == pytest.approx(10 * (4 * 1.0 + 2.0))
    assert rate.size(half, samples) == pytest.approx(10 * 2000 / 8), "the geometric mean of both"
    assert rate.size(CodingConfig("x265", qp=50), samples) == pytest.approx(10 * 4 * 1000 / 8), "level beyond"


def test_the_command_that_makes_a_stream_alone() -> None:
    file = InputFile("a b.mp4", "a", frames=5)
    plan = parse_plan(
        {"codecs": {"x265": {"qualities": 32, "rdo": "map", "scales": 0.5, "extra": ["--no-sao"]}},
         "map": {"name": "kl", "weights": True, "strength": 0.5}}, "p", Path(),
    )  # fmt: skip
    (config,) = plan.configs()
    assert encode_command(file, config) == (
        "mrdo encode 'a b.mp4' --codec x265 --preset slow --gop intra --qp 32 --frames 5 --scale 0.5 --bit-depth 8 "
        "--rdo map --map kl --strength 0.5 --weights --extra=--no-sao -o OUT.mkv"
    )
    assert encode_command(InputFile("a", "a", every=2), config) == ""

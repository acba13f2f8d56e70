"""``mrdo sweep`` whose processes are killed at random moments: it goes on, and nothing shows of it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from encoder_bridge.decode import write_video
from encoder_bridge.encoder import BuildInfo
from models.scenes import SceneConfig, SceneSource
from sweeps.store import ResultStore

PLAN = """
inputs = ["clips"]
scales = [0.5, 1.0]
[codecs.jpeg]
qualities = [20, 40, 60, 80]
[codecs.x265]
qualities = [22, 32, 42]
preset = "medium"
rdo = ["psnr", "map"]
map = { name = "learned" }
"""
RUNS = 2 * 2 * (4 + 3 * 2)
PLAIN_PROCESSES = "import sys; sys.modules['distributed'] = None; from sweeps.cli import main; main()"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, x265_hooked: BuildInfo) -> Path:
    folder = tmp_path_factory.mktemp("k")
    (folder / "clips").mkdir()
    for number in range(2):
        write_video(SceneSource(SceneConfig(192, 128, 4, seed=number)), folder / "clips" / f"{number}.y4m")
    (folder / "plan.toml").write_text(PLAN)
    (folder / "tmp").mkdir()
    return folder


def start(place: Path, output: Path, *more: str, dask: bool = True) -> subprocess.Popen[str]:
    words = ["-m", "sweeps.cli"] if dask else ["-c", PLAIN_PROCESSES]
    return subprocess.Popen(
        [sys.executable, *words, "sweep", str(place / "plan.toml"), "-o", str(output), *more],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(place / "tmp"), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    said = process.communicate(timeout=170)[1]
    assert process.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> dict[str, tuple[Any, ...]]:
    finish(start(place, place / "inline"))
    return results(place / "inline")


def results(folder: Path) -> dict[str, tuple[Any, ...]]:
    """All of the records but times."""
    timed = ("encode_s", "map_s", "first_pass_s", "judge_s", "seconds", "created")
    return {r.key: tuple(value for name, value in vars(r).items() if name not in timed) for r in ResultStore(folder)}


def descendants(root: int) -> list[int]:
    """Processes below ``root``: workers and encoders; Python's own tracker of semaphores is nobody's worker."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if b"resource_tracker" in (folder / "cmdline").read_bytes():
                    del parents[int(folder.name)]
            except (OSError, KeyError):
                continue
    found, front = [], {root}
    while front:
        front = {pid for pid, parent in parents.items() if parent in front}
        found += front
    return found


def kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def disturb(process: subprocess.Popen[str], chance: random.Random, victims: list[str]) -> None:
    """Kill the next victims, workers and encoders or the driver, until it was the driver or the sweep is through."""
    while victims and process.poll() is None:
        time.sleep(chance.uniform(0, 1))
        if victims[-1] == "driver":
            if kill(process.pid) and process.wait() == -signal.SIGKILL:
                victims.pop()
        elif (below := descendants(process.pid)) and kill(chance.choice(below)):
            victims.pop()


def assert_sound(folder: Path, place: Path, expected: dict[str, tuple[Any, ...]]) -> None:
    found, store = results(folder), ResultStore(folder)
    assert {key: value for key, value in found.items() if key in expected} == expected
    # An input whose walk was killed three times has failures under a name of its own until it is walked.
    strays = [record for record in store if record.key not in expected]
    assert all(record.error is not None and record.error["type"] == "WorkerLost" for record in strays)
    assert store.damaged == []
    made = Counter(json.loads(line)["key"] for line in store.path.read_text().splitlines() if '"status":"ok"' in line)
    assert made == Counter(dict.fromkeys(expected, 1))
    assert [p.name for p in folder.rglob(".*") if p.name != ".results.jsonl.lock"] == []
    assert [p.name for p in (place / "tmp").iterdir() if p.name != ".ses"] == []  # ONNX Runtime's own
    streams = {record.stream for record in store if record.stream}
    assert {str(p.relative_to(folder)) for p in (folder / "streams").iterdir() if p.suffix != ".json"} == streams
    assert all((folder / str(r.stream)).stat().st_size * 8 == r.bits for r in store if r.status == "ok")


@pytest.mark.slow
@pytest.mark.parametrize("dask", [False, True], ids=["processes", "dask"])
def test_killed_at_random_it_completes(dask: bool, place: Path, undisturbed: dict[str, tuple[Any, ...]]) -> None:
    """Thirty SIGKILLs here, sixty over both ways to run workers: ten of the driver, twenty of what it started."""
    if dask:
        pytest.importorskip("distributed")
    chance, victims, sweeps = random.Random(int(dask)), ["driver"] * 10 + ["worker or encoder"] * 20, 0
    chance.shuffle(victims)
    while victims:
        sweeps += 1
        output = place / f"{'dask' if dask else 'processes'}{sweeps}"
        while victims:
            process = start(place, output, "--workers", "2", dask=dask)
            disturb(process, chance, victims)
            said = process.communicate(timeout=170)[1]
            if process.returncode != -signal.SIGKILL:
                assert "bug in machine-rdo" not in said
                break
        finish(start(place, output, "--workers", "2", "--retry", "failed", dask=dask))
        assert_sound(output, place, undisturbed)
    print(f"\n30 killed in {sweeps} sweeps of {RUNS} runs")

"""What a sweep costs beside its runs: 10 000 runs that do nothing, from the plan through an executor into the store.

    python benchmarks/sweep_overhead.py [--runs 10000] [--executor inline|processes|dask] [--workers 2] [--codec]
    python benchmarks/sweep_overhead.py --keys

Without --codec a run is a call that returns a record at once: plan, keys, tasks, records and fsync are real. With it
a run is the `dummy` codec on one 32x32 picture, coded, decoded and scored, which is work and no overhead.
--keys expands the plan of seed 001 over 500 made-up inputs.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from encoder_bridge.console import Reporter
from encoder_bridge.frames import VideoFormat
from sweeps.driving.bench import Bench, Setup, Silent
from sweeps.driving.drive import Driver
from sweeps.driving.keys import KeyMaker
from sweeps.driving.ledger import KnownInput
from sweeps.driving.meeting import meet_inputs
from sweeps.driving.schedule import Run, Schedule
from sweeps.driving.scoring import Scoring
from sweeps.driving.worker import Point
from sweeps.executors.base import Executor, Task, open_executor
from sweeps.plan import InputFile, Plan, find_inputs, load_plan, parse_plan
from sweeps.records import RunRecord
from sweeps.store import ResultStore

_CONFIGURATIONS = 200


def no_op(setup: Setup, point: Point) -> RunRecord:
    """A finished run, without any work."""
    return RunRecord(
        key=point.key,
        config=point.config.as_dict(),
        input={"digest": point.input.digest, "name": point.input.file.name, "width": 32, "height": 32, "frames": 1},
        bits=8,
        frames=1,
        scores={"network": {"agreement": 1.0, "miou_pseudo": 1.0, "miou_labels": None}},
    )


@dataclass(frozen=True)
class NoWork(Scoring):
    """``Scoring`` whose runs do nothing."""

    def before(self, missing: list[Run]) -> list[Task]:  # type: ignore[override]
        """Nothing."""
        return []

    def task(self, run: Run) -> Task:
        """A call that returns at once."""
        assert isinstance(run.input, KnownInput)
        return Task(run.key, no_op, (self.setup, Point(run.key, run.input, run.config)))


def make_plan(folder: Path, runs: int) -> Plan:
    """``runs`` runs: so many pictures of 32x32, 200 configurations each."""
    pictures = folder / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(1)
    for number in range(-(-runs // _CONFIGURATIONS)):
        cv2.imwrite(str(pictures / f"{number:04}.png"), rng.integers(0, 255, (32, 32, 3), np.uint8))
    scales = [round(0.25 + 0.19 * i / 4, 4) for i in range(4)] if runs >= _CONFIGURATIONS else [1.0]
    codec = {"qualities": "1-50", "scales": scales}
    return parse_plan({"inputs": [{"path": str(pictures), "each": True}], "codecs": {"dummy": codec}}, "bench", Path())


class Clock:
    """Wall and CPU seconds of this process by stage."""

    def __init__(self) -> None:
        self.stages: dict[str, tuple[float, float]] = {}
        self._last = time.perf_counter(), time.process_time()

    def stage(self, name: str) -> None:
        """What passed since the stage before."""
        now = time.perf_counter(), time.process_time()
        self.stages[name] = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now


def run(plan: Plan, folder: Path, executor: Executor, codec: bool) -> tuple[Clock, int]:
    """Times of each stage, and the number of runs."""
    say: Reporter = Silent()
    setup, clock = Setup(str(folder / "out")), Clock()
    with ResultStore(folder / "out") as store:
        inputs = meet_inputs(find_inputs(plan.inputs), folder / "out", lambda: executor, say)
        clock.stage("inputs")
        schedule = Schedule(plan, inputs, KeyMaker(Bench(setup)))
        keys = [run.key for run in schedule]
        assert len(set(keys)) == len(keys) == len(schedule)
        clock.stage("plan and keys")
        work = Scoring(setup) if codec else NoWork(setup)
        tally = Driver(schedule, work, store, lambda: executor, say).run()
        clock.stage("runs")
        assert tally.done["dummy"] == len(keys) == len(store), tally
        assert Driver(schedule, work, store, lambda: executor, say).run().had["dummy"] == len(keys)
        clock.stage("resume")
    return clock, len(keys)


def show_keys(inputs: int = 500) -> None:
    """Time and memory of the keys of seed 001's plan; encoders need not be here."""
    clock, plan = Clock(), load_plan("seed001")
    with tempfile.TemporaryDirectory() as folder:
        keys = KeyMaker(Bench(Setup(folder)))
        for config in plan.configs():
            keys.assume(config, {"name": config.codec, "version": "1", "abi": 0, "patch": ""})
        fmt = VideoFormat(2048, 1024)
        known = [KnownInput(InputFile(f"{i}.png", f"{i}.png"), str(i), f"{i:064}", fmt, 1) for i in range(inputs)]
        schedule = Schedule(plan, known, keys)
        schedule.group((8, False))
        clock.stage("configurations")
        runs = list(schedule)
        clock.stage("keys")
    for stage, (wall, cpu) in clock.stages.items():
        print(f"{stage:15} {wall:6.2f} s, {cpu:.2f} s of them CPU")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(runs)} runs, {len({run.key for run in runs})} keys, {peak:.0f} MB at most")


def main() -> None:
    """Print one line a stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--executor", default="inline")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--codec", action="store_true")
    parser.add_argument("--keys", action="store_true")
    args = parser.parse_args()
    if args.keys:
        show_keys()
        return
    workers = None if args.executor == "inline" else args.workers
    with tempfile.TemporaryDirectory() as name, open_executor(workers, executor=args.executor) as executor:
        (Path(name) / "out").mkdir()
        clock, count = run(make_plan(Path(name), args.runs), Path(name), executor, args.codec)
    print(f"{args.executor}, {count} runs")
    for stage, (wall, cpu) in clock.stages.items():
        print(
            f"{stage:15} {wall:8.2f} s   {1000 * wall / count:8.3f} ms a run, {1000 * cpu / count:.3f} of them CPU here"
        )


if __name__ == "__main__":
    main()

"""What every executor must do; tasks are functions of the standard library, which every worker can import."""

import operator
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from encoder_bridge.errors import ConfigError, DeviceError, ToolNotFoundError
from encoder_bridge.process import run_piped
from sweeps.executors import EXECUTORS, Executor, Outcome, Task, open_executor
from sweeps.executors import worker as worker_side
from sweeps.executors.base import ExecutorOptions

KINDS = ("inline", "processes", "dask")
POOLS = ("processes", "dask")


def open_kind(kind: str, workers: int = 2, **more: Any) -> Executor:
    if kind == "dask":
        pytest.importorskip("distributed")
    return open_executor(None if kind == "inline" else workers, executor=kind, **more)


@pytest.fixture(scope="module", params=KINDS)
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with open_kind(request.param) as opened:
        yield opened


@pytest.fixture(scope="module", params=POOLS)
def pool(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with open_kind(request.param) as opened:
        yield opened


def outcomes(executor: Executor, *tasks: Task) -> dict[str, Outcome]:
    return {outcome.key: outcome for outcome in executor.run(tasks)}


def test_every_task_has_one_outcome(executor: Executor) -> None:
    found = list(executor.run(Task(str(n), operator.mul, (n, n)) for n in range(100)))
    assert sorted((o.key, o.value) for o in found) == sorted((str(n), n * n) for n in range(100))
    assert all(o.error is None and o.attempts == 1 and o.worker for o in found)


def test_what_a_task_raises_is_its_outcome(executor: Executor) -> None:
    found = outcomes(executor, Task("bad", operator.truediv, (1, 0)), Task("good", operator.add, (1, 1)))
    assert found["bad"].error is not None and found["bad"].value is None
    assert found["bad"].error["type"] == "ZeroDivisionError"
    assert "division by zero" in found["bad"].error["message"]
    assert found["good"].value == 2


def test_no_task_is_no_outcome(executor: Executor) -> None:
    assert list(executor.run(())) == []


def test_tasks_are_drawn_as_workers_need_them(executor: Executor) -> None:
    drawn = []

    def tasks() -> Iterator[Task]:
        for number in range(10_000):
            drawn.append(number)
            yield Task(str(number), operator.neg, (number,))

    run = executor.run(tasks())
    for _ in range(5):
        next(run)
    run.close()  # type: ignore[attr-defined]
    assert len(drawn) < 50


def test_a_value_that_cannot_travel_is_an_error(pool: Executor) -> None:
    found = outcomes(pool, Task("lock", threading.Lock), Task("good", operator.add, (1, 1)))
    assert found["lock"].error is not None and "pickle" in found["lock"].error["message"]
    assert found["good"].value == 2


def test_a_lost_worker_is_replaced_and_its_task_begun_again(pool: Executor, tmp_path: Path) -> None:
    once = f"test -e {tmp_path}/seen || {{ touch {tmp_path}/seen; kill -9 $PPID; }}"
    tasks = [Task("once", subprocess.run, (["sh", "-c", once],)), *(Task(f"t{n}", os.getpid) for n in range(20))]
    found = outcomes(pool, *tasks)
    assert found["once"].error is None and found["once"].attempts == 2
    assert all(found[f"t{n}"].error is None for n in range(20))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_poison_task_fails_alone(pool: Executor, number: signal.Signals) -> None:
    tasks = [Task(f"t{n}", operator.neg, (n,)) for n in range(30)]
    found = outcomes(pool, *tasks[:15], Task("poison", signal.raise_signal, (number,)), *tasks[15:])
    assert found["poison"].attempts == 3
    assert found["poison"].error is not None and found["poison"].error["type"] == "WorkerLost"
    assert [found[f"t{n}"].value for n in range(30)] == [-n for n in range(30)]


def test_workers_are_confined_to_their_share(pool: Executor) -> None:
    found = outcomes(pool, *(Task(str(n), os.sched_getaffinity, (0,)) for n in range(8)))
    cores = os.cpu_count() or 1
    assert {len(o.value) for o in found.values() if o.value} == {max(1, len(os.sched_getaffinity(0)) // 2)}, cores
    threads = outcomes(pool, Task("threads", os.getenv, ("OMP_NUM_THREADS",)))["threads"].value
    assert threads == str(max(1, len(os.sched_getaffinity(0)) // 2))


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a name short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        yield Path(folder)


def test_a_long_name_stands_for_a_short_one(tmp_path: Path) -> None:
    wanted = tmp_path / ("long" * 20)
    folder = worker_side.scratch_of(wanted)
    try:
        (folder / "left").touch()
        assert len(str(folder / "0" / "mrdo-abcdefgh" / "s")) < 100
        assert worker_side.scratch_of(wanted) == folder and not (folder / "left").exists()
        assert folder != worker_side.scratch_of(tmp_path / ("other" * 20))
    finally:
        folder.rmdir()
        worker_side.scratch_of(tmp_path / ("other" * 20)).rmdir()


@pytest.mark.parametrize("kind", POOLS)
def test_temporary_files_lie_in_scratch_and_go(kind: str, short: Path) -> None:
    scratch = short / "scratch"
    (scratch / "old").mkdir(parents=True)
    with open_kind(kind, scratch=scratch) as executor:
        assert not (scratch / "old").exists()
        made = outcomes(executor, Task("made", tempfile.mkdtemp))["made"].value
        assert made is not None and scratch in Path(made).parents and Path(made).is_dir()
    assert not scratch.exists()


@pytest.mark.parametrize("kind", POOLS)
def test_closing_kills_encoders(kind: str, tmp_path: Path) -> None:
    sleeps = [f"301.{os.getpid()}{n}" for n in range(2)]
    with open_kind(kind) as executor:
        run = executor.run(
            [Task("quick", operator.add, (1, 1)), *(Task(s, run_piped, (["sleep", s], (), None)) for s in sleeps)]
        )
        assert next(run).value == 2
        wait_for(lambda: all(running(f"sleep {s}") for s in sleeps[:1]))
        run.close()  # type: ignore[attr-defined]
    wait_for(lambda: not any(running(f"sleep {s}") for s in sleeps))


DRIVER = """
import sys
from pathlib import Path
from encoder_bridge.process import run_piped
from sweeps.executors import Task, open_executor
if __name__ == "__main__":
    with open_executor(2, executor=sys.argv[1], scratch=Path(sys.argv[3])) as pool:
        tasks = [Task(str(n), run_piped, (["sleep", sys.argv[2] + str(n)], (), None)) for n in range(2)]
        for outcome in pool.run(tasks):
            print(outcome)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("kind", POOLS)
def test_a_driver_that_is_killed_leaves_no_process(
    kind: str, number: signal.Signals, tmp_path: Path, short: Path
) -> None:
    (tmp_path / "driver.py").write_text(DRIVER)
    name = f"302.{os.getpid()}"
    process = subprocess.Popen(
        [sys.executable, tmp_path / "driver.py", kind, name, short / "scratch"],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    wait_for(lambda: running(f"sleep {name}0") and running(f"sleep {name}1"))
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as the terminal does
    else:
        process.send_signal(number)
    said = process.communicate(timeout=60)[0]
    assert said.count("Traceback") <= 1, said  # the driver's own, never a worker's
    wait_for(lambda: not running(f"sleep {name}") and not running(str(tmp_path)))
    if number == signal.SIGINT:
        assert not (short / "scratch").exists()


def test_workers_do_not_write_to_the_drivers_terminal(tmp_path: Path) -> None:
    script = DRIVER.replace("run_piped, ([", "print, ([")
    (tmp_path / "driver.py").write_text(script)
    for kind in POOLS:
        if kind == "dask":
            pytest.importorskip("distributed")
        done = subprocess.run(
            [sys.executable, tmp_path / "driver.py", kind, "garbage", tmp_path / "scratch"],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert "garbage" not in done.stdout + done.stderr
        assert done.stdout.count("Outcome(") == 2 and done.stderr == ""


def running(text: str) -> bool:
    """Whether a process has these words in its command line; this one does not count."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in words:
                return True
    return False


def wait_for(condition: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def test_what_is_chosen_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from sweeps.executors import base

    notes: list[str] = []
    assert base._chosen(ExecutorOptions()) == "inline"
    assert (
        base._chosen(ExecutorOptions(scheduler="tcp://x:1")) == base._chosen(ExecutorOptions(cluster="slurm")) == "dask"
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert base._chosen(ExecutorOptions(workers=2, note=notes.append)) == "processes"
    assert "machine-rdo[cluster]" in notes[0]
    with pytest.raises(ToolNotFoundError, match=re.escape("machine-rdo[cluster]")):
        open_executor(scheduler="tcp://127.0.0.1:1")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"workers": 0}, "--workers 0"),
        ({"scheduler": "tcp://x:1", "cluster": "slurm"}, "give one"),
        ({"executor": "carrier-pigeon", "workers": 2}, "known: dask, inline, processes"),
        ({"executor": "processes", "scheduler": "tcp://x:1"}, "expected dask"),
    ],
)
def test_options_that_make_no_sense(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        open_executor(**given)


@pytest.mark.parametrize("kind", POOLS)
def test_gpu_tasks_go_to_gpu_workers(kind: str) -> None:
    tasks = [
        Task(f"{'gpu' if n % 3 else 'cpu'}{n}", os.getenv, ("CUDA_VISIBLE_DEVICES",), gpu=n % 3 > 0) for n in range(12)
    ]
    with open_kind(kind, gpus=1) as executor:
        found = outcomes(executor, *tasks)
    assert {o.value for key, o in found.items() if key.startswith("gpu")} == {"0"}
    assert {o.value for key, o in found.items() if key.startswith("cpu")} <= {"", "0"}
    assert len(found) == 12


@pytest.mark.parametrize("kind", POOLS)
def test_a_gpu_task_without_a_gpu_worker(kind: str) -> None:
    with open_kind(kind) as executor, pytest.raises(DeviceError, match="--gpu-workers"):
        list(executor.run([Task("g", os.getpid, gpu=True)]))


def test_shares_cover_the_machine() -> None:
    here = sorted(os.sched_getaffinity(0))
    assert worker_side.shares(1) == [here]
    assert [core for cores in worker_side.shares(len(here)) for core in cores] == here
    assert all(len(cores) == 1 for cores in worker_side.shares(4 * len(here)))
    assert all(cores == here for cores in worker_side.shares(3, cores=10_000))


def test_names_are_registered() -> None:
    assert set(KINDS) <= set(EXECUTORS.names())

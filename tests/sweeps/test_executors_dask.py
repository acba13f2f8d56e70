"""Dask beyond one machine: a scheduler that runs already, one that does not answer, two hosts, job systems."""

import operator
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from encoder_bridge.errors import ConfigError, DeviceError, ToolNotFoundError
from sweeps.executors import Task, open_executor

pytest.importorskip("distributed")
PORT = "8786"
needs_jobs = pytest.mark.skipif(find_spec("dask_jobqueue") is None, reason="no dask-jobqueue")


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path.cwd())}


@contextmanager
def started(*words: object, inside: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """A ``dask`` command; ended with the block."""
    command = [*inside, sys.executable, "-m", "distributed.cli.dask_" + str(words[0]), *map(str, words[1:])]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a scheduler with one worker of two threads."""
    address, folder = f"tcp://127.0.0.1:{free_port()}", tmp_path_factory.mktemp("dask")
    alone = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")
    with ExitStack() as stack:
        stack.enter_context(started("scheduler", "--host", address, *alone))
        wait = ("--nthreads", 2, "--nworkers", 1, "--death-timeout", 60, "--local-directory", folder)
        stack.enter_context(started("worker", address, *wait, *alone))
        yield address


@pytest.mark.slow
def test_tasks_run_on_a_scheduler_that_is_there(scheduler: str) -> None:
    with open_executor(scheduler=scheduler, timeout_s=60) as executor:
        assert executor.workers == 2
        found = {o.key: o for o in executor.run(Task(str(n), operator.mul, (n, n)) for n in range(50))}
        assert {key: o.value for key, o in found.items()} == {str(n): n * n for n in range(50)}
        cores = [o.value for o in executor.run(Task(str(n), os.sched_getaffinity, (0,)) for n in range(4))]
        assert {len(share) for share in cores} == {max(1, len(os.sched_getaffinity(0)) // 2)}
        with pytest.raises(DeviceError, match="--resources GPU=1"):
            list(executor.run([Task("g", os.getpid, gpu=True)]))


@pytest.mark.slow
def test_closing_interrupts_what_runs_on_foreign_workers(scheduler: str) -> None:
    from encoder_bridge.process import run_piped

    name = f"303.{os.getpid()}"
    with open_executor(scheduler=scheduler, timeout_s=60) as executor:
        run = executor.run(
            [Task("quick", operator.add, (1, 1)), *(Task(f"{n}", run_piped, (["sleep", name], (), None)) for n in "ab")]
        )
        assert next(run).value == 2
        deadline = time.monotonic() + 30
        while not sleeping(name):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        run.close()  # type: ignore[attr-defined]
        assert not sleeping(name)
        assert [o.value for o in executor.run([Task("after", operator.add, (2, 2))])] == [4]


def sleeping(name: str) -> bool:
    return subprocess.run(["pgrep", "-fx", f"sleep {name}"], capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("noticed", ["by a future", "by the client", "by no one"])
def test_a_scheduler_that_goes_away(tmp_path: Path, noticed: str) -> None:
    """However its end meets what the client is doing: its thread may also forget futures without a word."""
    address = f"tcp://127.0.0.1:{free_port()}"
    alone = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")
    with (
        started("scheduler", "--host", address, *alone) as process,
        started("worker", address, "--nthreads", 1, "--local-directory", tmp_path, *alone),
        open_executor(scheduler=address, timeout_s=30) as executor,
    ):
        run = executor.run(Task(str(n), time.sleep, (0.1 if n < 2 else 12,)) for n in range(4))
        next(run)
        client = executor._client  # type: ignore[attr-defined]
        if noticed == "by no one":
            threading.Timer(2.0, client.futures.clear).start()
        else:
            process.kill()
        while noticed == "by the client" and client.status == "running":
            time.sleep(0.01)
        began = time.monotonic()
        with pytest.raises(ToolNotFoundError, match="is gone"):
            list(run)
        assert time.monotonic() - began < 20  # the client itself gives up after 30 s


def test_a_scheduler_that_does_not_answer() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    began = time.monotonic()
    with pytest.raises(ToolNotFoundError, match=re.escape(f"{address} within 1 s")):
        open_executor(scheduler=address, timeout_s=1).__enter__()
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("address", ["nonsense://x", "tcp://host:port"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises((ConfigError, ToolNotFoundError), match=re.escape(address)):
        open_executor(scheduler=address, timeout_s=1).__enter__()


@pytest.mark.slow
def test_a_scheduler_without_workers() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    with (
        started("scheduler", "--host", address, "--no-dashboard", "--dashboard-address", "127.0.0.1:0"),
        pytest.raises(ToolNotFoundError, match="has no worker; start one: dask worker"),
    ):
        open_executor(scheduler=address, timeout_s=15).__enter__()


@needs_jobs
def test_job_systems() -> None:
    with pytest.raises(ConfigError, match="known: slurm, pbs"):
        open_executor(2, cluster="abacus").__enter__()
    if shutil.which("sbatch") is None:
        with pytest.raises(ToolNotFoundError, match="no sbatch here"):
            open_executor(2, cluster="slurm").__enter__()


INTERRUPTS = """
import signal, sys
from encoder_bridge.errors import ToolNotFoundError
from sweeps.executors import open_executor
try:
    open_executor(2, cluster="slurm").__enter__()
except ToolNotFoundError:
    print("dask_jobqueue" in sys.modules, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@needs_jobs
def test_interrupts_stay_ours_with_a_job_system(tmp_path: Path) -> None:
    """dask-jobqueue takes Ctrl-C for itself when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTS], capture_output=True, text=True, env={**environment(), "PATH": str(tmp_path)}
    )
    assert done.stdout == "True True\n", done.stderr


SBATCH = """#!/bin/sh
# Keeps the job's script, runs it as Slurm would on some node, and answers with its number.
cp "$1" "$JOBS/$$.sh"
setsid sh "$JOBS/$$.sh" > "$JOBS/$$.log" 2>&1 < /dev/null &
echo $! > "$JOBS/$$.pid"
echo "Submitted batch job $$"
"""
SCANCEL = """#!/bin/sh
for job; do kill -TERM -- -$(cat "$JOBS/$job.pid"); done
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[tuple[str, str], ...]:
    """Options of jobs for the real dask-jobqueue; ``sbatch`` and ``scancel`` are stand-ins that run them here."""
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("JOBS", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    return ("local_directory", str(tmp_path)), ("interface", "lo")


@needs_jobs
@pytest.mark.slow
def test_slurm_workers_are_jobs(tmp_path: Path, slurm: tuple[tuple[str, str], ...]) -> None:
    with open_executor(2, cluster="slurm", cores=3, cluster_options=slurm) as executor:
        found = {o.key: o.value for o in executor.run(Task(str(n), os.getenv, ("OMP_NUM_THREADS",)) for n in range(10))}
        assert found == {str(n): "3" for n in range(10)}
        script = executor._cluster.job_script()  # type: ignore[attr-defined]
        assert "#SBATCH --cpus-per-task=3" in script or "#SBATCH -c 3" in script or "--cpus-per-task=3" in script
    deadline = time.monotonic() + 120
    while subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True).returncode == 0:
        assert time.monotonic() < deadline, "jobs were left"
        time.sleep(0.2)


@needs_jobs
def test_jobs_that_fail_are_told_of(slurm: tuple[tuple[str, str], ...]) -> None:
    class Told(Exception):
        pass

    def note(text: str) -> None:
        if "no worker for" in text:
            raise Told(text)

    options = (*slurm, ("python", "/nonexistent/python"))
    with (
        open_executor(2, cluster="slurm", cluster_options=options, timeout_s=3, note=note) as executor,
        pytest.raises(Told, match=r"slurm: .* look at the queue and at the logs"),
    ):
        list(executor.run([Task("a", os.getpid)]))


@contextmanager
def two_hosts() -> Iterator[tuple[str, str]]:
    """Two network namespaces joined by a cable: names; they are 10.77.0.1 and 10.77.0.2."""
    if shutil.which("ip") is None:
        pytest.skip("no ip command (iproute2)")
    names = (f"mrdo-a{os.getpid()}", f"mrdo-b{os.getpid()}")

    def ip(*words: str) -> int:
        return subprocess.run(["ip", *words], capture_output=True).returncode

    try:
        if ip("netns", "add", names[0]) != 0:
            pytest.skip("network namespaces need root")
        ip("netns", "add", names[1])
        if ip("link", "add", f"va{os.getpid()}", "type", "veth", "peer", "name", f"vb{os.getpid()}") != 0:
            pytest.skip("this kernel has no virtual network cables (veth)")
        for number, (name, end) in enumerate(zip(names, ("va", "vb"), strict=True), 1):
            device = f"{end}{os.getpid()}"
            assert ip("link", "set", device, "netns", name) == 0
            assert ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", device) == 0
            assert ip("-n", name, "link", "set", device, "up") == 0
            assert ip("-n", name, "link", "set", "lo", "up") == 0
        yield names
    finally:
        for name in names:
            ip("netns", "del", name)


WHERE = """
import sys, time
from sweeps.executors import Task, open_executor
with open_executor(scheduler=sys.argv[1]) as executor:
    print(len({outcome.worker for outcome in executor.run(Task(str(n), time.sleep, (0.2,)) for n in range(8))}))
"""


@pytest.mark.slow
def test_a_sweep_over_two_hosts(tmp_path: Path) -> None:
    """Scheduler and driver on one host, workers on both; the records are those of one process."""
    from encoder_bridge.decode import write_video
    from models.scenes import SceneConfig, SceneSource
    from sweeps.store import ResultStore

    (tmp_path / "clips").mkdir()
    write_video(SceneSource(SceneConfig(96, 64, 2, seed=3)), tmp_path / "clips" / "a.y4m")
    (tmp_path / "plan.toml").write_text('inputs = ["clips"]\n[codecs.jpeg]\nqualities = "10-80:10"\n')

    def sweep(output: str, *more: str, inside: tuple[str, ...] = ()) -> dict[str, object]:
        words = ("-m", "sweeps.cli", "sweep", str(tmp_path / "plan.toml"), "-o", str(tmp_path / output), *more)
        done = subprocess.run([*inside, sys.executable, *words], capture_output=True, text=True, env=environment())
        assert done.returncode == 0, done.stderr
        return {r.key: (r.status, r.bits, r.psnr, r.scores, r.confusion) for r in ResultStore(tmp_path / output)}

    alone = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")
    address = f"tcp://10.77.0.1:{PORT}"
    with two_hosts() as names, ExitStack() as stack:
        inside = [("ip", "netns", "exec", name) for name in names]
        stack.enter_context(started("scheduler", "--host", address, *alone, inside=inside[0]))
        for number, name in enumerate(inside, 1):
            host = ("--host", f"10.77.0.{number}", "--nthreads", "1", "--death-timeout", 60)
            folder = ("--local-directory", tmp_path / f"worker{number}")
            stack.enter_context(started("worker", address, *host, *folder, *alone, inside=name))
        with_both = sweep("two", "--scheduler", address, inside=inside[0])
        where = [*inside[0], sys.executable, "-c", WHERE, address]
        assert subprocess.run(where, capture_output=True, text=True, env=environment()).stdout == "2\n"
    assert len(with_both) == 8
    assert with_both == sweep("one")

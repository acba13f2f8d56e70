"""What every way to run tasks has in common: a task, its outcome, and the choice of an executor."""

from __future__ import annotations

import importlib.util
import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from encoder_bridge.errors import BridgeError, ConfigError
from encoder_bridge.registry import Registry

MAX_LOSSES = 3
"""So many workers may die under one task before it is taken for their killer."""
LOST = "WorkerLost"
"""Type of the error of such a task."""


@dataclass(frozen=True)
class Task:
    """A call to be made in some process; picklable.

    Attributes:
        key: names the task in its outcome; one run's tasks have different keys.
        call: a module-level function.
        args: its arguments. Small ones: paths, not frames.
        gpu: needs a worker with a GPU.
        cores: CPU cores it makes use of; on a worker that has fewer it takes longer.
    """

    key: str
    call: Callable[..., Any]
    args: tuple[Any, ...] = ()
    gpu: bool = False
    cores: int = 1


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        key: the task's.
        value: what the call returned; None with an error.
        error: {"type", "message"} of what it raised, or of a worker lost ``MAX_LOSSES`` times; None where it returned.
        attempts: how often it was begun.
        worker: where it ran last, for people.
    """

    key: str
    value: Any | None
    error: dict[str, str] | None
    attempts: int = 1
    worker: str = ""


class Executor(Protocol):
    """Runs tasks. A context manager: leaving it, by whatever exception, leaves no process behind."""

    @property
    def workers(self) -> int:
        """Tasks that run at a time, as far as is known now."""
        ...

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Outcomes in the order they finish; ``tasks`` is drawn from only as far as workers need it.

        A task that raises has an outcome with an error. A task whose worker is lost is begun again on another one, up
        to ``MAX_LOSSES`` times in all. Closing the iterator cancels what is not finished.
        """
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True)
class ExecutorOptions:
    """How tasks are to be run.

    Attributes:
        workers: processes at a time; None is the executor's own choice.
        cores: CPU cores each worker is confined to; None is its even share of the machine.
        gpus: workers among them that hold a GPU each.
        scheduler: address of a Dask scheduler.
        cluster: job system that workers are asked from: slurm, pbs, lsf, sge, ...
        cluster_options: further arguments of the job system: queue, memory, walltime, account.
        scratch: folder for workers' temporary files, emptied on entering and gone afterwards; None is a new one.
        timeout_s: wait so long for a scheduler or a first worker.
        note: told what a user may want to know.
    """

    workers: int | None = None
    cores: int | None = None
    gpus: int = 0
    scheduler: str | None = None
    cluster: str | None = None
    cluster_options: tuple[tuple[str, Any], ...] = ()
    scratch: Path | None = None
    timeout_s: float = 30.0
    note: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        for name in ("workers", "cores"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name} {value}: expected at least 1")
        if self.scheduler is not None and self.cluster is not None:
            raise ConfigError("--scheduler and --cluster: give one; a cluster starts a scheduler of its own")


EXECUTORS: Registry[Callable[[ExecutorOptions], Executor]] = Registry("executor")
"""Name → maker; this package's own are in the modules of their names."""


def open_executor(
    workers: int | None = None,
    scheduler: str | None = None,
    cluster: str | None = None,
    *,
    executor: str | None = None,
    **more: Any,
) -> Executor:
    """The executor that options ask for, to be used as a context.

    Without any of them tasks run inline. With ``workers`` they run in processes of this machine: Dask's, or where Dask
    is not installed our own, of which a note is given.

    Args:
        workers, scheduler, cluster: see ``ExecutorOptions``, as for ``more``.
        executor: "inline", "processes", "dask" or another registered name; None chooses by the rest.

    Raises:
        ConfigError: arguments that exclude each other, an unknown executor.
        ToolNotFoundError: Dask is asked for and not installed.
    """
    options = ExecutorOptions(workers, scheduler=scheduler, cluster=cluster, **more)
    name = executor or _chosen(options)
    if name != "dask" and (scheduler or cluster):
        raise ConfigError(f"--executor {name} with --scheduler or --cluster; expected dask")
    return EXECUTORS.get(name)(options)


def _chosen(options: ExecutorOptions) -> str:
    if options.scheduler or options.cluster:
        return "dask"
    if options.workers is None:
        return "inline"
    if importlib.util.find_spec("distributed") is not None:
        return "dask"
    options.note("Dask is not installed: workers are plain processes; run: pip install 'machine-rdo[cluster]'")
    return "processes"


def answer(task: Task) -> bytes:
    """Value and error of a task made here and now, pickled; a value that cannot travel is an error."""
    try:
        return pickle.dumps(call(task))
    except Exception as error:
        return pickle.dumps((None, error_of(error)))


def call(task: Task) -> tuple[Any, dict[str, str] | None]:
    """Value and error of a task made here and now; whatever it raises short of an interrupt is its error."""
    try:
        return task.call(*task.args), None
    except Exception as error:
        return None, error_of(error)


def error_of(error: BaseException) -> dict[str, str]:
    """{"type", "message"} of an exception; one that is not of the taxonomy says where it came from."""
    message = str(error) or "(no message)"
    if not isinstance(error, BridgeError):
        frames = traceback.extract_tb(error.__traceback__)
        message += f" (in {frames[-1].name}, line {frames[-1].lineno})" if frames else ""
    return {"type": type(error).__name__, "message": message}


def lost(attempts: int, last_words: str = "") -> dict[str, str]:
    """The error of a task under which ``attempts`` workers died; ``last_words`` is what the last one wrote."""
    said = f"; the last one wrote: {last_words}" if last_words else ""
    return {
        "type": LOST,
        "message": f"{attempts} workers were killed or crashed under it (out of memory?), so it was given up{said}",
    }

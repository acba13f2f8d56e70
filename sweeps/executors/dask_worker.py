"""What runs inside a Dask worker. No import of Dask here: the driver pickles these functions by name."""

from __future__ import annotations

import ctypes
import os
import pickle
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.executors import worker as worker_side
from sweeps.executors.base import Task, answer

_running: dict[int, str] = {}
"""Threads with a task → the executor it came from."""
_guard = threading.Lock()
_cores: list[int] = []
_threads = 1


class Interrupted(KeyboardInterrupt):
    """The driver wants no answer any more: unwinds the task, so that its encoder and its files go."""


def dask_setup(worker: Any) -> None:
    """Called by Dask in every new worker process of the embedded cluster; see ``worker.settle``."""
    cores = [int(core) for core in os.environ[worker_side.CORES].split(",")]
    worker_side.settle(cores, Path(os.environ["TMPDIR"]))
    _remember(cores, 1)


def place(neighbours: dict[str, tuple[int, int]], dask_worker: Any) -> str:
    """Give this worker its cores of those it may use, by the place it has among the workers of its host."""
    first, total = neighbours.get(dask_worker.address, (0, dask_worker.state.nthreads))
    shares = worker_side.shares(total)
    mine = shares[first : first + dask_worker.state.nthreads]
    _remember(sorted({core for cores in mine for core in cores}), dask_worker.state.nthreads)
    return socket.gethostname()


@dataclass(frozen=True)
class Answer:
    """Pickled value and error of a task, and its place; a type of its own, for Dask hands errors over as tuples."""

    data: bytes
    where: str


def run(task: Task, executor: str) -> Answer:
    """Make a task's call in one of this worker's threads, confined to its cores."""
    me, where = threading.get_ident(), f"{socket.gethostname()} process {os.getpid()}"
    with _guard:
        _pin(len(_running))
        _running[me] = executor
    try:
        return Answer(answer(task), where)
    except Interrupted:
        return Answer(pickle.dumps((None, {"type": "Interrupted", "message": "interrupted"})), where)
    finally:
        with _guard:
            _running.pop(me, None)


def interrupt(executor: str) -> int:
    """Raise ``Interrupted`` in every thread that runs a task of this executor; how many there are."""
    with _guard:
        threads = [thread for thread, owner in _running.items() if owner == executor]
        for thread in threads:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Interrupted))
    return len(threads)


def _remember(cores: list[int], threads: int) -> None:
    global _cores, _threads
    _cores, _threads = cores, threads


def _pin(busy: int) -> None:
    """Confine the calling thread to its part of the worker's cores."""
    if _cores:
        width = max(1, len(_cores) // _threads)
        start = busy % _threads * width
        os.sched_setaffinity(0, _cores[start : start + width] or _cores)

"""Tasks in processes of this machine. One that dies takes nothing with it: its task goes to another."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol

from encoder_bridge.errors import DeviceError
from sweeps.executors import worker as worker_side
from sweeps.executors.base import EXECUTORS, MAX_LOSSES, ExecutorOptions, Outcome, Task, answer, error_of, lost

GRACE_S = 5.0
"""A worker asked to end has so long to take its encoder and its files with it."""
_LOOK_AHEAD = 4
_TICK_S = 1.0
"""The driver waits no longer at a time: a signal that comes just before a wait does not end it."""


class _Pipe(Protocol):
    """What is used of ``multiprocessing.connection.Connection``."""

    def send_bytes(self, data: bytes) -> None: ...
    def recv_bytes(self) -> bytes: ...
    def close(self) -> None: ...
    def fileno(self) -> int: ...


@dataclass
class _Begun:
    """A task and how often it was begun."""

    task: Task
    attempts: int = 0


@dataclass
class _Worker:
    """One process and what it is doing."""

    process: BaseProcess
    pipe: _Pipe
    folder: Path
    gpu: bool
    doing: _Begun | None = None


@EXECUTORS.register("processes")
class ProcessExecutor:
    """A fixed number of processes, each confined to its cores, one task at a time.

    Raises DeviceError from ``run`` where a task wants a GPU and no worker has one.
    """

    def __init__(self, options: ExecutorOptions) -> None:
        here = worker_side.share()
        self.workers = options.workers or max(1, here // (options.cores or 1))
        self._options = options
        self._cores = worker_side.shares(self.workers, options.cores)
        self._crew: dict[int, _Worker] = {}
        self._scratch: Path | None = None

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See ``Executor.run``."""
        queue = _Queue(iter(tasks), _LOOK_AHEAD * self.workers, self._check)
        try:
            while self._hand_out(queue):
                yield from self._collect(queue)
        finally:
            self._stop([slot for slot, worker in self._crew.items() if worker.doing])

    def __enter__(self) -> ProcessExecutor:
        self._scratch = worker_side.scratch_of(self._options.scratch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(list(self._crew))
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _check(self, task: Task) -> None:
        if task.gpu and not self._options.gpus:
            raise DeviceError("a run needs a GPU and no worker has one; give --gpu-workers")

    def _hand_out(self, queue: _Queue) -> bool:
        """Give every idle worker a task; False when nothing runs and nothing is left."""
        for slot in range(self.workers):
            if slot in self._crew and self._crew[slot].doing:
                continue
            begun = queue.next(slot < self._options.gpus)
            if begun is None:
                continue
            self._give(slot, begun)
        return any(worker.doing for worker in self._crew.values())

    def _give(self, slot: int, begun: _Begun) -> None:
        """Send a task to the worker of a slot, or to a new one where that has died idle."""
        data = pickle.dumps(begun.task)
        begun.attempts += 1
        while True:
            worker = self._crew[slot] = self._crew.get(slot) or self._start(slot)
            try:
                worker.pipe.send_bytes(data)
                worker.doing = begun
                return
            except OSError:
                self._bury(slot)

    def _collect(self, queue: _Queue) -> Iterator[Outcome]:
        """Wait a while for workers that are done; a lost one's task goes back to the queue."""
        busy = {worker.pipe: (slot, worker) for slot, worker in self._crew.items() if worker.doing}
        for pipe in connection.wait(list(busy), _TICK_S):  # type: ignore[arg-type]
            slot, worker = busy[pipe]  # type: ignore[index]
            begun, worker.doing = worker.doing, None
            assert begun is not None
            try:
                value, error = pickle.loads(worker.pipe.recv_bytes())
            except (EOFError, OSError):
                words = self._bury(slot)
                if begun.attempts < MAX_LOSSES:
                    queue.again(begun)
                    continue
                value, error = None, lost(begun.attempts, words)
            yield Outcome(begun.task.key, value, error, begun.attempts, f"process {worker.process.pid}")

    def _bury(self, slot: int) -> str:
        """Take leave of a lost worker; its last words."""
        worker = self._crew.pop(slot)
        worker.process.join(GRACE_S)
        _end(worker)
        words = worker_side.last_words(worker.folder)
        shutil.rmtree(worker.folder, ignore_errors=True)
        return words

    def _start(self, slot: int) -> _Worker:
        if self._scratch is None:
            raise RuntimeError("an executor runs tasks inside its with block")
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        folder = self._scratch / f"{slot}"
        gpu = slot if slot < self._options.gpus else None
        variables = worker_side.variables(self._cores[slot], folder, gpu)
        process = context.Process(target=_work, args=(theirs, self._cores[slot], folder, variables), daemon=True)
        with _interrupts_held():
            process.start()
        theirs.close()
        return _Worker(process, ours, folder, gpu is not None)

    def _stop(self, slots: list[int]) -> None:
        """End workers; those that do not go are killed, and what they left is removed."""
        workers = [self._crew.pop(slot) for slot in slots]
        for worker in workers:
            worker.process.terminate()
        deadline = time.monotonic() + GRACE_S
        for worker in workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            _end(worker)
            shutil.rmtree(worker.folder, ignore_errors=True)


class _Queue:
    """Tasks not begun: those to be begun again, those passed over for want of a GPU, and the rest, undrawn."""

    def __init__(self, tasks: Iterator[Task], ahead: int, check: Any) -> None:
        self._tasks, self._ahead, self._check = tasks, ahead, check
        self._kept: deque[_Begun] = deque()

    def again(self, begun: _Begun) -> None:
        """Put back what was begun."""
        self._kept.appendleft(begun)

    def next(self, gpu: bool) -> _Begun | None:
        """The next task for a worker with or without a GPU; one with prefers those that need it."""
        for wanted in (True, False) if gpu else (False,):
            for begun in self._kept:
                if begun.task.gpu == wanted:
                    self._kept.remove(begun)
                    return begun
        while len(self._kept) < self._ahead:
            task = next(self._tasks, None)
            if task is None:
                return None
            self._check(task)
            if gpu or not task.gpu:
                return _Begun(task)
            self._kept.append(_Begun(task))
        return None


def _end(worker: _Worker) -> None:
    """Make sure that a process is gone; encoders go with the process that started them."""
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.pipe.close()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process started inside cannot be interrupted from the terminal before it is ready for it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Ended(KeyboardInterrupt):
    """SIGTERM in a worker: unwinds the task, so that its encoder and its files go."""


def _work(pipe: _Pipe, cores: list[int], folder: Path, variables: dict[str, str]) -> None:
    """Life of a worker: tasks until the driver is gone."""
    os.environ.update(variables)
    worker_side.settle(cores, folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, _raise)
    worker_side.end_with_parent()
    try:
        while True:
            pipe.send_bytes(_answered(pipe.recv_bytes()))
    except (EOFError, OSError, _Ended):
        # Threads that libraries left behind must not keep a worker alive that nobody waits for.
        os._exit(0)


def _raise(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise _Ended


def _answered(data: bytes) -> bytes:
    """The answer to a task; one that cannot be read here is an error."""
    try:
        return answer(pickle.loads(data))
    except Exception as error:
        return pickle.dumps((None, error_of(error)))

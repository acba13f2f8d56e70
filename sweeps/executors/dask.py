"""Tasks on Dask workers: an embedded cluster of this machine, one that runs already, or jobs of a batch system."""

from __future__ import annotations

import contextlib
import importlib
import pickle
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Any

from encoder_bridge.errors import ConfigError, DeviceError, ToolNotFoundError
from encoder_bridge.extras import need
from sweeps.executors import dask_worker
from sweeps.executors import worker as worker_side
from sweeps.executors.base import EXECUTORS, MAX_LOSSES, ExecutorOptions, Outcome, Task, error_of, lost
from sweeps.executors.dask_clusters import job_cluster, local_cluster, own_settings, silence

GRACE_S = 5.0
"""Interrupted tasks have so long to take their encoders and files with them."""
_WATCH_S = 5.0
_BATCH = 8


@dataclass
class _Begun:
    """A task, how often it was begun, and whether the scheduler begins it again by itself."""

    task: Task
    attempts: int = 1


@EXECUTORS.register("dask")
class DaskExecutor:
    """Hands tasks to a Dask scheduler, a bounded number at a time; only paths and records travel.

    Raises:
        ToolNotFoundError: Dask is not installed; no scheduler answers; its workers lack this package.
        DeviceError: a task wants a GPU and no worker offers the resource ``GPU``.
        ConfigError: a job system that is not known.
    """

    def __init__(self, options: ExecutorOptions) -> None:
        need("cluster", "distributed", *(["dask_jobqueue"] if options.cluster else []))
        self._options = options
        self._client: Any = None
        self._cluster: Any = None
        self._scratch: Path | None = None
        self._unfinished: dict[Any, _Begun] = {}
        self._seen = self._looked = time.monotonic()
        self._told = False
        self._counted = (-_WATCH_S, 1)
        self._settings = contextlib.ExitStack()
        self._name = uuid.uuid4().hex[:12]

    @property
    def workers(self) -> int:
        """Threads of all workers that are there now, or that were asked for."""
        if self._options.scheduler is None:
            return self._options.workers or worker_side.share()
        if time.monotonic() - self._counted[0] > _WATCH_S:
            threads = sum(int(worker["nthreads"]) for worker in self._known().values())
            self._counted = time.monotonic(), max(1, threads)
        return self._counted[1]

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See ``Executor.run``."""
        source, begun, finished = iter(tasks), dict[Any, _Begun](), Queue[Any]()
        self._unfinished, self._seen = begun, time.monotonic()
        try:
            while True:
                self._look_after_scheduler()
                self._fill(source, begun, finished)
                if not begun:
                    return
                outcome = self._outcome(self._next(finished), begun, finished)
                if outcome is not None:
                    yield outcome
        finally:
            self._cancel()

    def __enter__(self) -> DaskExecutor:
        silence()
        try:
            self._connect()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancel()
        with contextlib.suppress(Exception):
            if self._client is not None:
                self._client.close(timeout=GRACE_S)
        with contextlib.suppress(Exception):
            if self._cluster is not None:
                self._cluster.close(timeout=2 * GRACE_S)
        self._client = self._cluster = None
        self._settings.close()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _connect(self) -> None:
        options = self._options
        if options.scheduler is not None:
            self._client = _reach(options.scheduler, options.timeout_s)
            self._place(options.scheduler)
            return
        if options.cluster is None:
            self._scratch = worker_side.scratch_of(options.scratch)
        self._settings.enter_context(own_settings(self._scratch))
        if options.cluster is not None:
            self._cluster = job_cluster(options)
            options.note(f"{options.cluster}: asked for {self.workers} workers")
        else:
            assert self._scratch is not None
            self._cluster = local_cluster(options, self._scratch)
        self._client = _distributed().Client(self._cluster, timeout=options.timeout_s, set_as_default=False)

    def _place(self, address: str) -> None:
        """See that workers are there and can run tasks, and tell each its cores among its host's."""
        try:
            self._client.wait_for_workers(1, timeout=self._options.timeout_s)
        except TimeoutError:
            raise ToolNotFoundError(
                f"the scheduler at {address} has no worker; start one: dask worker {address}"
            ) from None
        try:
            self._client.run(dask_worker.place, _neighbours(self._known()))
        except Exception as error:
            raise ToolNotFoundError(
                f"the workers of {address} cannot run machine-rdo: {error}; install the same version there"
            ) from error

    def _known(self) -> dict[str, Any]:
        workers: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        return workers

    def _fill(self, source: Iterator[Task], begun: dict[Any, _Begun], finished: Queue[Any]) -> None:
        """Submit up to the window: enough that no worker waits for the driver, few enough for any number of runs.

        A foreign scheduler may put a second task on a busy worker, where it would be blamed for that worker's end.
        """
        ahead = 0 if self._options.scheduler else self.workers + _BATCH
        if begun and len(begun) > self.workers + ahead - _BATCH and ahead:
            return
        fresh = list(islice(source, max(0, self.workers + ahead - len(begun))))
        for task in fresh:
            self._check(task)
        for gpu in (False, True):
            self._submit([_Begun(task) for task in fresh if task.gpu == gpu], begun, finished)

    def _submit(self, items: list[_Begun], begun: dict[Any, _Begun], finished: Queue[Any]) -> None:
        """Tasks of one kind in one message, which takes the scheduler much less than one message each."""
        if not items:
            return
        futures = self._client.map(
            dask_worker.run,
            [item.task for item in items],
            executor=self._name,
            key=[f"mrdo-{self._name}-{item.task.key}-{item.attempts}" for item in items],
            pure=False,
            resources={"GPU": 1} if items[0].task.gpu else None,
        )
        for future, item in zip(futures, items, strict=True):
            begun[future] = item
            future.add_done_callback(finished.put)

    def _next(self, finished: Queue[Any]) -> Any:
        """The next future that is done. ToolNotFoundError where scheduler or own workers died and do not come back."""
        while True:
            self._look_after_scheduler()
            self._look_after_workers()
            with contextlib.suppress(Empty):
                return finished.get(timeout=_WATCH_S)

    def _look_after_scheduler(self) -> None:
        """ToolNotFoundError where the connection is or was lost, for all futures went with it.

        The client forgets them in a thread of its own, and one that is made meanwhile without ever telling.
        """
        known = self._client.futures
        forgotten = any(future.key not in known and not future.done() for future in self._unfinished)
        if forgotten or self._client.status != "running":
            raise self._gone()

    def _gone(self) -> ToolNotFoundError:
        where = self._options.scheduler or ""
        return ToolNotFoundError(f"the Dask scheduler {where} is gone; what is finished is kept: start again")

    def _look_after_workers(self) -> None:
        """Now and then put new workers in the place of those of our own that are gone for good."""
        now = time.monotonic()
        if self._options.scheduler or now - self._looked < _WATCH_S:
            return
        self._looked, there = now, len(self._known())
        if there:
            self._seen, self._told = now, False
        if self._options.cluster:
            self._look_after_jobs(now - self._seen)
            return
        if there < self.workers:
            self._cluster.scale(self.workers)
        if now - self._seen > 2 * self._options.timeout_s:
            raise ToolNotFoundError("all workers died and cannot be started again; what is finished is kept")

    def _look_after_jobs(self, lacking_s: float) -> None:
        """Say when no job has become a worker for long: Dask does not look whether they are queued or have failed."""
        if lacking_s > self._options.timeout_s and not self._told:
            self._told = True
            self._options.note(
                f"{self._options.cluster}: no worker for {lacking_s:.0f} s; its jobs wait in the queue or have failed: "
                "look at the queue and at the logs of the jobs"
            )

    def _check(self, task: Task) -> None:
        options = self._options
        if task.gpu and options.scheduler is None and not options.gpus:
            raise DeviceError("a run needs a GPU and no worker has one; give --gpu-workers")
        if task.gpu and options.scheduler and not any("GPU" in w["resources"] for w in self._known().values()):
            raise DeviceError(
                f"a run needs a GPU and no worker of {options.scheduler} offers one; start one: "
                f"dask worker {options.scheduler} --resources GPU=1"
            )

    def _outcome(self, future: Any, begun: dict[Any, _Begun], finished: Queue[Any]) -> Outcome | None:
        """What became of a future; None where its task has begun again."""
        item = begun.pop(future)
        key = item.task.key
        try:
            answer = future.result(timeout=_WATCH_S)
        except TimeoutError:  # the worker died when it had finished: the task is done once more
            begun[future] = item
            future.add_done_callback(finished.put)
            return None
        except _distributed().KilledWorker as error:
            return self._killed(item, error, begun, finished)
        except Exception as error:
            if future.cancelled():
                raise self._gone() from error
            return Outcome(key, None, error_of(error), item.attempts)
        value, failed = pickle.loads(answer.data)
        return Outcome(key, value, failed, item.attempts, answer.where)

    def _killed(self, item: _Begun, cause: Any, begun: dict[Any, _Begun], finished: Queue[Any]) -> Outcome | None:
        """A task whose worker was lost begins again, unless it has cost too many; then that is its outcome."""
        own = self._options.scheduler is None
        attempts = item.attempts if own else cause.allowed_failures + 1
        if own and attempts < MAX_LOSSES:
            self._submit([_Begun(item.task, attempts + 1)], begun, finished)
            return None
        where = str(getattr(cause.last_worker, "address", ""))
        return Outcome(item.task.key, None, lost(attempts), attempts, where)

    def _cancel(self) -> None:
        """Forget what has not begun and interrupt what has, so that encoders and temporary files go."""
        futures, self._unfinished = list(self._unfinished), {}
        if not futures or self._client.status != "running":
            return
        with contextlib.suppress(Exception):
            self._client.cancel(futures, force=True)
            deadline = time.monotonic() + GRACE_S
            while time.monotonic() < deadline:
                if not any(self._client.run(dask_worker.interrupt, self._name, on_error="ignore").values()):
                    return
                time.sleep(0.2)


def _distributed() -> Any:
    """The package, which is untyped and slow to import."""
    return importlib.import_module("distributed")


def _reach(address: str, timeout_s: float) -> Any:
    try:
        return _distributed().Client(address, timeout=timeout_s, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ToolNotFoundError(
            f"no Dask scheduler answers at {address} within {timeout_s:g} s; start one there: dask scheduler"
        ) from error
    except ValueError as error:
        raise ConfigError(f"--scheduler {address}: {error}; expected tcp://HOST:PORT") from error


def _neighbours(workers: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Address → (first, all): number of the worker's first thread among all worker threads of its host."""
    totals: dict[str, int] = {}
    first: dict[str, tuple[str, int]] = {}
    for address, worker in sorted(workers.items()):
        first[address] = worker["host"], totals.get(worker["host"], 0)
        totals[worker["host"]] = first[address][1] + worker["nthreads"]
    return {address: (number, totals[host]) for address, (host, number) in first.items()}

"""Tasks one after another in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType

from sweeps.executors.base import EXECUTORS, ExecutorOptions, Outcome, Task, call


@EXECUTORS.register("inline")
class InlineExecutor:
    """Runs each task where it is asked for; nothing is confined, nothing is retried."""

    workers = 1

    def __init__(self, options: ExecutorOptions) -> None:
        self._options = options

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See ``Executor.run``."""
        for task in tasks:
            yield Outcome(task.key, *call(task), worker="here")

    def __enter__(self) -> InlineExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

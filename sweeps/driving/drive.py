"""The sweep itself: what the store does not hold yet goes to workers, and what comes back goes into the store."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

from encoder_bridge.console import Reporter
from encoder_bridge.errors import ConfigError
from sweeps.coding import describe
from sweeps.driving.ledger import BadInput, KnownInput
from sweeps.driving.schedule import Run
from sweeps.executors.base import Executor, Outcome, Task
from sweeps.records import RunRecord
from sweeps.store import ResultStore

GetExecutor = Callable[[], Executor]
"""Opens the executor when there is something for it to do."""
OnRecord = Callable[[Run, RunRecord], None]


@dataclass(frozen=True)
class Limit:
    """When a sweep gives up: more failures than a number, or than a share of the planned runs."""

    count: int | None = None
    share: float | None = None

    @staticmethod
    def parse(text: str) -> Limit:
        """``10`` or ``5%``. ConfigError for anything else."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text.strip())
        if match is None or (not match[2] and "." in match[1]) or (match[2] and float(match[1]) > 100):
            raise ConfigError(f"--abort-above {text!r}; expected a number of failures as 10, or a share of runs as 5%")
        return Limit(share=float(match[1]) / 100) if match[2] else Limit(count=int(match[1]))

    def exceeded(self, failures: int, planned: int) -> bool:
        """Whether there are too many failures among ``planned`` runs."""
        most = self.count if self.share is None else self.share * planned
        return most is not None and failures > most


@dataclass
class Tally:
    """What became of the runs.

    Attributes:
        planned: codec → runs of the plan.
        had: codec → runs the store held already.
        done: codec → runs made now.
        failed: key → what failed, now or earlier.
        skipped: runs that were not to be made: no stream was kept to score again.
        aborted: too many failures.
    """

    planned: dict[str, int]
    had: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    failed: dict[str, tuple[Run, RunRecord]] = field(default_factory=dict)
    skipped: int = 0
    aborted: bool = False

    def failures(self) -> Counter[str]:
        """Codec → failed runs."""
        return Counter(run.config.codec for run, _ in self.failed.values())


class Plans(Protocol):
    """Runs that are planned, each with its key."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Run]: ...

    def counts(self) -> dict[str, int]:
        """Codec → number of runs, in the order of the plan."""
        ...


class Work(Protocol):
    """What is done for each run."""

    def stands(self, run: Run, store: ResultStore) -> bool:
        """Whether what a finished run made is still there."""
        ...

    def possible(self, run: Run) -> bool:
        """Whether the run can be made at all; else it is skipped."""
        ...

    def before(self, missing: Sequence[Run]) -> list[Task]:
        """What is done first; its errors do not count, for they come again in the runs."""
        ...

    def task(self, run: Run) -> Task:
        """The run itself; returns its record."""
        ...


@dataclass
class Driver:
    """Makes the runs that are missing.

    Attributes:
        plans: all runs.
        work: what is done for each.
        store: open for writing.
        executor: see ``GetExecutor``.
        say: progress.
        limit: see ``Limit``.
        retry: failed runs are tried again.
        on_record: hears of every record as it is stored.
    """

    plans: Plans
    work: Work
    store: ResultStore
    executor: GetExecutor
    say: Reporter
    limit: Limit = Limit()
    retry: bool = False
    on_record: OnRecord = lambda run, record: None
    _running: dict[str, Run] = field(default_factory=dict)

    def run(self) -> Tally:
        """Make the missing runs; each has its record in the store before the next is looked at."""
        tally = Tally(self.plans.counts())
        missing = self._missing(tally)
        if not missing:
            return tally
        self._before(missing)
        with self.say.task("sweep", len(missing)) as advance, closing(self._records(missing)) as records:
            for run, record in records:
                self.store.append(record)
                self._count(tally, run, record)
                self.on_record(run, record)
                advance(1)
                if self.limit.exceeded(len(tally.failed), len(self.plans)):
                    tally.aborted = True
                    break
        return tally

    def _missing(self, tally: Tally) -> list[Run]:
        missing = []
        for run in self.plans:
            succeeded = self.store.ok(run.key)
            if succeeded and self.work.stands(run, self.store):
                tally.had[run.config.codec] += 1
            elif succeeded is False and not self.retry:
                record = self.store.get(run.key)
                assert record is not None
                tally.failed[run.key] = run, record
            elif not self.work.possible(run):
                tally.skipped += 1
            else:
                missing.append(run)
        return missing

    def _before(self, missing: Sequence[Run]) -> None:
        tasks = self.work.before(missing)
        if tasks:
            outcomes = outcomes_of(self.executor(), tasks)
            with self.say.task("reference labels", len(tasks)) as advance, closing(outcomes):
                for _ in outcomes:
                    advance(1)

    def _records(self, missing: Iterable[Run]) -> Generator[tuple[Run, RunRecord]]:
        readable = []
        for run in missing:
            if isinstance(run.input, BadInput):
                yield run, failure(run, run.input.error)
            else:
                readable.append(run)
        if readable:
            with closing(outcomes_of(self.executor(), self._tasks(readable))) as outcomes:
                for outcome in outcomes:
                    run = self._running.pop(outcome.key)
                    yield run, outcome.value or failure(run, outcome.error or {})

    def _tasks(self, runs: Iterable[Run]) -> Iterator[Task]:
        for run in runs:
            self._running[run.key] = run
            yield self.work.task(run)

    def _count(self, tally: Tally, run: Run, record: RunRecord) -> None:
        if record.status == "ok":
            tally.done[run.config.codec] += 1
            return
        tally.failed[run.key] = run, record
        assert record.error is not None
        what = f"{run.input.file.name}: {describe(run.config)}"
        self.say.warn(f"{what}: {record.error['type']}: {record.error['message']}")


def failure(run: Run, error: Mapping[str, str]) -> RunRecord:
    """The record of a failed run."""
    digest = run.input.digest if isinstance(run.input, KnownInput) else run.input.signature
    return RunRecord(
        key=run.key,
        status="error",
        error=dict(error),
        config=run.config.as_dict(),
        input={"digest": digest, "name": run.input.file.name},
    )


def outcomes_of(executor: Executor, tasks: Iterable[Task]) -> Generator[Outcome]:
    """A generator, whatever an executor returns: closing it ends what runs."""
    yield from executor.run(tasks)

"""The work of a sweep: code a point and score it, or score its kept stream again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sweeps.driving.bench import Setup
from sweeps.driving.ledger import KnownInput
from sweeps.driving.schedule import Run
from sweeps.driving.worker import KeptStream, Point, label_input, rescore_point, run_point
from sweeps.executors.base import Task
from sweeps.store import ResultStore


@dataclass(frozen=True)
class Scoring:
    """See ``drive.Work``.

    Attributes:
        setup: how runs are made.
        kept: (digest of the configuration, of the input) → stream to score again; None encodes.
    """

    setup: Setup
    kept: Mapping[tuple[str, str], KeptStream] | None = None

    def stands(self, run: Run, store: ResultStore) -> bool:
        """A record is all there is to a run."""
        return True

    def possible(self, run: Run) -> bool:
        """Only a kept stream can be scored again."""
        return self.kept is None or self._kept(run) is not None

    def before(self, missing: Sequence[Run]) -> list[Task]:
        """Reference labels, so that no two workers make the same ones."""
        wanted = {
            (item.digest, gray): item
            for run in missing
            if isinstance(item := run.input, KnownInput)
            for gray in [run.config.gray or item.gray]
        }
        return [
            self._task(f"labels {digest} {gray}", label_input, item, gray) for (digest, gray), item in wanted.items()
        ]

    def task(self, run: Run) -> Task:
        """Code and score, or score alone."""
        assert isinstance(run.input, KnownInput)
        point, kept = Point(run.key, run.input, run.config), self._kept(run)
        if kept is None:
            return self._task(run.key, run_point, point)
        return self._task(run.key, rescore_point, point, kept)

    def _kept(self, run: Run) -> KeptStream | None:
        if self.kept is None or not isinstance(run.input, KnownInput):
            return None
        return self.kept.get((run.config.digest(), run.input.digest))

    def _task(self, key: str, call: Callable[..., object], *args: object) -> Task:
        return Task(key, call, (self.setup, *args), gpu=self.setup.device == "cuda")

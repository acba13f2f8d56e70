"""A whole study: pictures coded and labelled, blocks drawn, everything measured, correlated and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from encoder_bridge.atomic import replacing
from encoder_bridge.console import Reporter
from encoder_bridge.errors import ConfigError
from sweeps.study.coded import CodedPictures, Judge
from sweeps.study.measures import Measure
from sweeps.study.plan import label
from sweeps.study.samples import Answers, Sample, reference_labels
from sweeps.study.scores import Scorer
from sweeps.study.table import Bootstrap, Row, rows_of, write_table

SIDES = (32, 64, 128)
BLOCKS = 4096


@dataclass(frozen=True)
class Request:
    """What is asked of a study.

    Attributes:
        sides: of blocks; count: of each.
        against: reference of the accuracy, see ``Answers``.
        image_step: take every n-th picture whole; 0 for none.
        bootstrap: how intervals are made.
        seed: of the draws of blocks.
    """

    sides: tuple[int, ...] = SIDES
    count: int = BLOCKS
    against: str = "pseudo"
    image_step: int = 1
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    seed: int = 0

    def check(self, size: tuple[int, int]) -> None:
        """ConfigError where pictures (H, W) have no such blocks."""
        if not self.sides and not self.image_step:
            raise ConfigError("neither blocks nor whole pictures; give --side, or leave --image-step alone")
        if self.sides and max(self.sides) > min(size):
            raise ConfigError(
                f"blocks of {max(self.sides)} in pictures of {size[1]}x{size[0]}; expected at most {min(size)}"
            )
        if self.sides and min(self.sides) < 4:
            raise ConfigError(f"blocks of {min(self.sides)}; expected at least 4, for ten ranges of accuracy")


@dataclass(frozen=True)
class Study:
    """What came out.

    Attributes:
        answers: of every network.
        samples: every network at every level, whole pictures first.
        rows: the table.
    """

    answers: tuple[Answers, ...]
    samples: tuple[Sample, ...]
    rows: tuple[Row, ...]

    def sample(self, network: str, side: int) -> Sample:
        """One network at one level."""
        return next(s for s in self.samples if (s.network, s.side) == (network, side))


def run_study(
    made: CodedPictures, judges: Sequence[Judge], measures: Sequence[Measure], request: Request, folder: Path
) -> Study:
    """Carry out a study; what is in ``folder`` already is not made again.

    Raises ConfigError for a request that makes no sense, and what encoders, networks and measures raise.
    """
    reporter = made.coder.reporter
    request.check((made.source.format.height, made.source.format.width))
    reference_labels(made, request.against)
    made.check(judges)
    _check_together(request.bootstrap.together, len(made.originals()))
    made.make(judges)
    answers = tuple(Answers(made, judge, request.against) for judge in judges)
    samples = tuple(sample for answer in answers for sample in _samples(answer, request, reporter))
    Scorer(made, folder / "scores").fill(samples, measures)
    rows: list[Row] = []
    with reporter.task("correlate", len(samples)) as advance:
        for sample in samples:
            rows += rows_of(sample, measures, request.bootstrap)
            _keep(sample, made, folder)
            advance(1)
    write_table(rows, about(made, judges, request, samples), folder / "table.json")
    return Study(answers, samples, tuple(rows))


def _check_together(together: int, pictures: int) -> None:
    if together > pictures:
        raise ConfigError(f"{together} pictures drawn together of {pictures}; expected at most as many as there are")


def about(made: CodedPictures, judges: Sequence[Judge], request: Request, samples: Sequence[Sample]) -> dict[str, Any]:
    """What the study was, for records."""
    drawn = [{"network": s.network, "level": s.level, "accuracy_bins": s.bins()} for s in samples]
    return {
        "pictures": len(made.originals()),
        "configurations": [label(config) for config in made.configs],
        "networks": [judge.name for judge in judges],
        "against": request.against,
        "unlabelled_excluded": made.truth is not None,
        "blocks": request.count,
        "image_step": request.image_step,
        "bootstrap": vars(request.bootstrap),
        "seed": request.seed,
        "samples": drawn,
    }


def _samples(answers: Answers, request: Request, reporter: Reporter) -> list[Sample]:
    found = [answers.image_sample(request.image_step)] if request.image_step else []
    with reporter.task(f"draw blocks for {answers.judge.name}", len(request.sides)) as advance:
        for side in request.sides:
            sample = answers.block_sample(side, request.count, request.seed)
            empty = sample.bins().count(0)
            if empty:
                where = f"{answers.judge.name}, {side}x{side}"
                reporter.warn(f"{where}: {empty} of 10 ranges of accuracy have no block; code more coarsely")
            found.append(sample)
            advance(1)
    return found


def _keep(sample: Sample, made: CodedPictures, folder: Path) -> None:
    """``values-NETWORK-LEVEL.npz``: every pair with all its values, for other statistics than ours."""
    place = {"x": [b.x for b in sample.blocks], "y": [b.y for b in sample.blocks]} if sample.blocks else {}
    columns: dict[str, Any] = {
        "accuracy": sample.accuracy,
        "picture": sample.picture,
        "configuration": np.array([label(made.configs[index]) for index in sample.configuration]),
        **place,
        **{f"metric {name}": values for name, values in sample.values.items()},
    }
    with replacing(folder / f"values-{sample.network}-{sample.level}.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **columns)

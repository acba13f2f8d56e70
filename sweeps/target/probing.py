"""Operating points as real encodes: coded, decoded and scored once, then kept in a store."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from encoder_bridge.config import CodingConfig
from encoder_bridge.encoder import quality_of
from encoder_bridge.errors import ConfigError
from encoder_bridge.frames import FrameSource
from models.task_model import TaskModel
from rdo_metrics.accuracy import ACCURACY_METRICS
from sweeps.anchors.runs import kept_or_made
from sweeps.coding import Coder
from sweeps.records import RunRecord, unpack_confusion
from sweeps.run_one import Job, job_key, run_one
from sweeps.store import ResultStore
from sweeps.target.curves import Point
from sweeps.target.priors import prior_of
from sweeps.target.search import Goal, Probe, Search

TargetMetric = Literal["agreement", "miou"]
METRICS: tuple[str, ...] = get_args(TargetMetric)
SCALES = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
"""Seed 001, Section III."""
FIELDS = {"agreement": "agreement", "miou": "miou_pseudo"}
"""Accuracy → its name in a record."""


@dataclass(frozen=True)
class Space:
    """What may be chosen.

    Attributes:
        templates: RDO mode → configuration with everything else that does not change.
        scales: resolution factors.
    """

    templates: Mapping[str, CodingConfig]
    scales: Sequence[float]

    @property
    def codec(self) -> str:
        """Name of the one codec."""
        return next(iter(self.templates.values())).codec

    @property
    def gop(self) -> str:
        """The one picture structure."""
        return next(iter(self.templates.values())).gop

    def points(self) -> list[Point]:
        """Every operating point: each mode, scale and whole quality value. ConfigError for a scale outside (0, 1]."""
        quality = quality_of(self.codec)
        by_qp = {quality.to_qp(value): value for value in range(quality.low, quality.high + 1)}
        for scale in self.scales:
            if not 0 < scale <= 1:
                raise ConfigError(f"scale {scale:g}; expected 0 < scale <= 1")
        return [
            Point(mode, scale, value, qp)
            for mode in self.templates
            for scale in dict.fromkeys(self.scales)
            for qp, value in sorted(by_qp.items())
        ]

    def config(self, point: Point) -> CodingConfig:
        """How a point is coded."""
        return dataclasses.replace(
            self.templates[point.rdo], scale=point.scale, qp=point.quality, crf=None, bitrate=None
        )


@dataclass(frozen=True)
class Prober:
    """Measures points of one video or shot.

    Attributes:
        source: the video.
        name: what to call it in records.
        space: what points mean.
        network: whose opinion is the accuracy.
        metric: which accuracy.
        coder, store: where streams and records are kept; what is there is not made again.
    """

    source: FrameSource
    name: str
    space: Space
    network: TaskModel
    metric: str
    coder: Coder
    store: ResultStore

    def search(self, goal: Goal) -> Search:
        """A search that has tried nothing yet."""
        return Search(self.space.points(), goal, self.metric, prior_of(self.space.codec, self.space.gop))

    def measure(self, point: Point) -> Probe:
        """Encode, decode with libav, score. Raises what any of these steps raises."""
        record = self.record(point)
        accuracy = record.scores[self.network.name][FIELDS[self.metric]]
        assert accuracy is not None
        return Probe(point, record.bpp, accuracy)

    def record(self, point: Point) -> RunRecord:
        """All that is known of a point, kept or made now."""
        job = Job(self.source, self.name, self.space.config(point), [self.network])
        return kept_or_made(self.store, job_key(job, self.coder), lambda: run_one(job, self.coder))


def accuracy_of(probers: Sequence[Prober], points: Sequence[Point]) -> float:
    """Accuracy over all shots together, each at its point, 0–1, higher is better; from what the store holds."""
    name, metric = probers[0].network.name, probers[0].metric
    records = [prober.record(point) for prober, point in zip(probers, points, strict=True)]
    counts = sum(unpack_confusion(r.confusion[name]["pseudo"]).sum(axis=0, dtype=np.int64) for r in records)
    return ACCURACY_METRICS.get(metric).compute(np.asarray(counts))

"""BD-rates of test arms over the anchor, with bootstrap intervals, from run records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import CurveError
from rdo_metrics.accuracy import ACCURACY_METRICS
from rdo_metrics.bootstrap import BDInterval, bootstrap_bd_rate
from rdo_metrics.curve import Method
from rdo_metrics.resampling import Aggregate
from sweeps.records import RunRecord, unpack_confusion

METHOD: Method = "pchip"
PSNR_NETWORK = "(psnr)"
_VIDEO_BLOCK = 8
_MEASURES = {"agreement": ("agreement", "pseudo"), "miou_pseudo": ("miou", "pseudo"), "miou_labels": ("miou", "labels")}

Points = list[tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True)
class BDRow:
    """One BD-rate.

    Attributes:
        arm, anchor: which curves.
        network: judge, or "(psnr)".
        metric: agreement, miou_pseudo, miou_labels or psnr_y.
        outcome: value with interval; None where it is undefined, with the reason.
    """

    arm: str
    anchor: str
    network: str
    metric: str
    outcome: BDInterval | None
    reason: str = ""

    def event(self) -> dict[str, Any]:
        """Fields of the ``bd_rate`` event (design §7); value in percent, negative is better."""
        base = {"anchor": self.anchor, "arm": self.arm, "network": self.network, "metric": self.metric}
        if self.outcome is None:
            return {**base, "value": None, "ci": None, "overlap": None, "dropped": None, "reason": self.reason}
        result = self.outcome.result
        ci = None if self.outcome.interval is None else list(self.outcome.interval)
        extra = {"overlap": result.overlap, "dropped": list(result.dropped), "method": result.method}
        extra |= {"fitted": list(result.fitted)} if any(result.fitted) else {}
        return {**base, "value": result.value_percent, "ci": ci, **extra, "reason": self.outcome.reason}


def bd_rows(
    arms: Mapping[str, Sequence[RunRecord]], anchor: str, n: int = 1000, method: Method = METHOD
) -> list[BDRow]:
    """BD-rates of every arm but the anchor, for each network and measure, and luma PSNR last."""
    rows = []
    for arm, records in arms.items():
        if arm != anchor:
            rows += [
                _row(arm, anchor, network, metric, points, n, method)
                for network, metric, points in _curves(arms[anchor], records)
            ]
    return rows


def _curves(anchor: Sequence[RunRecord], test: Sequence[RunRecord]) -> Iterator[tuple[str, str, tuple[Points, Points]]]:
    for network in test[0].confusion:
        for metric, (_, kind) in _MEASURES.items():
            if kind in test[0].confusion[network]:
                yield network, metric, (points_of(anchor, network, metric), points_of(test, network, metric))
    yield PSNR_NETWORK, "psnr_y", (points_of(anchor, PSNR_NETWORK, "psnr_y"), points_of(test, PSNR_NETWORK, "psnr_y"))


def _row(
    arm: str, anchor: str, network: str, metric: str, points: tuple[Points, Points], n: int, method: Method
) -> BDRow:
    frames = len(points[0][0][0])
    try:
        outcome = bootstrap_bd_rate(*points, aggregate_of(metric), method=method, n=n, block=draw_block(frames), seed=0)
    except CurveError as error:
        return BDRow(arm, anchor, network, metric, None, str(error))
    return BDRow(arm, anchor, network, metric, outcome)


def draw_block(frames: int) -> int:
    """Frames of a video that the bootstrap draws together: neighbours are alike, but few frames need single draws."""
    return _VIDEO_BLOCK if frames >= 4 * _VIDEO_BLOCK else 1


def aggregate_of(metric: str) -> Aggregate:
    """Turns the sum of ``points_of`` statistics over frames into agreement, miou_pseudo, miou_labels or psnr_y."""
    if metric == "psnr_y":
        # Sums of (MSE relative to the peak, 1): the ratio is the sequence's mean squared error.
        return lambda total: float(-10 * np.log10(max(total[0] / total[1], 1e-12)))
    return ACCURACY_METRICS.get(_MEASURES[metric][0])


def points_of(records: Sequence[RunRecord], network: str, metric: str) -> Points:
    """Per record, bits (F,) and the additive statistics (F, …) of a measure; ``network`` is ignored for psnr_y."""
    if metric == "psnr_y":
        return _psnr_points(records)
    kind = kind_of(metric)
    return [(np.asarray(r.frame_bits), unpack_confusion(r.confusion[network][kind])) for r in records]


def kind_of(metric: str) -> str:
    """ "pseudo" or "labels": what a measure compares a network's answer with."""
    return _MEASURES[metric][1]


def _psnr_points(records: Sequence[RunRecord]) -> Points:
    points = []
    for record in records:
        error = 10 ** (-np.asarray(record.frame_psnr) / 10)
        points.append((np.asarray(record.frame_bits), np.stack([error, np.ones_like(error)], axis=1)))
    return points

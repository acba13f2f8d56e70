"""Frames drawn anew: the bootstrap of anything computed from rate-accuracy curves (Efron & Tibshirani 1993).

A task's accuracy is often not a mean over frames (mIoU comes from the summed confusion matrix), so frames are drawn
anew and their statistics summed again; one draw serves every arm and every operating point, because the arms are
compared on the same pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import CurveError
from rdo_metrics.accuracy import one_by_one
from rdo_metrics.curve import RDCurve

PointStats = tuple[NDArray[Any], NDArray[Any]]
"""One operating point: bits (F,), and the frames' additive statistics (F, …), e.g. confusion matrices (F, C, C)."""


@runtime_checkable
class Aggregates(Protocol):
    """Turns many sums of statistics into metrics at once; an ``AccuracyMetric`` is one."""

    def each(self, totals: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Sums of N draws (N, …) → (N,) metrics, NaN where there is nothing to measure."""
        ...


Aggregate = Callable[[NDArray[np.float64]], float] | Aggregates
"""Statistics summed over frames (…) → metric; raises MetricInputError where there is nothing to measure."""


@dataclass(frozen=True)
class Estimate:
    """A number with its bootstrap interval.

    Attributes:
        value: of all frames.
        interval: (low, high) at ``level``; None where too many draws leave the number undefined.
        reason: why there is no interval, else "".
        undefined: draws in which the number is undefined; they are left out of the interval, which is then optimistic.
        n, level, block: as asked for.
    """

    value: float
    interval: tuple[float, float] | None
    reason: str
    undefined: int
    n: int
    level: float
    block: int


@dataclass(frozen=True)
class ResampledCurve:
    """One arm's curve: of all frames, and of each draw (None where a draw has nothing to measure)."""

    full: RDCurve
    draws: tuple[RDCurve | None, ...]


class FrameBootstrap:
    """One set of draws over a clip's frames, shared by every curve computed from it.

    Args:
        frames: F, the number of frames.
        n: draws. seed: of the draws. level: coverage in (0, 1) of the percentile interval.
        block: frames drawn together (circular blocks); above 1 for video, whose neighbours are not independent.
        max_undefined: share of draws without the number above which no interval is given.

    Raises CurveError for values outside these ranges.
    """

    def __init__(
        self,
        frames: int,
        *,
        n: int = 1000,
        seed: int = 0,
        level: float = 0.9,
        block: int = 1,
        max_undefined: float = 0.2,
    ) -> None:
        if n < 1 or not 0 < level < 1 or not 1 <= block <= frames:
            raise CurveError(
                f"bootstrap of n={n}, level={level:g}, block={block}; "
                f"expected n ≥ 1, 0 < level < 1, 1 ≤ block ≤ {frames}"
            )
        self.frames, self.n, self.level, self.block = frames, n, level, block
        self.max_undefined = max_undefined
        self._counts = _draw_counts(frames, n, seed, block)

    def curve(
        self, arm: Sequence[PointStats], aggregate: Aggregate, *, higher_better: bool = True, label: str = "curve"
    ) -> ResampledCurve:
        """The curve of an arm, of all frames and of each draw.

        Args:
            arm: per operating point, (bits (F,), statistics (F, …)).
            aggregate: turns the sum of statistics over frames into the metric. For a mean of per-frame values, divide
                the sum by F, or carry a count beside it.
            higher_better, label: as ``RDCurve``.

        Raises CurveError where the arm has no points, other frames, or no metric over all frames.
        """
        points = _checked(arm, label)
        counts = {len(bits) for bits, _ in points}
        if counts != {self.frames}:
            raise CurveError(f"{label}: frames per operating point {sorted(counts)}; expected {self.frames}")
        rates, metrics = _resampled(points, np.ones((1, self.frames)), aggregate)
        full = RDCurve(rates[0], metrics[0], higher_better, label)
        drawn = zip(*_resampled(points, self._counts, aggregate), strict=True)
        return ResampledCurve(full, tuple(_try_curve(r, m, higher_better, label) for r, m in drawn))

    def estimate(self, statistic: Callable[..., float], *arms: ResampledCurve) -> Estimate:
        """A number of one or several curves, with its interval.

        Args:
            statistic: takes as many ``RDCurve`` as there are arms; raises CurveError where it is undefined.
            arms: from ``curve``.

        Raises CurveError where the number of all frames is undefined.
        """
        value = statistic(*(arm.full for arm in arms))
        drawn = [v for curves in zip(*(arm.draws for arm in arms), strict=True) if (v := _try(statistic, curves))]
        values = [v[0] for v in drawn]
        interval, reason = self._interval(values)
        return Estimate(value, interval, reason, self.n - len(values), self.n, self.level, self.block)

    def _interval(self, drawn: list[float]) -> tuple[tuple[float, float] | None, str]:
        undefined = self.n - len(drawn)
        if undefined > self.max_undefined * self.n or not drawn:
            allowed = f"at most {100 * self.max_undefined:g} % allowed"
            return None, f"undefined in {undefined} of {self.n} resamples ({allowed})"
        low, high = np.quantile(drawn, [(1 - self.level) / 2, (1 + self.level) / 2])
        return (float(low), float(high)), ""


def common_frames(arms: Sequence[Sequence[PointStats]]) -> int:
    """Number of frames that all operating points of all arms share, or CurveError."""
    points = [point for i, arm in enumerate(arms) for point in _checked(arm, f"arm {i}")]
    counts = {len(bits) for bits, _ in points}
    if len(counts) != 1 or 0 in counts:
        raise CurveError(f"frames per operating point {sorted(counts)}; expected the same frames in both arms")
    return counts.pop()


def _checked(arm: Sequence[PointStats], label: str) -> list[PointStats]:
    if not arm:
        raise CurveError(f"{label}: no operating points")
    points = []
    for index, (bits, stats) in enumerate(arm):
        b, s = np.asarray(bits, dtype=np.float64), np.asarray(stats, dtype=np.float64)
        if b.ndim != 1 or s.ndim < 1 or len(b) != len(s):
            raise CurveError(
                f"{label} point {index}: bits {b.shape} and statistics {s.shape}; expected (F,) and (F, …)"
            )
        points.append((b, s))
    return points


def _draw_counts(frames: int, n: int, seed: int, block: int) -> NDArray[np.float64]:
    """(n, F): how often each frame is in each draw; every draw has exactly F frames."""
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, frames, size=(n, -(-frames // block)))
    chosen = ((starts[:, :, None] + np.arange(block)) % frames).reshape(n, -1)[:, :frames]
    flat = chosen + frames * np.arange(n)[:, None]
    return np.bincount(flat.ravel(), minlength=n * frames).reshape(n, frames).astype(np.float64)


def _resampled(
    arm: list[PointStats], counts: NDArray[np.float64], aggregate: Aggregate
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rates and metrics of each draw, both (n, points)."""
    rates = np.stack([counts @ bits for bits, _ in arm], axis=1)
    metrics = np.empty_like(rates)
    for j, (_, stats) in enumerate(arm):
        sums = (counts @ stats.reshape(len(stats), -1)).reshape(len(counts), *stats.shape[1:])
        metrics[:, j] = _values(aggregate, sums)
    return rates, metrics


def _values(aggregate: Aggregate, totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """The metric of each draw, NaN (an undefined draw) where the drawn frames hold nothing to measure."""
    if isinstance(aggregate, Aggregates):
        return aggregate.each(totals)
    return one_by_one(aggregate, totals)


def _try_curve(rates: Any, metrics: Any, higher_better: bool, label: str) -> RDCurve | None:
    try:
        return RDCurve(rates, metrics, higher_better, label)
    except CurveError:
        return None


def _try(statistic: Callable[..., float], curves: Sequence[RDCurve | None]) -> tuple[float] | None:
    """The number in a tuple, so that 0 is not mistaken for none."""
    if any(curve is None for curve in curves):
        return None
    try:
        return (statistic(*curves),)
    except CurveError:
        return None

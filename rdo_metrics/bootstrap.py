"""Confidence intervals of BD-rates: the bootstrap over frames (Efron & Tibshirani 1993, percentile interval).

A task's accuracy is often not a mean over frames (mIoU comes from the summed confusion matrix), so frames are drawn
anew and their statistics summed again; one draw serves both arms and every operating point, because the arms are
compared on the same pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import CurveError, MetricInputError
from rdo_metrics.bd_rate import BDResult, bd_rate
from rdo_metrics.curve import Method, RDCurve

PointStats = tuple[NDArray[Any], NDArray[Any]]
"""One operating point: bits (F,), and the frames' additive statistics (F, …), e.g. confusion matrices (F, C, C)."""
Aggregate = Callable[[NDArray[np.float64]], float]
"""Statistics summed over frames (…) → metric."""


@dataclass(frozen=True)
class BDInterval:
    """A BD-rate with its bootstrap interval.

    Attributes:
        result: BD-rate of all frames.
        interval: (low, high) in percent at ``level``; None where too many draws have no BD-rate.
        reason: why there is no interval, else "".
        undefined: draws without a BD-rate; they are left out of the interval, which is then optimistic.
        n, level, block: as asked for.
    """

    result: BDResult
    interval: tuple[float, float] | None
    reason: str
    undefined: int
    n: int
    level: float
    block: int


def bootstrap_bd_rate(
    anchor: Sequence[PointStats],
    test: Sequence[PointStats],
    aggregate: Aggregate,
    *,
    method: Method,
    higher_better: bool = True,
    min_overlap: float = 0.5,
    saturating: bool = False,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.9,
    block: int = 1,
    max_undefined: float = 0.2,
) -> BDInterval:
    """BD-rate of test over anchor with a percentile interval over resampled frames.

    Args:
        anchor, test: per operating point, (bits (F,), statistics (F, …)); the same F frames everywhere.
        aggregate: turns the sum of statistics over frames into the metric. For a mean of per-frame values, divide the
            sum by F, or carry a count beside it.
        method, higher_better, min_overlap, saturating: as ``bd_rate``.
        n: draws. seed: of the draws. level: coverage in (0, 1).
        block: frames drawn together (circular blocks); above 1 for video, whose neighbours are not independent.
        max_undefined: share of draws without a BD-rate above which no interval is given.

    Raises CurveError where the BD-rate of all frames is undefined, or the inputs do not fit together.
    """
    arms = (_checked(anchor, "anchor"), _checked(test, "test"))
    frames = _common_frames(arms, n, level, block)
    options = {"method": method, "min_overlap": min_overlap, "saturating": saturating}

    def values(counts: NDArray[np.float64]) -> list[BDResult | None]:
        (ra, ma), (rt, mt) = (_resampled(arm, counts, aggregate) for arm in arms)
        return [_try_bd(ra[i], ma[i], rt[i], mt[i], higher_better, options) for i in range(len(counts))]

    everything = [_resampled(arm, np.ones((1, frames)), aggregate) for arm in arms]
    curves = [RDCurve(r[0], m[0], higher_better, k) for (r, m), k in zip(everything, ("anchor", "test"), strict=True)]
    result = bd_rate(*curves, method=method, min_overlap=min_overlap, saturating=saturating)
    drawn = [r.value_percent for r in values(_draw_counts(frames, n, seed, block)) if r is not None]
    interval, reason = _interval(drawn, n, level, max_undefined)
    return BDInterval(result, interval, reason, n - len(drawn), n, level, block)


def _interval(drawn: list[float], n: int, level: float, max_undefined: float) -> tuple[tuple[float, float] | None, str]:
    undefined = n - len(drawn)
    if undefined > max_undefined * n or not drawn:
        return None, f"BD-rate undefined in {undefined} of {n} resamples (at most {max_undefined:.0%} allowed)"
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return (float(low), float(high)), ""


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
        metrics[:, j] = [_value(aggregate, total) for total in sums]
    return rates, metrics


def _value(aggregate: Aggregate, total: NDArray[np.float64]) -> float:
    """The metric, or NaN (an undefined draw) where the drawn frames hold nothing to measure."""
    try:
        return aggregate(total)
    except MetricInputError:
        return math.nan


def _try_bd(ra: Any, ma: Any, rt: Any, mt: Any, higher_better: bool, options: dict[str, Any]) -> BDResult | None:
    try:
        return bd_rate(RDCurve(ra, ma, higher_better), RDCurve(rt, mt, higher_better), **options)
    except CurveError:
        return None


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


def _common_frames(arms: tuple[list[PointStats], ...], n: int, level: float, block: int) -> int:
    counts = {len(bits) for arm in arms for bits, _ in arm}
    if len(counts) != 1 or 0 in counts:
        raise CurveError(f"frames per operating point {sorted(counts)}; expected the same frames in both arms")
    frames = counts.pop()
    if n < 1 or not 0 < level < 1 or not 1 <= block <= frames:
        raise CurveError(
            f"bootstrap of n={n}, level={level:g}, block={block}; expected n ≥ 1, 0 < level < 1, 1 ≤ block ≤ {frames}"
        )
    return frames

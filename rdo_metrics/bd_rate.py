"""Bjontegaard deltas over a task's accuracy (design §6): VCEG-M33, VCEG-AL22, with the curves' preconditions checked.

Every function first reduces both curves to their upper-left Pareto set (method "vcm": to a monotone fit), so unsorted,
duplicate and non-monotone points are welcome; what was dropped or fitted is part of the answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from encoder_bridge.errors import CurveError
from rdo_metrics.curve import (
    FloatArray,
    Interpolant,
    Method,
    RDCurve,
    check_method,
    check_points,
    interpolant,
    mean_curve,
    prepared,
)


@dataclass(frozen=True)
class BDResult:
    """Average difference in rate at equal metric.

    Attributes:
        value_percent: rate of test over anchor, in percent; negative: test needs fewer bits (better).
        overlap: shared metric interval over the interval both curves span together, 0–1, on the axis integrated over.
        dropped: points left out as dominated, (anchor, test).
        method: interpolation.
        low, high: the metric interval averaged over, in the metric's own unit.
        fitted: whether (anchor, test) went through a monotone fit instead of their points; method "vcm" alone does.
    """

    value_percent: float
    overlap: float
    dropped: tuple[int, int]
    method: str
    low: float
    high: float
    fitted: tuple[bool, bool] = (False, False)


@dataclass(frozen=True)
class BDQuality:
    """Average difference in metric at equal rate.

    Attributes:
        value: metric of test minus anchor, in the metric's unit; better in the metric's own direction.
        overlap: shared interval of log-rate over the interval both span together, 0–1.
        dropped, method, fitted: as ``BDResult``.
        low, high: the rate interval averaged over, in the rates' unit.
    """

    value: float
    overlap: float
    dropped: tuple[int, int]
    method: str
    low: float
    high: float
    fitted: tuple[bool, bool] = (False, False)


@dataclass(frozen=True)
class MeanBD:
    """BD-rates of several sequences and of their mean curve; the two answer different questions, so both are given.

    Attributes:
        mean_percent: arithmetic mean over the sequences where a BD-rate is defined.
        per_sequence: the defined ones by sequence.
        undefined: why, for the rest.
        of_mean_curve: BD-rate of the point-wise mean curves; None where that is undefined.
        mean_curve_reason: why it is None, else "".
    """

    mean_percent: float
    per_sequence: dict[str, BDResult]
    undefined: dict[str, str]
    of_mean_curve: BDResult | None
    mean_curve_reason: str = ""


def bd_rate(
    anchor: RDCurve, test: RDCurve, *, method: Method, min_overlap: float = 0.5, saturating: bool = False
) -> BDResult:
    """Bjontegaard delta rate: mean of log(rate) of test minus anchor over the shared metric interval, in percent.

    Args:
        anchor, test: the two arms, same metric and rate unit.
        method: "pchip", "akima", "cubic" or "vcm" (``rdo_metrics.curve.prepared``); no default: the answers differ.
        min_overlap: smallest overlap (``BDResult.overlap``) for which a number is given.
        saturating: integrate over −log(1−m) instead of m, for accuracies in [0, 1) near their ceiling.

    Returns:
        BDResult; lower is better.

    Raises CurveError: unknown method, too few Pareto points, overlap below ``min_overlap`` ("undefined"), arms of
    opposite direction, or a saturating metric outside [0, 1). A metric of exactly 1 has no place on that axis and is
    refused rather than clipped, because the clip value would decide the result.
    """
    _check_arms(anchor, test, method, min_overlap)
    a, t = (_side(curve, method, "saturating" if saturating else "metric") for curve in (anchor, test))
    delta, low, high, overlap = _average_difference(a, t, min_overlap, "metric")
    ends = sorted(_metric(g, anchor.higher_better, saturating) for g in (low, high))
    dropped, fitted = (a.dropped, t.dropped), (a.fitted, t.fitted)
    return BDResult(100.0 * math.expm1(delta), overlap, dropped, method, ends[0], ends[1], fitted)


def bd_quality(anchor: RDCurve, test: RDCurve, *, method: Method, min_overlap: float = 0.5) -> BDQuality:
    """Bjontegaard delta of the metric (BD-PSNR, BD-accuracy): mean metric of test minus anchor over shared log-rate.

    Args and errors as ``bd_rate``. Returns BDQuality, in the metric's unit and direction.
    """
    _check_arms(anchor, test, method, min_overlap)
    a, t = _side(anchor, method, "rate"), _side(test, method, "rate")
    delta, low, high, overlap = _average_difference(a, t, min_overlap, "rate")
    value = delta if anchor.higher_better else -delta
    dropped, fitted = (a.dropped, t.dropped), (a.fitted, t.fitted)
    return BDQuality(value, overlap, dropped, method, math.exp(low), math.exp(high), fitted)


def mean_bd_rate(
    sequences: Mapping[str, tuple[RDCurve, RDCurve]],
    *,
    method: Method,
    min_overlap: float = 0.5,
    saturating: bool = False,
) -> MeanBD:
    """Mean of per-sequence BD-rates beside the BD-rate of the mean curve.

    Args:
        sequences: name → (anchor, test); point i of each curve is the same operating point in every sequence.
        method, min_overlap, saturating: as ``bd_rate``.

    Raises CurveError where no sequence has a defined BD-rate.
    """
    defined: dict[str, BDResult] = {}
    undefined: dict[str, str] = {}
    for name, (anchor, test) in sequences.items():
        try:
            defined[name] = bd_rate(anchor, test, method=method, min_overlap=min_overlap, saturating=saturating)
        except CurveError as error:
            undefined[name] = str(error)
    if not defined:
        raise CurveError("BD-rate undefined for every sequence: " + ("; ".join(undefined.values()) or "none given"))
    mean = float(np.mean([r.value_percent for r in defined.values()]))
    return MeanBD(mean, defined, undefined, *_of_mean_curve(sequences, method, min_overlap, saturating))


def _of_mean_curve(
    sequences: Mapping[str, tuple[RDCurve, RDCurve]], method: Method, min_overlap: float, saturating: bool
) -> tuple[BDResult | None, str]:
    try:
        anchor = mean_curve([pair[0] for pair in sequences.values()], "mean anchor")
        test = mean_curve([pair[1] for pair in sequences.values()], "mean test")
        return bd_rate(anchor, test, method=method, min_overlap=min_overlap, saturating=saturating), ""
    except CurveError as error:
        return None, str(error)


@dataclass(frozen=True)
class _Side:
    """A curve as it is integrated: over x, which is the metric's gain, its saturating form, or log-rate."""

    label: str
    x: FloatArray
    line: Interpolant
    dropped: int
    fitted: bool


def _side(curve: RDCurve, method: str, axis: str) -> _Side:
    """Kept with the curve: in a matrix of BD-rates, and in every resample of one, a curve meets many others."""
    key = (method, axis)
    if key not in curve.kept:
        rates, gains, fitted = prepared(curve, method)
        x, y = (np.log(rates), gains) if axis == "rate" else (gains, np.log(rates))
        x = _saturating(curve, gains) if axis == "saturating" else x
        check_points(x.size, method, curve.label)
        dropped = curve.rates.size - rates.size
        curve.kept[key] = _Side(curve.label, x, interpolant(x, y, method), dropped, fitted)
    side: _Side = curve.kept[key]
    return side


def _average_difference(a: _Side, t: _Side, min_overlap: float, axis: str) -> tuple[float, float, float, float]:
    """Mean of test − anchor over the shared x interval: (mean, low, high, overlap)."""
    low, high = max(a.x[0], t.x[0]), min(a.x[-1], t.x[-1])
    overlap = max(high - low, 0.0) / (max(a.x[-1], t.x[-1]) - min(a.x[0], t.x[0]))
    if overlap < min_overlap or overlap <= 0:
        raise CurveError(
            f"undefined: {a.label} and {t.label} share {100 * overlap:.1f} % of their {axis} range "
            f"(at least {100 * min_overlap:g} % needed): choose QPs whose {axis}s meet"
        )
    area = [side.line.integrate(low, high) for side in (a, t)]
    return float(area[1] - area[0]) / float(high - low), float(low), float(high), float(overlap)


def _saturating(curve: RDCurve, gains: FloatArray) -> FloatArray:
    if not curve.higher_better:
        raise CurveError(f"{curve.label}: the saturating axis is for accuracies, where higher is better")
    _expect_fraction(curve.metrics, f"{curve.label}: metric")
    _expect_fraction(gains, f"{curve.label}: fitted metric")
    return np.asarray(-np.log1p(-gains))


def _expect_fraction(values: FloatArray, what: str) -> None:
    outside = (values < 0) | (values >= 1)
    if outside.any():
        raise CurveError(f"{what} {values[outside][0]:g}; the saturating axis is for [0, 1)")


def _metric(gain: float, higher_better: bool, saturating: bool) -> float:
    value = -math.expm1(-gain) if saturating else gain
    return value if higher_better else -value


def _check_arms(anchor: RDCurve, test: RDCurve, method: str, min_overlap: float) -> None:
    check_method(method)
    if anchor.higher_better != test.higher_better:
        raise CurveError(f"{anchor.label} and {test.label} disagree on whether higher is better")
    if not 0 <= min_overlap <= 1:
        raise CurveError(f"smallest overlap {min_overlap:g}; expected a fraction in 0–1")

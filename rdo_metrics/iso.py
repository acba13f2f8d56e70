"""Rate at equal accuracy, accuracy at equal rate: read off the curve between its points, never beyond them."""

from __future__ import annotations

import math

import numpy as np

from encoder_bridge.errors import CurveError
from rdo_metrics.curve import FloatArray, Method, RDCurve, check_method, check_points, interpolant, prepared


def rate_at(curve: RDCurve, metric: float, *, method: Method) -> float:
    """Rate at which a curve reaches a metric: log-rate interpolated over the metric (as ``bd_rate`` integrates it).

    Args:
        curve: operating points.
        metric: value to reach, in the curve's unit.
        method: as ``bd_rate``.

    Returns:
        The rate in the curve's unit; lower is better.

    Raises CurveError where the metric lies outside the curve's range, or too few points are left.
    """
    rates, gains = _ready(curve, method)
    gain = metric if curve.higher_better else -metric
    if not gains[0] <= gain <= gains[-1]:
        ends = sorted(float(g if curve.higher_better else -g) for g in (gains[0], gains[-1]))
        raise CurveError(
            f"{curve.label}: no rate at {metric:g}: the metric spans {ends[0]:g} to {ends[1]:g}; "
            "choose a value inside, or add operating points"
        )
    return math.exp(float(interpolant(gains, np.log(rates), method)(gain)))


def metric_at(curve: RDCurve, rate: float, *, method: Method) -> float:
    """Metric of a curve at a rate, interpolated over log-rate (as ``bd_quality`` integrates it).

    Args and errors as ``rate_at``. Returns the metric in its own unit and direction.
    """
    rates, gains = _ready(curve, method)
    if not rates[0] <= rate <= rates[-1]:
        raise CurveError(
            f"{curve.label}: no metric at rate {rate:g}: the rates span {rates[0]:g} to {rates[-1]:g}; "
            "choose a rate inside, or add operating points"
        )
    gain = float(interpolant(np.log(rates), gains, method)(math.log(rate)))
    return gain if curve.higher_better else -gain


def iso_rate(anchor: RDCurve, test: RDCurve, metric: float, *, method: Method) -> float:
    """Rate of test over anchor at one metric, in percent; negative: test needs fewer bits (better).

    Unlike a BD-rate it holds at that accuracy alone. Args and errors as ``rate_at``, for both curves.
    """
    return 100.0 * (rate_at(test, metric, method=method) / rate_at(anchor, metric, method=method) - 1.0)


def _ready(curve: RDCurve, method: str) -> tuple[FloatArray, FloatArray]:
    check_method(method)
    rates, gains, _ = prepared(curve, method)
    check_points(rates.size, method, curve.label)
    return rates, gains

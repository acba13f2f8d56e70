"""Compression ratio at an accuracy constraint (seed 001, Table VI): the smallest stream that is still good enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from encoder_bridge.errors import CurveError
from rdo_metrics.curve import RDCurve
from rdo_metrics.hull import HullPoint


@dataclass(frozen=True)
class Compression:
    """The best achievable compression.

    Attributes:
        ratio: lossless size over the stream's size; higher is better.
        point: the operating point that achieves it.
        at_least: the constraint it meets.
    """

    ratio: float
    point: HullPoint
    at_least: float


def best_compression(curves: Mapping[str, RDCurve], lossless: float, at_least: float) -> Compression:
    """Highest compression ratio among operating points that meet a constraint; nothing is interpolated.

    Args:
        curves: name → operating points of one configuration; same measure, same unit of rate.
        lossless: size of the same pictures without loss (PNG in the paper), in the rates' unit.
        at_least: the metric a point must reach; where lower is better, the most it may be.

    Raises CurveError where no point meets the constraint ("N.A." in the paper), or ``lossless`` is no size.
    """
    if not 0 < lossless < float("inf"):
        raise CurveError(f"lossless size {lossless}; expected more than 0 bits")
    points = [
        HullPoint(name, i, float(curve.rates[i]), float(curve.metrics[i]))
        for name, curve in curves.items()
        for i in range(curve.rates.size)
        if (curve.metrics[i] >= at_least if curve.higher_better else curve.metrics[i] <= at_least)
    ]
    if not points:
        raise CurveError(f"no operating point reaches {at_least:g}: {_best(curves)}")
    cheapest = min(points, key=lambda point: point.rate)
    return Compression(lossless / cheapest.rate, cheapest, at_least)


def _best(curves: Mapping[str, RDCurve]) -> str:
    values = [(float(c.gains.max()), c) for c in curves.values()]
    if not values:
        return "there are none"
    gain, curve = max(values, key=lambda pair: pair[0])
    return f"the best is {gain if curve.higher_better else -gain:g}"

"""Hull of several rate-accuracy curves, one a resolution in seed 001 §IV-B: the best a codec does when δ is free.

Two shapes are in use. "pareto" keeps every point that no other point of any curve beats; the hull of one curve is then
its own upper-left set. "convex" keeps those of them on the upper-left convex hull of the (rate, metric) plane with a
linear rate, where even a mixture of two streams does not do better; it leaves fewer points and no dents. A "convex"
hull of few points beats the very curve it is made of, because it cuts that curve's dents too: compare it with others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import CurveError
from rdo_metrics.curve import FloatArray, RDCurve, pareto_indices
from rdo_metrics.methods import SHAPES as SHAPES
from rdo_metrics.methods import Shape as Shape


@dataclass(frozen=True)
class HullPoint:
    """One operating point of a hull.

    Attributes:
        curve: name of the curve it comes from. index: its place in that curve.
        rate, metric: as in that curve.
    """

    curve: str
    index: int
    rate: float
    metric: float


@dataclass(frozen=True)
class Hull:
    """The best of several curves.

    Attributes:
        curve: the hull as a curve, by rising rate; give it to ``bd_rate`` like any other.
        points: where each point of ``curve`` comes from, in the same order.
        shape: "pareto" or "convex".
    """

    curve: RDCurve
    points: tuple[HullPoint, ...]
    shape: str


def hull(curves: Mapping[str, RDCurve], *, shape: Shape, label: str = "hull") -> Hull:
    """Hull over curves of one measure.

    Args:
        curves: name (for example a resolution) → curve; same measure, same unit of rate.
        shape: "pareto" or "convex"; no default because BD-rates of the two differ.
        label: of the hull's curve.

    Raises CurveError: no curves, curves of opposite direction, or an unknown shape.
    """
    if shape not in SHAPES:
        raise CurveError(f"hull shape {shape!r}; expected one of {', '.join(SHAPES)}")
    if not curves:
        raise CurveError(f"{label}: no curves to take the hull of")
    if len({curve.higher_better for curve in curves.values()}) > 1:
        raise CurveError(f"{label}: curves disagree on whether higher is better")
    everything = _joined(list(curves.values()), label)
    kept = pareto_indices(everything)
    if shape == "convex":
        kept = kept[_convex(everything.rates[kept], everything.gains[kept])]
    origins = [(name, index) for name, curve in curves.items() for index in range(curve.rates.size)]
    points = tuple(HullPoint(*origins[i], *everything.points[i]) for i in kept.tolist())
    best = RDCurve(everything.rates[kept], everything.metrics[kept], everything.higher_better, label)
    return Hull(best, points, shape)


def _joined(curves: list[RDCurve], label: str) -> RDCurve:
    rates = np.concatenate([curve.rates for curve in curves])
    return RDCurve(rates, np.concatenate([curve.metrics for curve in curves]), curves[0].higher_better, label)


def _convex(x: FloatArray, y: FloatArray) -> NDArray[np.intp]:
    """Places on the upper convex hull of points with strictly increasing x and y (Andrew's monotone chain)."""
    kept: list[int] = []
    for i in range(x.size):
        while len(kept) > 1 and _turn(x, y, kept[-2], kept[-1], i) >= 0:
            kept.pop()
        kept.append(i)
    return np.asarray(kept, dtype=np.intp)


def _turn(x: FloatArray, y: FloatArray, a: int, b: int, c: int) -> float:
    """Positive where a → b → c turns left, that is where b lies below the line from a to c; 0 on the line."""
    return float((x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a]))

"""Rate-accuracy curves: validation, the upper-left Pareto set, interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

from encoder_bridge.errors import CurveError
from rdo_metrics.methods import METHODS as METHODS
from rdo_metrics.methods import Method as Method
from rdo_metrics.monotone_cubic import fit_monotone_cubic

MIN_POINTS = {"pchip": 3, "akima": 3, "cubic": 4, "vcm": 3}
"""Fewest Pareto points a method is defined on; two points make a straight line, not a curve."""

FloatArray = NDArray[np.float64]


class RDCurve:
    """One arm's operating points, in any order.

    Attributes:
        rates: (N,) float64 bits (or any unit shared by both arms), each finite and > 0; read-only.
        metrics: (N,) float64 the measure at each rate, finite; read-only.
        higher_better: direction of the measure; False for errors and distances.
        label: names the curve in messages.
        gains: the metrics, negated where lower is better.
        kept: what was computed from the curve and may be wanted again; the points never change.

    Raises CurveError on unequal lengths, no points, NaN, infinity, or a rate that is not positive.
    """

    def __init__(self, rates: ArrayLike, metrics: ArrayLike, higher_better: bool = True, label: str = "curve") -> None:
        self.rates = _vector(rates, label, "rate")
        self.metrics = _vector(metrics, label, "metric")
        self.higher_better = higher_better
        self.label = label
        self.gains = self.metrics if higher_better else -self.metrics
        self.kept: dict[tuple[str, ...], Any] = {}
        self._check()

    @property
    def points(self) -> list[tuple[float, float]]:
        """(rate, metric) pairs in the order given."""
        return list(zip(self.rates.tolist(), self.metrics.tolist(), strict=True))

    def _check(self) -> None:
        if self.rates.size != self.metrics.size:
            raise CurveError(f"{self.label}: {self.rates.size} rates and {self.metrics.size} metrics; expected as many")
        if not self.rates.size:
            raise CurveError(f"{self.label}: no points")
        for what, values in (("rate", self.rates), ("metric", self.metrics)):
            _expect_all(np.isfinite(values), values, f"{self.label}: {what}", "a finite number")
        _expect_all(self.rates > 0, self.rates, f"{self.label}: rate", "more than 0 bits")


def pareto(curve: RDCurve) -> tuple[FloatArray, FloatArray]:
    """The upper-left set: points that no other point beats at the same or a lower rate.

    Returns:
        (rates, gains), both (M,) float64 strictly increasing; gain is the metric, negated where lower is better.
    """
    kept = pareto_indices(curve)
    return curve.rates[kept], curve.gains[kept]


def pareto_indices(curve: RDCurve) -> NDArray[np.intp]:
    """Places of the ``pareto`` points in the curve, by rising rate; of equal points the first."""
    return _rising(curve.rates, curve.gains)


def _rising(rates: FloatArray, gains: FloatArray) -> NDArray[np.intp]:
    order = np.lexsort((-gains, rates))
    sorted_gains = gains[order]
    keep = np.ones(gains.size, dtype=bool)
    keep[1:] = sorted_gains[1:] > np.maximum.accumulate(sorted_gains)[:-1]
    return order[keep]


def prepared(curve: RDCurve, method: str) -> tuple[FloatArray, FloatArray, bool]:
    """The points a method interpolates: (rates, gains, fitted), rates and gains strictly increasing.

    They are the ``pareto`` points, but method "vcm" leaves none out: where a gain does not rise with the rate, the
    gains of all points are replaced by those of a monotone cubic over log₁₀ rate (``fitted``; PCS 2024, see
    ``rdo_metrics.monotone_cubic``).

    Raises CurveError where such a fit has fewer than four rates.
    """
    if method != "vcm" or _is_rising(curve):
        return *pareto(curve), False
    try:
        logs = np.log10(curve.rates)
        fitted = fit_monotone_cubic(logs, curve.gains)(logs)
    except CurveError as error:
        raise CurveError(f"{curve.label}: {error}") from error
    kept = _rising(curve.rates, fitted)
    return curve.rates[kept], fitted[kept], True


def _is_rising(curve: RDCurve) -> bool:
    points = np.unique(np.stack([curve.rates, curve.gains], axis=1), axis=0)
    return bool((np.diff(points, axis=0) > 0).all())


class Interpolant(Protocol):
    """A curve through points that can be read and integrated."""

    def __call__(self, x: float) -> Any:
        """Value at x, inside the points' range."""

    def integrate(self, a: float, b: float) -> float:
        """Integral from a to b, both inside the points' range."""


def interpolant(x: FloatArray, y: FloatArray, method: str) -> Interpolant:
    """Interpolate y over strictly increasing x.

    ``pchip``: monotone cubic Hermite (JVET's choice). ``akima``: local, little overshoot. ``cubic``: one polynomial of
    degree 3, least squares above four points (Bjontegaard, VCEG-M33). ``vcm``: pchip, through ``prepared`` points.
    """
    if method == "cubic":
        return _Cubic(x, y)
    if method == "akima":
        return Akima1DInterpolator(x, y)  # type: ignore[no-any-return]
    return PchipInterpolator(x, y)  # type: ignore[no-any-return]


class _Cubic:
    def __init__(self, x: FloatArray, y: FloatArray) -> None:
        self._polynomial = np.polynomial.Polynomial.fit(x, y, 3)
        self._integral = self._polynomial.integ()

    def __call__(self, x: float) -> Any:
        return self._polynomial(x)

    def integrate(self, a: float, b: float) -> float:
        return float(self._integral(b) - self._integral(a))


def check_method(method: str) -> None:
    """CurveError with the known methods where ``method`` is none of them."""
    if method not in METHODS:
        raise CurveError(f"interpolation method {method!r}; expected one of {', '.join(METHODS)}")


def check_points(count: int, method: str, label: str) -> None:
    """CurveError where fewer Pareto points are left than ``method`` needs."""
    if count < MIN_POINTS[method]:
        raise CurveError(
            f"{label}: {count} point(s) left on the upper-left Pareto set; {method} needs {MIN_POINTS[method]}: "
            "add operating points that differ in both rate and metric"
        )


def _vector(values: ArrayLike, label: str, what: str) -> FloatArray:
    try:
        vector = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CurveError(f"{label}: {what}s {values!r}; expected a sequence of numbers") from error
    if vector.ndim != 1:
        raise CurveError(f"{label}: {what}s of shape {vector.shape}; expected one dimension")
    vector.flags.writeable = False
    return vector


def _expect_all(good: NDArray[np.bool_], values: FloatArray, what: str, expected: str) -> None:
    if not good.all():
        index = int(np.flatnonzero(~good)[0])
        raise CurveError(f"{what} {values[index]:g} at point {index}; expected {expected}")


def mean_curve(curves: Sequence[RDCurve], label: str) -> RDCurve:
    """Point-wise arithmetic mean over sequences; point i of every curve is the same operating point (QP).

    Raises CurveError where the curves have different numbers of points or directions.
    """
    if not curves:
        raise CurveError(f"{label}: no sequences")
    if len({c.rates.size for c in curves}) > 1 or len({c.higher_better for c in curves}) > 1:
        sizes = ", ".join(f"{c.label} {c.rates.size}" for c in curves)
        raise CurveError(f"{label}: points per sequence {sizes}; a mean curve needs the same operating points in each")
    rates = np.mean([c.rates for c in curves], axis=0)
    return RDCurve(rates, np.mean([c.metrics for c in curves], axis=0), curves[0].higher_better, label)

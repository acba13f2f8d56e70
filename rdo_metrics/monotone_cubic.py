"""A cubic through rate-accuracy points that never falls, as MPEG VCM fits where an accuracy drops at a higher rate.

H. Wang et al., "Improvements of the BD-Rate Metrics Using Monotonic Curve-Fitting Methods", PCS 2024 (MPEG m63692, in
the VCM common test conditions): least squares of M(r) = b₀r³ + b₁r² + b₂r + b₃ over r = log₁₀ rate, subject to
M′(r) ≥ 0 and M″(r) ≤ 0.

Here the constraints hold on the whole interval, not only at the points. On t in 0–1 every concave rising cubic is
M(t) = c + p·t + u·(1 − (1−t)³)/6 + v·(3t − t³)/6 with p = M′(1), u = −M″(0), v = −M″(1), all ≥ 0, and c free: the fit
is a non-negative least squares problem, convex, with one answer and no starting point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoder_bridge.errors import CurveError

FloatArray = NDArray[np.float64]
MIN_DISTINCT = 4
"""Fewest distinct abscissae: below, the cubic is not determined."""


@dataclass(frozen=True)
class MonotoneCubic:
    """A cubic that rises (weakly) and is concave on [low, high].

    Attributes:
        low, high: interval of the abscissa.
        start: value at ``low``.
        weights: (p, u, v): slope at the end, and minus the curvature at both ends, on the interval scaled to 0–1.
    """

    low: float
    high: float
    start: float
    weights: tuple[float, float, float]

    def __call__(self, x: ArrayLike) -> FloatArray:
        """Value at x, inside the interval; float64 of x's shape."""
        return np.asarray(self.start + _basis(self._scaled(x)) @ np.asarray(self.weights))

    def derivative(self, x: ArrayLike) -> FloatArray:
        """Slope at x, ≥ 0 inside the interval."""
        t = self._scaled(x)
        p, u, v = self.weights
        return np.asarray((p + u * (1 - t) ** 2 / 2 + v * (1 - t**2) / 2) / (self.high - self.low))

    def _scaled(self, x: ArrayLike) -> FloatArray:
        return (np.asarray(x, dtype=np.float64) - self.low) / (self.high - self.low)


def fit_monotone_cubic(x: ArrayLike, y: ArrayLike) -> MonotoneCubic:
    """Least-squares cubic among those that rise and are concave between the smallest and the largest x.

    Args:
        x: (N,) abscissae, for example log₁₀ rate; any order, at least 4 distinct.
        y: (N,) finite values, higher is better.

    Raises CurveError for other shapes, values that are not finite, or fewer distinct abscissae.
    """
    from scipy.optimize import nnls

    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if xs.ndim != 1 or xs.shape != ys.shape or not (np.isfinite(xs).all() and np.isfinite(ys).all()):
        raise CurveError(f"monotone cubic through {xs.shape} and {ys.shape}; expected finite (N,) and (N,)")
    distinct = len(np.unique(xs))
    if distinct < MIN_DISTINCT:
        raise CurveError(f"monotone cubic through {distinct} distinct rate(s); expected at least {MIN_DISTINCT}")
    low, high = float(xs.min()), float(xs.max())
    basis = _basis((xs - low) / (high - low))
    # The constant is free: without the means it falls out of the problem, and what is left is non-negative.
    weights, _ = nnls(basis - basis.mean(axis=0), ys - ys.mean())
    start = float(ys.mean() - basis.mean(axis=0) @ weights)
    return MonotoneCubic(low, high, start, (float(weights[0]), float(weights[1]), float(weights[2])))


def _basis(t: FloatArray) -> FloatArray:
    return np.stack([t, (1 - (1 - t) ** 3) / 6, (3 * t - t**3) / 6], axis=-1)

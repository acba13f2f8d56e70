"""How well a metric predicts an accuracy: the three correlations of QoMEX 2023, section III-C, and their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoder_bridge.errors import MetricInputError

Floats = NDArray[np.float64]
COEFFICIENTS = ("plcc", "srocc", "krocc")
"""In the order of table II, and of the last axis of ``Resampled.values``."""


@dataclass(frozen=True)
class Correlation:
    """Absolute correlations, 0..1, higher better.

    Attributes:
        srocc: Spearman's, of ranks.
        plcc: Pearson's, linear.
        krocc: Kendall's τ-b, of the order of pairs.
        count: pairs of values.
    """

    srocc: float
    plcc: float
    krocc: float
    count: int


UNDEFINED = Correlation(math.nan, math.nan, math.nan, 0)
"""Of a metric without values, as MS-SSIM on 32×32 blocks in table II."""


def correlate(metric: ArrayLike, accuracy: ArrayLike) -> Correlation:
    """Correlations of a metric's values with accuracies; signs are dropped, as a metric's direction is its own affair.

    Pairs with a NaN are left out. Raises MetricInputError for lengths that differ, fewer than three pairs, or a metric
    or accuracy that is constant.
    """
    x, y = _known(metric, accuracy)
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        raise MetricInputError(f"{len(x)} pairs, {len(np.unique(x))} and {len(np.unique(y))} different; expected 3")
    plcc, srocc, krocc = np.abs(_coefficients(x, y))
    return Correlation(float(srocc), float(plcc), float(krocc), len(x))


def correlate_or_nan(metric: ArrayLike, accuracy: ArrayLike) -> Correlation:
    """As ``correlate``, but NaN where a metric has too few values or is constant: table II's own way.

    Raises MetricInputError for lengths that differ, and nothing else.
    """
    x, y = _known(metric, accuracy)
    return UNDEFINED if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0 else correlate(x, y)


@dataclass(frozen=True)
class Resampled:
    """Correlations in every resample of the pictures, the same resamples for all metrics.

    Attributes:
        values: metric → (n, 3) float64 in the order of ``COEFFICIENTS``, positive where the sign is that of all pairs
            together; NaN where a resample has none.
        level: coverage of intervals.
    """

    values: Mapping[str, Floats]
    level: float

    def interval(self, metric: str, coefficient: str = "srocc") -> tuple[float, float] | None:
        """(low, high), percentile interval, -1..1; None where a tenth of the resamples have no correlation."""
        return self._quantiles(self._of(metric, coefficient))

    def difference(self, metric: str, other: str, coefficient: str = "srocc") -> tuple[float, float] | None:
        """(low, high) of ``metric`` minus ``other``, resample by resample; above 0 throughout means better."""
        return self._quantiles(self._of(metric, coefficient) - self._of(other, coefficient))

    def _of(self, metric: str, coefficient: str) -> Floats:
        if metric not in self.values or coefficient not in COEFFICIENTS:
            raise MetricInputError(f"{coefficient} of {metric!r}; expected one of {', '.join(self.values)}")
        found: Floats = self.values[metric][:, COEFFICIENTS.index(coefficient)]
        return found

    def _quantiles(self, drawn: Floats) -> tuple[float, float] | None:
        known = drawn[~np.isnan(drawn)]
        if len(known) <= 0.9 * len(drawn):
            return None
        low, high = np.quantile(known, [(1 - self.level) / 2, (1 + self.level) / 2])
        return float(low), float(high)


def resample_correlations(
    metrics: Mapping[str, ArrayLike],
    accuracy: ArrayLike,
    pictures: ArrayLike,
    *,
    n: int = 500,
    seed: int = 0,
    level: float = 0.9,
    together: int = 1,
) -> Resampled:
    """Bootstrap of correlations over pictures (Efron & Tibshirani 1993).

    Blocks of one picture are alike, and so are its versions in several configurations: pictures are drawn anew, each
    with everything that was measured on it, not blocks. Which blocks were sampled of them stays as it is.

    Args:
        metrics: name → (B,) values, NaN where there is none.
        accuracy: (B,).
        pictures: (B,) integers, the picture of each value.
        n: resamples. seed: of them. level: coverage in (0, 1).
        together: neighbouring pictures drawn as one (circular blocks); above 1 for pictures from one video.

    Raises MetricInputError for lengths that differ or a request that makes no sense.
    """
    y, groups = np.asarray(accuracy, np.float64).ravel(), np.asarray(pictures).ravel()
    values = {name: np.asarray(found, np.float64).ravel() for name, found in metrics.items()}
    if any(len(found) != len(y) for found in (groups, *values.values())) or not len(y):
        raise MetricInputError(f"{len(y)} accuracies; expected as many pictures and values of every metric, and some")
    names, members = np.unique(groups, return_inverse=True)
    if n < 1 or not 0 < level < 1 or not 1 <= together <= len(names):
        raise MetricInputError(
            f"n={n}, level={level:g}, {together} pictures together; expected n ≥ 1, 0 < level < 1, 1..{len(names)}"
        )
    by_picture = [np.flatnonzero(members == index) for index in range(len(names))]
    found = {name: np.full((n, len(COEFFICIENTS)), np.nan) for name in values}
    # The modulus of each resample would keep a correlation of nothing away from 0.
    signs = {name: np.sign(_or_nan(metric, y)) for name, metric in values.items()}
    for draw, chosen in enumerate(_draws(len(names), n, seed, together)):
        taken = np.concatenate([by_picture[index] for index in chosen])
        for name, metric in values.items():
            found[name][draw] = signs[name] * _or_nan(metric[taken], y[taken])
    return Resampled(found, level)


def _draws(pictures: int, n: int, seed: int, together: int) -> NDArray[np.int64]:
    """(n, pictures) indices of the pictures in each resample."""
    starts = np.random.default_rng(seed).integers(0, pictures, size=(n, -(-pictures // together), 1))
    return ((starts + np.arange(together)) % pictures).reshape(n, -1)[:, :pictures]


def _known(metric: ArrayLike, accuracy: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(metric, np.float64).ravel(), np.asarray(accuracy, np.float64).ravel()
    if x.shape != y.shape:
        raise MetricInputError(f"{len(x)} values of a metric for {len(y)} accuracies; expected as many")
    known = ~(np.isnan(x) | np.isnan(y))
    return x[known], y[known]


def _or_nan(metric: Floats, accuracy: Floats) -> Floats:
    x, y = _known(metric, accuracy)
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.full(len(COEFFICIENTS), np.nan)
    return _coefficients(x, y)


def _coefficients(x: Floats, y: Floats) -> Floats:
    """Pearson's, Spearman's and Kendall's, with their signs; ties as in τ-b."""
    from scipy import stats

    ranks = stats.rankdata(x), stats.rankdata(y)
    order = stats.kendalltau(x, y).statistic
    return np.array([_pearson(x, y), _pearson(*ranks), float(order)])


def _pearson(x: Floats, y: Floats) -> float:
    from scipy import stats

    return float(stats.pearsonr(x, y).statistic)

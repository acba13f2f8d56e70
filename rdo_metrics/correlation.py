"""How well a metric predicts an accuracy: the three correlations of QoMEX 2023, section III-C."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from encoder_bridge.errors import MetricInputError


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


def correlate(metric: ArrayLike, accuracy: ArrayLike) -> Correlation:
    """Correlations of a metric's values with accuracies; signs are dropped, as a metric's direction is its own affair.

    Pairs with a NaN are left out. Raises MetricInputError for lengths that differ, fewer than three pairs, or a metric
    or accuracy that is constant.
    """
    from scipy import stats

    x, y = np.asarray(metric, np.float64).ravel(), np.asarray(accuracy, np.float64).ravel()
    if x.shape != y.shape:
        raise MetricInputError(f"{len(x)} values of a metric for {len(y)} accuracies; expected as many")
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = x[known], y[known]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        raise MetricInputError(f"{len(x)} pairs, {len(np.unique(x))} and {len(np.unique(y))} different; expected 3")
    ranks, values, order = stats.spearmanr(x, y), stats.pearsonr(x, y), stats.kendalltau(x, y)
    srocc, plcc, krocc = (abs(float(result.statistic)) for result in (ranks, values, order))
    return Correlation(srocc, plcc, krocc, len(x))

"""Similarity of spectral residual saliency and gradients."""

from __future__ import annotations

from typing import Any

from rdo_metrics.iqa.base import IQA_METRICS, MetricInfo
from rdo_metrics.iqa.piq_metric import PiqMetric

_GAUSSIAN = 10
"""Side of the window that saliency is smoothed with."""


@IQA_METRICS.register("sr-sim")
class SrSim(PiqMetric):
    """SR-SIM without its chromatic part. Higher is better.

    Saliency is computed at a quarter of the size, where a window of 10×10 must fit; below 40 samples at half the size,
    as Table II of seed 000 has values at 32.
    """

    info = MetricInfo(
        name="sr-sim",
        title="SR-SIM",
        range=(0.0, 1.0),
        higher_is_better=True,
        min_side=2 * _GAUSSIAN,
        color="luma",
        paper="Zhang and Li, ICIP 2012, doi 10.1109/ICIP.2012.6467149",
        equation="Σ S_V·S_G^α·V_m / Σ V_m",
        identity=1.0,
    )
    # The library scales saliency by the extremes of the whole batch: other pictures would change a score.
    together = False

    def measure(self, x: Any, y: Any) -> Any:
        """See ``PiqMetric.measure``."""
        scale = 0.25 if min(x.shape[-2:]) >= 4 * _GAUSSIAN else 0.5
        return self.piq.srsim(x, y, scale=scale, gaussian_size=_GAUSSIAN, reduction="none")

"""Structural similarity."""

from __future__ import annotations

from typing import Any

from rdo_metrics.iqa.base import IQA_METRICS, MetricInfo
from rdo_metrics.iqa.piq_metric import PiqMetric


@IQA_METRICS.register("ssim")
class Ssim(PiqMetric):
    """Mean SSIM over Gaussian windows of 11×11 samples, σ 1.5; pictures from 384 samples on are averaged down first.

    Higher is better.
    """

    info = MetricInfo(
        name="ssim",
        title="SSIM",
        range=(-1.0, 1.0),
        higher_is_better=True,
        min_side=11,
        color="luma",
        paper="Wang et al., IEEE TIP 2004, doi 10.1109/TIP.2003.819861",
        equation="mean (2μxμy + C1)(2σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2))",
        identity=1.0,
    )

    def measure(self, x: Any, y: Any) -> Any:
        """See ``PiqMetric.measure``."""
        return self.piq.ssim(x, y, reduction="none")

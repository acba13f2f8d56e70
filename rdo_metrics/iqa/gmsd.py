"""Gradient magnitude similarity deviation."""

from __future__ import annotations

from typing import Any

from rdo_metrics.iqa.base import IQA_METRICS, MetricInfo
from rdo_metrics.iqa.piq_metric import PiqMetric


@IQA_METRICS.register("gmsd")
class Gmsd(PiqMetric):
    """Standard deviation of the similarity of Prewitt gradients at half size. Lower is better."""

    info = MetricInfo(
        name="gmsd",
        title="GMSD",
        range=(0.0, 0.5),
        higher_is_better=False,
        min_side=6,
        color="luma",
        paper="Xue et al., IEEE TIP 2014, arXiv 1308.3052",
        equation="standard deviation of GMS",
        identity=0.0,
    )

    def measure(self, x: Any, y: Any) -> Any:
        """See ``PiqMetric.measure``."""
        return self.piq.gmsd(x, y, reduction="none")

"""Mean deviation similarity index."""

from __future__ import annotations

from typing import Any

from rdo_metrics.iqa.base import IQA_METRICS, MetricInfo
from rdo_metrics.iqa.piq_metric import PiqMetric


@IQA_METRICS.register("mdsi")
class Mdsi(PiqMetric):
    """Deviation of the similarity of Prewitt gradients and chromaticity; the latter is 1 for luma. Lower is better."""

    info = MetricInfo(
        name="mdsi",
        title="MDSI",
        range=(0.0, 1.0),
        higher_is_better=False,
        min_side=3,
        color="luma as RGB",
        paper="Nafchi et al., IEEE Access 2016, arXiv 1608.07433",
        equation="(mean |GCS^¼ − mean GCS^¼|)^¼",
        identity=0.0,
    )

    channels = 3

    def measure(self, x: Any, y: Any) -> Any:
        """See ``PiqMetric.measure``."""
        return self.piq.mdsi(x, y, reduction="none")

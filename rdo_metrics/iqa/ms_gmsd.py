"""Gradient magnitude similarity deviation over four scales."""

from __future__ import annotations

from typing import Any

from rdo_metrics.iqa.base import IQA_METRICS, MetricInfo
from rdo_metrics.iqa.piq_metric import PiqMetric


@IQA_METRICS.register("ms-gmsd")
class MsGmsd(PiqMetric):
    """Root of the weighted mean of the squared deviations of four scales. Lower is better."""

    info = MetricInfo(
        name="ms-gmsd",
        title="MS-GMSD",
        range=(0.0, 0.5),
        higher_is_better=False,
        min_side=17,
        color="luma",
        paper="Zhang et al., ICASSP 2017, doi 10.1109/ICASSP.2017.7952357",
        equation="√ Σ_j w_j·GMSD_j²",
        identity=0.0,
    )

    def measure(self, x: Any, y: Any) -> Any:
        """See ``PiqMetric.measure``."""
        return self.piq.multi_scale_gmsd(x, y, reduction="none")

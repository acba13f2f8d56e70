"""Feature similarity: phase congruency and gradient magnitude."""

from __future__ import annotations

from typing import Any

from rdo_metrics.iqa.base import IQA_METRICS, MetricInfo
from rdo_metrics.iqa.piq_metric import PiqMetric


@IQA_METRICS.register("fsim")
class Fsim(PiqMetric):
    """FSIM without its chromatic part. Higher is better."""

    info = MetricInfo(
        name="fsim",
        title="FSIM",
        range=(0.0, 1.0),
        higher_is_better=True,
        min_side=6,
        color="luma",
        paper="Zhang et al., IEEE TIP 2011, doi 10.1109/TIP.2011.2109730",
        equation="Σ S_PC·S_G·PC_m / Σ PC_m",
        identity=1.0,
    )

    def measure(self, x: Any, y: Any) -> Any:
        """See ``PiqMetric.measure``."""
        return self.piq.fsim(x, y, reduction="none", chromatic=False)

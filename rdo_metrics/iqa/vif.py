"""Visual information fidelity in the pixel domain."""

from __future__ import annotations

import math
from typing import Any

from rdo_metrics.iqa.base import IQA_METRICS, MetricInfo
from rdo_metrics.iqa.piq_metric import PiqMetric


@IQA_METRICS.register("vif")
class Vif(PiqMetric):
    """VIFp over four scales, 1 for equal pictures and above 1 where contrast is raised. Higher is better.

    Not among the metrics of seed 000. Of a flat original it is a ratio of rounding noise.
    """

    info = MetricInfo(
        name="vif",
        title="VIF",
        range=(0.0, math.inf),
        higher_is_better=True,
        min_side=41,
        color="luma",
        paper="Sheikh and Bovik, IEEE TIP 2006, doi 10.1109/TIP.2005.859378",
        equation="Σ I(C; F) / Σ I(C; E)",
        identity=1.0,
    )

    def measure(self, x: Any, y: Any) -> Any:
        """See ``PiqMetric.measure``."""
        return self.piq.vif_p(x, y, reduction="none")

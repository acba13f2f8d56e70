"""Visual saliency-induced index."""

from __future__ import annotations

from typing import Any

from rdo_metrics.iqa.base import IQA_METRICS, MetricInfo
from rdo_metrics.iqa.piq_metric import PiqMetric


@IQA_METRICS.register("vsi")
class Vsi(PiqMetric):
    """Similarity of saliency and gradients, weighted by saliency; its chrominance terms are nearly 1 for luma.

    Higher is better. With luma in three channels the colour part of the saliency is amplified rounding noise, so the
    last digits depend on the processor. What has no gradient in common may still score 1: so do black and white.
    """

    info = MetricInfo(
        name="vsi",
        title="VSI",
        range=(0.0, 1.0),
        higher_is_better=True,
        min_side=3,
        color="luma as RGB",
        paper="Zhang et al., IEEE TIP 2014, doi 10.1109/TIP.2014.2346028",
        equation="Σ S_V·S_G^α·S_C^β·V_m / Σ V_m",
        identity=1.0,
    )

    channels = 3

    def measure(self, x: Any, y: Any) -> Any:
        """See ``PiqMetric.measure``."""
        return self.piq.vsi(x, y, reduction="none")

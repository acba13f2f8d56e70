"""Haar wavelet-based perceptual similarity index."""

from __future__ import annotations

from typing import Any

from rdo_metrics.iqa.base import IQA_METRICS, MetricInfo
from rdo_metrics.iqa.piq_metric import PiqMetric


@IQA_METRICS.register("haarpsi")
class HaarPsi(PiqMetric):
    """Similarity of Haar wavelet coefficients of two scales, weighted by those of a third. Higher is better."""

    info = MetricInfo(
        name="haarpsi",
        title="HaarPSI",
        range=(0.0, 1.0),
        higher_is_better=True,
        min_side=16,
        color="luma",
        paper="Reisenhofer et al., Signal Processing: Image Communication 2018, arXiv 1607.06140",
        equation="l_α⁻¹(Σ l_α(HS)·W / Σ W)²",
        identity=1.0,
    )

    def measure(self, x: Any, y: Any) -> Any:
        """See ``PiqMetric.measure``."""
        return self.piq.haarpsi(x, y, reduction="none")

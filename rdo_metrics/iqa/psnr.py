"""Peak signal-to-noise ratio."""

from __future__ import annotations

from typing import Any

from rdo_metrics.iqa.base import IQA_METRICS, MetricInfo
from rdo_metrics.iqa.piq_metric import PiqMetric


@IQA_METRICS.register("psnr")
class Psnr(PiqMetric):
    """10·log10(1 / (MSE + 1e-8)) of samples in 0–1: 80 dB for equal pictures. Higher is better."""

    info = MetricInfo(
        name="psnr",
        title="PSNR",
        range=(0.0, 80.0),
        higher_is_better=True,
        min_side=1,
        color="luma",
        paper="piq, which adds 1e-8 to the mean squared error",
        equation="10·log10(1 / (MSE + 1e-8))",
        identity=80.0,
        unit="dB",
    )

    def measure(self, x: Any, y: Any) -> Any:
        """See ``PiqMetric.measure``."""
        return self.piq.psnr(x, y, reduction="none")

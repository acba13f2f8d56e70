"""Structural similarity over five scales."""

from __future__ import annotations

from typing import Any

from rdo_metrics.iqa.base import IQA_METRICS, MetricInfo
from rdo_metrics.iqa.piq_metric import PiqMetric

_HALVINGS = 4


def window_side(side: int) -> int:
    """Side of the Gaussian window for pictures whose smaller side is ``side``: 11, or the largest odd one that fits.

    Five scales of an 11×11 window need 161 samples. Table II of seed 000 has values at 64 and 128 and NaN at 32, which
    is so with the smallest window, 3×3: it needs 33.
    """
    largest = ((side - 1) >> _HALVINGS) + 1
    return min(11, largest - 1 + largest % 2)


@IQA_METRICS.register("ms-ssim")
class MsSsim(PiqMetric):
    """MS-SSIM with σ 1.5 and the published exponents; below 161 samples its window is smaller. Higher is better."""

    info = MetricInfo(
        name="ms-ssim",
        title="MS-SSIM",
        range=(0.0, 1.0),
        higher_is_better=True,
        min_side=33,
        color="luma",
        paper="Wang et al., Asilomar 2003, doi 10.1109/ACSSC.2003.1292216",
        equation="l_M^α_M · Π_j (c_j·s_j)^β_j",
        identity=1.0,
    )

    def measure(self, x: Any, y: Any) -> Any:
        """See ``PiqMetric.measure``."""
        return self.piq.multi_scale_ssim(x, y, kernel_size=window_side(min(x.shape[-2:])), reduction="none")

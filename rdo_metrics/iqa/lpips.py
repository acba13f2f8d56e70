"""Learned perceptual image patch similarity, with VGG-16."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

from rdo_metrics.iqa.base import IQA_METRICS, MetricInfo
from rdo_metrics.iqa.perceptual import WIDTHS, PerceptualMetric, expect_weights
from rdo_metrics.iqa.weights import LPIPS, VGG16


@IQA_METRICS.register("lpips")
class Lpips(PerceptualMetric):
    """Weighted squared distance of unit-length features of five layers of VGG-16. Lower is better."""

    info = MetricInfo(
        name="lpips",
        title="LPIPS",
        range=(0.0, math.inf),
        higher_is_better=False,
        min_side=32,
        color="luma as RGB",
        paper="Zhang et al., CVPR 2018, arXiv 1801.03924",
        equation="Σ_l mean_hw ‖√w_l ⊙ (ŷ_l − ŷ0_l)‖²",
        identity=0.0,
        weights=(VGG16, LPIPS),
    )
    module = "LPIPS"
    settings = MappingProxyType({"normalize_features": True})

    def split(self, loaded: Any, name: str) -> list[Any]:
        """See ``PerceptualMetric.split``."""
        return expect_weights(loaded, WIDTHS, name)

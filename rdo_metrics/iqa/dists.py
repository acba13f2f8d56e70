"""Deep image structure and texture similarity."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from encoder_bridge.errors import ModelError
from rdo_metrics.iqa.base import IQA_METRICS, MetricInfo
from rdo_metrics.iqa.perceptual import WIDTHS, PerceptualMetric, expect_weights
from rdo_metrics.iqa.weights import DISTS, VGG16

_CHANNELS = (3, *WIDTHS)


@IQA_METRICS.register("dists")
class Dists(PerceptualMetric):
    """One less the weighted similarity of means and of variations of the picture and of five layers of VGG-16.

    Lower is better; above 1 only where the variations are opposed. Pictures above 256 samples are scaled down to that.
    """

    info = MetricInfo(
        name="dists",
        title="DISTS",
        range=(0.0, 2.0),
        higher_is_better=False,
        min_side=16,
        color="luma as RGB",
        paper="Ding et al., IEEE TPAMI 2020, arXiv 2004.07728",
        equation="1 − Σ_ij (α_ij·l_ij + β_ij·s_ij)",
        identity=0.0,
        weights=(VGG16, DISTS),
    )
    module = "DISTS"
    settings = MappingProxyType({"replace_pooling": True, "allow_layers_weights_mismatch": True})

    def split(self, loaded: Any, name: str) -> list[Any]:
        """See ``PerceptualMetric.split``."""
        import torch

        if not isinstance(loaded, dict) or not {"alpha", "beta"} <= loaded.keys():
            raise ModelError(f"{name}: holds no weights named alpha and beta; expected those of DISTS")
        whole = expect_weights([loaded["alpha"], loaded["beta"]], [sum(_CHANNELS)] * 2, name)
        return [part for weights in whole for part in torch.split(weights, list(_CHANNELS), dim=1)]

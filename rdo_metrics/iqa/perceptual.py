"""The common part of LPIPS and DISTS: piq's modules over a VGG-16 that was read from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from encoder_bridge.errors import ModelError
from rdo_metrics.iqa.piq_metric import PiqMetric
from rdo_metrics.iqa.weights import load_weights, missing_weights, vgg16_features, weight_files

WIDTHS = (64, 128, 256, 512, 512)
"""Channels of the layers that are looked at."""
_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")


class PerceptualMetric(PiqMetric):
    """A distance of VGG-16's features with learned weights; luma goes into each of its three channels."""

    channels = 3
    settings: Mapping[str, Any]
    """Arguments of piq's module beside network, layers and weights."""
    module: str
    """Name of piq's module."""

    def __init__(self, device: str = "cpu", weights: Path | None = None) -> None:
        super().__init__(device, weights)
        weight_files(self.info.weights, weights)  # together: one error names all that is missing
        name = next(name for name in self.info.weights if not name.startswith("vgg"))
        learned = self.split(load_weights(name, weights), name)
        self._network = self._built(vgg16_features(weights), learned).to(self._torch_device)

    def split(self, loaded: Any, name: str) -> list[Any]:
        """The learned weights as a tensor a layer. Raises ModelError where the file ``name`` holds something else."""
        raise NotImplementedError

    def measure(self, x: Any, y: Any) -> Any:
        """See ``PiqMetric.measure``."""
        return self._network(x, y)

    @classmethod
    def missing(cls, weights: Path | None = None) -> str | None:
        """See ``IqaMetric.missing``."""
        lacking = missing_weights(cls.info.weights, weights)
        return super().missing(weights) or lacking

    def _built(self, features: Any, learned: Sequence[Any]) -> Any:
        """piq's own constructors download; this is what they do with a network given."""
        perceptual = self.piq.perceptual
        kind = getattr(perceptual, self.module)
        network = kind.__new__(kind)
        layers = [perceptual.VGG16_LAYERS[name] for name in _LAYERS]
        settings = {"reduction": "none", **self.settings}
        perceptual.ContentLoss.__init__(network, features, layers=layers, weights=learned, **settings)
        return network


def expect_weights(tensors: Any, sizes: Sequence[int], name: str) -> list[Any]:
    """The tensors as (1, C, 1, 1). ModelError unless they are a sequence of as many values each as ``sizes`` says."""
    found = [t.numel() for t in tensors if hasattr(t, "numel")] if isinstance(tensors, list | tuple) else None
    if found != list(sizes):
        raise ModelError(f"{name}: holds {found or type(tensors).__name__}; expected tensors of {list(sizes)} values")
    return [t.reshape(1, -1, 1, 1) for t in tensors]

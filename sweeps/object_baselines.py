"""Metrics that know nothing of a task: PSNR, SSIM, VIF and a feature distance, on pairs of crops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdo_metrics.iqa import make_iqa_metric
from rdo_metrics.iqa.piq_metric import PiqMetric

Rgb = NDArray[np.uint8]
Floats = NDArray[np.float64]
_BATCH = 64


def psnr(originals: Rgb, coded: Rgb) -> Floats:
    """(N,) PSNR in dB over R, G and B; 100 for identical crops. Higher is better."""
    difference = originals.astype(np.float32) - coded.astype(np.float32)
    mse = np.square(difference).mean(axis=(1, 2, 3), dtype=np.float64)
    db: Floats = 10 * np.log10(255**2 / np.maximum(mse, 255**2 * 1e-10))
    return db


def ssim(originals: Rgb, coded: Rgb) -> Floats:
    """(N,) SSIM of luma (Wang et al. 2004) by piq. Higher is better."""
    return _of_luma("ssim", originals, coded)


def vif(originals: Rgb, coded: Rgb) -> Floats:
    """(N,) pixel-domain VIF of luma over four scales (Sheikh and Bovik 2006) by piq. Higher is better.

    It stands in for VMAF, whose library FFmpeg in PyAV lacks: VIF at four scales is four of VMAF's six features.
    """
    return _of_luma("vif", originals, coded)


def _of_luma(name: str, originals: Rgb, coded: Rgb) -> Floats:
    """By BT.709 luma, not rounded, as the recorded figures were."""
    metric = make_iqa_metric(name)
    assert isinstance(metric, PiqMetric)
    return metric.unit_scores(_luma(originals), _luma(coded))


def _luma(pictures: Rgb) -> NDArray[np.float32]:
    return np.asarray(pictures.astype(np.float32) @ np.array([0.2126, 0.7152, 0.0722], np.float32) / 255, np.float32)


class FeatureDistance:
    """Distance of an ImageNet network's features in the manner of LPIPS (arXiv 1801.03924), without learned weights.

    EfficientNet-Lite0's features at strides 2, 4, 8 and 16, each position of unit length, squared differences summed
    over channels and averaged over positions, levels summed. LPIPS itself needs weights that only a hub serves.
    """

    def __init__(self) -> None:
        from models.train.lite import lite0_blocks

        stem, blocks = lite0_blocks(10)
        self._stem, self._blocks = stem.eval(), blocks.eval()

    def __call__(self, originals: Rgb, coded: Rgb) -> Floats:
        """(N,) distance, negated: higher is better."""
        import torch

        with torch.no_grad():
            return _batched(self._distance, originals, coded)

    def _distance(self, originals: Rgb, coded: Rgb) -> Floats:
        pairs = zip(self._features(originals), self._features(coded), strict=True)
        return -sum(((a - b) ** 2).sum(dim=1).mean(dim=(1, 2)) for a, b in pairs).double().numpy()  # type: ignore[no-any-return]

    def _features(self, pictures: Rgb) -> list[Any]:
        import torch

        from models.train.full_reference import normalised

        x = self._stem(torch.from_numpy(normalised(pictures)[0]))
        found = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in (0, 2, 4, 10):
                found.append(torch.nn.functional.normalize(x, dim=1))
        return found


def baselines() -> dict[str, Callable[[Rgb, Rgb], Floats]]:
    """Name → metric, higher is better. Raises ToolNotFoundError without the extras ``iqa`` and ``train``."""
    return {"PSNR": psnr, "SSIM": ssim, "VIF": vif, "features": FeatureDistance()}


def _batched(function: Callable[[Rgb, Rgb], Any], originals: Rgb, coded: Rgb) -> Floats:
    parts = [function(originals[i : i + _BATCH], coded[i : i + _BATCH]) for i in range(0, len(coded), _BATCH)]
    return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)

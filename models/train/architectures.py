"""Architectures ``mrdo train --arch`` offers: each a factory (classes) → torch module, built when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from encoder_bridge.registry import Registry

Factory = Callable[[int], Any]
"""Number of classes → ``nn.Module``; in training it returns [main, auxiliary…] logits, in evaluation the main one."""

ARCHITECTURES: Registry[Factory] = Registry("architecture")


@ARCHITECTURES.register("ddrnet-16")
def ddrnet_16(classes: int) -> Any:
    """DDRNet-23-slim (arXiv 2101.06085) with 16 base channels and the high-resolution branch at stride 4."""
    from models.train.nets import DualResolution

    return DualResolution(classes, channels=16, ppm_channels=64, head_channels=64)


@ARCHITECTURES.register("fpn-r18")
def fpn_r18(classes: int) -> Any:
    """Semantic FPN (arXiv 1901.02446) on a ResNet-18 with 24 base channels; output at stride 4."""
    from models.train.nets import SemanticFpn

    return SemanticFpn(classes, base_channels=24, pyramid_channels=48)


@ARCHITECTURES.register("fpn-lite0")
def fpn_lite0(classes: int) -> Any:
    """Semantic FPN on EfficientNet-Lite0 (arXiv 1905.11946) with ImageNet weights; output at stride 4."""
    from models.train.lite import LiteFpn

    return LiteFpn(classes, pyramid_channels=48)

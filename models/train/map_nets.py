"""The networks behind ``--map learned`` (design §5.4): what a unit of squared error costs in each 16×16 block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from encoder_bridge.registry import Registry
from models.map_model import STATISTICS
from models.train.lite import lite0_blocks

MAP_NETS: Registry[Callable[[], Any]] = Registry("map network")
"""Variant → factory. Each network takes its inputs and the QP (N,), and gives log-weights (N, 1, h, w)."""
_MIDDLE_QP, _QP_SPAN = 38.0, 12.0
_SKIP, _LAST = 4, 8
_MEAN, _STD = 118.0, 57.6


class ImageMap(nn.Module):
    """EfficientNet-Lite0's first nine blocks on the picture at half size, joined at 16 luma samples.

    Args:
        reconstructed: the first pass is seen as well.
        width: channels where the levels meet.
    """

    def __init__(self, reconstructed: bool = False, width: int = 48) -> None:
        super().__init__()
        self.stem, self.blocks = lite0_blocks(_LAST)
        self.error = nn.Conv2d(6, 32, 3, stride=2, padding=1, bias=False) if reconstructed else None
        self.fine, self.coarse = nn.Conv2d(40, width, 1), nn.Conv2d(112, width, 1)
        self.place = nn.Conv2d(2, width, 1, bias=False)
        self.scene = nn.Linear(112, width)
        self.head = nn.Sequential(
            nn.ReLU6(),
            nn.Conv2d(width, width, 5, padding=2, groups=width),
            nn.Conv2d(width, width, 1),
            nn.ReLU6(),
            nn.Dropout2d(0.1),
            nn.Conv2d(width, 3, 1),
        )
        if self.error is not None:
            nn.init.zeros_(self.error.weight)

    def forward(self, *inputs: Tensor) -> Tensor:
        """RGB 0..255 at half size (N, 3, ceil(H/2), ceil(W/2)), the first pass likewise where it is seen, QP (N,) →
        log-weights (N, 1, ceil(H/16), ceil(W/16)).
        """
        image, *reconstruction, qp = inputs
        x = self._stem((image - _MEAN) / _STD, reconstruction[0] if reconstruction else None)
        fine = x
        for index, block in enumerate(self.blocks):
            x = block(x, drop_connect_rate=0.1 * index / len(self.blocks))
            if index == _SKIP:
                fine = x
        joined = self.fine(fine) + interpolate(self.coarse(x), size=fine.shape[-2:], mode="bilinear")
        joined = joined + self.place(_places(fine)) + self.scene(x.mean(dim=(2, 3)))[:, :, None, None]
        return _at(self.head(joined), qp)

    def _stem(self, image: Tensor, reconstruction: Tensor | None) -> Tensor:
        if self.error is None or reconstruction is None:
            features: Tensor = self.stem(image)
            return features
        coded = (reconstruction - _MEAN) / _STD
        seen = torch.cat([coded, (image - coded) * 4], dim=1)
        stem: Any = self.stem
        convolution, norm, rectify = stem
        rectified: Tensor = rectify(norm(convolution(image)) + self.error(seen))
        return rectified


class HeadMap(nn.Module):
    """A few convolutions on what a task network answers, class by class forgotten: serves any network."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.BatchNorm2d(STATISTICS), nn.Conv2d(STATISTICS, width, 1), nn.ReLU6()]
        for dilation in (1, 2, 4):
            layers += [nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, groups=width)]
            layers += [nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU6()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 1))

    def forward(self, statistics: Tensor, qp: Tensor) -> Tensor:
        """(N, STATISTICS, h, w) of 16×16 blocks and QP (N,) → log-weights (N, 1, h, w)."""
        return _at(self.layers(statistics), qp)


def _at(coefficients: Tensor, qp: Tensor) -> Tensor:
    """(N, 3, h, w) → (N, 1, h, w): a parabola over QP in every block, as QP 50 loses other things than QP 28."""
    t = ((qp - _MIDDLE_QP) / _QP_SPAN).clamp(-1.1, 1.1)[:, None, None, None]
    constant, slope, bend = coefficients.unbind(dim=1)
    return constant[:, None] + slope[:, None] * t + bend[:, None] * (t * t - 0.5)


def _places(like: Tensor) -> Tensor:
    """(N, 2, h, w): how far down and how far from the middle, both 0..1."""
    height, width = like.shape[-2], like.shape[-1]
    down = torch.arange(height, device=like.device, dtype=like.dtype) / height
    across = torch.abs(torch.arange(width, device=like.device, dtype=like.dtype) / width - 0.5) * 2
    ones = torch.ones_like(like[:, :1])
    return torch.cat([ones * down[:, None], ones * across], dim=1)


@MAP_NETS.register("image")
def image_map() -> Any:
    """The original alone: no first pass, no task network."""
    return ImageMap()


@MAP_NETS.register("pass")
def pass_map() -> Any:
    """The original and the first pass's reconstruction."""
    return ImageMap(reconstructed=True)


@MAP_NETS.register("head")
def head_map() -> Any:
    """Statistics of the driving network's answer to the original."""
    return HeadMap()

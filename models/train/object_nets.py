"""Small task networks for objects: a centre-point detector, a plate reader, a face embedder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, log_softmax, normalize

from models.train.data import MEAN, STD
from models.train.full_reference import BACKBONES

EMBEDDING = 64


def _conv(inputs: int, outputs: int, stride: int | tuple[int, int] = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """Two 3×3 convolutions and a shortcut (arXiv 1512.03385)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(channels, channels), nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        answer: Tensor = torch.relu(x + self.body(x))
        return answer


class CentreDetector(nn.Module):
    """Objects as points (arXiv 1904.07850, with the box regression of TTFNet, arXiv 1909.00700); output at stride 4."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.early = nn.Sequential(_conv(3, 16, 2), _conv(16, 32, 2), _conv(32, 32))
        self.middle = nn.Sequential(_conv(32, 64, 2), Residual(64))
        self.late = nn.Sequential(_conv(64, 96, 2), Residual(96), _conv(96, 96))
        self.laterals = nn.ModuleList(nn.Conv2d(c, 48, 1) for c in (32, 64, 96))
        self.merge = _conv(48, 48)
        self.heat = nn.Conv2d(48, classes, 1)
        self.sides = nn.Conv2d(48, 4, 1)
        # Nearly everything is background: begin by saying so.
        nn.init.constant_(self.heat.bias, -3.0)  # type: ignore[arg-type]
        nn.init.constant_(self.sides.bias, 1.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised RGB (N, 3, H, W), sides divisible by 16 → heat logits (N, classes, h, w), sides (N, 4, h, w)."""
        fine = self.early(x)
        middle = self.middle(fine)
        late = self.late(middle)
        a, b, c = (lateral(f) for lateral, f in zip(self.laterals, (fine, middle, late), strict=True))
        b = b + interpolate(c, scale_factor=2.0, mode="nearest")
        merged = self.merge(a + interpolate(b, scale_factor=2.0, mode="nearest"))
        # Distances in samples, positive, of the order of 16.
        return self.heat(merged), torch.relu(self.sides(merged)) * 16.0 + 0.5


class PlateReader(nn.Module):
    """Characters in parallel: each position looks for its own column by attention (as arXiv 2003.12294 does).

    The attention begins at evenly spaced places, so that reading need not be discovered together with alignment.
    """

    def __init__(self, characters: int, length: int, side: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(_conv(3, 32, 2), _conv(32, 64, (2, 1)), Residual(64), _conv(64, 96, (2, 1)), Residual(96)),
            _conv(96, 128, (2, 1)),
        )
        column = (torch.arange(side // 2) + 0.5) / (side // 2)
        centre = 0.08 + 0.84 * (torch.arange(length) + 0.5) / length
        self.places = nn.Parameter(-(((column[None] - centre[:, None]) * length / 0.84) ** 2) * 4)
        self.look = nn.Conv1d(128, length, 5, padding=2)
        self.classify = nn.Sequential(
            nn.Linear(128, 128), nn.ReLU(inplace=True), nn.Dropout(0.1), nn.Linear(128, characters + 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Normalised RGB (N, 3, side, side) → (N, length, characters + 1) log-probabilities, index 0 for nothing."""
        columns = self.layers(x).amax(dim=2)
        attention = torch.softmax(self.look(columns) + self.places, dim=2)
        return log_softmax(self.classify(attention @ columns.transpose(1, 2)), dim=2)


class FaceEmbedder(nn.Module):
    """Unit vectors that are near for one person."""

    def __init__(self, dimensions: int = EMBEDDING) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(_conv(3, 32, 2), _conv(32, 64, 2), Residual(64), _conv(64, 128, 2), Residual(128), _conv(128, 160, 2)),
        )
        self.project = nn.Linear(160 * 16, dimensions)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised RGB (N, 3, 64, 64) → (N, dimensions) of unit length."""
        features = self.layers(x)
        return normalize(self.project(features.flatten(1)), dim=1)


class MarginSoftmax(nn.Module):
    """Logits of the large-margin cosine loss (CosFace, arXiv 1801.09414)."""

    def __init__(self, embedder: nn.Module, identities: int, margin: float = 0.2, scale: float = 16.0) -> None:
        super().__init__()
        self.embedder, self.margin, self.scale = embedder, margin, scale
        self.centres = nn.Parameter(torch.randn(identities, EMBEDDING) * 0.1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Pictures and identities → (N, identities) logits, the right one lowered by the margin."""
        cosine = self.embedder(x) @ normalize(self.centres, dim=1).T
        shift = torch.zeros_like(cosine).scatter_(1, labels[:, None], self.margin)
        logits: Tensor = (cosine - shift) * self.scale
        return logits


class Deployed(nn.Module):
    """RGB in 0..255 in, what ``models.objects.tasks`` reads out."""

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("scale", 1.0 / torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Any:
        """(N, 3, H, W) float32 RGB 0..255 → the network's answer, a heatmap as probabilities."""
        answer = self.network((image - self.mean) * self.scale)
        if isinstance(answer, tuple):
            return torch.sigmoid(answer[0]), answer[1]
        return answer


@BACKBONES.register("lite0-levels")
class LiteLevels(nn.Module):
    """EfficientNet-Lite0 (arXiv 1905.11946) with ImageNet weights: features of strides 4, 8 and 16, all at stride 8.

    What a detector or a reader loses shows in edges before it shows in what a deep layer says of the whole object.
    """

    channels = 24 + 40 + 112
    stride = 8

    def __init__(self) -> None:
        super().__init__()
        from models.train.lite import lite0_blocks

        self.stem, self.blocks = lite0_blocks(10)

    def forward(self, x: Tensor) -> Tensor:
        """See ``models.train.full_reference.Backbone``; sides divisible by 16."""
        x = self.stem(x)
        found = {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            found[index] = x
        deep = interpolate(found[10], scale_factor=2.0, mode="nearest")
        return torch.cat([avg_pool2d(found[2], 2), found[4], deep], dim=1)

"""The network behind ``--metric learned``: where would the driving network change its mind between two pictures?

A full-reference network (arXiv 2411.06776) made dense. One backbone sees both pictures at half their size and a small
decoder learns to segment them as the driving network does; what it makes of the two is compared, together with what a
shallow branch sees of their samples at full size. The answer is a map: for each cell of ``CELL`` samples the share of
pixels whose label changes. The loss of a block of any size is the mean over its cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, interpolate, log_softmax

from encoder_bridge.errors import ConfigError
from models.train.data import MEAN, STD
from models.train.fitting import Fit, Prepared, fit
from models.train.full_reference import export_pair, normalised
from models.train.lite import lite0_blocks
from models.train.trainer import LoopOptions

CELL = 8
"""Side of a cell of the map in samples."""
SIZES = (4, 8, 16)
"""Sides of the blocks whose accuracy is learned, in cells."""
_LARGEST = 40.0
"""Logits above it are as good as certain, and their exponential is still a number."""
_LEVELS = {2: 24, 4: 40, 8: 112}
"""Blocks of the backbone whose outputs are decoded, and their channels."""


@dataclass(frozen=True)
class BlockTraining:
    """What a training is; recorded in the checkpoint.

    Attributes:
        classes: that the driving network tells apart.
        side: of the square windows, in samples, a multiple of 128.
        width: channels of decoder and comparison.
        steps, batch: length of the schedule in optimiser steps, pairs in each.
        lr, weight_decay, warmup, ema: as ``FullReferenceConfig``.
        student: weight of the loss of the segmentation that the network learns on the way.
        blocks: weight of the loss of whole blocks' accuracy.
        seed: of weights and windows.
    """

    classes: int
    side: int = 256
    width: int = 32
    steps: int = 1200
    batch: int = 8
    lr: float = 1.5e-3
    weight_decay: float = 0.02
    warmup: int = 50
    ema: float = 0.995
    student: float = 0.5
    blocks: float = 4.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.side % (CELL * SIZES[-1]) or self.side < CELL * SIZES[-1]:
            raise ConfigError(f"windows of {self.side}; expected a multiple of {CELL * SIZES[-1]}")
        if self.steps < 1 or self.batch < 2 or not 2 <= self.classes <= 255:
            raise ConfigError(
                f"steps {self.steps}, batch {self.batch}, classes {self.classes}; expected at least 1, 2 and 2..255"
            )


@dataclass(frozen=True)
class CodedPictures:
    """Pictures of one size, coded in several ways, and what the driving network makes of them.

    Attributes:
        originals: (M, H, W, 3) uint8 RGB.
        original_labels: (M, H, W) uint8, the pseudo-ground truth.
        known: (M, H, W) bool, false where pixels do not count.
        source: (N,) original of each coded picture.
        coded: (N, H, W, 3) uint8 RGB.
        coded_labels: (N, H, W) uint8.
        blocks: (B, 4) int: coded picture, x, y, side of blocks worth learning from.
    """

    originals: NDArray[np.uint8]
    original_labels: NDArray[np.uint8]
    known: NDArray[np.bool_]
    source: NDArray[np.int64]
    coded: NDArray[np.uint8]
    coded_labels: NDArray[np.uint8]
    blocks: NDArray[np.int64]

    def window(self, rng: np.random.Generator, side: int, classes: int) -> Prepared:
        """One random window around a random block: both pictures and what is to be learned of them."""
        item, x, y, block = self.blocks[rng.integers(len(self.blocks))]
        height, width = self.known.shape[1:]
        rows = _around(int(y), int(block), side, height, rng)
        columns = _around(int(x), int(block), side, width, rng)
        at = (int(self.source[item]), rows, columns), (int(item), rows, columns)
        mirror = slice(None, None, -1 if rng.random() < 0.5 else 1)
        original, wanted, known = (a[at[0]][:, mirror] for a in (self.originals, self.original_labels, self.known))
        coded, found = (a[at[1]][:, mirror] for a in (self.coded, self.coded_labels))
        share = _cells(known[None].astype(np.float32))
        flips = _cells((known & (wanted != found))[None].astype(np.float32)) / np.maximum(share, 1e-6)
        seen = [_cells((labels == np.arange(classes)[:, None, None]).astype(np.float32)) for labels in (wanted, found)]
        return original, coded, flips, share, *seen


def _around(start: int, block: int, side: int, whole: int, rng: np.random.Generator) -> slice:
    """A random window of ``side`` with the block inside; a larger block is met in part."""
    if whole < side:
        raise ConfigError(f"pictures with a side of {whole}; expected at least the training window of {side}")
    low, high = sorted((start + block - side, start))
    first = int(np.clip(rng.integers(low, high + 1), 0, whole - side))
    return slice(first, first + side)


def _cells(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C, S, S) → (C, S / CELL, S / CELL) means."""
    count, side, _ = planes.shape
    means: NDArray[np.float32] = planes.reshape(count, side // CELL, CELL, side // CELL, CELL).mean(axis=(2, 4))
    return means


def _layer(inner: int, outer: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    pad = kernel // 2 if kernel != stride else 0
    conv = nn.Conv2d(inner, outer, kernel, stride, pad, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outer), nn.ReLU(inplace=True))


def _separable(channels: int) -> nn.Sequential:
    return nn.Sequential(_layer(channels, channels, 3, groups=channels), _layer(channels, channels))


class BlockNetwork(nn.Module):
    """Pair of normalised pictures → logits of the share of changed labels in each cell."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        self.stem, self.blocks = lite0_blocks(max(_LEVELS))
        self.laterals = nn.ModuleList(_layer(channels, width) for channels in _LEVELS.values())
        self.decode = _separable(width)
        self.segment = nn.Conv2d(width, classes, 1)
        self.sees, self.meets = (nn.Conv2d(3, 32, 4, 4, bias=made) for made in (False, True))
        self.local = nn.Sequential(nn.BatchNorm2d(32), nn.ReLU(inplace=True), _layer(32, width, 2, 2))
        self.compare = nn.Sequential(_layer(3 * width + 3 * classes + 1, 64), _separable(64), _separable(64))
        self.answer = nn.Conv2d(64, 1, 1)

    def forward(self, original: Tensor, coded: Tensor) -> Any:
        """Normalised RGB (N, 3, H, W) twice → (N, 1, H / CELL, W / CELL) logits.

        In training also (2N, classes, H / CELL, W / CELL) logits of both pictures' labels.
        """
        halves = torch.cat([avg_pool2d(original, 2), avg_pool2d(coded, 2)])
        return self.judged(halves, self.sees(original) + self.meets(coded))

    def judged(self, halves: Tensor, samples: Tensor) -> Any:
        """As ``forward``, from (2N, 3, H / 2, W / 2) pictures and (N, 32, H / 4, W / 4) of the shallow branch."""
        decoded = self.decode(self._pyramid(halves))
        labels = self.segment(decoded)
        # A softmax over the second axis, which ONNX Runtime does several times as slowly; the logits are small.
        weights = labels.clamp(max=_LARGEST).exp()
        (seen, met), (before, after) = decoded.chunk(2), (weights / weights.sum(dim=1, keepdim=True)).chunk(2)
        same = (before * after).sum(dim=1, keepdim=True)
        parts = [seen, (seen - met).abs(), before, after, (before - after).abs(), same]
        logits = self.answer(self.compare(torch.cat([*parts, _fit(self.local(samples), seen)], dim=1)))
        return (logits, labels) if self.training else logits

    def _pyramid(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        levels: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            x = block(x, drop_connect_rate=0.0)
            if index in _LEVELS:
                levels.append(self.laterals[len(levels)](x))
        middle = levels[1] + _fit(levels[2], levels[1])
        return levels[0] + _fit(middle, levels[0])


def _fit(x: Tensor, like: Tensor) -> Tensor:
    return interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def block_loss(network: nn.Module, batch: tuple[Tensor, ...], config: BlockTraining) -> Tensor:
    """Cells' cross-entropy, squared error of blocks' accuracy at every size, and the student's cross-entropy."""
    original, coded, flips, share, before, after = batch
    logits, labels = network(original, coded)
    total = binary_cross_entropy_with_logits(logits, flips, weight=share)
    chance = logits.sigmoid()
    for size in SIZES:
        weight = avg_pool2d(share, size, size // 2)
        gap = avg_pool2d((chance - flips) * share, size, size // 2) / weight.clamp(min=0.25)
        total = total + config.blocks / len(SIZES) * (gap**2).mean()
    wanted = torch.cat([before, after])
    student = -(wanted * log_softmax(labels, dim=1)).sum(dim=1)
    return total + config.student * student.mean()


def train_blocks(pictures: CodedPictures, config: BlockTraining, options: LoopOptions) -> BlockNetwork:
    """Train a ``BlockNetwork``; returns the weight average. Resumes and raises as ``fit``."""

    def prepare(rng: np.random.Generator) -> Prepared:
        windows = [pictures.window(rng, config.side, config.classes) for _ in range(config.batch)]
        original, coded, *wanted = (np.stack(parts) for parts in zip(*windows, strict=True))
        return (*normalised(original), *normalised(coded), *wanted)

    torch.manual_seed(config.seed)
    network = BlockNetwork(config.classes, config.width)
    schedule = Fit(config.steps, config.lr, config.weight_decay, config.warmup, config.ema, config.seed)
    loss = lambda module, batch: block_loss(module, batch, config)  # noqa: E731
    return fit(network, prepare, loss, schedule, options, asdict(config))


class _Deployed(nn.Module):
    """RGB in 0..255 of both pictures → (N, H / CELL, W / CELL) shares of changed labels."""

    mean: Tensor
    scale: Tensor

    def __init__(self, network: BlockNetwork) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("scale", 1.0 / torch.tensor(STD).view(1, 3, 1, 1))
        # Normalisation at full size costs time; these convolutions do not pad, so it folds into them.
        self.sees, self.meets = (self._folded(conv) for conv in (network.sees, network.meets))

    def forward(self, original: Tensor, reconstruction: Tensor) -> Tensor:
        """(N, 3, H, W) float32 RGB 0..255 twice → (N, h, w)."""
        halves = torch.cat([avg_pool2d(original, 2), avg_pool2d(reconstruction, 2)])
        samples = self.sees(original) + self.meets(reconstruction)
        return torch.sigmoid(self.network.judged((halves - self.mean) * self.scale, samples))[:, 0]

    @torch.no_grad()
    def _folded(self, conv: nn.Conv2d) -> nn.Conv2d:
        made = nn.Conv2d(3, conv.out_channels, conv.kernel_size, conv.stride)  # type: ignore[arg-type]
        made.weight.copy_(conv.weight * self.scale)
        assert made.bias is not None
        made.bias.copy_(-(made.weight * self.mean).sum(dim=(1, 2, 3)))
        if conv.bias is not None:
            made.bias.add_(conv.bias)
        return made


def export_blocks(network: BlockNetwork, path: Path, notes: Mapping[str, Any]) -> None:
    """Write a ``BlockNetwork`` as ONNX with a map as output, ``losses`` (N, h, w) in 0..1, that ``BlockModel`` runs.

    Metadata ``mrdo.cell`` is the side of a cell in samples; else as ``export_full_reference``.
    """
    axes = {0: "N", 1: "h", 2: "w"}
    export_pair(_Deployed(network.float().cpu()), path, "losses", axes, {**notes, "cell": CELL})

"""A network that tells a coded picture's quality for detectors without the original (seed paper 003, section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoder_bridge.errors import ConfigError
from models.quality import ACTIVATIONS, PATCH, QUALITY, TASK
from models.train.export import IMAGE_AXES, write_onnx
from models.train.fitting import Fit, Prepared, fit
from models.train.full_reference import CONTRACT, normalised
from models.train.optim import OPTIMISERS
from models.train.trainer import LoopOptions

CHANNELS = (64, 192, 384, 256, 256)
"""Of AlexNet's five convolutions."""
HIDDEN = (4096, 4096, 1024)
"""Of the fully connected layers before the last, which gives the number."""


@dataclass(frozen=True)
class QualityTraining:
    """What a training is; recorded in the checkpoint.

    Attributes:
        width: share of AlexNet's channels; below 1 its fully connected layers are halved besides. 1 is the paper's.
        steps, batch: optimiser steps, patches in each.
        lr, weight_decay: of SGD with momentum 0.9 (or AdamW); it rises for ``warmup`` steps and falls as a cosine.
        optimizer: "sgd", as in the paper, or "adamw".
        ema: decay of the weight average that is returned.
        seed: of weights and patches.
    """

    width: float = 0.25
    steps: int = 2000
    batch: int = 32
    lr: float = 0.02
    weight_decay: float = 5e-4
    warmup: int = 100
    optimizer: str = "sgd"
    ema: float = 0.995
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2 or not 0 < self.width <= 4 or self.optimizer not in OPTIMISERS:
            raise ConfigError(
                f"steps {self.steps}, batch {self.batch}, width {self.width}, optimizer {self.optimizer!r}; expected "
                f"at least 1 and 2, above 0 to 4, and {' or '.join(OPTIMISERS)}"
            )


@dataclass(frozen=True)
class CodedPictures:
    """Coded pictures and their full-reference quality.

    Attributes:
        pictures: (H, W, 3) uint8 RGB each, sides of at least 224.
        targets: (N,) float32, the DCT ratio of each whole picture, higher is worse.
    """

    pictures: Sequence[NDArray[np.uint8]]
    targets: NDArray[np.float32]

    def __post_init__(self) -> None:
        small = next((p.shape for p in self.pictures if min(p.shape[:2]) < PATCH), None)
        if small is not None or len(self.pictures) != len(self.targets) or not len(self.targets):
            raise ConfigError(
                f"{len(self.pictures)} pictures{'' if small is None else f', one of {small[1]}x{small[0]}'}, "
                f"{len(self.targets)} targets; expected as many, at least one, of {PATCH}x{PATCH} samples at least"
            )

    def draw(self, rng: np.random.Generator, batch: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """A random patch of random pictures, (batch, 224, 224, 3), and the pictures' targets, (batch, 1)."""
        chosen = rng.integers(len(self.pictures), size=batch)
        patches = [_random_patch(self.pictures[int(i)], rng) for i in chosen]
        return np.stack(patches), self.targets[chosen][:, None].astype(np.float32)


def _random_patch(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    y, x = (int(rng.integers(side - PATCH + 1)) for side in picture.shape[:2])
    return picture[y : y + PATCH, x : x + PATCH]


class QualityNetwork(nn.Module):
    """Five convolutions and four fully connected layers, in the proportions of AlexNet.

    The fully connected layers are written as convolutions, the first over the 6×6 positions that a patch of 224×224
    leaves: one patch gives one number, and a larger picture one at each place, which is the same arithmetic.
    """

    offset: Tensor
    spread: Tensor

    def __init__(self, width: float = 0.25, offset: float = 0.0, spread: float = 1.0) -> None:
        super().__init__()
        c = [max(8, round(channels * width / 8) * 8) for channels in CHANNELS]
        h = [max(16, round(hidden * width / 2)) if width < 1 else hidden for hidden in HIDDEN]
        pool = nn.MaxPool2d(3, 2)
        self.body = nn.Sequential(
            *(_layer(3, c[0], 11, 4, 2), pool, _layer(c[0], c[1], 5, 1, 2), pool),
            *(_layer(c[1], c[2], 3, 1, 1), _layer(c[2], c[3], 3, 1, 1), nn.Conv2d(c[3], c[4], 3, 1, 1, bias=False)),
        )
        self.after = nn.Sequential(nn.BatchNorm2d(c[4]), nn.ReLU(), nn.MaxPool2d(3, 2))
        self.head = nn.Sequential(
            *(nn.Dropout(0.2), nn.Conv2d(c[4], h[0], 6), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(h[0], h[1], 1)),
            *(nn.ReLU(), nn.Conv2d(h[1], h[2], 1), nn.ReLU(), nn.Conv2d(h[2], 1, 1)),
        )
        self.register_buffer("offset", torch.tensor(float(offset)))
        self.register_buffer("spread", torch.tensor(float(spread)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised RGB (N, 3, H, W), sides ≥ 224 → quality (N, h', w') and the last convolution's (N, C, h, w)."""
        maps = self.body(x)
        answer: Tensor = self.head(self.after(maps))[:, 0] * self.spread + self.offset
        return answer, maps


def _layer(inner: int, outer: int, kernel: int, stride: int, pad: int) -> nn.Sequential:
    conv = nn.Conv2d(inner, outer, kernel, stride, pad, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outer), nn.ReLU())


def train_quality(data: CodedPictures, config: QualityTraining, options: LoopOptions) -> QualityNetwork:
    """Train on random patches with the mean squared error; returns the weight average, in evaluation mode.

    Killed at any moment, the same call with ``options.resume`` goes on to the same weights. Raises as ``fit``.
    """
    offset, spread = float(data.targets.mean()), max(float(data.targets.std()), 1e-3)

    def prepare(rng: np.random.Generator) -> Prepared:
        patches, wanted = data.draw(rng, config.batch)
        return (*normalised(patches), wanted)

    def loss(network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        patches, wanted = batch
        found, _ = network(patches)
        # In units of the targets' deviation, so that one learning rate suits every scale.
        error: Tensor = (found[:, 0] - wanted) / spread
        return error.square().mean()

    torch.manual_seed(config.seed)
    network = QualityNetwork(config.width, offset, spread)
    schedule = Fit(
        config.steps, config.lr, config.weight_decay, config.warmup, config.ema, config.seed, config.optimizer
    )
    return fit(network, prepare, loss, schedule, options, asdict(config))


class DeployedQuality(nn.Module):
    """RGB 0..255 in, quality and a map of how far each place's activations are from the usual out."""

    mean: Tensor
    scale: Tensor

    def __init__(self, network: QualityNetwork) -> None:
        super().__init__()
        from models.train.data import MEAN, STD

        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("scale", 1.0 / torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) float32 RGB 0..255, sides ≥ 224 → (N, h', w') quality and (N, h, w) activation, at least 0."""
        quality, maps = self.network((image - self.mean) * self.scale)
        centred = maps - maps.mean(dim=(2, 3), keepdim=True)
        usual = (centred * centred).mean(dim=(2, 3), keepdim=True).sqrt() + 1e-6
        return quality, (centred.abs() / usual).mean(dim=1)


def export_quality(network: QualityNetwork, path: Path, notes: Mapping[str, Any]) -> None:
    """Write the network as ONNX that ``models.quality.QualityModel`` runs, opset 17, dynamic N, H, W.

    ``notes`` join the metadata as ``mrdo.<key>``. The file appears only when it is complete.
    """
    deployed = DeployedQuality(network.float()).eval().cpu().to(memory_format=torch.contiguous_format)
    stated = {**CONTRACT, **{f"mrdo.{k}": str(v) for k, v in notes.items()}, "mrdo.task": TASK}
    axes = {"image": IMAGE_AXES, QUALITY: {0: "N", 1: "h1", 2: "w1"}, ACTIVATIONS: {0: "N", 1: "h", 2: "w"}}
    write_onnx(deployed, path, (torch.rand(2, 3, PATCH + 32, PATCH + 64) * 255,), axes, stated)

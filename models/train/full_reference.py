"""Full-reference networks in the manner of arXiv 2411.06776: features of both pictures, compared, then a small head.

One backbone, shared, sees the original and the reconstruction. Their feature maps and the absolute difference are
pooled and a perceptron of one hidden layer predicts what the coding did to a machine's result. Targets are losses
throughout: 0 for a perfect reconstruction, higher is worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from encoder_bridge.errors import ConfigError, ToolNotFoundError
from encoder_bridge.registry import Registry
from models.train.data import MEAN, STD
from models.train.export import IMAGE_AXES, write_onnx
from models.train.fitting import Fit, Prepared, fit
from models.train.trainer import LoopOptions

__all__ = [
    "BACKBONES",
    "FullReference",
    "FullReferenceConfig",
    "LoopOptions",
    "PairSource",
    "export_full_reference",
    "predict",
    "train_full_reference",
]

PAIR = ("original", "reconstruction")

Pictures = NDArray[np.uint8]
"""(N, S, S, 3) uint8 RGB."""


class Backbone(Protocol):
    """A feature extractor: normalised RGB (N, 3, H, W) → (N, ``channels``, H / ``stride``, W / ``stride``)."""

    channels: int
    stride: int


BACKBONES: Registry[Callable[[], nn.Module]] = Registry("backbone")
"""Factories of ``Backbone`` modules."""


@dataclass(frozen=True)
class FullReferenceConfig:
    """What a training is; recorded in the checkpoint.

    Attributes:
        backbone: registered feature extractor.
        side: side of the square pictures in pixels, what ``PairSource.draw`` gives.
        targets: numbers predicted for each pair.
        hidden: width of the head's hidden layer.
        steps, batch: length of the learning-rate schedule in optimiser steps, pairs in each.
        lr, weight_decay: AdamW's; the rate rises for ``warmup`` steps and falls as a cosine to 1 % of itself.
        ema: decay of the weight average that is returned.
        seed: of weights and samples.
    """

    backbone: str = "mobilenet-v3-small"
    side: int = 64
    targets: int = 1
    hidden: int = 64
    steps: int = 1000
    batch: int = 32
    lr: float = 1e-3
    weight_decay: float = 0.02
    warmup: int = 50
    ema: float = 0.995
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.targets, self.hidden) < 1 or self.batch < 2 or self.side < 16:
            raise ConfigError(
                f"steps {self.steps}, targets {self.targets}, hidden {self.hidden}, batch {self.batch}, side "
                f"{self.side}; expected at least 1, 1, 1, 2 and 16"
            )
        BACKBONES.get(self.backbone)


class PairSource(Protocol):
    """Training pairs; the same generator state gives the same batch."""

    def __len__(self) -> int:
        """Number of different pairs, for progress and cards."""

    def draw(self, rng: np.random.Generator, batch: int) -> tuple[Pictures, Pictures, NDArray[np.float32]]:
        """Originals and reconstructions, (batch, S, S, 3) uint8 RGB, and losses (batch,) or (batch, T) float32."""


class FullReference(nn.Module):
    """Pair of normalised pictures → (N, targets) predicted losses, higher worse, about the range of the targets."""

    def __init__(self, backbone: str = "mobilenet-v3-small", targets: int = 1, hidden: int = 64) -> None:
        super().__init__()
        self.backbone = BACKBONES.get(backbone)()
        channels = int(self.backbone.channels)  # type: ignore[arg-type]
        self.head = nn.Sequential(
            nn.Linear(3 * channels, hidden), nn.ReLU(inplace=True), nn.Dropout(0.1), nn.Linear(hidden, targets)
        )

    def forward(self, original: Tensor, reconstruction: Tensor) -> Tensor:
        """Normalised RGB (N, 3, H, W) twice → (N, targets)."""
        count = original.shape[0]
        # Both in one batch: normalisation layers then see one distribution.
        features = self.backbone(torch.cat([original, reconstruction]))
        seen, coded = features[:count], features[count:]
        compared = torch.cat([seen, coded, (seen - coded).abs()], dim=1)
        answer: Tensor = self.head(compared.mean(dim=(2, 3)))
        return answer


def train_full_reference(
    config: FullReferenceConfig, source: PairSource, options: LoopOptions, network: nn.Module | None = None
) -> nn.Module:
    """Train on the pairs of ``source`` and return the weight average, in evaluation mode on the CPU.

    Args:
        config: see there.
        source: see there; every step draws from a generator seeded by (seed, step).
        options: folder of the checkpoint, device, threads, minutes, resume, report (events "step").
        network: another module of the same call (pair → (N, targets)) instead of ``FullReference``.

    Killed at any moment, the same call with ``options.resume`` goes on to the same weights. Raises ConfigError for a
    checkpoint of another network or a source whose targets do not fit, DeviceError for an absent device.
    """

    def prepare(rng: np.random.Generator) -> Prepared:
        originals, coded, targets = source.draw(rng, config.batch)
        wanted = np.asarray(targets, np.float32).reshape(len(originals), -1)
        if wanted.shape[1] != config.targets:
            raise ConfigError(f"pairs with {wanted.shape[1]} targets each; expected {config.targets}")
        return (*normalised(originals), *normalised(coded), wanted)

    def loss(module: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        original, coded, wanted = batch
        return smooth_l1_loss(module(original, coded).float(), wanted, beta=0.1)

    torch.manual_seed(config.seed)
    made = network or FullReference(config.backbone, config.targets, config.hidden)
    schedule = Fit(config.steps, config.lr, config.weight_decay, config.warmup, config.ema, config.seed)
    return fit(made, prepare, loss, schedule, options, asdict(config))


def normalised(pictures: Pictures) -> tuple[NDArray[np.float32]]:
    """(N, H, W, 3) uint8 RGB → (N, 3, H, W) float32 of about zero mean and unit deviation, in a tuple."""
    values = (pictures.astype(np.float32) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return (np.ascontiguousarray(values.transpose(0, 3, 1, 2), np.float32),)


@torch.no_grad()
def predict(network: nn.Module, originals: Pictures, reconstructions: Pictures, batch: int = 64) -> NDArray[np.float64]:
    """(N, targets) float64 predicted losses of pairs (N, S, S, 3) uint8 RGB; the network in evaluation mode."""
    network.eval()
    parts = []
    for start in range(0, len(originals), batch):
        pair = (normalised(p[start : start + batch])[0] for p in (originals, reconstructions))
        parts.append(network(*(torch.from_numpy(p) for p in pair)).double().numpy())
    return np.concatenate(parts)


class DeployedPair(nn.Module):
    """RGB in 0..255 of both pictures → (N,) predicted loss: normalisation inside, one of the targets."""

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, target: int = 0) -> None:
        super().__init__()
        self.network, self.target = network, target
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("scale", 1.0 / torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, original: Tensor, reconstruction: Tensor) -> Tensor:
        """(N, 3, H, W) float32 RGB 0..255 twice → (N,)."""
        seen, coded = ((x - self.mean) * self.scale for x in (original, reconstruction))
        answer: Tensor = self.network(seen, coded)[:, self.target]
        return answer


def export_full_reference(network: nn.Module, path: Path, notes: Mapping[str, Any], target: int = 0) -> None:
    """Write a pair network (evaluation mode, normalised inputs) as ONNX that ``models.block_model.BlockModel`` runs.

    Two inputs ``original`` and ``reconstruction``, (N, 3, H, W) float32 RGB 0..255, dynamic N, H, W; one output
    ``loss`` (N,), higher worse: the target of index ``target``. Opset 17. ``notes`` join the metadata as
    ``mrdo.<key>``. The file appears only when it is complete.
    """
    export_pair(DeployedPair(network.float(), target), path, "loss", {0: "N"}, notes)


def export_pair(
    deployed: nn.Module, path: Path, output: str, axes: Mapping[int, str], notes: Mapping[str, Any]
) -> None:
    """Write a module of two pictures in RGB 0..255 as ONNX; ``axes`` names the output's dynamic axes."""
    deployed = deployed.eval().cpu().to(memory_format=torch.contiguous_format)
    example = (torch.rand(2, 3, 96, 128) * 255, torch.rand(2, 3, 96, 128) * 255)
    metadata = {**CONTRACT, **{f"mrdo.{k}": str(v) for k, v in notes.items()}}
    write_onnx(deployed, path, example, {**dict.fromkeys(PAIR, IMAGE_AXES), output: axes}, metadata)


CONTRACT = {
    "mrdo.task": "full-reference",
    "mrdo.layout": "NCHW",
    "mrdo.color": "RGB",
    "mrdo.range": "0..255",
    "mrdo.mean": "0,0,0",
    "mrdo.std": "1,1,1",
}
"""Metadata of every pair network; mean and std are identity because they are inside."""


class _Features(nn.Module):
    """A chain of layers with what ``Backbone`` promises."""

    def __init__(self, layers: nn.Module, channels: int, stride: int) -> None:
        super().__init__()
        self.layers = layers
        self.channels, self.stride = channels, stride

    def forward(self, x: Tensor) -> Tensor:
        """See ``Backbone``."""
        found: Tensor = self.layers(x)
        return found


@BACKBONES.register("mobilenet-v3-small")
def mobilenet_small() -> nn.Module:
    """MobileNetV3-small (arXiv 1905.02244) without its classifier, from scratch: 576 channels at stride 32."""
    try:
        from torchvision.models import mobilenet_v3_small as build
    except ImportError as error:
        raise ToolNotFoundError(f"{error.name} is missing; run: pip install 'machine-rdo[train]'") from error
    return _Features(build(weights=None).features, 576, 32)


@BACKBONES.register("lite0")
def lite0() -> nn.Module:
    """EfficientNet-Lite0 (arXiv 1905.11946) up to its 112 channels at stride 16, with ImageNet weights."""
    from models.train.lite import lite0_blocks

    stem, blocks = lite0_blocks(10)
    return _Features(nn.Sequential(stem, *blocks), 112, 16)

"""Training of the learned map (design §5.4): it predicts the share of the loss that each block's error caused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from encoder_bridge.errors import ConfigError
from models.map_model import STATISTICS, VARIANTS
from models.train.fitting import Fit, fit
from models.train.map_nets import MAP_NETS
from models.train.trainer import LoopOptions
from models.zoo.weights import read_checkpoint

BLOCK = 8
"""Samples of a half-size picture per block of 16 luma samples."""


@dataclass(frozen=True)
class MapTraining:
    """What a training of a map network is.

    Attributes:
        variant: registered map network.
        steps, batch, lr, weight_decay, ema, seed: of the schedule.
        crop: blocks (h, w) of the windows that are learned from; whole pictures where they are smaller.
        sigma: Gaussian over the labels, in blocks.
        init: checkpoint of a segmentation network on the same backbone, whose first layers are started from.
        coarse: share of the loss on 32×32 groups, the size that encoders signal, beside 16×16 blocks.
    """

    variant: str = "image"
    steps: int = 1500
    batch: int = 8
    lr: float = 1e-3
    weight_decay: float = 0.02
    ema: float = 0.997
    seed: int = 0
    crop: tuple[int, int] = (20, 28)
    sigma: float = 1.0
    coarse: float = 0.5
    init: str | None = None


class MapLabels:
    """Sets of labelled pictures in memory.

    Args:
        files: ``.npz`` as ``mrdo train map`` makes them: ``original``, ``reconstruction`` (T, h, w, 3) uint8 at half
            size, ``attribution`` and ``squared_error`` (T, h/8, w/8), ``statistics`` (T, planes, h/8, w/8), ``qp`` (T,)
            float32.
        sigma: Gaussian over attribution and squared error, in blocks.

    Raises ConfigError where there is no file.
    """

    def __init__(self, files: Sequence[Path], sigma: float) -> None:
        if not files:
            raise ConfigError("no label files for the map; expected at least one .npz")
        self.sets = [self._load(path, sigma) for path in files]
        self.sizes = [len(s["original"]) for s in self.sets]

    def __len__(self) -> int:
        return sum(self.sizes)

    @staticmethod
    def _load(path: Path, sigma: float) -> dict[str, NDArray[Any]]:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        spread = (0, sigma, sigma)
        caused = np.maximum(gaussian_filter(arrays.pop("attribution"), spread), 0)
        arrays["error"] = gaussian_filter(arrays.pop("squared_error"), spread) + np.float32(1)
        arrays["caused"] = caused.astype(np.float32)
        return arrays

    def draw(self, rng: np.random.Generator, config: MapTraining) -> tuple[NDArray[Any], ...]:
        """One batch: the variant's inputs, loss caused and squared error plus 1, both (N, 1, b, b')."""
        items = [self._item(rng, config) for _ in range(config.batch)]
        return tuple(np.ascontiguousarray(np.stack(column), dtype=np.float32) for column in zip(*items, strict=True))

    def _item(self, rng: np.random.Generator, config: MapTraining) -> tuple[NDArray[Any], ...]:
        chosen = self.sets[rng.choice(len(self.sets), p=np.array(self.sizes) / len(self))]
        index = int(rng.integers(len(chosen["original"])))
        caused, error = chosen["caused"][index], chosen["error"][index]
        high, wide = (min(a, b) for a, b in zip(config.crop, error.shape, strict=True))
        top, left = rng.integers(error.shape[0] - high + 1), rng.integers(error.shape[1] - wide + 1)
        blocks = np.s_[..., top : top + high, left : left + wide]
        flip = np.s_[..., ::-1] if rng.random() < 0.5 else np.s_[...]
        if config.variant == "head":
            inputs = [chosen["statistics"][index][blocks]]
        else:
            pixels = np.s_[top * BLOCK : (top + high) * BLOCK, left * BLOCK : (left + wide) * BLOCK]
            shown = ("original", "reconstruction") if config.variant == "pass" else ("original",)
            light = _light(rng)
            inputs = [light(p) for p in _filled([chosen[k][index][pixels] for k in shown], high, wide)]
        return (*(i[flip] for i in inputs), chosen["qp"][index], caused[None][blocks][flip], error[None][blocks][flip])


def _filled(pictures: Sequence[NDArray[Any]], high: int, wide: int) -> list[NDArray[np.float32]]:
    """(3, high·8, wide·8): what a picture's size leaves of its last blocks is filled with its edge."""
    missing = [(0, side * BLOCK - have) for side, have in zip((high, wide), pictures[0].shape[:2], strict=True)]
    return [np.pad(p, (*missing, (0, 0)), mode="edge").transpose(2, 0, 1).astype(np.float32) for p in pictures]


def _light(rng: np.random.Generator) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    gain = (1 + rng.uniform(-0.08, 0.08, (3, 1, 1))) * (1 + rng.uniform(-0.25, 0.25))
    offset = rng.uniform(-25, 25)

    def changed(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.clip((picture - 118) * gain + 118 + offset, 0, 255).astype(np.float32)

    return changed


def share_loss(log_weights: Tensor, caused: Tensor, error: Tensor) -> Tensor:
    """−Σ pᵢ·log softmax(oᵢ + log eᵢ), p = caused / Σ caused: which blocks' errors cost what, whatever the total.

    Args:
        log_weights: (N, 1, h, w) o; exp(o) is the loss per squared error.
        caused: (N, 1, h, w) loss that each block's error caused, ≥ 0.
        error: (N, 1, h, w) squared error plus 1.

    Returns:
        (N, 1) nats above the entropy of p, ≥ 0, 0 for a perfect prediction; 0 where nothing was caused.
    """
    share = (log_weights + error.log()).flatten(2).log_softmax(-1)
    flat = caused.flatten(2)
    p = flat / flat.sum(-1, keepdim=True).clamp_min(1e-12)
    return -(p * (share - p.clamp_min(1e-12).log())).sum(-1)


def train_map(labels: MapLabels, config: MapTraining, options: LoopOptions) -> nn.Module:
    """Train a map network; returns its weight average. See ``fit`` for options and errors."""
    torch.manual_seed(config.seed)
    network: nn.Module = MAP_NETS.get(config.variant)()
    if config.init is not None:
        warm_start(network, Path(config.init))
    schedule = Fit(config.steps, config.lr, config.weight_decay, min(100, config.steps // 10), config.ema, config.seed)
    description: Mapping[str, Any] = asdict(config)

    def loss(module: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        *inputs, caused, error = batch
        return _loss(module(*inputs), caused, error, config)

    return fit(network, lambda rng: labels.draw(rng, config), loss, schedule, options, description)


def warm_start(network: nn.Module, checkpoint: Path) -> None:
    """Give stem and blocks the weights that a segmentation network (``mrdo train --arch fpn-lite0``) ended with.

    Raises ModelError for a file that is no checkpoint, ConfigError for one of another backbone.
    """
    stored = read_checkpoint(checkpoint).get("average", {})
    own = network.state_dict()
    shared = {k: stored[f"backbone.{k}"] for k in own if f"backbone.{k}" in stored}
    if not shared or any(shared[k].shape != own[k].shape for k in shared):
        raise ConfigError(f"--init {checkpoint}: not the backbone of this map network; expected --arch fpn-lite0")
    network.load_state_dict({**own, **shared})


def _loss(log_weights: Tensor, caused: Tensor, error: Tensor, config: MapTraining) -> Tensor:
    fine = share_loss(log_weights, caused, error)
    pool = torch.nn.functional.avg_pool2d
    weighed = torch.log(pool((log_weights + error.log()).exp(), 2) / pool(error, 2))
    both = (1 - config.coarse) * fine + config.coarse * share_loss(weighed, pool(caused, 2), pool(error, 2))
    # The noisier a picture's labels are (nothing much was lost), the less they say.
    certain = caused.flatten(2).mean(-1).sqrt()
    return (both * certain).sum() / certain.sum().clamp_min(1e-6)


class DeployedMap(nn.Module):
    """Weights instead of their logarithms; their geometric mean is 1."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        """The variant's inputs, pictures as uint8, and QP (N,) → (N, 1, h, w) float32 > 0."""
        log_weights = self.network(*(i.float() for i in inputs))
        return torch.exp(log_weights - log_weights.mean(dim=(2, 3), keepdim=True))


def export_map(network: nn.Module, variant: str, path: Path, notes: Mapping[str, Any]) -> None:
    """Write a map network as ONNX for ``models.map_model.MapModel``: opset 17, dynamic N, h, w.

    ``notes`` join the metadata as ``mrdo.<key>``. The file appears only when it is complete.
    """
    from models.train.export import IMAGE_AXES, write_onnx

    names = (*VARIANTS[variant], "qp")
    deployed = DeployedMap(network.float()).eval().cpu().to(memory_format=torch.contiguous_format)
    picture = torch.randint(0, 256, (1, 3, 90, 120), dtype=torch.uint8)
    shown = (torch.rand(1, STATISTICS, 23, 30),) if variant == "head" else (picture,) * len(VARIANTS[variant])
    metadata = {"mrdo.task": "map", "mrdo.map": variant, **{f"mrdo.{k}": str(v) for k, v in notes.items()}}
    axes = {**dict.fromkeys(names, IMAGE_AXES), "qp": {0: "N"}, "weight": IMAGE_AXES}
    write_onnx(deployed, path, (*shown, torch.tensor([35.0])), axes, metadata)

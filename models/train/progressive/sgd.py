"""One leg of a training: epochs of mini-batch SGD, the learning rate falling as a polynomial from its start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from encoder_bridge.errors import ConfigError
from models.train import data as td

AUXILIARY = 0.4
Pictures = Sequence[NDArray[np.uint8]]
"""Training pictures by index, (H, W, 3) uint8 RGB each; may lie on disk."""


@dataclass(frozen=True)
class SgdConfig:
    """The optimiser of seed 001, §III-C: SGD, mini-batch 4, polynomial decay 0.9.

    The paper prints the learning rate as "10^4", a power of ten that lost its sign. 1e-2 is the rate that
    mmsegmentation, which the paper used, ships for its network.

    Attributes:
        lr: learning rate at the start of each leg.
        momentum, weight_decay: mmsegmentation's.
        power: lr · (1 − t)^power, t from 0 to 1 over a leg.
        batch: pictures a step; what is left of an epoch is spread over the steps of the next.
        crop: side of the training crops.
        scale: range of the random resize before the crop.
        class_power: class weights are frequency^−class_power; 0 for none.
        classes: names in label order.
        seed: of order and augmentation.
        bf16: compute in bfloat16 where the operator allows it.
        patience, tolerance: a leg has converged when the epoch's loss has not fallen by this share for so many epochs.
    """

    classes: tuple[str, ...]
    lr: float = 1e-2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    power: float = 0.9
    batch: int = 4
    crop: int = 352
    scale: tuple[float, float] = (0.75, 1.5)
    class_power: float = 0.2
    seed: int = 0
    bf16: bool = False
    patience: int = 3
    tolerance: float = 0.005

    def __post_init__(self) -> None:
        if not self.lr > 0 or self.batch < 2 or self.crop < 32:
            raise ConfigError(f"lr {self.lr}, batch {self.batch}, crop {self.crop}; expected above 0, from 2, from 32")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ConfigError(f"scale {self.scale}; expected two numbers above 0, the smaller one first")


@dataclass(frozen=True)
class Material:
    """What an epoch learns from.

    Attributes:
        pictures: one sequence for each way the pictures were distorted; each picture of an epoch draws one of them.
        labels: (H, W) uint8 of each picture, 255 ignored.
    """

    pictures: tuple[Pictures, ...]
    labels: Sequence[NDArray[np.uint8]]


@dataclass
class Progress:
    """Where a leg stands.

    Attributes:
        losses: mean loss of each epoch so far.
    """

    losses: list[float] = field(default_factory=list)

    def converged(self, patience: int, tolerance: float) -> bool:
        """Whether the least loss of the last ``patience`` epochs is not below the least before by that share."""
        if len(self.losses) <= patience:
            return False
        return min(self.losses[-patience:]) > (1 - tolerance) * min(self.losses[:-patience])


class SgdTrainer:
    """A network in training, with optimiser; every epoch is a function of (seed, key) and the state before it."""

    def __init__(
        self, network: nn.Module, config: SgdConfig, labels: Sequence[NDArray[np.uint8]], device: torch.device
    ) -> None:
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config, self.device = config, device
        self.optimiser = torch.optim.SGD(
            self.network.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
        samples = td.Samples(images=[], labels=list(labels))
        weights = td.class_weights([samples], len(config.classes), config.class_power)
        self._weights = torch.from_numpy(weights).to(device)
        self._augment = td.Augment(crop=config.crop, scale=config.scale, blur=0.3, noise=0.0, chroma420=0.0)

    def epoch(self, material: Material, key: Sequence[int], position: tuple[int, int]) -> float:
        """Go once through the pictures, as many as fill whole batches; returns the mean loss.

        Args:
            key: numbers that name this epoch among all; order and augmentation follow from them and the seed.
            position: (epoch of the leg from 0, epochs of the leg), from which the learning rate follows.
        """
        rng = np.random.default_rng([self.config.seed, *key])
        torch.manual_seed(int(rng.integers(2**62)))
        batches = _batches(rng.permutation(len(material.labels)), self.config.batch)
        seeds = rng.integers(2**62, size=len(batches))
        self.network.train()
        losses = []
        with ThreadPoolExecutor(1) as pool:
            draw: Callable[[int], Any] = lambda i: self._draw(material, batches[i], int(seeds[i]))  # noqa: E731
            pending = pool.submit(draw, 0)
            for index in range(len(batches)):
                images, labels = pending.result()
                if index + 1 < len(batches):
                    pending = pool.submit(draw, index + 1)
                part = (position[0] + index / len(batches)) / position[1]
                losses.append(self._step(images, labels, part))
        return float(np.mean(losses))

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])

    def _draw(self, material: Material, chosen: NDArray[np.int64], seed: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(seed)
        images, labels = [], []
        for index in chosen:
            pictures = material.pictures[int(rng.integers(len(material.pictures)))]
            picture = np.asarray(pictures[int(index)])
            image, label = td.augment_sample(picture, material.labels[int(index)], self._augment, rng)
            images.append(image)
            labels.append(label)
        pixels = torch.from_numpy(td.normalise(np.stack(images)).transpose(0, 3, 1, 2))
        return pixels.to(memory_format=torch.channels_last), torch.from_numpy(np.stack(labels).astype(np.int64))

    def _step(self, images: Tensor, labels: Tensor, part: float) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * (1 - part) ** self.config.power
        images, labels = images.to(self.device), labels.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            outputs = self.network(images)
        loss = self._loss(outputs, labels)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        return float(loss.detach())

    def _loss(self, outputs: Sequence[Tensor], labels: Tensor) -> Tensor:
        total = torch.zeros((), device=self.device)
        for index, logits in enumerate(outputs):
            full = interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
            value = cross_entropy(full, labels, self._weights, ignore_index=td.IGNORE)
            total = total + value * (1.0 if index == 0 else AUXILIARY)
        return total


def _batches(order: NDArray[np.int64], batch: int) -> list[NDArray[np.int64]]:
    """Mini-batches of an epoch, all of one size; what is left over waits for another epoch's order."""
    count = max(1, len(order) // batch)
    return [np.asarray(part) for part in np.array_split(order[: max(batch, count * batch)], count)]

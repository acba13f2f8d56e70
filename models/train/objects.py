"""Training of the object tasks' networks and of the metrics that predict what coding does to them.

Every training takes plain arrays, checkpoints into its folder, goes on from there and ends in an ONNX file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, nll_loss

from encoder_bridge.errors import ConfigError
from models.objects.types import ObjectSet, Rgb
from models.train.export import write_onnx
from models.train.fitting import Fit, Prepared, fit
from models.train.full_reference import CONTRACT, FullReferenceConfig, normalised, train_full_reference
from models.train.object_nets import CentreDetector, Deployed, FaceEmbedder, MarginSoftmax, PlateReader
from models.train.trainer import LoopOptions

STRIDE = 4
SIDES_WEIGHT = 4.0


@dataclass(frozen=True)
class TaskTraining:
    """Length of a task network's training.

    Attributes:
        steps, batch, lr: optimiser steps, pictures in each, peak learning rate.
        seed: of weights and samples.
    """

    steps: int
    batch: int = 32
    lr: float = 2e-3
    seed: int = 0

    def schedule(self) -> Fit:
        """AdamW, short warm-up, cosine."""
        return Fit(self.steps, self.lr, 0.02, min(50, self.steps // 4 + 1), 0.99, self.seed)


def train_detector(data: ObjectSet, training: TaskTraining, options: LoopOptions) -> nn.Module:
    """A centre-point detector of the set's classes; pictures may be mirrored. Raises ConfigError without objects."""
    _expect(data, "boxes")
    classes = max(len(data.names), int(data.labels.max()) + 1)

    def prepare(rng: np.random.Generator) -> Prepared:
        chosen = rng.integers(len(data.images), size=training.batch)
        flip = rng.random(training.batch) < 0.5
        made = [_detector_target(data, int(i), bool(f), classes) for i, f in zip(chosen, flip, strict=True)]
        heat, sides, weight = (np.stack(parts) for parts in zip(*made, strict=True))
        pictures = np.stack(
            [data.images[i][:, ::-1] if f else data.images[i] for i, f in zip(chosen, flip, strict=True)]
        )
        return (*normalised(pictures), heat, sides, weight)

    def loss(network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        pictures, heat, sides, weight = batch
        with _half(pictures):
            logits, found = network(pictures)
        return _focal(logits.float(), heat) + SIDES_WEIGHT * _giou_loss(found.float(), sides, weight)

    torch.manual_seed(training.seed)
    return fit(
        CentreDetector(classes), prepare, loss, training.schedule(), options, {"task": "detection", **vars(training)}
    )


def _detector_target(
    data: ObjectSet, index: int, mirrored: bool, classes: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Heatmap (classes, h, w), distances (4, h, w) and their weight (h, w) of one picture (arXiv 1909.00700)."""
    height, width = data.images.shape[1] // STRIDE, data.images.shape[2] // STRIDE
    heat = np.zeros((classes, height, width), np.float32)
    sides, weight = np.zeros((4, height, width), np.float32), np.zeros((height, width), np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32) * STRIDE + STRIDE / 2
    chosen = np.flatnonzero(data.image_of == index)
    areas = np.prod(data.boxes[chosen, 2:] - data.boxes[chosen, :2], axis=1)
    for k in chosen[np.argsort(-areas)]:
        x0, y0, x1, y1 = data.boxes[k]
        if mirrored:
            x0, x1 = data.images.shape[2] - x1, data.images.shape[2] - x0
        cx, cy = (np.floor(np.array([x0 + x1, y0 + y1]) / 2 / STRIDE) + 0.5) * STRIDE
        spread = np.maximum(np.array([x1 - x0, y1 - y0]) * 0.54 / 6, 0.6 * STRIDE)
        bump = np.exp(-((x - cx) ** 2 / spread[0] ** 2 + (y - cy) ** 2 / spread[1] ** 2) / 2)
        heat[data.labels[k]] = np.maximum(heat[data.labels[k]], bump)
        near = bump > 0.3
        sides[:, near] = np.stack([x - x0, y - y0, x1 - x, y1 - y])[:, near]
        weight[near] = bump[near] / bump[near].sum()
    return heat, np.maximum(sides, 0.5), weight


def _half(pictures: Tensor) -> torch.autocast:
    """bfloat16 for plain convolutions: twice as quick, to no harm of these networks."""
    return torch.autocast(pictures.device.type, torch.bfloat16)


def _focal(logits: Tensor, heat: Tensor) -> Tensor:
    """Penalty-reduced focal loss (arXiv 1808.01244), per object."""
    p = torch.sigmoid(logits).clamp(1e-4, 1 - 1e-4)
    centre = (heat > 0.99).float()
    found = -((1 - p) ** 2 * p.log() * centre).sum()
    empty = -(p**2 * (1 - p).log() * (1 - heat) ** 4 * (1 - centre)).sum()
    return (found + empty) / centre.sum().clamp(min=1)


def _giou_loss(found: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """1 − GIoU (arXiv 1902.09630) of boxes given by distances from the same point."""
    both = torch.minimum(found, wanted)
    hull = torch.maximum(found, wanted)

    def area(d: Tensor) -> Tensor:
        return (d[:, 0] + d[:, 2]) * (d[:, 1] + d[:, 3])

    common = area(both)
    union = area(found) + area(wanted) - common
    giou = common / union - (area(hull) - union) / area(hull)
    return ((1 - giou) * weight).sum() / weight.sum().clamp(min=1e-6)


def train_reader(data: ObjectSet, alphabet: str, training: TaskTraining, options: LoopOptions) -> nn.Module:
    """A plate reader. Raises ConfigError for texts with characters outside ``alphabet``, or none."""
    _expect(data, "texts")
    strange = sorted({c for t in data.texts for c in t} - set(alphabet))
    if strange:
        raise ConfigError(f"plates with {''.join(strange)!r}; expected characters of {alphabet}")
    longest = max(len(t) for t in data.texts)
    codes = np.zeros((len(data.texts), longest), np.int64)
    for row, text in zip(codes, data.texts, strict=True):
        row[: len(text)] = [alphabet.index(c) + 1 for c in text]

    def prepare(rng: np.random.Generator) -> Prepared:
        chosen = rng.integers(len(codes), size=training.batch)
        return (*normalised(_shifted(data.images[data.image_of[chosen]], rng)), codes[chosen])

    def loss(network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        pictures, wanted = batch
        with _half(pictures):
            said = network(pictures)
        return nll_loss(said.float().flatten(0, 1), wanted.flatten())

    torch.manual_seed(training.seed)
    network = PlateReader(len(alphabet), longest, data.images.shape[2])
    config = {"task": "plate", "alphabet": alphabet, **vars(training)}
    return fit(network, prepare, loss, training.schedule(), options, config)


def _shifted(pictures: Rgb, rng: np.random.Generator, reach: int = 2) -> Rgb:
    """Every picture moved by up to ``reach`` samples each way."""
    side = pictures.shape[1:3]
    wide = np.pad(pictures, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    places = rng.integers(2 * reach + 1, size=(len(pictures), 2))
    return np.stack([p[y : y + side[0], x : x + side[1]] for p, (y, x) in zip(wide, places, strict=True)])


def train_embedder(data: ObjectSet, training: TaskTraining, options: LoopOptions) -> nn.Module:
    """A face embedder. Raises ConfigError for fewer than two identities."""
    _expect(data, "identities")
    people, labels = np.unique(data.labels, return_inverse=True)
    if len(people) < 2:
        raise ConfigError(f"{len(people)} identity; expected at least 2")

    def prepare(rng: np.random.Generator) -> Prepared:
        chosen = rng.integers(len(labels), size=training.batch)
        pictures = data.images[data.image_of[chosen]]
        flip = rng.random(training.batch) < 0.5
        pictures = np.where(flip[:, None, None, None], pictures[:, :, ::-1], pictures)
        return (*normalised(pictures), labels[chosen].astype(np.int64))

    def loss(network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        with _half(batch[0]):
            logits = network(*batch)
        return cross_entropy(logits.float(), batch[1])

    torch.manual_seed(training.seed)
    network = MarginSoftmax(FaceEmbedder(), len(people))
    trained: Any = fit(network, prepare, loss, training.schedule(), options, {"task": "face", **vars(training)})
    embedder: nn.Module = trained.embedder
    return embedder


@dataclass(frozen=True)
class CodedObjects:
    """Training pairs of a metric.

    Attributes:
        originals: (M, S, S, 3) uint8 RGB crops.
        coded: (P, S, S, 3) uint8 RGB crops.
        index: (P,) the original of each coded crop.
        targets: (P,) float32, higher is worse.
        mirror: whether a mirrored pair has the same target.
    """

    originals: Rgb
    coded: Rgb
    index: NDArray[np.int64]
    targets: NDArray[np.float32]
    mirror: bool = True

    def __len__(self) -> int:
        return len(self.coded)

    def draw(self, rng: np.random.Generator, batch: int) -> tuple[Rgb, Rgb, NDArray[np.float32]]:
        """See ``PairSource.draw``."""
        chosen = rng.integers(len(self.coded), size=batch)
        originals, coded = self.originals[self.index[chosen]], self.coded[chosen]
        if self.mirror:
            flip = (rng.random(batch) < 0.5)[:, None, None, None]
            originals = np.where(flip, originals[:, :, ::-1], originals)
            coded = np.where(flip, coded[:, :, ::-1], coded)
        return originals, coded, self.targets[chosen]


class Mixed:
    """Several sources, each equally often; the same generator state gives the same batch."""

    def __init__(self, sources: Sequence[CodedObjects]) -> None:
        self.sources = list(sources)

    def __len__(self) -> int:
        return sum(len(s) for s in self.sources)

    def draw(self, rng: np.random.Generator, batch: int) -> tuple[Rgb, Rgb, NDArray[np.float32]]:
        """See ``PairSource.draw``."""
        shares = np.diff(np.linspace(0, batch, len(self.sources) + 1).round().astype(int))
        parts = [s.draw(rng, int(n)) for s, n in zip(self.sources, shares, strict=True) if n]
        a, b, c = (np.concatenate(found) for found in zip(*parts, strict=True))
        return a, b, c


def train_metric(config: FullReferenceConfig, sources: Sequence[CodedObjects], options: LoopOptions) -> nn.Module:
    """The full-reference network of one task, or with several sources of all of them. See ``train_full_reference``."""
    return train_full_reference(config, sources[0] if len(sources) == 1 else Mixed(sources), options)


def export_task(network: nn.Module, path: Path, task: str, size: tuple[int, int], notes: Mapping[str, Any]) -> None:
    """Write a task network as ONNX for ``models.objects.tasks``: RGB 0..255 in, opset 17.

    Args:
        size: width and height of the example; the detector takes any (multiples of 16).
        notes: join the metadata as ``mrdo.<key>``.
    """
    outputs = {"detection": ["heatmap", "sides"], "face": ["embedding"], "plate": ["characters"]}[task]
    moving: dict[str, dict[int, str]] = {name: {0: "N"} for name in ("image", *outputs)}
    if task == "detection":
        moving["image"] |= {2: "H", 3: "W"}
        for name in outputs:
            moving[name] |= {2: "h", 3: "w"}
    deployed = Deployed(network.float()).eval().cpu().to(memory_format=torch.contiguous_format)
    stated = {f"mrdo.{k}": str(v) for k, v in {**notes, "task": task}.items()}
    write_onnx(deployed, path, (torch.rand(2, 3, size[1], size[0]) * 255,), moving, {**CONTRACT, **stated})


def _expect(data: ObjectSet, what: str) -> None:
    empty = not len(data.image_of) or (what == "texts" and not data.texts)
    if empty:
        raise ConfigError(f"no {what} to learn from in {len(data.images)} pictures")

"""Training data: folder pairs and procedural scenes, and the augmentation, all a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.train.reading import CACHE_BYTES, check_pair, open_pairs
from models.train.sources import IGNORE as IGNORE
from models.train.sources import PairFiles, match_folders

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
SCENE_SIZE = (480, 360)
FOCUS_PIXELS = 60

Image = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""
Labels = NDArray[np.uint8]
"""(H, W) uint8 class indices, 255 ignored."""


@dataclass(frozen=True)
class Samples:
    """Images and labels, in memory or read when they are wanted."""

    images: Sequence[Image]
    labels: Sequence[Labels]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(number of images, 256) pixels of each label value; reads every label once."""
        return np.stack([np.bincount(label.ravel(), minlength=256) for label in self.labels])

    @cached_property
    def holders(self) -> list[tuple[int, NDArray[np.int64]]]:
        """Each class that occurs, with the indices of the images that show at least FOCUS_PIXELS of it."""
        columns = self.counts[:, :IGNORE].T
        found = [(index, np.flatnonzero(column >= FOCUS_PIXELS)) for index, column in enumerate(columns)]
        return [(index, images) for index, images in found if len(images)]

    def pair(self, index: int) -> tuple[Image, Labels]:
        """A picture and its labels. Raises ConfigError where their sizes differ."""
        image, label = self.images[index], self.labels[index]
        check_pair(image, label, f"{index} (in file order)")
        return image, label

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Augment:
    """Ranges of the random changes; every one is drawn per sample.

    Attributes:
        crop: side of the square crop in pixels.
        scale: smallest and largest resize factor before the crop, log-uniform.
        brightness, contrast, saturation, gain: half-widths; gain is per colour channel.
        gamma: half-width of the logarithm of a gamma curve.
        focus: share of the samples drawn for a class: the class first, all alike, then an image and a crop with it.
        blur: largest Gaussian σ in pixels, drawn for a fifth of the samples.
        noise: largest σ of Gaussian noise in 8-bit steps, drawn for a quarter of the samples.
        chroma420: share of the samples whose chroma passes through 4:2:0, as decoded video's does.
    """

    crop: int = 352
    scale: tuple[float, float] = (0.75, 1.9)
    brightness: float = 30.0
    contrast: float = 0.3
    saturation: float = 0.4
    gain: float = 0.08
    gamma: float = 0.45
    focus: float = 0.5
    blur: float = 1.0
    noise: float = 4.0
    chroma420: float = 0.8


def load_folder_pair(images: Path, labels: Path, classes: int) -> Samples:
    """Every image of ``images`` with the label image of the same stem in ``labels``, read when it is wanted.

    Label values of ``classes`` and above become 255 (ignored). Raises ConfigError for a missing folder, label or
    for sizes that differ.
    """
    return open_samples(match_folders(images, labels), classes)


def open_samples(files: PairFiles, classes: int, limit: int = CACHE_BYTES) -> Samples:
    """Samples behind a list of files; at most ``limit`` bytes of them stay in memory. Raises ConfigError."""
    pictures, labels = open_pairs(files, classes, limit)
    return Samples(pictures, labels)


def load_scenes(count: int, seed: int, classes: int, cache: Path, size: tuple[int, int] = SCENE_SIZE) -> Samples:
    """``count`` procedural street scenes (W, H) = ``size``, rendered once and kept in ``cache``; void is ignored."""
    path = cache / f"scenes_{count}_{size[0]}x{size[1]}_{seed}.npz"
    if not path.is_file():
        from models.scenes import render_frame

        pairs = [render_frame(seed + i, size[0], size[1]) for i in range(count)]
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, images=np.stack([p[0] for p in pairs]), labels=np.stack([p[1] for p in pairs]))
        partial.replace(path)
    with np.load(path) as stored:
        labels = np.where(stored["labels"] < classes, stored["labels"], IGNORE).astype(np.uint8)
        return Samples(list(stored["images"]), list(labels))


def normalise(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """(…, 3) RGB in 0..255 → float32 of zero mean and unit deviation."""
    return np.asarray((pixels.astype(np.float32) - np.array(MEAN, np.float32)) / np.array(STD, np.float32), np.float32)


def class_weights(sets: Sequence[Samples], classes: int, power: float = 0.2) -> NDArray[np.float32]:
    """(classes,) float32 weights ∝ frequency^−power, mean 1 over pixels; absent classes get the largest weight."""
    counts = np.zeros(256, np.int64)
    for samples in sets:
        counts += samples.counts.sum(axis=0)
    freq = counts[:classes] / max(1, counts[:classes].sum())
    weights = np.maximum(freq, 1e-4) ** -power
    return np.asarray(weights / (weights * freq).sum(), np.float32)


def draw_batch(
    real: Samples, scenes: Samples | None, fraction: float, batch: int, augment: Augment, seed: int, step: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The batch of one step, the same for the same arguments whatever ran before.

    Returns normalised RGB (N, 3, crop, crop) float32 and labels (N, crop, crop) int64 with 255 ignored.
    """
    rng = np.random.default_rng([seed, step])
    images, labels = [], []
    for slot in range(batch):
        source = scenes if scenes is not None and rng.random() < fraction else real
        index, focus = _epoch_index(len(source), batch, seed, step, slot), None
        if source.holders and rng.random() < augment.focus:
            focus, holders = source.holders[rng.integers(len(source.holders))]
            index = int(rng.choice(holders))
        image, label = augment_sample(*source.pair(index), augment, rng, focus)
        images.append(image)
        labels.append(label)
    pixels = normalise(np.stack(images))
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32), np.stack(labels).astype(np.int64)


def _epoch_index(size: int, batch: int, seed: int, step: int, slot: int) -> int:
    """Without replacement within each epoch, yet computable for any step alone."""
    epoch, position = divmod(step * batch + slot, size)
    order = np.random.default_rng([seed, 7919, epoch]).permutation(size)
    return int(order[position])


def augment_sample(
    image: Image, label: Labels, augment: Augment, rng: np.random.Generator, focus: int | None = None
) -> tuple[NDArray[np.float32], Labels]:
    """One random crop, (crop, crop, 3) float32 RGB in 0..255 and its labels; it shows class ``focus`` where given."""
    image, label = _scale_and_crop(image, label, augment, rng, focus)
    if rng.random() < 0.5:
        image, label = image[:, ::-1], label[:, ::-1]
    curve = np.linspace(0, 1, 256) ** np.exp(augment.gamma * rng.uniform(-1, 1))
    pixels = _jitter((curve * 255).astype(np.float32)[image], augment, rng)
    if rng.random() < 0.2:
        pixels = cv2.GaussianBlur(pixels, (0, 0), 0.3 + (augment.blur - 0.3) * rng.random())  # type: ignore[assignment]
    if rng.random() < 0.25:
        pixels = pixels + rng.standard_normal(pixels.shape, np.float32) * np.float32(augment.noise * rng.random())
    pixels = np.clip(pixels, 0, 255).astype(np.float32)
    if rng.random() < augment.chroma420:
        pixels = chroma_420(pixels)
    return pixels, label


def _scale_and_crop(
    image: Image, label: Labels, augment: Augment, rng: np.random.Generator, focus: int | None
) -> tuple[Image, Labels]:
    """Cut the source region first, then resize: only the crop's own pixels are ever resampled."""
    low, high = np.log(augment.scale)
    scale = float(np.exp(rng.uniform(low, high)))
    h, w = label.shape
    side_h, side_w = min(h, round(augment.crop / scale)), min(w, round(augment.crop / scale))
    y, x = _point(label, focus, rng)
    top, left = _start(y, side_h, h, rng), _start(x, side_w, w, rng)
    image, label = image[top : top + side_h, left : left + side_w], label[top : top + side_h, left : left + side_w]
    size = (min(augment.crop, round(side_w * scale)), min(augment.crop, round(side_h * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized: Any = cv2.resize(image, size, interpolation=how)
    mask: Any = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
    return _pad(resized, mask, augment.crop, rng)


def _point(label: Labels, focus: int | None, rng: np.random.Generator) -> tuple[int | None, int | None]:
    """A random pixel of the class, or nothing in particular."""
    places = np.flatnonzero(label == focus) if focus is not None else np.empty(0)
    if not len(places):
        return None, None
    y, x = divmod(int(rng.choice(places)), label.shape[1])
    return y, x


def _start(point: int | None, side: int, whole: int, rng: np.random.Generator) -> int:
    """First row (or column) of a random window of ``side`` that contains the point."""
    low = 0 if point is None else max(0, point - side + 1)
    high = whole - side if point is None else min(whole - side, point)
    return int(rng.integers(low, high + 1))


def _pad(image: Image, label: Labels, side: int, rng: np.random.Generator) -> tuple[Image, Labels]:
    missing = side - label.shape[0], side - label.shape[1]
    if not any(missing):
        return image, label
    top, left = int(rng.integers(missing[0] + 1)), int(rng.integers(missing[1] + 1))
    padded = np.empty((side, side, 3), np.uint8)
    padded[:] = np.round(MEAN)
    mask = np.full((side, side), IGNORE, np.uint8)
    inside = slice(top, top + label.shape[0]), slice(left, left + label.shape[1])
    padded[inside], mask[inside] = image, label
    return padded, mask


def _jitter(pixels: NDArray[np.float32], augment: Augment, rng: np.random.Generator) -> NDArray[np.float32]:
    grey = pixels.mean(axis=2, keepdims=True)
    saturation = 1 + augment.saturation * rng.uniform(-1, 1)
    gains = (1 + augment.contrast * rng.uniform(-1, 1)) * (1 + augment.gain * rng.uniform(-1, 1, 3))
    shift = augment.brightness * rng.uniform(-1, 1)
    centre = float(grey.mean())
    pixels = (grey + (pixels - grey) * np.float32(saturation) - np.float32(centre)) * gains.astype(np.float32)
    return (pixels + np.float32(centre + shift)).astype(np.float32)


def chroma_420(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """RGB (H, W, 3) in 0..255 with chroma averaged over 2×2 and interpolated back, as 4:2:0 video shows it."""
    h, w = pixels.shape[:2]
    ycc: Any = cv2.cvtColor(pixels / np.float32(255), cv2.COLOR_RGB2YCrCb)
    small = cv2.resize(ycc[:, :, 1:], ((w + 1) // 2, (h + 1) // 2), interpolation=cv2.INTER_AREA)
    ycc[:, :, 1:] = cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)
    rgb = cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB) * np.float32(255)
    clipped: NDArray[np.float32] = np.clip(rgb, 0, 255).astype(np.float32)
    return clipped

"""Pictures a small network is taught with: photographs and procedural scenes, rescaled and relit, all of one size."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]


def varied(pictures: Sequence[Rgb], size: tuple[int, int], zoom: tuple[float, float], seed: int) -> Rgb:
    """(T, H, W, 3) uint8: a random part of each picture at a random scale, with another light.

    Args:
        pictures: (h, w, 3) uint8 RGB of any sizes.
        size: (H, W) of the results.
        zoom: smallest and largest magnification, log-uniform; where the picture then is too small, it is magnified
            until it fills the result.
        seed: of everything random.
    """
    rng = np.random.default_rng([seed, 20201])
    return np.stack([_varied(picture, size, zoom, rng) for picture in pictures])


def fitted(pictures: Sequence[Rgb], size: tuple[int, int]) -> Rgb:
    """(T, H, W, 3) uint8: the middle of each picture in the proportions of ``size``, resized to it."""
    return np.stack([_cut(p, size, 1.0, (0.5, 0.5)) for p in pictures])


def _varied(picture: Rgb, size: tuple[int, int], zoom: tuple[float, float], rng: np.random.Generator) -> Rgb:
    factor = float(np.exp(rng.uniform(*np.log(zoom))))
    part = _cut(picture, size, factor, (rng.random(), rng.random())).astype(np.float32) / 255
    gamma, gain = np.exp(rng.uniform(-0.35, 0.35)), 1 + rng.uniform(-0.1, 0.1, 3)
    lit = part**gamma * gain
    grey = lit.mean(axis=2, keepdims=True)
    return np.asarray(np.clip((grey + (lit - grey) * rng.uniform(0.6, 1.4)) * 255 + 0.5, 0, 255), np.uint8)


def _cut(picture: Rgb, size: tuple[int, int], factor: float, place: tuple[float, float]) -> Rgb:
    """A window of size / factor samples, or of the whole width or height where that is smaller, brought to ``size``."""
    height, width = picture.shape[:2]
    factor = max(factor, size[0] / height, size[1] / width)
    h, w = min(height, round(size[0] / factor)), min(width, round(size[1] / factor))
    top, left = round((height - h) * place[0]), round((width - w) * place[1])
    window: Rgb = picture[top : top + h, left : left + w]
    if (h, w) == tuple(size):
        same: Rgb = np.array(window, np.uint8)
        return same
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(window, (size[1], size[0]), interpolation=how), np.uint8)

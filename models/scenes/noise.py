"""Seeded random streams and tileable noise, the raw material of every texture."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]


def stream(*keys: int) -> np.random.Generator:
    """An independent random generator named by integers (negative ones are folded), the same in every process."""
    folded = [2 * k if k >= 0 else -2 * k - 1 for k in keys]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(folded)))


@lru_cache(maxsize=64)
def tile(size: int, cells: int, key: int) -> FloatImage:
    """Smooth noise (size, size) float32, zero mean, unit variance, that repeats without a seam."""
    grid = stream(key, size, cells).standard_normal((cells, cells)).astype(np.float32)
    padded = np.pad(grid, 2, mode="wrap")
    step = size / cells
    axis = (np.arange(size, dtype=np.float32) + 0.5) / step - 0.5 + 2
    map_x, map_y = np.meshgrid(axis, axis)
    image = cv2.remap(padded, map_x, map_y, cv2.INTER_CUBIC)
    return np.asarray((image - image.mean()) / image.std(), np.float32)


@lru_cache(maxsize=32)
def fractal(size: int, first: int, octaves: int, key: int, decay: float = 0.6) -> FloatImage:
    """Sum of octaves of tileable noise (size, size) float32, zero mean, unit variance."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        total += decay**octave * tile(size, min(first << octave, size), key + octave)
    return np.asarray((total - total.mean()) / total.std(), np.float32)


@lru_cache(maxsize=32)
def padded(size: int, first: int, octaves: int, key: int, decay: float = 0.6) -> FloatImage:
    """``fractal`` with its first row and column again at the end, for sampling between the last and the first."""
    return np.pad(fractal(size, first, octaves, key, decay), ((0, 1), (0, 1)), mode="wrap")


def patch(rng: np.random.Generator, height: int, width: int, first: int = 4, octaves: int = 6) -> FloatImage:
    """A random (height, width) window of fractal noise, float32, about unit variance."""
    source = fractal(512, first, octaves, int(rng.integers(4)))
    y, x = rng.integers(512, size=2)
    rows = (np.arange(height) + y) % 512
    columns = (np.arange(width) + x) % 512
    return np.ascontiguousarray(source[np.ix_(rows, columns)])

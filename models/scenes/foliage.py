"""Trees and hedges as sprites: bare winter crowns, leafy crowns, conifers. A fixed library, drawn on first use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.labels import TREE
from models.scenes.canvas import CLEAR, Texture
from models.scenes.noise import patch, stream

TREE_COUNT = 30
_SIDE = 320


@dataclass(frozen=True)
class Tree:
    """A standing sprite: texture and the size (width, height) in metres of a middling specimen."""

    texture: Texture
    width: float
    height: float


@lru_cache(maxsize=TREE_COUNT)
def tree(index: int) -> Tree:
    """Tree ``index`` of the library (0 to TREE_COUNT - 1): a third each bare, leafy and evergreen."""
    rng = stream(72, index)
    kind = index % 3
    if kind == 0:
        return Tree(_bare(rng), 7.5, 9.0)
    if kind == 1:
        return Tree(_leafy(rng), 6.5, 7.5)
    return Tree(_conifer(rng), 4.2, 8.0)


@lru_cache(maxsize=8)
def hedge(index: int) -> Texture:
    """A long hedge (4 : 1), ragged at the top."""
    rng = stream(73, index)
    height, width = 128, 512
    top = 14 + 7 * patch(rng, 1, width, 32, 4)
    rows = np.arange(height, dtype=np.float32)[:, None]
    alpha = (np.clip(rows - top + 6 * patch(rng, height, width, 64, 3), 0, 1) * 255).astype(np.uint8)
    color = _leaves(rng, height, width, np.array([62, 70, 42]) * rng.uniform(0.7, 1.2))
    color *= np.linspace(1.25, 0.55, height, dtype=np.float32)[:, None, None]
    return _texture(color, alpha, 0.5)


def _texture(color: NDArray[np.floating], alpha: NDArray[np.uint8], cover: float) -> Texture:
    label = np.where(alpha > cover * 255, TREE, CLEAR).astype(np.uint8)
    return Texture.build(np.clip(color, 0, 255).astype(np.uint8), alpha, label)


def _leaves(rng: np.random.Generator, height: int, width: int, base: NDArray[np.float64]) -> NDArray[np.float32]:
    clumps = patch(rng, height, width, 16, 4)
    fine = patch(rng, height, width, 128, 3)
    tone = np.clip(1 + 0.35 * clumps + 0.34 * fine, 0.12, 2.6)[..., None]
    tint = np.stack([fine, clumps, -fine], axis=-1) * 5
    return (tone * base.astype(np.float32) + tint).astype(np.float32)


def _border(rng: np.random.Generator) -> NDArray[np.float32]:
    """1 inside, 0 near the sides and the top along a ragged line: no crown is cut off straight."""
    across = np.linspace(-1, 1, _SIDE, dtype=np.float32)[None]
    up = np.linspace(1, -1, _SIDE, dtype=np.float32)[:, None]
    reach = np.power(np.abs(across) ** 5 + np.maximum(up, 0) ** 5, 0.2) + 0.06 * patch(rng, _SIDE, _SIDE, 32, 4)
    inside: NDArray[np.float32] = np.clip((0.92 - reach) * 14, 0, 1)
    return inside


def _leafy(rng: np.random.Generator) -> Texture:
    rows, columns = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float32) / _SIDE
    field = np.full((_SIDE, _SIDE), -1.0, np.float32)
    light = np.zeros_like(field)
    for _ in range(22):
        cx, cy = 0.5 + rng.normal(0, 0.15), 0.36 + rng.normal(0, 0.12)
        radius = rng.uniform(0.1, 0.2)
        blob = 1 - np.hypot(columns - cx, (rows - cy) * 1.05) / radius
        light = np.where(blob > field, (cy - rows) / radius * 0.4, light)
        field = np.maximum(field, blob)
    field += 0.22 * patch(rng, _SIDE, _SIDE, 32, 4)
    base = np.array([74, 82, 46]) * rng.uniform(0.7, 1.15) + [rng.uniform(-8, 26), 0, 0]
    color = _leaves(rng, _SIDE, _SIDE, base) * (1 + 0.8 * light)[..., None]
    alpha = np.clip(field * 8, 0, 1) * _border(rng)
    wood = np.zeros((_SIDE, _SIDE), np.uint8)
    _grow(rng, wood, (_SIDE * 0.5, _SIDE - 1.0), (-np.pi / 2, _SIDE * 0.3, _SIDE * 0.028), 4)
    trunk = (wood > 0) & (alpha < 0.5)
    color[trunk] = np.array([62, 54, 46]) * rng.uniform(0.7, 1.2)
    alpha = np.maximum(alpha * 255, wood)
    return _texture(color, alpha.astype(np.uint8), 0.45)


def _bare(rng: np.random.Generator) -> Texture:
    wood = np.zeros((_SIDE * 2, _SIDE * 2), np.uint8)
    _grow(rng, wood, (float(_SIDE), _SIDE * 2 - 1.0), (-np.pi / 2, _SIDE * 0.44, _SIDE * 0.05), 9)
    alpha = cv2.resize(wood, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    haze = cv2.GaussianBlur(alpha, (0, 0), 5)
    twigs = (patch(rng, _SIDE, _SIDE, 128, 3) * 55 + 25).clip(0, 150) * np.clip(haze / 70.0, 0, 1)
    alpha = (np.maximum(alpha.astype(np.float32) * 1.15, twigs) * _border(rng)).clip(0, 255).astype(np.uint8)
    base = np.array([82, 72, 60]) * rng.uniform(0.7, 1.2)
    tone = 1 + 0.25 * patch(rng, _SIDE, _SIDE, 64, 4)
    color = (tone[..., None] * base).astype(np.float32)
    closed = cv2.GaussianBlur(alpha, (0, 0), 3.0)
    label = np.where((closed > 38) | (alpha > 150), TREE, CLEAR).astype(np.uint8)
    return Texture.build(np.clip(color, 0, 255).astype(np.uint8), alpha, label)


def _grow(
    rng: np.random.Generator,
    wood: NDArray[np.uint8],
    start: tuple[float, float],
    shoot: tuple[float, float, float],
    depth: int,
) -> None:
    """Branch (heading, length, thickness) from ``start``, then smaller ones from it, ``depth`` times."""
    heading, length, thick = shoot
    if depth == 0 or length < 3:
        return
    end = (start[0] + np.cos(heading) * length, start[1] + np.sin(heading) * length)
    points = [(int(p[0] * 8), int(p[1] * 8)) for p in (start, end)]
    cv2.line(wood, points[0], points[1], 255, max(round(thick), 1), cv2.LINE_AA, 3)
    for _ in range(3 if depth > 6 or rng.random() < 0.3 else 2):
        turned = heading + rng.normal(0, 0.42) - 0.06 * np.cos(heading)
        _grow(rng, wood, end, (turned, length * rng.uniform(0.62, 0.86), thick * 0.66), depth - 1)


def _conifer(rng: np.random.Generator) -> Texture:
    height, width = _SIDE, _SIDE * 4 // 8
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    columns = np.abs(np.linspace(-1, 1, width, dtype=np.float32))[None]
    outline = 0.1 + 0.78 * np.sqrt(rows) * np.clip((0.96 - rows) * 9, 0, 1)
    ragged = 0.14 * patch(rng, height, width, 32, 4)
    alpha = np.clip((outline + ragged - columns) * 14, 0, 1)
    base = np.array([46, 54, 40]) * rng.uniform(0.6, 1.1)
    color = _leaves(rng, height, width, base) * (1.25 - 0.5 * rows)[..., None]
    middle = width // 2
    alpha[int(height * 0.85) :, middle - 5 : middle + 5] = 1
    return _texture(color, (alpha * 255).astype(np.uint8), 0.5)

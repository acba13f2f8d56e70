"""House fronts: walls of several materials, windows, shop fronts, signs. A fixed library, drawn on first use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.labels import BUILDING, SIGN
from models.scenes.canvas import Texture
from models.scenes.noise import patch, stream

FACADE_COUNT = 64
TEXELS = 26
"""Texels per metre."""

Image = NDArray[np.float32]
_BRICKS = ((118, 82, 68), (98, 74, 64), (150, 128, 98), (134, 116, 96), (86, 66, 60), (165, 146, 112))
_RENDERS = ((205, 202, 194), (190, 180, 158), (214, 206, 188), (168, 166, 162), (196, 176, 160), (150, 142, 128))
_SHOPS = ((40, 52, 86), (96, 30, 34), (30, 66, 48), (190, 188, 180), (36, 36, 38), (120, 100, 60), (60, 90, 120))


@dataclass(frozen=True)
class Facade:
    """A house front.

    Attributes:
        texture: its picture, one label per texel.
        width, height: metres.
        roof: colour of the roof above.
        pitched: whether a sloping roof shows above the eaves.
        wall: mean colour of the walls.
        side: plain wall, 9 m wide and as high as the front, for the end of a row.
    """

    texture: Texture
    width: float
    height: float
    roof: tuple[float, float, float]
    pitched: bool
    wall: tuple[float, float, float]
    side: Texture


@lru_cache(maxsize=FACADE_COUNT)
def facade(index: int) -> Facade:
    """House front ``index`` of the library (0 to FACADE_COUNT - 1)."""
    rng = stream(71, index)
    storeys = int(rng.choice([2, 3, 3, 4]))
    width, ground = float(rng.uniform(5.5, 13.0)), float(rng.uniform(3.0, 3.9))
    height = ground + (storeys - 1) * 2.9 + rng.uniform(0.3, 1.0)
    modern = rng.random() < 0.22
    size = (int(height * TEXELS), int(width * TEXELS))
    base = _base_color(rng, modern)
    wall = _wall(rng, size, base, modern)
    labels = np.full(size, BUILDING, np.uint8)
    rows = (height - ground, storeys - 1)
    (_bands if modern and rng.random() < 0.6 else _windows)(rng, wall, rows)
    if rng.random() < 0.68:
        _shop(rng, wall, labels, int(ground * TEXELS))
    else:
        _door_floor(rng, wall, int(ground * TEXELS))
    _weather(rng, wall)
    color = np.clip(cv2.GaussianBlur(wall, (0, 0), 0.7), 0, 255).astype(np.uint8)
    roof = np.array([70, 66, 66]) * rng.uniform(0.6, 1.3) + rng.normal(0, 5, 3) + [rng.choice([0, 30]), 0, -4]
    pitched = bool(not modern and rng.random() < 0.75)
    front, side = Texture.build(color, None, labels), _side(rng, height, base, modern)
    return Facade(front, width, height, tuple(roof), pitched, tuple(np.asarray(base) * 0.9), side)


def _side(rng: np.random.Generator, height: float, base: NDArray[np.float64], modern: bool) -> Texture:
    """End wall, often blind."""
    size = (int(height * TEXELS), 9 * TEXELS)
    wall = _wall(rng, size, base * rng.uniform(0.75, 1.0), modern)
    if rng.random() < 0.4:
        for top in np.arange(1.0, height - 4, 3.0):
            _window(rng, wall, (2.0, float(top), 1.0, 1.4), np.array([210.0, 208.0, 200.0]))
    _weather(rng, wall)
    return Texture.build(np.clip(wall, 0, 255).astype(np.uint8), None, np.full(size, BUILDING, np.uint8))


def _base_color(rng: np.random.Generator, modern: bool) -> NDArray[np.float64]:
    if modern:
        return np.array([120, 122, 124]) * rng.uniform(0.5, 1.6)
    family = _BRICKS if rng.random() < 0.58 else _RENDERS
    return np.array(family[rng.integers(len(family))]) * rng.uniform(0.85, 1.1) + rng.normal(0, 5, 3)


def _wall(rng: np.random.Generator, size: tuple[int, int], base: NDArray[np.float64], modern: bool) -> Image:
    height, width = size
    shade = 1 + 0.055 * patch(rng, height, width, 4, 6) + 0.04 * patch(rng, height, width, 64, 3)
    if not modern and base.max() < 172:
        shade *= _courses(rng, height, width)
    elif modern:
        step = int(TEXELS * rng.uniform(0.8, 1.6))
        shade[:, ::step] *= 0.75
        shade[::step] *= 0.8
    return (shade[..., None] * base.astype(np.float32)).astype(np.float32)


def _courses(rng: np.random.Generator, height: int, width: int) -> Image:
    """Brick by brick tone with mortar lines."""
    tall, wide = 4, 10
    rows, columns = height // tall + 1, width // wide + 2
    tones = (1 + 0.09 * rng.standard_normal((rows, columns))).astype(np.float32)
    grown = np.kron(tones, np.ones((tall, wide), np.float32))
    image = np.empty((height, width), np.float32)
    for row in range(rows):
        top, shift = row * tall, (row % 2) * wide // 2
        image[top : top + tall] = grown[top : top + min(tall, height - top), shift : shift + width]
        image[top : top + 1] *= 1.12
    return image


def _windows(rng: np.random.Generator, wall: Image, rows: tuple[float, int]) -> None:
    upper, storeys = rows
    width = wall.shape[1] / TEXELS
    count = max(int(width / rng.uniform(2.0, 3.2)), 1)
    wide, tall = rng.uniform(0.85, 1.35), rng.uniform(1.3, 1.8)
    frame = np.array([222, 220, 214]) * (rng.uniform(0.85, 1.05) if rng.random() < 0.75 else 0.25)
    pitch = upper / max(storeys, 1)
    for storey in range(storeys):
        top = (storey + 0.5) * pitch - tall * 0.42
        for column in range(count):
            left = (column + 0.5) * width / count - wide / 2
            _window(rng, wall, (left, top, wide, tall * (0.8 if storey == 0 and storeys > 2 else 1.0)), frame)
    if rng.random() < 0.5:
        _box(wall, (0, 0, width, 0.28), np.array([200, 196, 186]) * rng.uniform(0.4, 1.0))
    if rng.random() < 0.4:
        _box(wall, (0, upper - 0.15, width, 0.2), np.array([200, 196, 186]) * rng.uniform(0.5, 1.0))
    if rng.random() < 0.6:
        _box(wall, (rng.uniform(0, width), 0.2, 0.11, 20), np.array([50, 50, 52]))


def _window(
    rng: np.random.Generator, wall: Image, rect: tuple[float, float, float, float], frame: NDArray[np.float64]
) -> None:
    x, y, w, h = rect
    _box(wall, (x - 0.12, y - 0.28, w + 0.24, 0.24), np.array([176, 168, 152]) * rng.uniform(0.8, 1.1), 0.55)
    _box(wall, (x - 0.05, y - 0.05, w + 0.1, h + 0.1), frame)
    _glass(rng, wall, (x + 0.05, y + 0.05, w - 0.1, h - 0.1))
    _box(wall, (x + w / 2 - 0.03, y, 0.06, h), frame)
    _box(wall, (x, y + h / 2 - 0.03, w, 0.06), frame)
    _box(wall, (x - 0.1, y + h + 0.05, w + 0.2, 0.12), np.array([188, 182, 170]))
    _box(wall, (x - 0.1, y + h + 0.17, w + 0.2, 0.1), np.array([40, 38, 36]), 0.45)


def _glass(rng: np.random.Generator, wall: Image, rect: tuple[float, float, float, float]) -> None:
    x0, y0, x1, y1 = _texels(wall, rect)
    if x1 <= x0 or y1 <= y0:
        return
    top, bottom = rng.uniform(38, 120), rng.uniform(18, 50)
    ramp = np.linspace(top, bottom, y1 - y0, dtype=np.float32)[:, None, None] * np.array([0.92, 1.0, 1.1], np.float32)
    spots = 1 + 0.3 * patch(rng, y1 - y0, x1 - x0, 16, 4)[..., None]
    wall[y0:y1, x0:x1] = ramp * spots
    if rng.random() < 0.35:
        _box(
            wall,
            (x0 / TEXELS, y0 / TEXELS, (x1 - x0) / TEXELS, (y1 - y0) / TEXELS * rng.uniform(0.3, 0.9)),
            np.array([190, 186, 174]),
            0.6,
        )


def _bands(rng: np.random.Generator, wall: Image, rows: tuple[float, int]) -> None:
    upper, storeys = rows
    width = wall.shape[1] / TEXELS
    mullion, wide = rng.uniform(0.9, 1.8), rng.uniform(1.4, 2.1)
    pitch = upper / max(storeys, 1)
    for storey in range(storeys):
        top = (storey + 0.5) * pitch - wide / 2
        for left in np.arange(0.15, width - mullion * 0.6, mullion):
            _glass(rng, wall, (float(left), top, mullion - 0.1, wide))
        _box(wall, (0, top + wide, width, 0.12), np.array([150, 152, 155]))


def _shop(rng: np.random.Generator, wall: Image, labels: NDArray[np.uint8], ground: int) -> None:
    height, width = wall.shape[0], wall.shape[1] / TEXELS
    top = (height - ground) / TEXELS
    color = np.array(_SHOPS[rng.integers(len(_SHOPS))]) * rng.uniform(0.8, 1.25)
    _box(wall, (0, top + 0.25, width, ground / TEXELS), color)
    sign = (width * 0.06, top + 0.32, width * 0.88, rng.uniform(0.55, 0.8))
    _box(wall, sign, color * 0.7 if rng.random() < 0.6 else np.array([205, 200, 190]))
    _lettering(rng, wall, labels, sign)
    left = 0.3
    while left < width - 0.8:
        wide = min(float(rng.uniform(0.9, 2.8)), width - 0.25 - left)
        _glass(rng, wall, (left, top + 1.25, wide, ground / TEXELS - 1.7))
        _goods(rng, wall, (left, top + 1.7, wide, ground / TEXELS - 2.3))
        left += wide + 0.14
    if rng.random() < 0.25:
        _box(wall, (0.2, top + 0.95, width - 0.4, 0.7), rng.uniform(40, 190, 3))
    _box(wall, (0, height / TEXELS - 0.42, width, 0.42), color * 0.55)


def _lettering(
    rng: np.random.Generator, wall: Image, labels: NDArray[np.uint8], sign: tuple[float, float, float, float]
) -> None:
    x, y, w, h = sign
    x0, y0, x1, y1 = _texels(wall, sign)
    ground = float(wall[y0:y1, x0:x1].mean()) if x1 > x0 and y1 > y0 else 0.0
    ink = np.array([225, 220, 200]) if ground < 120 else np.array([40, 36, 50])
    start = x + w * rng.uniform(0.06, 0.3)
    end = x + w * rng.uniform(0.6, 0.94)
    first = start
    while start < end:
        if rng.random() < 0.85:
            _box(wall, (start, y + h * 0.28, 0.05, h * 0.45), ink)
            _box(wall, (start, y + h * rng.choice([0.28, 0.45, 0.66]), 0.17, h * 0.09), ink)
            if rng.random() < 0.6:
                _box(wall, (start + 0.14, y + h * 0.28, 0.04, h * 0.45), ink)
        start += rng.uniform(0.22, 0.3)
    if rng.random() < 0.35:
        a0, b0, a1, b1 = _texels(wall, (first - 0.2, y, end - first + 0.4, h))
        labels[b0:b1, a0:a1] = SIGN


def _goods(rng: np.random.Generator, wall: Image, rect: tuple[float, float, float, float]) -> None:
    x, y, w, h = rect
    for _ in range(int(w * 4)):
        tall = rng.uniform(0.15, 0.5) * h
        item = (x + rng.uniform(0, 0.85) * w, y + h - tall - rng.choice([0.0, 0.4]) * h, rng.uniform(0.08, 0.3), tall)
        _box(wall, item, rng.uniform(20, 150, 3), 0.6)


def _door_floor(rng: np.random.Generator, wall: Image, ground: int) -> None:
    height, width = wall.shape[0] / TEXELS, wall.shape[1] / TEXELS
    frame = np.array([215, 212, 205])
    spots = np.arange(0.6, width - 1.2, rng.uniform(1.9, 2.8))
    door = int(rng.integers(len(spots))) if len(spots) else -1
    for i, left in enumerate(spots):
        if i == door:
            _box(wall, (left - 0.12, height - 2.5, 1.24, 2.5), frame * 0.9)
            _box(wall, (left, height - 2.2, 1.0, 2.2), rng.uniform(15, 110, 3))
        else:
            _window(rng, wall, (float(left), height - 2.5, 1.2, 1.5), frame)
    if rng.random() < 0.5:
        _box(wall, (0, height - 0.5, width, 0.5), np.array([90, 86, 80]), 0.7)


def _weather(rng: np.random.Generator, wall: Image) -> None:
    height, width = wall.shape[:2]
    soot = 1 + 0.07 * patch(rng, height, width, 2, 3)
    streaks = cv2.GaussianBlur(rng.standard_normal((1, width)).astype(np.float32), (0, 0), 2.0)
    foot = np.linspace(0, 1, height, dtype=np.float32)[:, None] ** 6 * 0.22
    wall *= (soot * (1 + 0.06 * streaks) - foot)[..., None]
    wall += rng.standard_normal((height, width, 1)).astype(np.float32) * 3


def _box(
    wall: Image, rect: tuple[float, float, float, float], color: NDArray[np.floating], opacity: float = 1.0
) -> None:
    x0, y0, x1, y1 = _texels(wall, rect)
    if x1 > x0 and y1 > y0:
        area = wall[y0:y1, x0:x1]
        area[:] = area * np.float32(1 - opacity) + color.astype(np.float32) * np.float32(opacity)


def _texels(wall: Image, rect: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    x, y, w, h = rect
    corners = np.array([x, y, x + w, y + h]) * TEXELS
    x0, y0, x1, y1 = np.round(corners).clip(0, [wall.shape[1], wall.shape[0]] * 2).astype(int)
    return int(x0), int(y0), int(x1), int(y1)

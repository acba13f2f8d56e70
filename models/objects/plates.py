"""Rendered number plates with known text: glyph outlines, perspective, paint around the plate, light, blur, noise."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.objects.photo import photograph
from models.objects.types import ObjectSet, Rgb, whole_pictures
from models.scenes.noise import patch, stream

ALPHABET = "0123456789ABCDEFGHJKLMNPRSTUVWXYZ"
"""Characters of rendered plates; I, O and Q are left out, as many registries do."""
SIDE = 64
LENGTH = 7

_FONTS = (("DejaVu Sans Mono", "bold"), ("DejaVu Sans", "bold"), ("DejaVu Sans Mono", "normal"))
_GLYPH = 48
"""Height of a glyph bitmap in samples."""
_STYLES = (((236, 236, 230), (24, 24, 28)), ((240, 206, 60), (22, 22, 24)), ((28, 60, 140), (235, 235, 235)))
_SCALE = 3
"""Plates are drawn this many times larger and reduced, so that edges are those of a lens."""


def plate_pictures(seed: int, count: int, side: int = SIDE) -> ObjectSet:
    """``count`` square pictures of one plate each, with its text. Raises nothing for any seed."""
    images, texts = [], []
    for index in range(count):
        rng = stream(seed, 50, index)
        text = "".join(rng.choice(list(ALPHABET), size=LENGTH))
        images.append(draw_plate(rng, text, side))
        texts.append(text)
    return whole_pictures(np.stack(images), np.zeros(count, np.int64), tuple(texts))


def draw_plate(rng: np.random.Generator, text: str, side: int = SIDE) -> Rgb:
    """(side, side, 3) uint8 RGB of a plate that says ``text``, somewhat turned, on a painted surface."""
    large = side * _SCALE
    picture = _surface(rng, large)
    plate = _plate(rng, text)
    height, width = plate.shape[:2]
    target = _corners(rng, large, height / width)
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    cv2.warpPerspective(
        plate, matrix, (large, large), dst=picture, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_TRANSPARENT
    )
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return photograph(rng, np.asarray(small, np.uint8))


def _plate(rng: np.random.Generator, text: str) -> Rgb:
    """The plate from the front."""
    ground, ink = _STYLES[int(rng.choice(len(_STYLES), p=(0.5, 0.3, 0.2)))]
    font = int(rng.integers(len(_FONTS)))
    gap = int(rng.integers(3, 8))
    glyphs = [glyph(character, font) for character in text]
    width = sum(g.shape[1] for g in glyphs) + gap * (len(glyphs) - 1)
    edge = 10
    plate = np.empty((_GLYPH + 2 * edge, width + 3 * edge, 3), np.uint8)
    plate[:] = ground
    x = 3 * edge // 2
    for mask in glyphs:
        part = plate[edge : edge + _GLYPH, x : x + mask.shape[1]]
        share = mask[..., None] / 255.0
        part[:] = np.rint(part * (1 - share) + np.array(ink) * share)
        x += mask.shape[1] + gap
    cv2.rectangle(plate, (1, 1), (plate.shape[1] - 2, plate.shape[0] - 2), ink, 2, cv2.LINE_AA)
    return plate


@lru_cache(maxsize=256)
def glyph(character: str, font: int) -> NDArray[np.uint8]:
    """(48, w) uint8 cover of a character, 255 inside."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    family, weight = _FONTS[font]
    path = TextPath((0, 0), character, size=100, prop=FontProperties(family=family, weight=weight))
    # All characters of a plate are as tall, also those that a text font lets hang below the line.
    low, high = path.vertices.min(axis=0), path.vertices.max(axis=0)
    scale = np.array([(_GLYPH - 2) / 73, -(_GLYPH - 2) / (high[1] - low[1])])
    width = int(np.ceil((high[0] - low[0]) * scale[0])) + 2
    start = np.array([low[0], high[1]])
    outlines = [(np.asarray(p) - start) * scale + 1 for p in path.to_polygons(closed_only=True)]
    fixed = [np.rint(p * 16).astype(np.int32) for p in outlines]
    mask = np.zeros((_GLYPH, width), np.uint8)
    cv2.fillPoly(mask, fixed, 255, cv2.LINE_AA, 4)
    return mask


def _corners(rng: np.random.Generator, side: int, proportion: float) -> NDArray[np.float32]:
    """Corners of the plate in the picture, clockwise from the upper left."""
    wide = side * rng.uniform(0.8, 0.94)
    tall = min(wide * proportion * rng.uniform(1.0, 1.35), 0.4 * side)
    flat = np.array([[-wide, -tall], [wide, -tall], [wide, tall], [-wide, tall]]) / 2
    turn, shear, lean = rng.normal(0, 0.06), rng.normal(0, 0.06), rng.normal(0, 0.05, 4)
    c, s = np.cos(turn), np.sin(turn)
    turned = flat @ np.array([[c, s], [-s, c]]) + np.stack([flat[:, 1] * shear, lean * tall], axis=1)
    centre = side / 2 + np.array([rng.uniform(-0.02, 0.02), rng.uniform(-0.16, 0.16)]) * side
    return np.asarray(turned + centre, np.float32)


def _surface(rng: np.random.Generator, side: int) -> Rgb:
    """Bodywork: a colour with a gradient, a seam or two, dirt."""
    color = rng.uniform(20, 215, 3) * 0.5 + rng.uniform(20, 215) * 0.5
    rows = np.linspace(-1, 1, side)[:, None, None] * rng.uniform(-40, 40)
    dirt = cv2.resize(patch(rng, side // 2, side // 2, first=8), (side, side))[..., None] * rng.uniform(2, 9)
    picture = np.clip(color + rows + dirt, 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        y, tone = int(rng.integers(side)), float(rng.uniform(0, 90))
        cv2.line(picture, (0, y), (side, y + int(rng.normal(0, 6))), (tone, tone, tone), 3, cv2.LINE_AA)
    return picture

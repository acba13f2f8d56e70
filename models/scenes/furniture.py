"""Street furniture: lamp posts, traffic lights, road signs, bollards, fences, bins."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.labels import FENCE, POLE, SIGN, VOID
from models.scenes.camera import Points, vector
from models.scenes.canvas import CLEAR, Canvas, Texture
from models.scenes.light import Light
from models.scenes.noise import patch, stream

UP = np.array([0.0, 1.0, 0.0])
_TOWARDS = np.array([0.0, 0.25, -0.95])
FENCE_COUNT = 8


def _stick(canvas: Canvas, light: Light, at: Points, reach: tuple[float, float], radius: float, color: Points) -> None:
    """Upright pole from height reach[0] to reach[1]; the sunny side is drawn as a narrower, lighter stripe."""
    ends = np.stack([at + UP * reach[0], at + UP * reach[1]])
    side = np.array([np.sign(light.sun[0]) * radius * 0.4, 0.0, -0.02])
    colors = color * light.on(np.stack([_TOWARDS * 0.8, np.sign(side)]), 0.8)
    radii = np.array([[radius, radius * 0.85], [radius * 0.4, radius * 0.35]])
    canvas.limbs(np.stack([ends, ends + side]), radii, colors, POLE)


def draw_lamp(canvas: Canvas, light: Light, index: int, at: Points, inward: float) -> None:
    """Lamp post with an arm over the street; ``inward`` is +1 where the street lies to the right."""
    rng = stream(77, index)
    tall, reach = rng.uniform(5.0, 8.5), rng.uniform(0.6, 1.9)
    color = np.array([[108.0, 110.0, 112.0], [58.0, 62.0, 60.0]][int(rng.random() < 0.5)])
    _stick(canvas, light, at, (0.0, 1.3), 0.11, color)
    _stick(canvas, light, at, (1.3, tall), 0.07, color)
    tip = at + UP * (tall + 0.15) + np.array([inward * reach, 0, 0])
    canvas.limb(np.stack([at + UP * tall, tip]), (0.05, 0.04), color * light.on(_TOWARDS), POLE)
    canvas.limb(
        np.stack([tip, tip + vector(inward * 0.5, 0.0, 0)]), (0.1, 0.07), color * 1.2 * light.on(_TOWARDS), POLE
    )


def draw_bollard(canvas: Canvas, light: Light, index: int, at: Points) -> None:
    """Bollard, black or red with a pale band."""
    color = np.array([[34.0, 34.0, 36.0], [120.0, 34.0, 34.0], [96.0, 94.0, 90.0]][index % 3])
    _stick(canvas, light, at, (0.0, 0.95), 0.085, color)
    ends = np.stack([at + UP * 0.76, at + UP * 0.84])
    canvas.limb(ends, (0.09, 0.09), np.array([190.0, 188.0, 180.0]) * light.on(_TOWARDS), POLE)


def draw_traffic_light(canvas: Canvas, light: Light, state: int, at: Points) -> None:
    """Traffic light on its pole; state 0 red, 1 amber, 2 green. The head counts as a sign, as in CamVid."""
    _stick(canvas, light, at, (0.0, 2.5), 0.07, np.array([46.0, 48.0, 48.0]))
    _board(canvas, at + UP * 2.85, (0.46, 1.15), np.array([24.0, 24.0, 26.0]), light)
    glow = np.array([[250.0, 50.0, 40.0], [250.0, 170.0, 40.0], [60.0, 250.0, 170.0]])
    for i in range(3):
        color = glow[i] if i == state else glow[i] * 0.12
        canvas.face(_disc(at + UP * (3.2 - 0.34 * i) + vector(0, 0, -0.03), 0.11), color, SIGN)


def draw_sign(canvas: Canvas, light: Light, index: int, at: Points) -> None:
    """Road sign on a pole: round, triangular, a blue board or a yellow one."""
    rng = stream(78, index)
    tall = rng.uniform(2.0, 2.8)
    _stick(canvas, light, at, (0.0, tall + 0.3), 0.045, np.array([118.0, 120.0, 122.0]))
    face, factor = at + UP * tall + np.array([0, 0, -0.06]), light.on(_TOWARDS, 0.6)
    red, white = np.array([150.0, 30.0, 36.0]), np.array([206.0, 204.0, 200.0])
    kind = index % 5
    if kind in (0, 1):
        rim = red if kind == 0 else np.array([34.0, 66.0, 140.0])
        canvas.face(_disc(face, 0.36), rim * factor, SIGN)
        canvas.face(_disc(face + vector(0, 0, -0.01), 0.26), (white if kind == 0 else rim * 1.2) * factor, SIGN)
        canvas.face(_disc(face + vector(0, 0, -0.02), 0.1), (red * 0.3 if kind == 0 else white) * factor, SIGN)
    elif kind == 2:
        for size, color in ((0.46, red), (0.32, white), (0.1, red * 0.2)):
            canvas.face(_triangle(face, size), color * factor, SIGN)
    else:
        paint = np.array([[36.0, 62.0, 120.0], [176.0, 140.0, 40.0]][kind - 3])
        wide, high = rng.uniform(0.6, 1.2), rng.uniform(0.5, 0.9)
        _board(canvas, face, (wide, high), paint, light)
        for row in range(3):
            at_row = face + UP * high * (0.28 - 0.26 * row) + np.array([0, 0, -0.02])
            _board(canvas, at_row, (wide * rng.uniform(0.4, 0.8), high * 0.1), white if kind == 3 else red * 0.3, light)


def draw_bin(canvas: Canvas, light: Light, index: int, at: Points) -> None:
    """Litter bin or cabinet: furniture CamVid gives no class, so void."""
    color = np.array([[30.0, 34.0, 32.0], [60.0, 66.0, 60.0], [46.0, 60.0, 50.0]][index % 3])
    wide, tall = 0.5 + 0.12 * (index % 4), 1.0 + 0.15 * (index % 3)
    x, z = np.array([wide / 2, 0, 0]), np.array([0, 0, 0.25])
    inner = z * 0 + x * (1 if canvas.camera.x > at[0] else -1)
    sides = np.stack([at + inner - z, at + inner + z, at + inner + z + UP * tall, at + inner - z + UP * tall])
    canvas.face(sides, color * light.on(np.sign(inner)), VOID)
    front = np.stack([at - x - z, at + x - z, at + x - z + UP * tall, at - x - z + UP * tall])
    canvas.face(front, color * light.on(_TOWARDS), VOID)


def _board(canvas: Canvas, centre: Points, size: tuple[float, float], color: Points, light: Light) -> None:
    x, y = np.array([size[0] / 2, 0, 0]), UP * size[1] / 2
    corners = np.stack([centre - x - y, centre + x - y, centre + x + y, centre - x + y])
    canvas.face(corners, color * light.on(_TOWARDS, 0.6), SIGN)


def _disc(centre: Points, radius: float) -> Points:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return centre + radius * np.stack([np.cos(angles), np.sin(angles), np.zeros(16)], axis=1)


def _triangle(centre: Points, size: float) -> Points:
    corners = np.array([(-size, -size * 0.7, 0.0), (size, -size * 0.7, 0.0), (0.0, size * 0.95, 0.0)])
    placed: Points = centre + corners
    return placed


@lru_cache(maxsize=FENCE_COUNT)
def fence(index: int) -> tuple[Texture, float]:
    """Fence ``index``: texture of a 4 m panel and its height in metres.

    Railings are labelled as a whole, gaps included, as CamVid's annotators did.
    """
    rng = stream(79, index)
    kind = index % 4
    height = (1.1, 1.5, 1.8, 1.2)[kind] * rng.uniform(0.9, 1.15)
    size = (int(height * 60), 240)
    color = np.zeros((*size, 3), np.float32)
    alpha = np.zeros(size, np.uint8)
    if kind == 2:
        _planks(rng, color, alpha)
    else:
        _railings(rng, color, alpha, (0.11, 0.16, 0.11, 0.22)[kind])
    label = np.full(size, FENCE, np.uint8)
    label[: max(int(size[0] * 0.02), 1)] = CLEAR if kind == 1 else FENCE
    return Texture.build(np.clip(color, 0, 255).astype(np.uint8), alpha, label), height


def _planks(rng: np.random.Generator, color: NDArray[np.float32], alpha: NDArray[np.uint8]) -> None:
    height, width = alpha.shape
    base = np.array([104, 88, 68]) * rng.uniform(0.6, 1.1)
    tones = np.repeat(1 + 0.12 * rng.standard_normal(width // 8), 8).astype(np.float32)
    tones[::8] *= 0.55
    grain = 1 + 0.1 * patch(rng, height, width, 64, 3)
    color[:] = (tones[None] * grain)[..., None] * base
    alpha[:] = 255


def _railings(rng: np.random.Generator, color: NDArray[np.float32], alpha: NDArray[np.uint8], pitch: float) -> None:
    height, width = alpha.shape
    color[:] = np.array([[40, 42, 42], [112, 114, 116], [44, 58, 50]][rng.integers(3)])
    for x in np.arange(0, width, pitch * 60):
        cv2.line(alpha, (int(x), int(height * 0.06)), (int(x), height - 4), 255, 2)
    for y in (0.1, 0.9):
        cv2.line(alpha, (0, int(height * y)), (width, int(height * y)), 255, 3)
    for x in (2, width - 3):
        cv2.line(alpha, (x, 0), (x, height), 255, 5)

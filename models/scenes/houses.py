"""Placing house fronts, roofs, chimneys and end walls along the street."""

from __future__ import annotations

from functools import partial

import numpy as np

from models.labels import BUILDING, SIGN
from models.scenes.camera import Points, vector
from models.scenes.facades import FACADE_COUNT, facade
from models.scenes.painter import Item, Painter

Span = tuple[float, float]
_TOWARDS = np.array([0.0, 0.0, -1.0])
_BRICK = np.array([104.0, 84.0, 72.0])
_STACK = np.array([(-0.45, -1.0, -0.35), (0.45, -1.0, -0.35), (0.45, 1.0, -0.35), (-0.45, 1.0, -0.35)])
"""Front of a chimney; _STACK_SIDE is its side towards +X."""
_STACK_SIDE = np.array([(0.45, -1.0, -0.35), (0.45, -1.0, 0.35), (0.45, 1.0, 0.35), (0.45, 1.0, -0.35)])


def house_items(
    rng: np.random.Generator, span: Span, d: float, side: int
) -> tuple[list[Item], list[tuple[float, float, float]]]:
    """A row of houses filling ``span`` of s at the building line d.

    Returns:
        The items, and (first s, last s, height) of each house.
    """
    items, heights = [], []
    s = span[0]
    while s < span[1] - 0.5:
        index = int(rng.integers(FACADE_COUNT))
        front = facade(index)
        end = s + front.width
        if span[1] - end < 4.0:
            end = span[1]
        tall = float(front.height * rng.uniform(0.92, 1.12))
        back = float(d + side * (rng.uniform(0, 0.5) if rng.random() < 0.4 else 0.0))
        seed = int(rng.integers(1 << 30))
        items.append(Item(end, partial(_draw_house, index, (s, end), (back, tall), side, seed)))
        heights.append((s, end, tall))
        s = end
    return items, heights


def _draw_house(index: int, span: Span, place: Span, side: int, seed: int, p: Painter) -> None:
    d, tall = place
    house = facade(index)
    near, far = p.at(d, span[0]), p.at(d, span[1])
    if p.canvas.camera.depth(far) < 0.6:
        return
    out = np.array([side * 1.0, 0.0, 0.0])
    if house.pitched:
        _roof(p, (near, far), tall, out, np.asarray(house.roof), seed)
    if p.canvas.camera.depth(near) > 0:
        gain = p.light.on(_TOWARDS, 0.6)
        p.canvas.sheet(house.side, near + vector(0, tall, 0), out * 9, np.array([0.0, -tall, 0.0]), gain, (0.0, 1.0))
    top = near + np.array([0.0, tall, 0.0])
    gain = p.light.on(-out, 0.85)
    p.canvas.sheet(house.texture, top, far - near, np.array([0.0, -tall, 0.0]), gain, (0.0, 1.0))
    if p.canvas.camera.depth(near) < 50:
        _cornice(p, (near, far), tall, out, np.asarray(house.wall))
    if seed % 5 == 0:
        _hanging_sign(p, near + (far - near) * 0.3, -out, seed)


def _roof(p: Painter, ends: tuple[Points, Points], tall: float, out: Points, color: Points, seed: int) -> None:
    eaves, ridge = np.array([0.0, tall, 0.0]), out * 3.4 + np.array([0.0, tall + 2.3, 0.0])
    near, far = ends
    faces, colors = [], []
    towards = p.light.on(_TOWARDS)
    for share in (0.2, 0.8) if seed % 3 else (0.5,):
        at = near + (far - near) * share + ridge
        inner = 1.0 if p.canvas.camera.x > at[0] else -1.0
        faces += [at + _STACK, at + _STACK_SIDE * [inner, 1.0, 1.0]]
        colors += [_BRICK * towards, _BRICK * p.light.on(np.array([inner, 0.0, 0.0]))]
    normal = np.array([-np.sign(out[0]) * 0.56, 0.83, 0.0])
    faces.append(np.stack([near + eaves, far + eaves, far + ridge, near + ridge]))
    faces.append(np.stack([near + eaves, near + ridge, near + eaves + out * 6.8]))
    colors += [color * p.light.on(normal), color * 1.2 * towards]
    p.canvas.faces(faces, np.stack(colors), BUILDING)


def _cornice(p: Painter, ends: tuple[Points, Points], tall: float, out: Points, color: Points) -> None:
    """Eaves that stand out a little over the pavement."""
    near, far = (end - out * 0.22 + np.array([0.0, tall, 0.0]) for end in ends)
    lip = np.stack([near, far, far - vector(0, 0.22, 0), near - vector(0, 0.22, 0)])
    p.canvas.face(lip, color * 0.9 * p.light.on(-out), BUILDING)


def _hanging_sign(p: Painter, at: Points, inward: Points, seed: int) -> None:
    """Shop sign on a bracket over the pavement, seen from along the street."""
    low, wide = 2.9 + 0.1 * (seed % 4), 0.75
    corners = np.array([(0.1, low, 0), (wide, low, 0), (wide, low + 0.8, 0), (0.1, low + 0.8, 0)])
    board = at + np.stack([corners[:, 0] * inward[0], corners[:, 1], corners[:, 2]], axis=1)
    rng = np.random.Generator(np.random.PCG64(seed))
    factor = p.light.on(_TOWARDS, 0.7)
    paint = rng.uniform(20, 190, 3) * 0.5 + rng.uniform(10, 100)
    p.canvas.face(board, paint * factor, SIGN)
    centre = board.mean(axis=0)
    for row in (-0.18, 0.06):
        strip = centre + (board - centre) * [0.7, 0.14, 1.0] + np.array([0, row, -0.02])
        p.canvas.face(strip, (255 - paint) * 0.8 * factor, SIGN)

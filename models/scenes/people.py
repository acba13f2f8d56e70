"""Pedestrians that walk and bicyclists that ride: jointed sticks in three dimensions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.labels import BICYCLIST, PEDESTRIAN
from models.scenes.camera import Points
from models.scenes.canvas import Canvas
from models.scenes.light import Light
from models.scenes.noise import stream

Vector = NDArray[np.float64]
Limb = tuple[tuple[float, float, float], tuple[float, float, float], float, float, Vector]
_TOWARDS = np.array([0.0, 0.3, -0.7])
_CLOTHES = (
    (28, 28, 32),
    (40, 42, 56),
    (56, 50, 46),
    (90, 84, 78),
    (70, 30, 30),
    (44, 58, 80),
    (130, 126, 120),
    (60, 66, 50),
)


def _dress(index: int) -> tuple[Vector, Vector, Vector, Vector]:
    """Coat, trousers, skin and hair of person ``index``."""
    rng = stream(75, index)
    coat = np.array(_CLOTHES[rng.integers(len(_CLOTHES))]) * rng.uniform(0.7, 1.2)
    legs = np.array([[26, 26, 30], [44, 50, 68], [70, 64, 56]][rng.integers(3)]) * rng.uniform(0.7, 1.1)
    skin = np.array([168, 128, 106]) * rng.uniform(0.5, 1.0)
    hair = np.array([44, 34, 28]) * rng.uniform(0.5, 2.2)
    return coat, legs, skin, hair


def _walker(index: int, phase: float) -> list[Limb]:
    coat, legs, skin, hair = _dress(index)
    swing = np.sin(phase)
    limbs: list[Limb] = []
    for side, step in ((-1, swing), (1, -swing)):
        foot = (0.09 * side, 0.06 + 0.08 * max(np.cos(phase) * side, 0), 0.34 * step)
        knee = (0.1 * side, 0.48, 0.17 * step + 0.06)
        limbs.append((knee, foot, 0.075, 0.055, legs * 0.9))
        limbs.append(((0.09 * side, 0.9, 0.0), knee, 0.105, 0.08, legs))
        limbs.append((foot, (foot[0], 0.04, foot[2] + 0.14), 0.05, 0.045, np.array([18.0, 16.0, 16.0])))
    for side, step in ((-1, -swing), (1, swing)):
        elbow = (0.25 * side, 1.12, 0.1 * step - 0.04)
        limbs.append(((0.2 * side, 1.4, 0.0), elbow, 0.07, 0.055, coat * 0.85))
        limbs.append((elbow, (0.23 * side, 0.9, 0.24 * step + 0.05), 0.055, 0.04, coat * 0.85))
    long = 0.75 if index % 3 == 0 else 0.92
    limbs.append(((0.0, long, 0.0), (0.0, 1.36, 0.02), 0.19, 0.2, coat))
    limbs.append(((0.0, 1.36, 0.0), (0.0, 1.44, 0.0), 0.2, 0.1, coat * 1.1))
    limbs += _head((0.0, 1.58, 0.03), skin, hair)
    return limbs


def _head(at: tuple[float, float, float], skin: Vector, hair: Vector) -> list[Limb]:
    x, y, z = at
    return [
        ((x, y - 0.02, z), (x, y + 0.08, z), 0.095, 0.1, skin),
        ((x, y + 0.08, z - 0.03), (x, y + 0.12, z - 0.03), 0.11, 0.095, hair),
    ]


def _rider(index: int, phase: float) -> list[Limb]:
    coat, legs, skin, hair = _dress(index)
    limbs: list[Limb] = []
    for side in (-1, 1):
        turn = phase + (np.pi if side > 0 else 0.0)
        foot = (0.11 * side, 0.3 + 0.17 * np.sin(turn), 0.05 + 0.17 * np.cos(turn))
        knee = (0.13 * side, 0.66 + 0.14 * np.sin(turn), 0.24)
        limbs.append(((0.1 * side, 0.96, -0.16), knee, 0.11, 0.085, legs))
        limbs.append((knee, foot, 0.08, 0.055, legs * 0.9))
        limbs.append((foot, (foot[0], foot[1], foot[2] + 0.13), 0.05, 0.05, np.array([20.0, 18.0, 18.0])))
        limbs.append(((0.18 * side, 1.36, 0.16), (0.25 * side, 1.03, 0.46), 0.07, 0.05, coat * 0.85))
    limbs.append(((0.0, 0.98, -0.18), (0.0, 1.38, 0.14), 0.19, 0.19, coat))
    limbs += _head((0.0, 1.58, 0.24), skin, hair * (1.0 if index % 2 else 3.0))
    return limbs


def _turn(heading: float) -> Points:
    c, s = np.cos(heading), np.sin(heading)
    return np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])


def _draw(
    canvas: Canvas, light: Light, limbs: list[Limb], at: Points, heading: float, style: tuple[float, float, int]
) -> None:
    """style is (scale, share of direct sun, label)."""
    scale, lit, label = style
    if canvas.camera.focal / canvas.camera.depth(at) < 11:
        # a few samples tall: trunk, head and legs are all that shows
        limbs = [limb for limb in limbs if limb[2] > 0.09]
    factor = light.on(_TOWARDS, lit)
    local = np.array([limb[:2] for limb in limbs]) * scale
    shade = 0.8 + 0.4 * np.minimum(local[:, :, 1].mean(axis=1) / 1.7, 1.0)
    colors = np.stack([limb[4] for limb in limbs]) * factor * shade[:, None]
    radii = np.array([limb[2:4] for limb in limbs]) * scale
    canvas.limbs(local @ _turn(heading) + at, radii, colors, label)


def _blot(canvas: Canvas, at: Points, reach: tuple[float, float], heading: float) -> None:
    angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    c, s = np.cos(heading), np.sin(heading)
    x, z = reach[0] * np.cos(angles), reach[1] * np.sin(angles)
    canvas.face(at + np.stack([c * x + s * z, np.full(10, 0.01), c * z - s * x], axis=1), np.full(3, 34.0), None)


def draw_pedestrian(
    canvas: Canvas, light: Light, index: int, at: Points, heading: float, phase: float, lit: float
) -> None:
    """Draw person ``index`` at the world point ``at``; ``phase`` is the gait in radians."""
    if canvas.camera.depth(at) < 1.0:
        return
    scale = 0.92 + 0.14 * ((index * 37) % 11) / 11
    _blot(canvas, at, (0.3, 0.24), heading)
    _draw(canvas, light, _walker(index, phase), at, heading, (scale, lit, PEDESTRIAN))


def draw_bicyclist(
    canvas: Canvas, light: Light, index: int, at: Points, heading: float, phase: float, lit: float
) -> None:
    """Draw bicycle and rider ``index``; ``phase`` is the crank in radians."""
    if canvas.camera.depth(at) < 1.2:
        return
    _blot(canvas, at, (0.25, 0.9), heading)
    _draw_bicycle(canvas, index, at, heading)
    _draw(canvas, light, _rider(index, phase), at, heading, (1.04, lit, BICYCLIST))


_JOINTS = {"rear": (0, 0.34, -0.52), "front": (0, 0.34, 0.52), "seat": (0, 0.9, -0.2), "crank": (0, 0.3, 0.0),
           "bar": (0, 0.95, 0.42), "left": (-0.27, 1.0, 0.42), "right": (0.27, 1.0, 0.42)}  # fmt: skip
_TUBES = (("rear", "crank"), ("rear", "seat"), ("seat", "crank"), ("crank", "bar"), ("seat", "bar"), ("front", "bar"),
          ("left", "right"))  # fmt: skip


def _rims(segments: int) -> list[tuple[tuple[float, float, float], tuple[float, float, float]]]:
    angles = np.linspace(0, 2 * np.pi, segments + 1)
    rings = [[(0.0, 0.34 + 0.33 * np.sin(a), hub + 0.33 * np.cos(a)) for a in angles] for hub in (-0.52, 0.52)]
    return [pair for ring in rings for pair in pairwise(ring)]


_BICYCLES = {n: np.array(_rims(n) + [(_JOINTS[a], _JOINTS[b]) for a, b in _TUBES], float) for n in (8, 16)}


def _draw_bicycle(canvas: Canvas, index: int, at: Points, heading: float) -> None:
    paint = stream(76, index).uniform(20, 90, 3) * 0.5 + 22
    segments = 16 if canvas.camera.depth(at) < 14 else 8
    local = _BICYCLES[segments]
    colors = np.repeat(np.full((1, 3), 23.0), len(local), axis=0)
    colors[2 * segments :] = paint
    canvas.limbs(local @ _turn(heading) + at, np.full((len(local), 2), 0.022), colors, BICYCLIST)

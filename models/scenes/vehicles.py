"""Cars, vans and buses: an outline extruded across the width, with glass, lights, wheels, plates and shadow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from models.labels import CAR
from models.scenes.camera import Points
from models.scenes.canvas import Canvas
from models.scenes.light import Light
from models.scenes.noise import stream

VEHICLE_COUNT = 96
_GLASS = np.array([36.0, 40.0, 46.0])
_TYRE = np.array([20.0, 20.0, 22.0])
_SHADOW = np.repeat([[46.0], [32.0], [22.0]], 3, axis=1)
_ANGLES = np.linspace(0, 2 * np.pi, 14, endpoint=False)
_RING = np.stack([np.zeros(14), np.sin(_ANGLES), np.cos(_ANGLES)], axis=1)
_RINGS = ((1.18, _TYRE * 0.7), (1.0, _TYRE), (0.62, np.full(3, 98.0)), (0.2, _TYRE * 2))
_PAINTS = (
    (176, 178, 182), (150, 152, 156), (52, 54, 60), (30, 30, 34), (38, 50, 96), (58, 74, 118), (122, 26, 28),
    (150, 40, 34), (212, 212, 210), (64, 84, 74), (96, 92, 86), (128, 100, 60), (90, 130, 160), (34, 62, 52),
)  # fmt: skip


@dataclass(frozen=True)
class Body:
    """Shape of one kind of vehicle, in metres; the outline runs (ahead, up) from the nose's foot over the roof back.

    Attributes:
        outline: (N, 2) points.
        glass: outline strips (by index of their first point) that are windows.
        belt: height where the side windows begin.
        width: metres.
        roof: width of the roof relative to ``width``.
        panes: side windows as (front, rear, top) shares of the length and height.
        wheels: (ahead, radius) of the axles.
    """

    outline: Points
    glass: tuple[int, ...]
    belt: float
    width: float
    roof: float
    panes: tuple[tuple[float, float, float, float], ...]
    wheels: tuple[tuple[float, float], ...]


HATCH = Body(
    np.array(
        [(1.88, 0.22), (1.96, 0.48), (1.88, 0.7), (1.5, 0.84), (0.95, 0.94), (0.2, 1.4), (-0.6, 1.46), (-1.45, 1.38),
         (-1.8, 0.98), (-1.92, 0.78), (-1.95, 0.45), (-1.88, 0.22)]
    ),
    (4, 7), 0.93, 1.68, 0.76,
    ((0.78, 0.14, -0.22, -0.22), (-0.3, -0.3, -1.4, -1.6)), ((1.25, 0.3), (-1.25, 0.3)),
)  # fmt: skip
SALOON = Body(
    np.array(
        [(2.18, 0.22), (2.26, 0.48), (2.16, 0.68), (1.7, 0.82), (0.95, 0.93), (0.2, 1.36), (-0.5, 1.42), (-1.05, 1.36),
         (-1.65, 0.98), (-2.1, 0.92), (-2.24, 0.75), (-2.26, 0.45), (-2.16, 0.22)]
    ),
    (4, 7), 0.92, 1.76, 0.75,
    ((0.78, 0.14, -0.3, -0.3), (-0.38, -0.38, -1.05, -1.42)), ((1.4, 0.31), (-1.35, 0.31)),
)  # fmt: skip
ESTATE = Body(
    np.array(
        [(2.1, 0.25), (2.18, 0.52), (2.1, 0.76), (1.6, 0.92), (1.0, 1.02), (0.35, 1.52), (-0.6, 1.58),
         (-1.9, 1.52), (-2.12, 1.05), (-2.18, 0.8), (-2.2, 0.48), (-2.1, 0.25)]
    ),
    (4, 7), 1.02, 1.8, 0.8,
    ((0.85, 0.28, -0.2, -0.2), (-0.28, -0.28, -1.05, -1.05), (-1.13, -1.13, -1.85, -2.0)),
    ((1.35, 0.33), (-1.35, 0.33)),
)  # fmt: skip
VAN = Body(
    np.array(
        [(2.35, 0.3), (2.42, 0.6), (2.3, 0.95), (1.9, 1.15), (1.25, 1.95), (0.6, 2.08), (-2.2, 2.08), (-2.32, 1.9),
         (-2.36, 1.2), (-2.38, 0.55), (-2.35, 0.3)]
    ),
    (3, 7), 1.12, 1.94, 0.9, ((1.72, 1.2, 0.55, 0.55),), ((1.5, 0.34), (-1.45, 0.34)),
)  # fmt: skip
BUS = Body(
    np.array(
        [(4.9, 0.3), (5.0, 0.7), (5.0, 1.05), (4.95, 2.1), (4.9, 2.35), (4.85, 2.5), (4.75, 3.05), (-4.8, 3.05),
         (-4.95, 2.3), (-5.0, 1.2), (-5.0, 0.3)]
    ),
    (2, 8), 1.15, 2.4, 0.98,
    tuple((z, z, z - 1.3, z - 1.3) for z in np.arange(4.5, -4.0, -1.42)), ((3.0, 0.45), (-2.6, 0.45)),
)  # fmt: skip
DECKER = Body(
    np.array(
        [(4.9, 0.3), (5.0, 0.7), (5.0, 1.05), (4.95, 2.0), (4.9, 2.55), (4.85, 3.6), (4.7, 4.2), (-4.8, 4.2),
         (-4.95, 3.5), (-5.0, 2.4), (-5.0, 2.1), (-5.0, 1.2), (-5.0, 0.3)]
    ),
    (2, 4, 8, 10), 1.15, 2.45, 0.97,
    tuple((z, z, z - 1.3, z - 1.3) for z in np.arange(4.5, -4.0, -1.42)), ((3.0, 0.45), (-2.6, 0.45)),
)  # fmt: skip
_KINDS = (HATCH, HATCH, HATCH, SALOON, SALOON, ESTATE, ESTATE, VAN, HATCH, SALOON, BUS, DECKER)


@dataclass(frozen=True)
class Face:
    """A flat piece: corners (N, 3), outward normal, colour, and whether it only matters up close."""

    corners: Points
    normal: NDArray[np.float64]
    color: NDArray[np.float64]
    detail: bool
    shine: float

    @cached_property
    def centre(self) -> NDArray[np.float64]:
        """Mean of the corners."""
        middle: NDArray[np.float64] = self.corners.mean(axis=0)
        return middle


@dataclass(frozen=True)
class Vehicle:
    """A vehicle ready to be placed; ``length`` and ``width`` in metres, faces in drawing order within their kind."""

    length: float
    width: float
    wheels: tuple[tuple[float, float], ...]
    shell: tuple[Face, ...]
    details: tuple[Face, ...]


@lru_cache(maxsize=VEHICLE_COUNT)
def vehicle(index: int) -> Vehicle:
    """Vehicle ``index`` of the library (0 to VEHICLE_COUNT - 1)."""
    rng = stream(74, index)
    body = _KINDS[index % len(_KINDS)]
    paint = np.array(_PAINTS[rng.integers(len(_PAINTS))], float) * rng.uniform(0.8, 1.1)
    paint = 0.8 * paint + 0.2 * paint.mean()
    if body is VAN and rng.random() < 0.6:
        paint = np.array([205.0, 206.0, 206.0])
    if body is DECKER or (body is BUS and rng.random() < 0.4):
        paint = np.array([[128.0, 24.0, 26.0], [46.0, 70.0, 120.0]][int(rng.random() < 0.3)])
    shell = _strips(body, paint) + _sides(body, paint)
    length = float(np.ptp(body.outline[:, 0]))
    return Vehicle(length, body.width, body.wheels, tuple(shell), tuple(_panes(body) + _ends(rng, body, paint)))


def _half(body: Body, y: float, z: float = 0.0) -> float:
    """Half the width at the height y and z ahead: full at the belt, drawn in towards roof, sill, nose and tail."""
    top = body.outline[:, 1].max()
    up = np.clip((y - body.belt) / (top - body.belt), 0, 1)
    low = np.clip((0.45 - y) / 0.3, 0, 1)
    end = np.clip((abs(z) / body.outline[:, 0].max() - 0.72) / 0.28, 0, 1.1)
    return float(body.width / 2 * (1 - (1 - body.roof) * up - 0.06 * low - 0.12 * end * end))


def _rounded(body: Body) -> list[tuple[Points, Points, bool]]:
    """The outline's edges (start, end, whether glass) with every corner cut."""
    start, end = body.outline[:-1], body.outline[1:]
    cut = (
        np.minimum(0.16 * np.hypot(*(end - start).T), 0.16)[:, None]
        * (end - start)
        / np.hypot(*(end - start).T)[:, None]
    )
    edges: list[tuple[Points, Points, bool]] = []
    for i in range(len(start)):
        if i:
            edges.append((end[i - 1] - cut[i - 1], start[i] + cut[i], False))
        edges.append((start[i] + cut[i], end[i] - cut[i], i in body.glass))
    return edges


def _strips(body: Body, paint: NDArray[np.float64]) -> list[Face]:
    faces = []
    for start, end, glass in _rounded(body):
        a, b = _half(body, start[1], start[0]), _half(body, end[1], end[0])
        corners = np.array(
            [(-a, start[1], start[0]), (a, start[1], start[0]), (b, end[1], end[0]), (-b, end[1], end[0])]
        )
        run = end - start
        normal = np.array([0.0, -run[0], run[1]]) / np.hypot(*run)
        if glass:
            faces.append(Face(corners, normal, paint * 0.55, False, 0.1))
            pane = _inset(corners, 0.9)
            faces.append(Face(pane, normal, _GLASS * 0.8, False, 0.2))
            # the upper part mirrors the sky, the lower the seats' dark
            split = 0.45 * pane[[0, 1]] + 0.55 * pane[[3, 2]]
            faces.append(Face(np.stack([split[0], split[1], pane[2], pane[3]]), normal, _GLASS, False, 0.6))
        else:
            low = start[1] < 0.5 and end[1] < 0.6
            faces.append(Face(corners, normal, paint * (0.5 if low else 1.0), False, 0.3))
    return faces


def _inset(corners: Points, share: float) -> Points:
    centre = corners.mean(axis=0)
    shrunk: Points = centre + (corners - centre) * share
    return shrunk


def _sides(body: Body, paint: NDArray[np.float64]) -> list[Face]:
    faces = []
    for sign in (-1.0, 1.0):
        normal = np.array([sign, 0.0, 0.0])
        for low, high, shade, shine in _side_bands(body.belt):
            band = _band(body.outline, low, high)
            if len(band) >= 3:
                corners = np.array([(sign * _half(body, y, z), y, z) for z, y in band])
                faces.append(Face(corners, normal, paint * shade, False, shine))
    return faces


def _side_bands(belt: float) -> tuple[tuple[float, float, float, float], ...]:
    """(low, high, shade, shine) of the side from the sill, dark, over the shoulder, bright, to the roof."""
    return ((0.0, 0.36, 0.45, 0.0), (0.36, 0.56, 0.75, 0.06), (0.56, belt * 0.86, 0.95, 0.14),
            (belt * 0.86, belt, 1.1, 0.34), (belt, 9.0, 0.85, 0.1))  # fmt: skip


def _band(outline: Points, low: float, high: float) -> Points:
    """The part of the outline between two heights."""
    points = outline
    for limit, keep in ((low, 1.0), (high, -1.0)):
        kept = []
        for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
            inside = (start[1] - limit) * keep >= 0
            if inside:
                kept.append(start)
            if inside != ((end[1] - limit) * keep >= 0):
                kept.append(start + (end - start) * (limit - start[1]) / (end[1] - start[1]))
        points = np.array(kept).reshape(-1, 2)
        if len(points) < 3:
            break
    return points


def _panes(body: Body) -> list[Face]:
    faces = []
    top = body.outline[:, 1].max()
    decks = [(body.belt + 0.04, min(top - 0.13, body.belt + 1.0))]
    if body is DECKER:
        decks.append((2.7, 3.7))
    for sign in (-1.0, 1.0):
        for low, high in decks:
            for front_low, front_high, rear_high, rear_low in body.panes:
                shape = ((front_low, low), (front_high, high), (rear_high, high), (rear_low, low))
                corners = np.array([(sign * (_half(body, y, z) + 0.005), y, z) for z, y in shape])
                faces.append(Face(corners, np.array([sign, 0.0, 0.0]), _GLASS, False, 0.3))
    return faces


def _ends(rng: np.random.Generator, body: Body, paint: NDArray[np.float64]) -> list[Face]:
    """Lamps, number plates, grille and bumper at both ends."""
    faces = []
    dark, braking = np.full(3, 34.0), rng.random() < 0.3
    tall, wide = body.belt * 0.76, body.width
    plate = np.array([[205.0, 205.0, 200.0], [180.0, 162.0, 70.0]])
    bumper = dark if rng.random() < 0.4 else paint * 0.8
    for end in (1.0, -1.0):
        z = body.outline[:, 0].max() + 0.01 if end > 0 else body.outline[:, 0].min() - 0.01
        normal = np.array([0.0, 0.0, end])
        faces.append(_plate(normal, (0.0, 0.44, z), (wide * 0.84, 0.2), bumper, 0.12))
        faces.append(_plate(normal, (0.0, 0.29, z), (wide * 0.8, 0.1), dark * 0.6, 0.0))
        lamp = np.array([205.0, 208.0, 205.0]) if end > 0 else np.array([235.0 if braking else 118.0, 26.0, 26.0])
        size = (wide * 0.17, 0.16) if end > 0 else (wide * 0.1, 0.3)
        for side in (-1.0, 1.0):
            at = (side * (wide * 0.42 - size[0] / 2), tall, z * 0.985)
            faces.append(_plate(normal, at, size, lamp, 0.1))
            faces.append(
                _plate(
                    normal,
                    (at[0], tall - size[1] * 0.2, z * 0.99),
                    (size[0] * 0.6, size[1] * 0.3),
                    lamp * 0.6 + 60,
                    0.1,
                )
            )
        if end > 0:
            faces.append(_plate(normal, (0.0, tall - 0.03, z), (wide * 0.42, 0.1), dark * 0.8, 0.0))
        faces.append(_plate(normal, (0.0, 0.5 if end > 0 else 0.62, z * 1.004), (0.5, 0.11), plate[int(end < 0)], 0.0))
    return faces + _trim(body, paint)


def _trim(body: Body, paint: NDArray[np.float64]) -> list[Face]:
    """Door seams, handles and mirrors."""
    faces = []
    for sign in (-1.0, 1.0):
        normal = np.array([sign, 0.0, 0.0])
        x = sign * (body.width / 2 + 0.01)
        for z in (body.panes[0][0], body.panes[0][2], body.panes[-1][2] + 0.25):
            seam = np.array([(x, 0.34, z), (x, body.belt, z), (x, body.belt, z + 0.03), (x, 0.34, z + 0.03)])
            faces.append(Face(seam, normal, paint * 0.45, True, 0.0))
            low, high = body.belt - 0.17, body.belt - 0.13
            grip = np.array([(x, low, z + 0.1), (x, high, z + 0.1), (x, high, z + 0.28), (x, low, z + 0.28)])
            faces.append(Face(grip, normal, paint * 0.6, True, 0.2))
        for end in (1.0, -1.0):
            at = (sign * (body.width / 2 + 0.1), body.belt + 0.08, body.panes[0][0] - 0.12)
            faces.append(_plate(np.array([0.0, 0.0, end]), at, (0.2, 0.15), paint * 0.7, 0.1))
    return faces


def _plate(
    normal: NDArray[np.float64],
    at: tuple[float, float, float],
    size: tuple[float, float],
    color: NDArray[np.float64],
    shine: float,
) -> Face:
    x, y, z = at
    w, h = size[0] / 2, size[1] / 2
    corners = np.array([(x - w, y - h, z), (x + w, y - h, z), (x + w, y + h, z), (x - w, y + h, z)])
    return Face(corners, normal, color, True, shine)


def draw_vehicle(canvas: Canvas, light: Light, index: int, at: Points, heading: float, lit: float) -> None:
    """Draw vehicle ``index`` standing on the world point ``at``; ``heading`` in radians from Z towards X.

    ``lit`` is the share of direct sun at its place.
    """
    car = vehicle(index)
    c, s = np.cos(heading), np.sin(heading)
    turn = np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
    depth = canvas.camera.depth(at)
    if depth < -car.length:
        return
    _shadow(canvas, car, at, turn)
    local_eye = turn @ (canvas.camera.eye - at)
    _wheels(canvas, car, at, turn, local_eye)
    seen = [f for f in car.shell if (local_eye - f.centre) @ f.normal > 0]
    seen.sort(key=lambda f: -float(np.abs(f.centre - local_eye).sum()))
    close = canvas.camera.focal * 1.7 / max(depth, 0.1) > 9
    seen += [f for f in car.details if (close or not f.detail) and _shows(f, car, local_eye)]
    if seen:
        normals = np.stack([f.normal for f in seen])
        shine = np.array([[f.shine] for f in seen]) * (0.25 + 0.45 * np.maximum(normals[:, 1:2], 0.0))
        colors = np.stack([f.color for f in seen]) * light.on(normals @ turn, lit) + shine * light.haze
        canvas.faces([f.corners @ turn + at for f in seen], colors, CAR)
    _wheels(canvas, car, at, turn, local_eye, outer=True)


def _shows(face: Face, car: Vehicle, eye: Points) -> bool:
    """Whether the eye sees a detail; mirrors stand out, but the cabin hides the far one."""
    x = face.centre[0]
    hidden = abs(x) > car.width / 2 + 0.02 and np.sign(x) * eye[0] < -1.0
    return bool((eye - face.centre) @ face.normal > 0 and not hidden)


def _shadow(canvas: Canvas, car: Vehicle, at: Points, turn: Points) -> None:
    corners = np.array([(-1, 0, -1), (1, 0, -1), (1, 0, 1), (-1, 0, 1)]) * [car.width / 2, 1, car.length / 2]
    corners[:, 1] = 0.01
    canvas.faces([corners * grow @ turn + at for grow in (1.04, 0.97, 0.9)], _SHADOW, None)


def _wheels(canvas: Canvas, car: Vehicle, at: Points, turn: Points, eye: Points, outer: bool = False) -> None:
    """Tyres: as dark blocks under the body, or (outer) as discs on the side that is seen."""
    side = np.sign(eye[0]) if abs(eye[0]) > car.width / 2 else 0.0
    pieces, colors = [], []
    for ahead, radius in car.wheels:
        if outer and side:
            hub = np.array([side * (car.width / 2 + 0.01), radius, ahead])
            for share, color in _RINGS:
                pieces.append((hub + _RING * radius * share) @ turn + at)
                colors.append(color)
        elif not outer:
            for x in (-1.0, 1.0):
                x0, x1 = x * car.width * 0.45, x * (car.width * 0.45 - 0.2)
                z = ahead + (radius * 0.8 if eye[2] > ahead else -radius * 0.8)
                block = np.array([(x0, 0, z), (x1, 0, z), (x1, radius * 1.6, z), (x0, radius * 1.6, z)])
                pieces.append(block @ turn + at)
                colors.append(_TYRE)
    if pieces:
        canvas.faces(pieces, np.stack(colors), CAR)

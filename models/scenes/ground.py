"""The ground: worn asphalt, lane markings, kerbs, paving, grass, shadows; analytic, so exact at any distance."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.labels import PAVEMENT, ROAD, TREE
from models.scenes.camera import Bend, Camera
from models.scenes.light import Light
from models.scenes.noise import fractal, stream

FloatImage = NDArray[np.float32]
BLOCK = 40.0
"""Length of street, in metres, that is designed at once."""


@dataclass(frozen=True)
class Roadway:
    """Cross-section and paint of the carriageway.

    Attributes:
        left, right: kerb positions d in metres (left is negative).
        paving: width of the pavements.
        asphalt, slabs, grass: colours.
        yellow: whether double yellow lines follow the kerbs.
        centre: (period, dash) of the centre line in metres; (0, 0) has none.
        zigzag: first s of zigzag lines by a crossing, repeated every ``cycle`` metres; negative for none.
    """

    left: float
    right: float
    paving: float
    asphalt: NDArray[np.float64]
    slabs: NDArray[np.float64]
    grass: NDArray[np.float64]
    yellow: bool
    centre: tuple[float, float]
    crossing: float
    cycle: float


def roadway_of(seed: int) -> Roadway:
    """Cross-section of the street ``seed``."""
    rng = stream(seed, 12)
    gray = rng.uniform(78, 108)
    slab = rng.uniform(74, 112)
    return Roadway(
        left=-float(rng.uniform(3.7, 5.6)),
        right=float(rng.uniform(3.8, 5.8)),
        paving=float(rng.uniform(2.6, 6.0)),
        asphalt=np.array([gray, gray * 1.01, gray * rng.uniform(0.99, 1.07)]),
        slabs=np.array([slab, slab * 0.985, slab * rng.uniform(0.9, 1.0)]),
        grass=np.array([78.0, 96.0, 48.0]) * rng.uniform(0.7, 1.1),
        yellow=bool(rng.random() < 0.5),
        centre=((6.0, 3.0), (9.0, 6.0), (6.0, 2.0))[rng.integers(3)],
        crossing=float(rng.uniform(0, 70)) if rng.random() < 0.7 else -1.0,
        cycle=float(rng.uniform(70, 110)),
    )


@dataclass(frozen=True)
class _Grid:
    """Street coordinates of the picture's rows below the horizon, and the size of a sample on the ground.

    s is ``ahead`` + ``origin``: patterns reduce the origin by their period first, so no distance is too long for
    single precision.
    """

    d: FloatImage
    ahead: FloatImage
    origin: float
    across: FloatImage
    along: FloatImage
    depth: FloatImage

    def within(self, period: float, offset: float = 0.0) -> FloatImage:
        """s - offset, less whole periods at the camera."""
        return np.asarray(self.ahead + np.float32((self.origin - offset) % period), np.float32)


def draw_ground(
    rgb: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    camera: Camera,
    bend: Bend,
    road: Roadway,
    light: Light,
    shade: tuple[NDArray[np.float32], float],
    green: NDArray[np.bool_],
) -> None:
    """Fill everything below the horizon.

    Args:
        shade: how far the shadow of the houses reaches, in metres of d per metre of s, and the s of its first entry.
        green: per block from the first one in ``shade``, for the left and right side: grass beyond the pavement.
    """
    top = max(int(np.floor(camera.horizon)) + 1, 0)
    if top >= camera.height:
        return
    grid = _grid(camera, bend, top)
    noise = _Textures(grid)
    color = _asphalt(grid, noise, road)
    _paint(color, grid, noise, road)
    offroad = _verge(color, grid, noise, road)
    label = np.full(color.shape[:2], ROAD, np.uint8)
    label[offroad > 0.5] = PAVEMENT
    grass = _grass(color, grid, noise, road, (green, shade[1]))
    label[grass] = TREE
    _light(color, grid, noise, light, shade)
    rgb[top:] = np.clip(color, 0, 255).astype(np.uint8)
    labels[top:] = label


def _grid(camera: Camera, bend: Bend, top: int) -> _Grid:
    rows = np.arange(top, camera.height, dtype=np.float32)[:, None] + np.float32(0.5)
    columns = np.arange(camera.width, dtype=np.float32)[None] + np.float32(0.5 - camera.width / 2)
    depth = np.minimum(np.float32(camera.focal * camera.y) / np.maximum(rows - np.float32(camera.horizon), 0.05), 900)
    side = columns * depth / np.float32(camera.focal)
    c, s = np.float32(np.cos(camera.yaw)), np.float32(np.sin(camera.yaw))
    x, z = c * side + s * depth, c * depth - s * side
    # the centre line bends slowly: a table by s is as good as the sine itself and far faster
    table_s = np.arange(-60.0, 960.0, 1.0)
    table = bend.centre(table_s + camera.z).astype(np.float32) - np.float32(camera.x)
    centre = cv2.remap(
        table[None], (z + 60).astype(np.float32), np.zeros_like(z), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    across = depth / np.float32(camera.focal)
    return _Grid(x - centre, z, camera.z, across, depth * depth / np.float32(camera.focal * camera.y), depth)


class _Textures:
    """Tileable noise laid on the ground, faded out where a sample covers more than a grain."""

    def __init__(self, grid: _Grid) -> None:
        self.grid = grid
        self.fine = self._lay(4.0, 0, 64, 4)
        self.middle = self._lay(13.0, 1, 8, 5)
        self.coarse = self._lay(57.0, 2, 8, 5)

    def _lay(self, period: float, key: int, first: int, octaves: int) -> FloatImage:
        source = fractal(512, first, octaves, 20 + key, 0.75)
        scale = np.float32(512 / period)
        row = self.grid.within(period) * scale
        laid = cv2.remap(source, self.grid.d * scale, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        grain = np.float32(period / first / 3)
        return (laid * np.minimum(grain / np.maximum(self.grid.along, grain), 1.0)).astype(np.float32)


def _asphalt(grid: _Grid, noise: _Textures, road: Roadway) -> FloatImage:
    tone = 1 + 0.075 * noise.fine + 0.04 * noise.middle + 0.05 * noise.coarse
    for lane in (road.left / 2 - 0.3, road.right / 2 + 0.3):
        for wheel in (-0.75, 0.75):
            tone -= 0.05 * np.exp(-(((grid.d - np.float32(lane + wheel)) / np.float32(0.35)) ** 2))
    cracks = np.abs(noise.middle + 0.4 * noise.fine) < 0.03
    tone -= 0.16 * (cracks & (grid.along < 0.12))
    patches = (noise.coarse > 1.15).astype(np.float32)
    tone *= 1 - 0.12 * patches
    return np.ascontiguousarray(tone[..., None] * road.asphalt.astype(np.float32))


def _band(grid: _Grid, low: float, high: float) -> FloatImage:
    """Share of each sample between d = low and d = high."""
    upper = np.clip((high - grid.d) / grid.across + 0.5, 0, 1)
    lower = np.clip((low - grid.d) / grid.across + 0.5, 0, 1)
    covered: FloatImage = upper - lower
    return covered


def _dashes(grid: _Grid, period: float, dash: float, offset: float = 0.0) -> FloatImage:
    """Share of each sample under dashes along s, exact over the sample's length."""
    start = grid.within(period, offset) - grid.along / 2
    end = np.asarray(start + grid.along, np.float32)
    painted = _painted(end, period, dash) - _painted(np.asarray(start, np.float32), period, dash)
    return np.asarray(np.clip(painted / np.maximum(grid.along, 1e-4), 0, 1), np.float32)


def _painted(s: FloatImage, period: float, dash: float) -> FloatImage:
    """Metres of dash between 0 and s."""
    turns = np.floor(s / np.float32(period))
    rest = s - turns * np.float32(period)
    return np.asarray(turns * np.float32(dash) + np.minimum(rest, np.float32(dash)), np.float32)


def _lay_color(color: FloatImage, cover: FloatImage, paint: NDArray[np.floating]) -> None:
    color += cover[..., None] * (paint.astype(np.float32) - color)


def _paint(color: FloatImage, grid: _Grid, noise: _Textures, road: Roadway) -> None:
    wear = np.clip(0.86 + 0.16 * noise.fine + 0.1 * noise.middle, 0.25, 1)
    white, yellow = np.array([196, 194, 186]), np.array([172, 142, 64])
    cover = _band(grid, -0.06, 0.06) * _dashes(grid, *road.centre)
    if road.crossing >= 0:
        near = _dashes(grid, road.cycle, 17.0, road.crossing - 9.0)
        swing = np.abs(np.mod(grid.within(2.0), np.float32(2)) - 1) * np.float32(0.7)
        for edge in (road.left + 0.3, -0.9, 0.4, road.right - 1.1):
            line = np.clip(0.5 + (0.07 - np.abs(grid.d - edge - swing)) / grid.across, 0, 1)
            cover = np.maximum(cover, line * near * np.minimum(1, 1.2 / np.maximum(grid.along, 0.01)))
        stop = _band(grid, road.left, 0.0) * _dashes(grid, road.cycle, 0.35, road.crossing + 12)
        cover = np.maximum(cover, stop)
    _lay_color(color, cover * wear, white)
    if road.yellow:
        lines = np.zeros_like(grid.d)
        for inner in (0.22, 0.42):
            lines += _band(grid, road.left + inner, road.left + inner + 0.07)
            lines += _band(grid, road.right - inner - 0.07, road.right - inner)
        _lay_color(color, lines * wear, yellow)


def _verge(color: FloatImage, grid: _Grid, noise: _Textures, road: Roadway) -> FloatImage:
    """Gutter, kerb and paving stones; returns the share of each sample off the carriageway."""
    edge = np.maximum(np.float32(road.left) - grid.d, grid.d - np.float32(road.right))
    beyond = np.clip(edge / grid.across + 0.5, 0, 1)
    gutter = np.clip((edge + 0.2) / grid.across + 0.5, 0, 1) - beyond
    color *= (1 - 0.28 * gutter)[..., None]
    tone = 1 + 0.07 * noise.fine + 0.07 * noise.middle + 0.06 * noise.coarse
    joints = _joints(grid, edge)
    stone = (tone * (1 - 0.28 * joints))[..., None] * road.slabs.astype(np.float32)
    kerb = np.clip((0.16 - edge) / grid.across + 0.5, 0, 1)
    stone *= (1 + 0.22 * kerb)[..., None]
    face = np.clip((0.05 - edge) / grid.across + 0.5, 0, 1)
    stone *= (1 - 0.4 * face)[..., None]
    color += beyond[..., None] * (stone - color)
    return np.asarray(beyond, np.float32)


def _joints(grid: _Grid, edge: FloatImage) -> FloatImage:
    """Mortar between 0.6 x 0.9 m slabs, as covered share of the sample."""
    lines = _dashes(grid, 0.9, 0.025)
    column = np.mod(edge, np.float32(0.6))
    gap = np.minimum(column, np.float32(0.6) - column)
    across = np.clip((0.013 - gap) / grid.across + 0.5, 0, 1) * np.minimum(1, 0.1 / grid.across)
    return np.asarray(np.maximum(lines, across), np.float32)


def _grass(
    color: FloatImage, grid: _Grid, noise: _Textures, road: Roadway, green: tuple[NDArray[np.bool_], float]
) -> NDArray[np.bool_]:
    table, first = green
    block = np.clip(
        ((grid.ahead + np.float32(grid.origin - first)) / np.float32(BLOCK)).astype(np.int32), 0, len(table) - 1
    )
    left = (grid.d < road.left - road.paving) & table[block, 0]
    right = (grid.d > road.right + road.paving) & table[block, 1]
    where: NDArray[np.bool_] = left | right
    if where.any():
        tone = 1 + 0.2 * noise.fine[where] + 0.15 * noise.middle[where]
        color[where] = tone[:, None] * road.grass.astype(np.float32)
    return where


def _light(
    color: FloatImage, grid: _Grid, noise: _Textures, light: Light, shade: tuple[NDArray[np.float32], float]
) -> None:
    """Skylight everywhere, sunlight beyond the shadow of the houses, haze with distance."""
    up = np.array([0.0, 1.0, 0.0])
    reach, first = shade
    row = np.zeros_like(grid.d)
    metre = grid.ahead + np.float32(grid.origin - first)
    limit = cv2.remap(reach[None], metre, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    from_left = light.sun[0] < 0
    beyond = (grid.d - limit) if from_left else (limit - grid.d)
    sunny = np.clip((beyond + 0.12 * noise.middle) / (grid.across + 0.25) + 0.5, 0, 1)
    dapple = np.clip(1.3 - 1.1 * np.maximum(noise.coarse, 0) - 0.5 * np.maximum(noise.middle, 0), 0.15, 1)
    dark = light.on(up, 0.0).astype(np.float32)
    bright = (light.on(up, 1.0) - light.on(up, 0.0)).astype(np.float32)
    color *= dark + (sunny * dapple)[..., None] * bright
    keep = np.exp(-np.float32(light.density) * grid.depth)[..., None]
    color *= keep
    color += (1 - keep) * light.haze.astype(np.float32)

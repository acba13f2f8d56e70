"""From a seed and a time to a picture and its labels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.labels import BUILDING, SKY, VOID
from models.scenes.camera import Bend, Camera, vector
from models.scenes.canvas import Canvas
from models.scenes.config import SceneConfig, check_seed, check_size
from models.scenes.foliage import TREE_COUNT, tree
from models.scenes.ground import BLOCK, Roadway, draw_ground, roadway_of
from models.scenes.lens import develop
from models.scenes.light import Light, light_of
from models.scenes.noise import stream
from models.scenes.painter import Painter, building_line
from models.scenes.sky import draw_sky
from models.scenes.street import Block, block
from models.scenes.traffic import Drive, drive_of, traffic_items

Picture = tuple[NDArray[np.uint8], NDArray[np.uint8]]
_SIGHT = 4
"""Blocks drawn ahead of the camera."""


def render_clip(config: SceneConfig) -> Iterator[Picture]:
    """Frames of the clip one by one, each (H, W, 3) uint8 RGB and (H, W) uint8 label ids 0-11.

    A frame depends on seed, size and its time alone: a shorter clip is a prefix of a longer one. Labels are exact
    (no blending at borders) and follow CamVid's conventions: railings count whole, the crown of a bare tree is
    closed, traffic lights and shop signs are signs, lawns and hedges are trees.
    """
    for index in range(config.frames):
        yield render(config.seed, float(index / config.fps), (config.width, config.height))


def render_frame(seed: int, width: int, height: int) -> Picture:
    """One random street at a random time, for training: (H, W, 3) uint8 RGB and (H, W) uint8 label ids 0-11.

    Raises ConfigError for sides below 32 or a negative seed.
    """
    check_size(width, height)
    check_seed(seed)
    return render(seed, float(stream(seed, 10).uniform(0, 60)), (width, height))


def render(seed: int, time: float, size: tuple[int, int]) -> Picture:
    """The street ``seed`` after ``time`` seconds; size is (width, height)."""
    light, road, bend, drive = _street(seed)
    camera = drive.camera(size, bend, time)
    canvas = Canvas(camera, light.haze, light.density)
    draw_sky(canvas.rgb, camera, light, seed, time)
    canvas.labels[:] = SKY
    first = int(np.floor(drive.s(time) / BLOCK)) - 1
    blocks = [block(seed, first + i) for i in range(_SIGHT + 1)]
    reach = shadow_reach(blocks, light, road, first * BLOCK)
    painter = Painter(canvas, light, bend, road, reach, first * BLOCK)
    green = np.array([b.green for b in blocks])
    draw_ground(canvas.rgb, canvas.labels, camera, bend, road, light, (reach, first * BLOCK), green)
    _backdrop(painter, seed)
    _draw_all(painter, seed, time, blocks, drive)
    _bonnet(canvas, seed)
    return develop(canvas.rgb, light, seed, time), canvas.labels


@lru_cache(maxsize=16)
def _street(seed: int) -> tuple[Light, Roadway, Bend, Drive]:
    rng = stream(seed, 9)
    straight = rng.random() < 0.4
    bend = Bend(
        amplitude=float(rng.uniform(0.0, 1.5) if straight else rng.uniform(3.0, 12.0)),
        wavelength=float(rng.uniform(260, 420)),
        phase=float(rng.uniform(0, 2 * np.pi)),
    )
    return light_of(seed), roadway_of(seed), bend, drive_of(seed)


def shadow_reach(blocks: list[Block], light: Light, road: Roadway, start: float) -> NDArray[np.float32]:
    """Per metre of s from ``start``: the d up to which the houses on the sunny side throw their shadow."""
    side = -1 if light.sun[0] < 0 else 1
    line = building_line(road, side)
    reach = np.full(int(len(blocks) * BLOCK), line, np.float32)
    slant = abs(light.sun[0]) / max(light.sun[1], 0.15)
    for item in blocks:
        for near, far, tall in item.heights[0 if side < 0 else 1]:
            reach[max(int(near - start), 0) : max(int(far - start), 0)] = line - side * tall * slant
    return reach


def _draw_all(painter: Painter, seed: int, time: float, blocks: list[Block], drive: Drive) -> None:
    here = drive.s(time)
    items = [item for b in blocks for item in b.items if item.far > here]
    items += traffic_items(seed, time, drive, painter.road)
    for item in sorted(items, key=lambda item: -item.far):
        item.draw(painter)


def _backdrop(p: Painter, seed: int) -> None:
    """Where the street ends in the haze: roofs, trees and a strip of things too far to name."""
    rng = stream(seed, 26)
    end = p.canvas.camera.z + (_SIGHT - 0.2) * BLOCK
    for _ in range(9):
        d, wide, tall = rng.uniform(-60, 60), rng.uniform(8, 20), rng.uniform(5, 13)
        at = p.at(float(d), end + 30)
        wall = np.stack([at, at + vector(wide, 0, 0), at + vector(wide, tall, 0), at + vector(0, tall, 0)])
        p.canvas.face(wall, np.array([116.0, 108.0, 100.0]) * rng.uniform(0.6, 1.3) * p.light.ambient, BUILDING)
    for _ in range(12):
        kind, d, size = int(rng.integers(TREE_COUNT)), float(rng.uniform(-45, 45)), float(rng.uniform(0.7, 1.4))
        what = tree(kind)
        gain = p.light.on(np.array([0.0, 0.4, -0.6]))
        p.canvas.sprite(what.texture, p.at(d, end + 15), (what.width * size, what.height * size), gain)
    for _ in range(10):
        d, wide, tall = rng.uniform(-16, 14), rng.uniform(1, 5), rng.uniform(1, 3)
        at = p.at(float(d), end)
        strip = np.stack([at, at + vector(wide, 0, 0), at + vector(wide, tall, 0), at + vector(0, tall, 0)])
        p.canvas.face(strip, np.full(3, 70.0) * rng.uniform(0.4, 1.6), VOID)


def _bonnet(canvas: Canvas, seed: int) -> None:
    """The camera car's own bonnet at the lower edge, in a third of the streets."""
    rng = stream(seed, 27)
    if rng.random() > 0.35:
        return
    width, height = canvas.camera.width, canvas.camera.height
    rise, lean = rng.uniform(0.02, 0.05), rng.uniform(-0.03, 0.03)
    x = np.linspace(-0.02, 1.02, 24)
    y = 1 - rise * (1 - (2 * x - 1) ** 2 * 0.8) - lean * (x - 0.5)
    curve = np.stack([x * width, y * height], axis=1)
    floor = np.array([[1.05 * width, 1.1 * height], [-0.05 * width, 1.1 * height]])
    tone = rng.uniform(20, 60)
    canvas.polygons([np.concatenate([curve, floor])], np.full((1, 3), tone), np.zeros(1), VOID)
    lower = curve + np.array([0, 0.006 * height])
    canvas.polygons([np.concatenate([curve, lower[::-1]])], np.full((1, 3), tone + 50), np.zeros(1), VOID)


def camera_at(seed: int, time: float, size: tuple[int, int]) -> Camera:
    """The camera of the street ``seed`` after ``time`` seconds, for whoever needs the geometry behind the labels."""
    _, _, bend, drive = _street(seed)
    return drive.camera(size, bend, time)

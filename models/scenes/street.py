"""The street itself, designed in blocks of 40 m without end: houses, parks, furniture, parked cars."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise

import numpy as np

from models.scenes import furniture
from models.scenes.camera import vector
from models.scenes.foliage import TREE_COUNT, hedge, tree
from models.scenes.ground import BLOCK, Roadway, roadway_of
from models.scenes.houses import house_items
from models.scenes.noise import stream
from models.scenes.painter import Item, Painter, building_line, kerb
from models.scenes.vehicles import VEHICLE_COUNT, draw_vehicle

Heights = tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Block:
    """40 m of street: its things, whether grass lies beyond each pavement, and the houses' heights per side."""

    items: tuple[Item, ...]
    green: tuple[bool, bool]
    heights: tuple[Heights, Heights]


@lru_cache(maxsize=64)
def block(seed: int, index: int) -> Block:
    """Block ``index`` (from s = 40·index) of the street ``seed``."""
    rng = stream(seed, 14, index)
    road = roadway_of(seed)
    wooded = stream(seed, 15).uniform(0.1, 0.5)
    start = index * BLOCK
    items: list[Item] = []
    green, heights = [], []
    for side in (-1, 1):
        park = bool(rng.random() < wooded)
        found, tall = (_park if park else _terrace)(rng, road, start, side)
        items += found + _pavement(rng, road, start, side, park)
        green.append(park)
        heights.append(tuple(tall))
    items += _certain(rng, road, start)
    return Block(tuple(items), (green[0], green[1]), (heights[0], heights[1]))


def _terrace(
    rng: np.random.Generator, road: Roadway, start: float, side: int
) -> tuple[list[Item], list[tuple[float, float, float]]]:
    d = building_line(road, side)
    if rng.random() < 0.25:
        gap = float(rng.uniform(5, 9))
        items, heights = house_items(rng, (start + gap, start + BLOCK), d, side)
        items.append(_tree_item(rng, d + side * 4.0, start + gap * 0.7))
        items += fence_items(rng, d + side * 0.2, (start, start + gap))
        return items, heights
    return house_items(rng, (start, start + BLOCK), d, side)


def _park(
    rng: np.random.Generator, road: Roadway, start: float, side: int
) -> tuple[list[Item], list[tuple[float, float, float]]]:
    """Trees behind a fence or hedge, with houses set back at times."""
    d = building_line(road, side)
    items, _ = house_items(rng, (start, start + BLOCK), d + side * rng.uniform(10, 22), side)
    items = [Item(item.far + 12, item.draw) for item in items] if rng.random() < 0.6 else []
    for s in np.arange(start + 2, start + BLOCK, rng.uniform(3.5, 7.5)):
        items.append(_tree_item(rng, d + side * rng.uniform(1.5, 6.0), float(s + rng.uniform(-1, 1)), 5.0))
    if rng.random() < 0.45:
        variant, tall = int(rng.integers(8)), float(rng.uniform(1.0, 2.4))
        for s in np.arange(start, start + BLOCK, 8.0):
            items.append(Item(float(s) + 8.2, partial(_draw_hedge, variant, (d + side * 0.6, float(s)), tall, side)))
    items += fence_items(rng, d + side * 0.15, (start, start + BLOCK))
    return items, []


def fence_items(rng: np.random.Generator, d: float, span: tuple[float, float]) -> list[Item]:
    """One kind of fence along ``span`` of s at d, in panels of about 4 m."""
    index = int(rng.integers(furniture.FENCE_COUNT))
    count = max(round((span[1] - span[0]) / 4), 1)
    edges = np.linspace(span[0], span[1], count + 1)
    return [Item(float(b), partial(_draw_fence, index, d, (float(a), float(b)))) for a, b in pairwise(edges)]


def _pavement(rng: np.random.Generator, road: Roadway, start: float, side: int, park: bool) -> list[Item]:
    edge = kerb(road, side) + side * 0.45
    inner = building_line(road, side) - side * 0.5
    items = [Item(s, partial(_draw_lamp, int(rng.integers(99)), edge, s, -side)) for s in (start + rng.uniform(2, 36),)]
    if not park and rng.random() < 0.3:
        for s in np.arange(start + rng.uniform(2, 8), start + BLOCK, rng.uniform(9, 16)):
            items.append(_tree_item(rng, edge + side * 0.3, float(s), 0.0, 0.8))
    if rng.random() < 0.5:
        s = start + float(rng.uniform(0, BLOCK))
        items.append(Item(s, partial(_draw_sign, int(rng.integers(99)), edge, s)))
    if rng.random() < 0.35:
        first, kind = start + float(rng.uniform(0, 25)), int(rng.integers(3))
        for s in first + np.arange(int(rng.integers(3, 8))) * 1.7:
            items.append(Item(float(s), partial(_draw_bollard, kind, edge, float(s))))
    for _ in range(int(rng.integers(0, 3))):
        s = start + float(rng.uniform(0, BLOCK))
        items.append(Item(s, partial(_draw_bin, int(rng.integers(12)), inner if rng.random() < 0.6 else edge, s)))
    return items + _parked(rng, road, start, side)


def _certain(rng: np.random.Generator, road: Roadway, start: float) -> list[Item]:
    """What no block is without: a sign, a traffic light or second sign, a tree, a length of railing by the kerb."""
    side = int(rng.choice([-1, 1]))
    edge = kerb(road, side) + side * 0.4
    s = start + float(rng.uniform(4, 34))
    items = [Item(s, partial(_draw_sign, int(rng.integers(99)), edge, s))]
    other = kerb(road, -side) - side * 0.4
    if rng.random() < 0.6:
        items.append(Item(s + 3, partial(_draw_light, int(rng.integers(3)), other, s + 3)))
    first = start + float(rng.uniform(0, 28))
    items += fence_items(rng, kerb(road, -side) - side * 0.3, (first, first + 4 * int(rng.integers(2, 4))))
    items.append(_tree_item(rng, building_line(road, side) - side * 0.8, start + float(rng.uniform(10, 38)), 0.0, 0.85))
    return items


def _parked(rng: np.random.Generator, road: Roadway, start: float, side: int) -> list[Item]:
    edge = kerb(road, side)
    if abs(edge) < 5.0 or rng.random() < 0.25:
        return []
    items = []
    for s in np.arange(start + 3, start + BLOCK - 1, 5.6):
        index = int(rng.integers(VEHICLE_COUNT // 12) * 12 + rng.integers(8))
        flip = float(rng.choice([0.0, np.pi]))
        if rng.random() < 0.62:
            at = float(s + rng.uniform(-0.4, 0.4))
            items.append(Item(at, partial(_draw_parked, index, edge - side * 1.05, at, flip)))
    return items


def _tree_item(rng: np.random.Generator, d: float, s: float, behind: float = 0.0, scale: float = 1.0) -> Item:
    kind = int(rng.choice([0, 0, 1, 2])) + 3 * int(rng.integers(TREE_COUNT // 3))
    size = scale * float(rng.uniform(0.65, 1.25))
    return Item(s + behind, partial(_draw_tree, kind, (d, s), size))


def _draw_tree(index: int, place: tuple[float, float], size: float, p: Painter) -> None:
    at = p.at(*place)
    if p.canvas.camera.depth(at) > 1.5 and p.canvas.sees(at, 5.0):
        kind = tree(index)
        gain = p.light.on(np.array([0.0, 0.4, -0.6]), 0.7 * p.sunshine(*place) + 0.3) * 1.05
        p.canvas.sprite(kind.texture, at - vector(0, 0.05, 0), (kind.width * size, kind.height * size), gain)


def _draw_hedge(index: int, place: tuple[float, float], tall: float, side: int, p: Painter) -> None:
    d, s = place
    near, far = p.at(d, s, tall), p.at(d, s + 8.2, tall)
    p.canvas.sheet(
        hedge(index), near, far - near, np.array([0.0, -tall, 0.0]), p.light.on(np.array([-side, 0.4, 0.0])), (0.0, 1.0)
    )


def _draw_fence(index: int, d: float, span: tuple[float, float], p: Painter) -> None:
    texture, tall = furniture.fence(index)
    near, far = p.at(d, span[0], tall), p.at(d, span[1], tall)
    inward = np.array([-np.sign(d), 0.2, 0.0])
    p.canvas.sheet(texture, near, far - near, np.array([0.0, -tall, 0.0]), p.light.on(inward, 0.6), (0.0, 1.0))


def _draw_lamp(index: int, d: float, s: float, inward: int, p: Painter) -> None:
    furniture.draw_lamp(p.canvas, p.light, index, p.at(d, s), inward)


def _draw_sign(index: int, d: float, s: float, p: Painter) -> None:
    furniture.draw_sign(p.canvas, p.light, index, p.at(d, s))


def _draw_light(state: int, d: float, s: float, p: Painter) -> None:
    furniture.draw_traffic_light(p.canvas, p.light, state, p.at(d, s))


def _draw_bollard(index: int, d: float, s: float, p: Painter) -> None:
    furniture.draw_bollard(p.canvas, p.light, index, p.at(d, s))


def _draw_bin(index: int, d: float, s: float, p: Painter) -> None:
    if p.canvas.camera.depth(p.at(d, s)) > 1.0:
        furniture.draw_bin(p.canvas, p.light, index, p.at(d, s))


def _draw_parked(index: int, d: float, s: float, flip: float, p: Painter) -> None:
    at = p.at(d, s)
    if p.canvas.sees(at, 6.0):
        draw_vehicle(p.canvas, p.light, index, at, p.heading(s) + flip, p.sunshine(d, s))

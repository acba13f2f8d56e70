"""Detection scenes: streets of ``models.scenes`` with cars, pedestrians and bicyclists set into them, and their boxes.

The street is drawn once and then peopled several times, which is quick. What each thing covers is known exactly, so a
box is that of the visible part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ConfigError
from models.labels import BICYCLIST, CAR, PEDESTRIAN, SKY
from models.objects.types import ObjectSet, Rgb
from models.scenes.camera import Bend
from models.scenes.canvas import Canvas
from models.scenes.config import check_seed, check_size
from models.scenes.ground import BLOCK, Roadway, draw_ground, roadway_of
from models.scenes.lens import develop
from models.scenes.light import light_of
from models.scenes.noise import stream
from models.scenes.painter import Item, Painter, kerb
from models.scenes.people import draw_bicyclist, draw_pedestrian
from models.scenes.render import shadow_reach
from models.scenes.sky import draw_sky
from models.scenes.street import block
from models.scenes.traffic import drive_of, traffic_items
from models.scenes.vehicles import VEHICLE_COUNT, draw_vehicle

CLASSES = ("car", "pedestrian", "bicyclist")
SIZE = (256, 192)
"""Width and height of a scene."""

_CLASS_OF = {CAR: 0, PEDESTRIAN: 1, BICYCLIST: 2}
_UNTOUCHED = 255
_SIGHT = 4
_TAUGHT, _JUDGED = (8.0, 0.35), (18.0, 0.7)
"""Least longer side of the box, and least visible share, of objects that are taught and that are measured."""


@dataclass
class _Layer:
    """A canvas and what is where on it: the index into ``areas`` of the object each sample shows, −1 for none."""

    painter: Painter
    owner: NDArray[np.int32]
    classes: list[int]
    areas: list[int]

    def draw(self, items: Sequence[Item]) -> None:
        for item in sorted(items, key=lambda item: -item.far):
            self._draw(item)

    def _draw(self, item: Item) -> None:
        labels = self.painter.canvas.labels
        labels[:] = _UNTOUCHED
        item.draw(self.painter)
        touched = labels != _UNTOUCHED
        found = labels[touched]
        if not found.size:
            return
        kind = _CLASS_OF.get(int(np.bincount(found).argmax()), -1)
        self.owner[touched] = len(self.areas) if kind >= 0 else -1
        if kind >= 0:
            self.classes.append(kind)
            self.areas.append(int(found.size))

    def peopled(self, items: Sequence[Item]) -> _Layer:
        """A copy with more things on it."""
        painter, canvas = self.painter, self.painter.canvas
        fresh = Canvas(canvas.camera, canvas.haze, canvas.density)
        fresh.rgb[:] = canvas.rgb
        layer = _Layer(replace(painter, canvas=fresh), self.owner.copy(), list(self.classes), list(self.areas))
        layer.draw(items)
        return layer


def street_scenes(seed: int, count: int, size: tuple[int, int] = SIZE, variants: int = 8) -> ObjectSet:
    """``count`` peopled streets, ``variants`` from each camera place.

    Args:
        seed: names the streets; scenes of different seeds share no street.
        size: width and height.

    Raises ConfigError for sides below 32 or a negative seed.
    """
    check_size(*size)
    check_seed(seed)
    return _set([shot for _, shot in zip(range(count), _scenes(seed, size, variants), strict=False)])


def _set(shots: Sequence[tuple[Rgb, _Found]]) -> ObjectSet:
    images, image_of, boxes, labels, judged = [], [], [], [], []
    for index, (image, found) in enumerate(shots):
        images.append(image)
        image_of += [index] * len(found)
        boxes += [box for box, _, _ in found]
        labels += [kind for _, kind, _ in found]
        judged += [measured for _, _, measured in found]
    return ObjectSet(
        np.stack(images),
        np.array(image_of, np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        judged=np.array(judged, bool),
        names=CLASSES,
    )


def street_video(seed: int, frames: int, size: tuple[int, int] = SIZE, fps: float = 25.0) -> ObjectSet:
    """A street seen by a camera that stands still, as surveillance cameras do: everything in it goes its way.

    Args:
        seed: names the street, none of which ``street_scenes`` draws.
        frames: pictures, in display order; an object has an entry for each it is seen in.
        size: width and height.
        fps: frames a second.

    Raises ConfigError for sides below 32, a negative seed, or no frames.
    """
    check_size(*size)
    check_seed(seed)
    if frames < 1 or not fps > 0:
        raise ConfigError(f"{frames} frames at {fps} a second; expected at least 1, and more than 0")
    street = seed * 100_003 + 99_991
    empty, here = _empty_street(street, size)
    road, still = empty.painter.road, replace(drive_of(street), start=here, speed=0.0)
    shots = []
    for index in range(frames):
        time = 60.0 + index / fps
        layer = empty.peopled(traffic_items(street, time, still, road))
        shots.append((develop(layer.painter.canvas.rgb, empty.painter.light, street, time), _boxes(layer)))
    return _set(shots)


_Found = list[tuple[tuple[float, float, float, float], int, bool]]


def _scenes(seed: int, size: tuple[int, int], variants: int) -> Iterator[tuple[Rgb, _Found]]:
    place = 0
    while True:
        street = seed * 100_003 + place
        empty, here = _empty_street(street, size)
        for variant in range(variants):
            rng = stream(street, 40, variant)
            layer = empty.peopled(_people(rng, here, empty.painter.road))
            yield develop(layer.painter.canvas.rgb, empty.painter.light, street, variant / 7), _boxes(layer)
        place += 1


def _empty_street(street: int, size: tuple[int, int]) -> tuple[_Layer, float]:
    """The street without traffic, and how far along it the camera stands."""
    light, road, drive = light_of(street), roadway_of(street), drive_of(street)
    rng = stream(street, 41)
    time = float(rng.uniform(0, 60))
    bend = Bend(float(rng.uniform(0, 4)), float(rng.uniform(260, 420)), float(rng.uniform(0, 2 * np.pi)))
    camera = drive.camera(size, bend, time)
    canvas = Canvas(camera, light.haze, light.density)
    draw_sky(canvas.rgb, camera, light, street, time)
    canvas.labels[:] = SKY
    first = int(np.floor(drive.s(time) / BLOCK)) - 1
    blocks = [block(street, first + i) for i in range(_SIGHT)]
    reach = shadow_reach(blocks, light, road, first * BLOCK)
    painter = Painter(canvas, light, bend, road, reach, first * BLOCK)
    green = np.array([b.green for b in blocks])
    draw_ground(canvas.rgb, canvas.labels, camera, bend, road, light, (reach, first * BLOCK), green)
    layer = _Layer(painter, np.full((camera.height, camera.width), -1, np.int32), [], [])
    layer.draw([item for b in blocks for item in b.items if item.far > drive.s(time)])
    return layer, drive.s(time)


def _people(rng: np.random.Generator, here: float, road: Roadway) -> list[Item]:
    """Vehicles on both lanes, riders by the kerb, walkers on the pavements: up to eleven things within 24 metres."""
    items: list[Item] = []
    taken: list[tuple[float, float]] = []
    for _ in range(int(rng.integers(5, 12))):
        kind = int(rng.choice(3, p=(0.4, 0.4, 0.2)))
        s = here + float(rng.uniform(*((7.5, 24), (4.0, 14), (4.5, 16))[kind]))
        d = _lane(rng, kind, road)
        if any(abs(d - e) < 1.5 and abs(s - t) < (7, 0.8, 2.5)[kind] for e, t in taken):
            continue
        taken.append((d, s))
        items.append(Item(s, partial(_draw, kind, int(rng.integers(9999)), (d, s), _pose(rng))))
    return items


def _lane(rng: np.random.Generator, kind: int, road: Roadway) -> float:
    if kind == 0:
        return float(rng.choice([-1.7, 1.8])) + float(rng.uniform(-0.3, 0.3))
    side = int(rng.choice([-1, 1]))
    edge = kerb(road, side)
    return edge + side * float(rng.uniform(0.4, 2.2)) if kind == 1 else edge - side * float(rng.uniform(0.6, 1.6))


def _pose(rng: np.random.Generator) -> tuple[float, float]:
    """Heading and phase of the gait."""
    return float(rng.choice([0.0, np.pi])) + float(rng.normal(0, 0.2)), float(rng.uniform(0, 6))


def _draw(kind: int, index: int, place: tuple[float, float], pose: tuple[float, float], p: Painter) -> None:
    at, heading, lit = p.at(*place), p.heading(place[1]) + pose[0], p.sunshine(*place)
    if kind == 0:
        draw_vehicle(p.canvas, p.light, index % VEHICLE_COUNT, at, heading, lit)
    else:
        draw = draw_pedestrian if kind == 1 else draw_bicyclist
        draw(p.canvas, p.light, index, at, heading, pose[1], lit)


def _boxes(layer: _Layer) -> _Found:
    """Box of the visible part, class, and whether it is measured, of each object that is taught."""
    found: _Found = []
    for index, (kind, area) in enumerate(zip(layer.classes, layer.areas, strict=True)):
        rows, columns = np.nonzero(layer.owner == index)
        if not rows.size:
            continue
        box = float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)
        side, visible = max(box[2] - box[0], box[3] - box[1]), rows.size / area
        if side >= _TAUGHT[0] and visible >= _TAUGHT[1]:
            found.append((box, kind, side >= _JUDGED[0] and visible >= _JUDGED[1]))
    return found

"""Everything that moves: lanes of cars, bicyclists and pedestrians, each a function of time alone, without end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.scenes.camera import Bend, Camera
from models.scenes.ground import Roadway
from models.scenes.noise import stream
from models.scenes.painter import Item, Painter, building_line, kerb
from models.scenes.people import draw_bicyclist, draw_pedestrian
from models.scenes.street import fence_items
from models.scenes.vehicles import VEHICLE_COUNT, draw_vehicle

FOCAL = 0.92
"""Focal length relative to the width of a 4:3 picture of the same area."""


@dataclass(frozen=True)
class Lane:
    """Movers spaced ``gap`` metres apart (jitter ± ``loose``) at ``speed`` metres a second; each slot is taken with
    probability ``share``. ``key`` names the lane's random stream."""

    key: int
    gap: float
    loose: float
    speed: float
    share: float

    def movers(self, seed: int, time: float, near: float, far: float) -> Iterator[tuple[float, np.random.Generator]]:
        """(s, random stream of the mover) of everyone between s = near and s = far."""
        first = int(np.floor((near - self.loose - self.speed * time) / self.gap))
        last = int(np.ceil((far + self.loose - self.speed * time) / self.gap))
        for slot in range(first, last + 1):
            rng = stream(seed, self.key, slot)
            if rng.random() < self.share:
                s = slot * self.gap + rng.uniform(-self.loose, self.loose) + self.speed * time
                if near <= s <= far:
                    yield s, rng


@dataclass(frozen=True)
class Drive:
    """How the camera drives: start (m), speed (m/s), place in the lane, height, horizon share, wobble phases."""

    start: float
    speed: float
    d: float
    height: float
    horizon: float
    phases: tuple[float, float, float]

    def s(self, time: float) -> float:
        """Distance along the street after ``time`` seconds."""
        return self.start + self.speed * time + 0.4 * float(np.sin(0.5 * time + self.phases[0]))

    def camera(self, size: tuple[int, int], bend: Bend, time: float) -> Camera:
        """Camera after ``time`` seconds; size is (width, height)."""
        width, height = size
        a, b, c = self.phases
        s = self.s(time)
        focal = FOCAL * float(np.sqrt(width * height * 4 / 3))
        yaw = float(np.arctan(bend.slope(s + 6))) + 0.014 * float(np.sin(0.9 * time + a) + 0.3 * np.sin(3.1 * time + b))
        bounce = 0.0035 * float(np.sin(7.3 * time + c) + 0.6 * np.sin(11.9 * time + a))
        place = bend.place(self.d + 0.12 * float(np.sin(0.6 * time + b)), self.height + 2 * bounce, s)
        horizon = self.horizon * height + bounce * focal
        return Camera(width, height, place[0], place[1], place[2], yaw, horizon, focal)


def drive_of(seed: int) -> Drive:
    """The camera's drive through the street ``seed``."""
    rng = stream(seed, 16)
    a, b, c = rng.uniform(0, 2 * np.pi, 3)
    return Drive(
        start=float(rng.uniform(0, 900)),
        speed=float(rng.uniform(4.5, 9.0)),
        d=-float(rng.uniform(1.3, 2.0)),
        height=float(rng.uniform(1.2, 1.5)),
        horizon=float(rng.uniform(0.47, 0.55)),
        phases=(float(a), float(b), float(c)),
    )


def traffic_items(seed: int, time: float, drive: Drive, road: Roadway) -> list[Item]:
    """Everyone in sight after ``time`` seconds."""
    here = drive.s(time)
    return (
        _opening(seed, time, drive, road)
        + _queue(seed, time, here)
        + _oncoming(seed, time, here, road)
        + _riders(seed, time, here, road)
        + _walkers(seed, time, here, road)
    )


def _opening(seed: int, time: float, drive: Drive, road: Roadway) -> list[Item]:
    """A rider, a walker and a railing near the start, so that even a short clip shows every class."""
    rng = stream(seed, 28)
    start, phase = drive.s(0.0), float(rng.uniform(0, 6))
    ahead = start + float(rng.uniform(10, 15))
    rider, walker = ahead + 4.4 * time, ahead + 2.0 - 1.2 * time
    pose, gait = (0.0, phase + 6.5 * time), (np.pi, phase + 5.8 * time)
    lane, path = -_cycle_edge(road, -1), road.right + 1.6
    index = int(rng.integers(9999))
    items = [
        Item(rider, partial(_draw_person, draw_bicyclist, index, (lane, rider), pose)),
        Item(walker, partial(_draw_person, draw_pedestrian, index + 1, (path, walker), gait)),
    ]
    items += fence_items(rng, road.right + 0.3, (start + 15, start + 23))
    return [item for item in items if drive.s(time) + 1.5 < item.far < drive.s(time) + 80]


def _cycle_edge(road: Roadway, side: int) -> float:
    """Distance from the centre line at which bicycles ride: by the kerb, or outside the parked cars."""
    edge = abs(kerb(road, side))
    return max(edge - (2.5 if edge >= 5.0 else 0.75), 2.9)


def _queue(seed: int, time: float, here: float) -> list[Item]:
    """Vehicles ahead in the camera's own lane, keeping their distance."""
    rng = stream(seed, 17)
    items = []
    s = here + float(rng.uniform(8.5, 20))
    for _ in range(5):
        index, taken = _kind(rng, s - here), rng.random() < 0.62
        sway = float(0.8 * np.sin(0.4 * time + rng.uniform(0, 6)))
        if taken:
            items.append(Item(s + sway, partial(_draw_car, index, -1.7, s + sway, 0.0)))
        s += float(rng.uniform(9, 22))
    return items


def _kind(rng: np.random.Generator, shortest: float = 0.0) -> int:
    """A vehicle of the library; buses are rare, and none where the gap ahead is below ``shortest`` metres."""
    index = int(rng.integers(VEHICLE_COUNT))
    big = index % 12 >= 10
    return index - 10 if big and (shortest < 14 or rng.random() < 0.5) else index


def _oncoming(seed: int, time: float, here: float, road: Roadway) -> list[Item]:
    lane = Lane(18, 17.0, 3.0, -float(stream(seed, 18).uniform(4, 9)), 0.6)
    d = 1.85 if road.right < 5.0 else 1.75
    return [
        Item(s, partial(_draw_car, _kind(rng, 99.0), d, s, np.pi))
        for s, rng in lane.movers(seed, time, here - 3, here + 95)
    ]


def _riders(seed: int, time: float, here: float, road: Roadway) -> list[Item]:
    items: list[Item] = []
    for key, side, speed, heading in ((19, -1, 4.4, 0.0), (20, 1, -4.8, np.pi)):
        lane = Lane(key, 26.0, 7.0, speed, 0.72 if side < 0 else 0.4)
        edge = _cycle_edge(road, side)
        for s, rng in lane.movers(seed, time, here + 1.5, here + 80):
            d = side * edge + float(rng.uniform(-0.2, 0.2))
            crank = float(rng.uniform(0, 6)) + 6.5 * time
            items.append(
                Item(s, partial(_draw_person, draw_bicyclist, int(rng.integers(9999)), (d, s), (heading, crank)))
            )
    return items


def _walkers(seed: int, time: float, here: float, road: Roadway) -> list[Item]:
    items: list[Item] = []
    busy = float(stream(seed, 21).uniform(0.2, 0.75))
    for key, side, speed in ((22, -1, 1.35), (23, -1, -1.25), (24, 1, 1.3), (25, 1, -1.4)):
        lane = Lane(key, 6.5, 2.5, speed, busy)
        for s, rng in lane.movers(seed, time, here + 1.5, here + 75):
            low, high = sorted((kerb(road, side) + side * 0.6, building_line(road, side) - side * 0.4))
            d = float(rng.uniform(low, high))
            heading = (0.0 if speed > 0 else np.pi) + float(rng.normal(0, 0.1))
            gait = float(rng.uniform(0, 6)) + 5.8 * time
            person = int(rng.integers(9999))
            items.append(Item(s, partial(_draw_person, draw_pedestrian, person, (d, s), (heading, gait))))
            if rng.random() < 0.3:
                beside = (d + 0.55, s + 0.2)
                items.append(
                    Item(s + 0.2, partial(_draw_person, draw_pedestrian, person + 7, beside, (heading, gait + 1)))
                )
    return items


def _draw_car(index: int, d: float, s: float, flip: float, p: Painter) -> None:
    at = p.at(d, s)
    if p.canvas.sees(at, 6.0):
        draw_vehicle(p.canvas, p.light, index, at, p.heading(s) + flip, p.sunshine(d, s))


def _draw_person(
    draw: Callable[..., None], index: int, place: tuple[float, float], pose: tuple[float, float], p: Painter
) -> None:
    heading, phase = pose
    at = p.at(*place)
    if p.canvas.sees(at, 1.2):
        draw(p.canvas, p.light, index, at, p.heading(place[1]) + heading, phase, p.sunshine(*place))

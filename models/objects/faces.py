"""Procedural faces: an identity is a vector of features; pose, expression, light and noise vary between pictures.

They look like drawings. What matters is that identities differ in small things (moles, brows, irises, proportions) as
faces do, so that an embedding of them suffers from coding as an embedding of faces does.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.objects.photo import photograph
from models.objects.types import ObjectSet, Rgb, whole_pictures
from models.scenes.noise import patch, stream

SIDE = 64
_SCALE = 3
_SHIFT = 4
_SKINS = ((232, 190, 165), (215, 165, 130), (186, 132, 98), (142, 96, 68), (96, 64, 46), (240, 205, 186))
_HAIRS = ((28, 22, 20), (70, 44, 28), (120, 78, 40), (188, 150, 90), (150, 60, 30), (150, 148, 146))
_IRISES = ((60, 40, 26), (90, 66, 36), (70, 98, 70), (70, 104, 140), (110, 120, 124))

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Identity:
    """Who it is. Lengths are shares of half the head's height; moles are (x, y, size)."""

    skin: Points
    hair: Points
    iris: Points
    jaw: float
    width: float
    eye_gap: float
    eye_height: float
    eye_size: float
    eye_tilt: float
    brow_height: float
    brow_weight: float
    brow_tilt: float
    nose_length: float
    nose_width: float
    mouth_width: float
    mouth_height: float
    lips: float
    hairline: float
    parting: float
    fringe: float
    beard: float
    moles: Points


def identity_of(seed: int) -> Identity:
    """The person ``seed``."""
    rng = stream(seed, 60)

    def tone(palette: tuple[tuple[int, int, int], ...]) -> Points:
        return np.array(palette[int(rng.integers(len(palette)))], np.float64) * rng.normal(1, 0.05, 3)

    return Identity(
        skin=tone(_SKINS),
        hair=tone(_HAIRS),
        iris=tone(_IRISES),
        jaw=rng.uniform(0.5, 0.95),
        width=rng.uniform(0.7, 0.86),
        eye_gap=rng.uniform(0.27, 0.4),
        eye_height=rng.uniform(-0.16, 0.02),
        eye_size=rng.uniform(0.1, 0.17),
        eye_tilt=rng.normal(0, 0.12),
        brow_height=rng.uniform(0.16, 0.28),
        brow_weight=rng.uniform(0.02, 0.07),
        brow_tilt=rng.normal(0, 0.16),
        nose_length=rng.uniform(0.24, 0.42),
        nose_width=rng.uniform(0.08, 0.18),
        mouth_width=rng.uniform(0.2, 0.36),
        mouth_height=rng.uniform(0.46, 0.6),
        lips=rng.uniform(0.03, 0.09),
        hairline=rng.uniform(-0.85, -0.5),
        parting=rng.uniform(-0.4, 0.4),
        fringe=rng.uniform(-0.1, 0.2),
        beard=max(0.0, rng.uniform(-0.6, 0.7)),
        moles=np.column_stack([rng.uniform(-0.5, 0.5, 4), rng.uniform(-0.3, 0.75, 4), rng.uniform(0.0, 0.045, 4)]),
    )


def face_pictures(seed: int, identities: int, pictures: int, side: int = SIDE) -> ObjectSet:
    """``pictures`` square pictures of each of ``identities`` people; labels tell the person, from 0.

    Sets of different seeds have no person in common.
    """
    images, labels = [], []
    for person in range(identities):
        who = identity_of(seed * 1_000_003 + person)
        for shot in range(pictures):
            images.append(draw_face(stream(seed, 61, person, shot), who, side))
            labels.append(person)
    return whole_pictures(np.stack(images), np.array(labels, np.int64))


def draw_face(rng: np.random.Generator, who: Identity, side: int = SIDE) -> Rgb:
    """(side, side, 3) uint8 RGB of the person in a random pose, expression and light."""
    sheet = _Sheet(rng, side * _SCALE)
    sheet.background(rng)
    smile, opened, raised = rng.normal(0, 0.05), max(0.0, rng.normal(0, 0.03)), rng.normal(0, 0.03)
    _head(sheet, who, rng)
    _eyes(sheet, who, raised, rng)
    _nose(sheet, who)
    _mouth(sheet, who, smile, opened)
    for x, y, size in who.moles:
        if size > 0.012:
            sheet.ellipse((x, y), (size, size), who.skin * 0.45)
    _hair(sheet, who)
    small = cv2.resize(sheet.picture, (side, side), interpolation=cv2.INTER_AREA)
    return photograph(rng, np.asarray(small, np.uint8))


class _Sheet:
    """Draws in face coordinates: x to the right, y down, the head's half height is 1."""

    def __init__(self, rng: np.random.Generator, side: int) -> None:
        self.picture = np.zeros((side, side, 3), np.uint8)
        turn, size = rng.normal(0, 0.09), side * rng.uniform(0.38, 0.43)
        self._yaw, self._pitch = rng.normal(0, 0.16), rng.normal(0, 0.08)
        c, s = np.cos(turn), np.sin(turn)
        self._matrix = np.array([[c, s], [-s, c]]) * size
        self._centre = side / 2 + rng.normal(0, 0.018, 2) * side

    def background(self, rng: np.random.Generator) -> None:
        side = len(self.picture)
        color = rng.uniform(20, 220, 3)
        texture = patch(rng, side, side, first=4)[..., None] * rng.uniform(4, 26)
        self.picture[:] = np.clip(color + texture, 0, 255).astype(np.uint8)

    def place(self, points: Points) -> Points:
        """Face coordinates to samples; features turn on an ellipsoid."""
        x, y = points[:, 0], points[:, 1]
        depth = np.sqrt(np.clip(1.1 - 0.9 * x**2 - 0.5 * y**2, 0.05, None))
        turned = np.column_stack([x + self._yaw * depth, y + self._pitch * depth])
        placed: Points = turned @ self._matrix + self._centre
        return placed

    def polygon(self, points: Points, color: Points) -> None:
        fixed = np.rint(self.place(points) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(self.picture, [fixed], np.clip(color, 0, 255).tolist(), cv2.LINE_AA, _SHIFT)

    def ellipse(self, centre: tuple[float, float], radii: tuple[float, float], color: Points, tilt: float = 0) -> None:
        angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        c, s = np.cos(tilt), np.sin(tilt)
        ring = np.column_stack([np.cos(angle) * radii[0], np.sin(angle) * radii[1]])
        self.polygon(ring @ np.array([[c, s], [-s, c]]) + centre, color)

    def stroke(self, points: Points, width: float, color: Points) -> None:
        normal = np.gradient(points, axis=0)[:, ::-1] * [1, -1]
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
        taper = np.sin(np.linspace(0.25, np.pi - 0.25, len(points)))[:, None] * width
        self.polygon(np.concatenate([points + normal * taper, (points - normal * taper)[::-1]]), color)


def _outline(who: Identity) -> Points:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x, y = np.cos(angle), np.sin(angle)
    narrow = np.where(y > 0, 1 - (1 - who.jaw) * y**2, 1.0)
    return np.column_stack([x * who.width * narrow, y])


def _head(sheet: _Sheet, who: Identity, rng: np.random.Generator) -> None:
    neck = np.array([[-0.4, 0.5], [0.4, 0.5], [0.5, 1.6], [-0.5, 1.6]])
    sheet.polygon(neck, who.skin * 0.78)
    sheet.polygon(np.array([[-1.3, 1.6], [-0.5, 1.12], [0.5, 1.12], [1.3, 1.6]]), rng.uniform(20, 220, 3))
    for side in (-1, 1):
        sheet.ellipse((side * who.width * 0.98, 0.02), (0.1, 0.2), who.skin * 0.85)
    outline = _outline(who)
    sheet.polygon(outline, who.skin * 0.9)
    sheet.polygon(outline * [0.93, 0.96], who.skin)
    if who.beard:
        chin = outline[outline[:, 1] > 0.35] * [0.97, 0.99]
        sheet.polygon(chin, who.skin * (1 - who.beard) + who.hair * who.beard)


def _eyes(sheet: _Sheet, who: Identity, raised: float, rng: np.random.Generator) -> None:
    gaze = rng.normal(0, 0.02)
    for side in (-1, 1):
        centre = (side * who.eye_gap, who.eye_height)
        sheet.ellipse((centre[0], centre[1] - 0.01), (who.eye_size * 1.15, who.eye_size * 0.72), who.skin * 0.72)
        sheet.ellipse(centre, (who.eye_size, who.eye_size * 0.52), np.array([236.0, 234, 230]), side * who.eye_tilt)
        sheet.ellipse((centre[0] + gaze, centre[1]), (who.eye_size * 0.5, who.eye_size * 0.5), who.iris)
        sheet.ellipse((centre[0] + gaze, centre[1]), (who.eye_size * 0.22,) * 2, np.full(3, 12.0))
        x = np.linspace(-1, 1, 9)
        arch = np.column_stack([x * who.eye_size * 1.35, side * x * who.brow_tilt * 0.2 - 0.05 * (1 - x**2)])
        brow = arch + np.array([centre[0], centre[1] - who.brow_height - raised])
        sheet.stroke(brow, who.brow_weight, who.hair * 0.8)


def _nose(sheet: _Sheet, who: Identity) -> None:
    top, end = who.eye_height + 0.06, who.eye_height + who.nose_length
    bridge = np.array([[-0.05, top], [0.05, top], [who.nose_width, end], [-who.nose_width, end]])
    sheet.polygon(bridge, who.skin * 1.06)
    sheet.ellipse((0.0, end), (who.nose_width, 0.06), who.skin * 0.84)
    for side in (-1, 1):
        sheet.ellipse((side * who.nose_width * 0.55, end + 0.015), (0.035, 0.022), who.skin * 0.4)


def _mouth(sheet: _Sheet, who: Identity, smile: float, opened: float) -> None:
    x = np.linspace(-1, 1, 11)
    line = np.column_stack([x * who.mouth_width, who.mouth_height + (0.5 - x**2) * smile])
    lips = who.skin * [0.82, 0.55, 0.55]
    sheet.stroke(line, who.lips + opened, lips)
    sheet.stroke(line, 0.012 + opened * 0.7, lips * 0.4)


def _hair(sheet: _Sheet, who: Identity) -> None:
    outline = _outline(who)
    upper = outline[outline[:, 1] < who.hairline * 0.35]
    upper = upper[np.argsort(upper[:, 0])]
    x = np.linspace(1, -1, 12)
    line = np.column_stack([x * who.width * 0.9, who.hairline + who.fringe * np.cos(3 * (x - who.parting))])
    sheet.polygon(np.concatenate([upper * [1.08, 1.1], line]), who.hair)

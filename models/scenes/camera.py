"""Pinhole camera that drives along a gently curving street.

World: X to the right, Y up, Z ahead, in metres. The street is given in (d, s): d metres right of its centre line at
the distance s along it; ``bend`` turns (d, s) into (X, Z). Traffic keeps left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
NEAR = 0.4
_FLIP = np.array([1.0, -1.0])


def vector(x: float, y: float, z: float) -> Points:
    """(3,) float64."""
    return np.array([x, y, z], np.float64)


@dataclass(frozen=True)
class Bend:
    """Centre line X = sum of two sines of s; amplitudes in metres, wavelengths in metres."""

    amplitude: float
    wavelength: float
    phase: float

    def centre(self, s: NDArray[np.floating]) -> NDArray[np.floating]:
        """Lateral position X of the centre line at s."""
        k = 2 * np.pi / self.wavelength
        x: Points = self.amplitude * np.sin(k * s + self.phase) + 0.12 * self.amplitude * np.sin(2.7 * k * s)
        return x

    def slope(self, s: float) -> float:
        """dX/dZ of the centre line at s."""
        k = 2 * np.pi / self.wavelength
        first = self.amplitude * k * np.cos(k * s + self.phase)
        return float(first + 0.12 * self.amplitude * 2.7 * k * np.cos(2.7 * k * s))

    def place(self, d: float, y: float, s: float) -> Points:
        """World point of street coordinates (d, s) at the height y."""
        return np.array([d + float(self.centre(np.asarray(s, np.float64))), y, s])


@dataclass(frozen=True)
class Camera:
    """Position, heading and lens at one instant.

    Attributes:
        width, height: picture samples.
        x, y, z: position in metres.
        yaw: heading in radians, to the right.
        horizon: row of the horizon.
        focal: focal length in samples.
    """

    width: int
    height: int
    x: float
    y: float
    z: float
    yaw: float
    horizon: float
    focal: float

    @cached_property
    def turn(self) -> Points:
        """(3, 3): world offsets (as rows) times this are offsets in camera axes."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])

    @cached_property
    def eye(self) -> Points:
        """(3,) position."""
        return np.array([self.x, self.y, self.z])

    def to_view(self, points: Points) -> Points:
        """(..., 3) world points to camera axes: right, up, ahead."""
        view: Points = (points - self.eye) @ self.turn
        return view

    def to_image(self, view: Points) -> Points:
        """(..., 3) points in camera axes, all ahead of the near plane, to (..., 2) columns and rows."""
        seen: Points = view[..., :2] * (self.focal / view[..., 2:]) * _FLIP
        seen += (self.width / 2, self.horizon)
        return seen

    def project(self, points: Points) -> Points | None:
        """World polygon (N, 3) clipped at the near plane, as (M, 2) image points; None when nothing is ahead."""
        view = self.to_view(points)
        if view[:, 2].min() < NEAR:
            view = clip_near(view)
            if len(view) < 3:
                return None
        return self.to_image(view)

    def plane_to_image(self, origin: Points, along: Points, down: Points) -> Points:
        """(3, 3) homography from plane coordinates (a, b) of origin + a·along + b·down to the image."""
        basis = self.to_view(np.stack([origin, origin + along, origin + down]))
        columns = np.stack([basis[1] - basis[0], basis[2] - basis[0], basis[0]], axis=1)
        lens = np.array([[self.focal, 0, self.width / 2], [0, -self.focal, self.horizon], [0, 0, 1]])
        plane: Points = lens @ columns
        return plane

    def depth(self, point: Points) -> float:
        """Metres ahead of the camera."""
        side = self.turn[0, 2]
        return float(side * (point[0] - self.x) + self.turn[2, 2] * (point[2] - self.z))


def clip_near(view: Points) -> Points:
    """Sutherland-Hodgman against the near plane."""
    kept: list[Points] = []
    for start, end in zip(view, np.roll(view, -1, axis=0), strict=True):
        inside = start[2] >= NEAR
        if inside:
            kept.append(start)
        if inside != (end[2] >= NEAR):
            kept.append(start + (end - start) * (NEAR - start[2]) / (end[2] - start[2]))
    return np.array(kept).reshape(-1, 3)

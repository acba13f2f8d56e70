"""What a thing in the street needs to draw itself: canvas, light, geometry of the street and where the sun reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.scenes.camera import Bend, Points
from models.scenes.canvas import Canvas
from models.scenes.ground import Roadway
from models.scenes.light import Light


@dataclass(frozen=True)
class Painter:
    """Everything about one frame but the things in it.

    Attributes:
        shade: per metre of s from ``shade_start``, the d up to which the houses' shadow reaches.
    """

    canvas: Canvas
    light: Light
    bend: Bend
    road: Roadway
    shade: NDArray[np.float32]
    shade_start: float

    def sunshine(self, d: float, s: float) -> float:
        """Share of direct sun at a place, 0.1 or 1."""
        row = int(np.clip(s - self.shade_start, 0, len(self.shade) - 1))
        beyond = d - self.shade[row] if self.light.sun[0] < 0 else self.shade[row] - d
        return 1.0 if beyond > 0 else 0.1

    def at(self, d: float, s: float, y: float = 0.0) -> Points:
        """World point of street coordinates."""
        return self.bend.place(d, y, s)

    def heading(self, s: float) -> float:
        """Direction of the street at s, radians from Z towards X."""
        return float(np.arctan(self.bend.slope(s)))


@dataclass(frozen=True)
class Item:
    """A thing in the street: ``draw`` paints it, ``far`` (metres of s) orders the painting, farthest first."""

    far: float
    draw: Callable[[Painter], None]


def kerb(road: Roadway, side: int) -> float:
    """d of the kerb on the left (-1) or right (+1)."""
    return road.left if side < 0 else road.right


def building_line(road: Roadway, side: int) -> float:
    """d of the house fronts."""
    return kerb(road, side) + side * road.paving

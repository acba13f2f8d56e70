"""Rectangles of pictures in any chroma format, and candidates pasted into the window around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError
from encoder_bridge.frames import Plane

Planes = tuple[Plane, ...]
"""One luma plane, or luma and two chroma planes, uint8 or uint16."""
ToRgb = Callable[[Planes], NDArray[np.uint8]]
"""Planes of a picture or a window → (h, w, 3) uint8 RGB; a sample may depend on chroma up to ``REACH`` away."""

REACH = 2
"""Luma samples around a rectangle whose colour its chroma touches: bilinear interpolation of 2:1 subsampling."""
TILE = 64
"""Side of the rectangles a whole picture is divided into, as of a CTU."""


@dataclass(frozen=True)
class Rect:
    """A rectangle in luma samples; chroma planes take the part that belongs to it."""

    x: int
    y: int
    width: int
    height: int

    @property
    def area(self) -> int:
        """Luma samples."""
        return self.width * self.height

    @property
    def luma(self) -> tuple[slice, slice]:
        """Rows and columns of the luma plane."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def within(self, outer: Rect) -> Rect:
        """The same rectangle in the coordinates of one that contains it."""
        return Rect(self.x - outer.x, self.y - outer.y, self.width, self.height)

    def dilated(self, margin: int, size: tuple[int, int]) -> Rect:
        """The rectangle and ``margin`` samples around it, as far as a picture of ``size`` (H, W) reaches."""
        x, y = max(self.x - margin, 0), max(self.y - margin, 0)
        right, bottom = min(self.x + self.width + margin, size[1]), min(self.y + self.height + margin, size[0])
        return Rect(x, y, right - x, bottom - y)


def tiles(size: tuple[int, int], side: int = TILE) -> Iterator[Rect]:
    """The rectangles of ``side`` that a picture of ``size`` (H, W) is divided into, cut at the right and bottom."""
    height, width = size
    for y in range(0, height, side):
        for x in range(0, width, side):
            yield Rect(x, y, min(side, width - x), min(side, height - y))


def window_of(rect: Rect, context: int, size: tuple[int, int], side: int = TILE) -> Rect:
    """The tile of ``side`` that ``rect`` starts in and ``context`` around it, shifted to lie inside the picture.

    The windows of a picture (H, W) = ``size`` thus have one size; an odd context is rounded up.
    """
    margin = context + context % 2
    x, width = _inside(rect.x // side * side - margin, side + 2 * margin, size[1])
    y, height = _inside(rect.y // side * side - margin, side + 2 * margin, size[0])
    return Rect(x, y, width, height)


def crop(planes: Planes, rect: Rect) -> Planes:
    """Views of the part of each plane that belongs to ``rect``; chroma samples at its edges included."""
    return tuple(plane[rows, columns] for plane, (rows, columns) in zip(planes, _slices(planes, rect), strict=True))


def pasted(context: Planes, place: Rect, trials: Sequence[Planes]) -> list[Planes]:
    """A copy of ``context`` for each trial, with the trial at ``place`` (in the context's coordinates).

    Raises MetricInputError where a trial has not the shapes of its place.
    """
    stack = [np.repeat(plane[None], len(trials), axis=0) for plane in context]
    for index, trial in enumerate(trials):
        for target, samples, (rows, columns) in zip(stack, trial, _slices(context, place), strict=True):
            spot = target[index, rows, columns]
            if spot.shape != samples.shape:
                raise MetricInputError(f"candidate plane of {samples.shape}; expected {spot.shape} for {place}")
            spot[...] = samples
    return [tuple(plane[index] for plane in stack) for index in range(len(trials))]


def pasted_rgb(to_rgb: ToRgb, context: Planes, place: Rect, trials: Sequence[Planes]) -> NDArray[np.uint8]:
    """(K, h, w, 3) uint8 RGB of ``pasted``: the context is converted once, for each trial only what it touches.

    Equal to converting each whole window, because twice ``REACH`` around the place is converted and ``REACH`` is kept.
    """
    size = context[0].shape[0], context[0].shape[1]
    near, kept = place.dilated(2 * REACH, size), place.dilated(REACH, size)
    windows = pasted(context, place, trials)
    if (len(trials) - 1) * size[0] * size[1] <= len(trials) * near.area:
        return np.stack([to_rgb(window) for window in windows])
    out = np.repeat(to_rgb(context)[None], len(trials), axis=0)
    inner = kept.within(near).luma
    for picture, window in zip(out, windows, strict=True):
        picture[kept.luma] = to_rgb(crop(window, near))[inner]
    return out


def _inside(start: int, length: int, limit: int) -> tuple[int, int]:
    length = min(length, limit)
    return max(0, min(start, limit - length)), length


def _slices(planes: Planes, rect: Rect) -> Iterator[tuple[slice, slice]]:
    height, width = planes[0].shape
    for plane in planes:
        # Chroma subsampling is what the shapes say: 1 or 2, odd sizes rounded up.
        down, across = -(-height // plane.shape[0]), -(-width // plane.shape[1])
        bottom, right = -(-(rect.y + rect.height) // down), -(-(rect.x + rect.width) // across)
        yield slice(rect.y // down, bottom), slice(rect.x // across, right)

"""Where a metric looks when it judges a rectangle: windows of one size inside the picture, coded parts and base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from encoder_bridge.errors import PluginError
from encoder_bridge.wire import ABOVE, ABOVE_LEFT, ABOVE_RIGHT, LEFT
from rdo_metrics.candidates.windows import Planes, Rect, crop

_NEIGHBOURS = {LEFT: (-1, 0), ABOVE: (0, -1), ABOVE_LEFT: (-1, -1), ABOVE_RIGHT: (1, -1)}
"""Bits of ``mrdo_choice.neighbours`` → steps in CTUs, across and down."""


@dataclass(frozen=True)
class WindowPlan:
    """Windows of one picture.

    Attributes:
        size: (H, W) of the picture in luma samples.
        ctu: side of a CTU.
        context: luma samples around a CTU, on each side; an odd one is rounded up, so that chroma has whole samples.
        align: windows start at multiples of it, and end there or where the picture does; even.
    """

    size: tuple[int, int]
    ctu: int
    context: int
    align: int = 2

    def ctu_of(self, rect: Rect) -> Rect:
        """The CTU that holds a rectangle, as far as it lies in the picture."""
        return self._cell(rect.x // self.ctu, rect.y // self.ctu)

    def window(self, rect: Rect) -> Rect:
        """The rectangle's CTU and its context, shifted to lie inside the picture: one size wherever it is.

        Where the picture ends between two multiples of ``align``, it cuts the window.
        """
        height, width = self.size
        x, across = self._span(rect.x // self.ctu, width)
        y, down = self._span(rect.y // self.ctu, height)
        return Rect(x, y, across, down)

    def coded(self, rect: Rect, neighbours: int) -> list[Rect]:
        """Parts of the picture whose reconstruction may be looked at: the own CTU and those ``neighbours`` names."""
        column, row = rect.x // self.ctu, rect.y // self.ctu
        steps = [(0, 0), *(step for bit, step in _NEIGHBOURS.items() if neighbours & bit)]
        cells = (self._cell(column + across, row + down) for across, down in steps)
        return [cell for cell in cells if cell.width > 0 and cell.height > 0]

    def _span(self, index: int, limit: int) -> tuple[int, int]:
        """Start and length, along one side, of the window of the CTU in row or column ``index``."""
        # After as many CTUs the phase of the multiples repeats.
        phases = range(self.align // gcd(self.align, self.ctu))
        length = max(end - start for start, end in map(self._aligned, phases))
        start, whole = self._aligned(index)[0], -(-limit // self.align) * self.align
        start = max(0, min(start, whole - length))
        return start, min(length, limit - start)

    def _aligned(self, index: int) -> tuple[int, int]:
        margin = self.context + self.context % 2
        start, end = index * self.ctu - margin, (index + 1) * self.ctu + margin
        return start // self.align * self.align, -(-end // self.align) * self.align

    def _cell(self, column: int, row: int) -> Rect:
        whole = Rect(0, 0, self.size[1], self.size[0])
        return intersection(Rect(column * self.ctu, row * self.ctu, self.ctu, self.ctu), whole)


class CodedPicture:
    """One picture while it is coded: what it is before, and what has been decided so far.

    Args:
        base: planes that stand in where nothing is coded yet.
    """

    def __init__(self, base: Planes) -> None:
        self.base = base
        self._coded = tuple(plane.copy() for plane in base)

    def view(self, window: Rect, coded: Sequence[Rect]) -> Planes:
        """Planes of a window: the decided samples in the rectangles of ``coded``, base everywhere else; a copy."""
        planes = tuple(plane.copy() for plane in crop(self.base, window))
        for part in (intersection(window, rect) for rect in coded):
            if part.width <= 0 or part.height <= 0:
                continue
            for target, samples in zip(crop(planes, part.within(window)), crop(self._coded, part), strict=True):
                target[...] = samples
        return planes

    def paste(self, rect: Rect, planes: Planes) -> None:
        """Decide a rectangle. Raises PluginError where the planes are not the rectangle's."""
        self.expect(rect, planes)
        for target, samples in zip(crop(self._coded, rect), planes, strict=True):
            target[...] = samples

    def expect(self, rect: Rect, planes: Planes) -> None:
        """PluginError unless the planes have the shapes and samples of a rectangle of this picture."""
        wanted = [(plane.shape, plane.dtype) for plane in crop(self.base, rect)]
        given = [(plane.shape, plane.dtype) for plane in planes]
        if wanted != given:
            raise PluginError(f"the encoder sent planes {_listed(given)} for {rect}; expected {_listed(wanted)}")


def intersection(a: Rect, b: Rect) -> Rect:
    """The common part of two rectangles; width or height are not positive where there is none."""
    x, y = max(a.x, b.x), max(a.y, b.y)
    return Rect(x, y, min(a.x + a.width, b.x + b.width) - x, min(a.y + a.height, b.y + b.height) - y)


def _listed(planes: Sequence[tuple[tuple[int, ...], np.dtype[np.generic]]]) -> str:
    return ", ".join(f"{'x'.join(map(str, shape))} {dtype}" for shape, dtype in planes) or "(none)"

"""What a measure looks at: a coded picture beside its original."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.config import CodingConfig
from rdo_metrics.block_sampling import Block
from rdo_metrics.candidates.base import CandidateFrame, Choice, Networks
from rdo_metrics.candidates.windows import Planes, Rect, crop
from rdo_metrics.iqa.base import luma

_GRID = 8
"""Windows start at multiples of it, as those of CTUs do, so that strided networks see blocks as in an encoder."""


@dataclass(frozen=True)
class View:
    """A coded picture beside its original.

    Attributes:
        picture: number of the original.
        config: how it was coded.
        bpp: bits of a pixel in that configuration, mean over the pictures.
        original, coded: (H, W, 3) uint8 RGB.
        memory: what was found out about the original, shared by its views.
        found: error maps by the name of their measure.
    """

    picture: int
    config: CodingConfig
    bpp: float
    original: NDArray[np.uint8]
    coded: NDArray[np.uint8]
    memory: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)
    found: dict[str, NDArray[np.float32]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.original.shape[0], self.original.shape[1]

    @cached_property
    def lumas(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(H, W) uint8 BT.601 grey of both: what quality metrics are computed on (section III-B)."""
        both = luma(np.stack([self.original, self.coded]))
        return both[0], both[1]

    @cached_property
    def squared_error(self) -> NDArray[np.float32]:
        """(H, W) float32 of the grey pictures."""
        original, coded = self.lumas
        return np.asarray(np.square(original.astype(np.float32) - coded))

    def frame(self, networks: Networks) -> CandidateFrame:
        """The picture as candidate metrics see it, everything around a block coded as well."""
        original, coded = (_planes(*pair) for pair in zip(self.lumas, (self.original, self.coded), strict=True))
        return CandidateFrame(original, coded, _rgb, networks=networks, index=self.picture, cache=self.memory)


def choice(frame: CandidateFrame, block: Block, context: int) -> Choice:
    """A block as the only candidate of its place, in coded surroundings."""
    rect = Rect(block.x, block.y, block.side, block.side)
    window = _window(rect, context, frame.size)
    trial = crop(frame.base, rect)
    none = np.zeros(1)
    return Choice(frame, rect, window, crop(frame.base, window), (trial,), none, none)


def by_view(views: Sequence[View], blocks: Sequence[Block]) -> list[tuple[View, list[int]]]:
    """Views that hold blocks, and which; views are found by their picture."""
    members: dict[int, list[int]] = {}
    for index, block in enumerate(blocks):
        members.setdefault(block.picture, []).append(index)
    known = {view.picture: view for view in views}
    return [(known[picture], indices) for picture, indices in sorted(members.items())]


def _planes(grey: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> Planes:
    # All at full size, so that a block may lie anywhere, and exactly what the networks saw.
    return (grey, *(np.ascontiguousarray(rgb[..., channel]) for channel in range(3)))


def _rgb(planes: Planes) -> NDArray[np.uint8]:
    return np.stack(planes[1:], axis=-1)


def _window(rect: Rect, context: int, size: tuple[int, int]) -> Rect:
    x, width = _span(rect.x, rect.width, context, size[1])
    y, height = _span(rect.y, rect.height, context, size[0])
    return Rect(x, y, width, height)


def _span(start: int, side: int, context: int, limit: int) -> tuple[int, int]:
    """First sample and length: the same length for every block of a size, inside the picture."""
    if context == 0:
        return start, side
    length = min(side + 2 * context + _GRID, limit)
    first = max(start - context, 0) // _GRID * _GRID
    return min(first, limit - length), length

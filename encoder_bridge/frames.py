"""Frames: planes with everything about them explicit (geometry, chroma format, depth, matrix, range, time)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ConfigError

Plane = NDArray[Any]
"""(H, W) uint8 at 8 bit, uint16 (little-endian, value in the low bits) above."""

CHROMA_SHIFTS: dict[str, tuple[int, int] | None] = {"400": None, "420": (1, 1), "422": (1, 0), "444": (0, 0)}
"""Horizontal and vertical subsampling shifts of each chroma format; None has no chroma planes."""
MATRIX_CODES = {"bt601": 6, "bt709": 1, "bt2020nc": 9}
"""Matrices and their ITU-T H.273 code points."""
MATRIX_NAMES = {"bt601": "smpte170m", "bt709": "bt709", "bt2020nc": "bt2020nc"}
"""What x264 and x265 call them."""
MATRICES = tuple(MATRIX_CODES)
RANGES = ("limited", "full")
DEPTHS = (8, 10)


@dataclass(frozen=True)
class VideoFormat:
    """What a decoder must know to show the samples.

    Attributes:
        width, height: luma samples.
        chroma: "400", "420", "422" or "444".
        bit_depth: 8 or 10.
        fps: frames per second, exact.
        matrix: YCbCr matrix: "bt601", "bt709" or "bt2020nc".
        range: "limited" (16–235 at 8 bit) or "full".
        primaries, transfer: ITU-T H.273 code points (2 = unspecified), carried through.
        sar: sample aspect ratio.
    """

    width: int
    height: int
    chroma: str = "420"
    bit_depth: int = 8
    fps: Fraction = Fraction(30)
    matrix: str = "bt709"
    range: str = "limited"
    primaries: int = 2
    transfer: int = 2
    sar: Fraction = Fraction(1)

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ConfigError(f"frame size {self.width}x{self.height}; expected at least 1x1")
        _expect("chroma format", self.chroma, tuple(CHROMA_SHIFTS))
        _expect("bit depth", self.bit_depth, DEPTHS)
        _expect("colour matrix", self.matrix, MATRICES)
        _expect("colour range", self.range, RANGES)
        if self.fps <= 0:
            raise ConfigError(f"frame rate {self.fps}; expected a positive number")

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 at 8 bit, uint16 above."""
        return np.dtype(np.uint8 if self.bit_depth == 8 else np.uint16)

    @property
    def plane_shapes(self) -> tuple[tuple[int, int], ...]:
        """(H, W) of each plane; odd sizes round chroma up."""
        shift = CHROMA_SHIFTS[self.chroma]
        luma = (self.height, self.width)
        if shift is None:
            return (luma,)
        sx, sy = shift
        chroma = ((self.height + (1 << sy) - 1) >> sy, (self.width + (1 << sx) - 1) >> sx)
        return (luma, chroma, chroma)


@dataclass(frozen=True)
class Frame:
    """One picture in display order.

    Attributes:
        planes: Y, Cb, Cr (Y alone for 4:0:0), shapes as ``VideoFormat.plane_shapes``.
        index: display order from 0; the encoders' POC.
        pts: presentation time in seconds, exact.
    """

    planes: tuple[Plane, ...]
    index: int
    pts: Fraction


class FrameSource(Protocol):
    """A video that can be walked through any number of times, one frame in memory at a time."""

    @property
    def format(self) -> VideoFormat:
        """Format of every frame."""

    @property
    def frame_count(self) -> int | None:
        """Number of frames where the container says so (a hint for progress bars), else None."""

    def __iter__(self) -> Iterator[Frame]:
        """Frames from the first, in display order. Raises DecodeError on a damaged or empty input."""

    def digest(self) -> str:
        """SHA-256 hex digest of the format and all samples: names the input in a run's key."""


def _expect(what: str, value: object, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{what} {value!r}; expected one of {', '.join(map(str, allowed))}")

"""What all frame sources share: options that override metadata, the rule for what is not stated, the digest."""

from __future__ import annotations

import hashlib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from encoder_bridge.errors import ConfigError, DecodeError
from encoder_bridge.frames import CHROMA_SHIFTS, DEPTHS, MATRICES, RANGES, Frame, Plane, VideoFormat

DEFAULT_FPS = Fraction(30)
HD_LINES = 720
"""Pictures of at least this height are taken as bt709 where no matrix is stated, smaller ones as bt601."""

_NTSC_RATES = (24, 30, 48, 60, 120)
_NTSC_ROUNDING = Fraction(1, 150)
_PIXEL_FORMAT = re.compile(r"(?:(gray|grey|mono)|(?:yuvj?|c)?(400|420|422|444))(?:p)?(8|10)?(?:le)?")


@dataclass(frozen=True)
class SourceOptions:
    """What the user states about an input; None takes what the input says.

    Attributes:
        fps: constant frame rate; overrides the input's time stamps.
        matrix, range: override the input's colour tags (samples are not converted).
        chroma, bit_depth: what RGB input (images, RGB video) is converted to; default "420" and 8.
    """

    fps: Fraction | None = None
    matrix: str | None = None
    range: str | None = None
    chroma: str | None = None
    bit_depth: int | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and self.fps <= 0:
            raise ConfigError(f"frame rate {self.fps}; expected a positive number")
        for what, value, allowed in (
            ("colour matrix", self.matrix, MATRICES),
            ("colour range", self.range, RANGES),
            ("chroma format", self.chroma, tuple(CHROMA_SHIFTS)),
            ("bit depth", self.bit_depth, DEPTHS),
        ):
            if value is not None and value not in allowed:
                raise ConfigError(f"{what} {value!r}; expected one of {', '.join(map(str, allowed))}")


@dataclass(frozen=True)
class RawSpec:
    """What a headerless ``.yuv`` file does not say: planar Y, Cb, Cr; 10 bit as little-endian 16-bit words.

    Attributes:
        width, height: luma samples.
        chroma, bit_depth: as ``VideoFormat``.
        fps: None is 30, assumed.
        matrix, range: None is assumed by the rule of ``resolve_colour``.
    """

    width: int
    height: int
    chroma: str = "420"
    bit_depth: int = 8
    fps: Fraction | None = None
    matrix: str | None = None
    range: str | None = None


class BaseSource(ABC):
    """A FrameSource with a name for messages and notes for the user."""

    def __init__(self, name: str, fmt: VideoFormat, frame_count: int | None, notes: Sequence[str] = ()) -> None:
        self.name = name
        self._format = fmt
        self._frame_count = frame_count
        self._notes = tuple(notes)
        self._digest: str | None = None

    @property
    def format(self) -> VideoFormat:
        """Format of every frame."""
        return self._format

    @property
    def frame_count(self) -> int | None:
        """Number of frames where known before decoding, else None."""
        return self._frame_count

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what was assumed or is unusual, for the user; empty when everything was stated."""
        return self._notes

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Frames from the first, in display order, one in memory at a time. Raises DecodeError."""

    def digest(self) -> str:
        """SHA-256 hex digest of the format and all samples; computed on the first call."""
        if self._digest is None:
            state = hashlib.sha256(repr(self.format).encode())
            for frame in self:
                for plane in frame.planes:
                    state.update(np.ascontiguousarray(plane).data)
            self._digest = state.hexdigest()
        return self._digest


def resolve_colour(
    height: int, chroma: str, stated: tuple[str | None, str | None], options: SourceOptions
) -> tuple[str, str, list[str]]:
    """Matrix, range and notes: the user's word first, then the input's, then the documented rule with a note.

    Args:
        height: luma lines; the rule for an unstated matrix is bt709 from 720 lines on, else bt601.
        chroma: 4:0:0 needs no matrix, so none is reported as assumed.
        stated: matrix and range of the input's metadata, None where absent.
    """
    notes = []
    matrix, range_ = options.matrix or stated[0], options.range or stated[1]
    if matrix is None:
        matrix = "bt709" if height >= HD_LINES else "bt601"
        if chroma != "400":
            notes.append(f"colour matrix not stated; {matrix} assumed from {height} lines; set --matrix")
    if range_ is None:
        range_ = "limited"
        notes.append("colour range not stated; limited assumed; set --range")
    return matrix, range_, notes


def check_sample_range(planes: Sequence[Plane], fmt: VideoFormat, where: str) -> None:
    """DecodeError where a sample exceeds the bit depth (a byte-swapped or MSB-aligned file looks like this)."""
    if fmt.bit_depth == 8:
        return
    top = max(int(plane.max()) for plane in planes)
    if top >= 1 << fmt.bit_depth:
        raise DecodeError(
            f"{where}: sample value {top}; expected 0–{(1 << fmt.bit_depth) - 1}, "
            f"{fmt.bit_depth} bit in the low bits of little-endian words"
        )


def parse_pixel_format(text: str) -> tuple[str, int]:
    """Chroma format and bit depth of "yuv420p", "yuv422p10le", "gray", "444p10" or "420"; ConfigError otherwise."""
    match = _PIXEL_FORMAT.fullmatch(text.strip().lower())
    if match is None:
        raise ConfigError(f"pixel format {text!r}; expected gray, yuv420p, yuv422p or yuv444p, with 10le for 10 bit")
    return match.group(2) or "400", int(match.group(3) or 8)


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of "480x360"; ConfigError otherwise."""
    match = re.fullmatch(r"(\d{1,6})[xX×](\d{1,6})", text.strip())
    if match is None or 0 in (int(match[1]), int(match[2])):
        raise ConfigError(f"size {text!r}; expected WIDTHxHEIGHT, for example 1920x1080")
    return int(match[1]), int(match[2])


def parse_fps(text: str) -> Fraction:
    """Exact frame rate of "30", "30000/1001", "30000:1001" or "29.97" (NTSC decimals mean n·1000/1001)."""
    try:
        rate = Fraction(text.strip().replace(":", "/"))
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1_000_000:
        raise ConfigError(f"frame rate {text!r}; expected a positive number such as 25, 29.97 or 30000/1001")
    nominal = math.ceil(rate)
    ntsc = Fraction(nominal * 1000, 1001)
    is_ntsc = nominal in _NTSC_RATES and rate.denominator > 1 and abs(rate - ntsc) < _NTSC_ROUNDING
    return ntsc if is_ntsc else rate

"""YUV4MPEG2: headers and frames as bytes (to feed encoders over stdin), and the parser of the header."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import IO

import numpy as np

from encoder_bridge.errors import DecodeError
from encoder_bridge.frames import Frame, VideoFormat

MAGIC = b"YUV4MPEG2"
FRAME_MAGIC = b"FRAME"
MAX_HEADER = 1024

_COLOUR_SPACES: dict[str, tuple[str, int]] = {
    "420": ("420", 8),
    "420jpeg": ("420", 8),
    "420mpeg2": ("420", 8),
    "420paldv": ("420", 8),
    "422": ("422", 8),
    "444": ("444", 8),
    "mono": ("400", 8),
    "420p10": ("420", 10),
    "422p10": ("422", 10),
    "444p10": ("444", 10),
    "mono10": ("400", 10),
}
_COLOUR_RANGES = {"LIMITED": "limited", "FULL": "full"}


@dataclass(frozen=True)
class Y4mHeader:
    """A parsed stream header; None where the header says nothing or "unknown"."""

    width: int
    height: int
    chroma: str
    bit_depth: int
    fps: Fraction | None
    sar: Fraction | None
    range: str | None
    interlaced: bool


def y4m_header(fmt: VideoFormat) -> bytes:
    """Stream header line; 4:2:0 at 8 bit as ``C420mpeg2`` (left-sited chroma), range as ``XCOLORRANGE``.

    The format has no field for the matrix: an encoder must be told apart from it.
    """
    depth = "" if fmt.bit_depth == 8 else "10"
    if fmt.chroma == "400":
        space = f"mono{depth}"
    elif depth:
        space = f"{fmt.chroma}p{depth}"
    else:
        space = "420mpeg2" if fmt.chroma == "420" else fmt.chroma
    rate, sar = fmt.fps, fmt.sar
    fields = (
        f"W{fmt.width} H{fmt.height} F{rate.numerator}:{rate.denominator} Ip A{sar.numerator}:{sar.denominator} "
        f"C{space} XCOLORRANGE={fmt.range.upper()}"
    )
    return MAGIC + b" " + fields.encode() + b"\n"


def y4m_frame(frame: Frame) -> list[bytes | memoryview]:
    """Buffers of one frame, in order: the frame header, then each plane (16-bit little-endian above 8 bit)."""
    buffers: list[bytes | memoryview] = [FRAME_MAGIC + b"\n"]
    for plane in frame.planes:
        little = plane if plane.dtype.itemsize == 1 else plane.astype("<u2", copy=False)
        buffers.append(np.ascontiguousarray(little).data.cast("B"))
    return buffers


def read_line(file: IO[bytes], where: str) -> bytes:
    """One header line without its newline; b"" at the end of the file. DecodeError where the line does not end."""
    line = file.readline(MAX_HEADER)
    if line and not line.endswith(b"\n"):
        raise DecodeError(f"{where}: y4m header without an end; the file is damaged or cut short")
    return line.rstrip(b"\n")


def parse_header(line: bytes, where: str) -> Y4mHeader:
    """The stream header; DecodeError naming what is missing or not supported."""
    tokens = line.decode("ascii", "replace").split(" ")
    if tokens[0] != MAGIC.decode():
        raise DecodeError(f"{where}: not a y4m stream; expected it to begin with YUV4MPEG2")
    fields = {token[0]: token[1:] for token in tokens[1:] if token and token[0] != "X"}
    extra = dict(token[1:].split("=", 1) for token in tokens[1:] if token.startswith("X") and "=" in token)
    space = fields.get("C", "420")
    if space not in _COLOUR_SPACES:
        raise DecodeError(
            f"{where}: y4m colour space C{space}; expected one of {', '.join(_COLOUR_SPACES)}; convert it first: "
            f"ffmpeg -i {where} -pix_fmt yuv420p10le -strict -1 converted.y4m"
        )
    chroma, depth = _COLOUR_SPACES[space]
    return Y4mHeader(
        width=_dimension(fields, "W", where),
        height=_dimension(fields, "H", where),
        chroma=chroma,
        bit_depth=depth,
        fps=_ratio(fields.get("F"), where),
        sar=_ratio(fields.get("A"), where),
        range=_COLOUR_RANGES.get(extra.get("COLORRANGE", "")),
        interlaced=fields.get("I", "p") in ("t", "b", "m"),
    )


def _dimension(fields: dict[str, str], key: str, where: str) -> int:
    text = fields.get(key, "")
    if not text.isdecimal() or not 0 < int(text) <= 1 << 16:
        raise DecodeError(f"{where}: y4m header field {key}{text!r}; expected a size from 1 to 65536")
    return int(text)


def _ratio(text: str | None, where: str) -> Fraction | None:
    if text is None:
        return None
    numerator, _, denominator = text.partition(":")
    if not (numerator.isdecimal() and denominator.isdecimal()):
        raise DecodeError(f"{where}: y4m header ratio {text!r}; expected NUMBER:NUMBER")
    if int(numerator) == 0 or int(denominator) == 0:
        return None
    return Fraction(int(numerator), int(denominator))

"""Parameter sets of a bare AVC, HEVC or VVC stream: the sample entry of an MP4 holds them apart from the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from encoder_bridge.av_input import open_video

START_CODE = b"\0\0\0\1"
_PREFIX = b"\0\0\1"


@dataclass(frozen=True)
class _Syntax:
    """NAL unit types of a standard, and where the header has them.

    Attributes:
        byte, shift, mask: of the type.
        sets: types of parameter sets, the picture's last.
        slices: types of coded pictures.
    """

    byte: int
    shift: int
    mask: int
    sets: tuple[int, ...]
    slices: range

    def kind(self, unit: bytes) -> int:
        """Type of a unit without its start code."""
        return (unit[self.byte] >> self.shift) & self.mask


_SYNTAX = {
    "h264": _Syntax(0, 0, 0x1F, (7, 8), range(1, 6)),
    "hevc": _Syntax(0, 1, 0x3F, (32, 33, 34), range(32)),
    "vvc": _Syntax(1, 3, 0x1F, (14, 15, 16), range(12)),
}
"""H.264, table 7-1; H.265, table 7-1; H.266, table 5."""


@dataclass(frozen=True)
class ParameterSets:
    """What a stream has of them.

    Attributes:
        codec: libav's name of the standard.
        first: those of the first picture, without start codes.
        all: each that there is, once, in the order of the stream.
    """

    codec: str
    first: tuple[bytes, ...]
    all: tuple[bytes, ...]

    @property
    def constant(self) -> bool:
        """Whether the first picture's serve the whole stream."""
        return set(self.first) == set(self.all)

    @property
    def compatible(self) -> bool:
        """Whether all can stand side by side for the whole stream: HEVC whose PPSs have ids of their own.

        Sets of other kinds, and those of other standards, are taken to have one id, as encoders give it to them.
        """
        kinds = [_SYNTAX[self.codec].kind(unit) for unit in self.all]
        *shared, picture = _SYNTAX[self.codec].sets
        ids = [_pps_id(unit) for unit, kind in zip(self.all, kinds, strict=True) if kind == picture]
        return self.codec == "hevc" and all(kinds.count(kind) <= 1 for kind in shared) and len(ids) == len(set(ids))


def parameter_sets(path: Path, codec: str) -> ParameterSets:
    """Read the whole of a bare stream; ``codec`` is "h264", "hevc" or "vvc"."""
    first: tuple[bytes, ...] = ()
    found: dict[bytes, None] = {}
    with open_video(path) as (container, stream):
        for number, packet in enumerate(container.demux(stream)):
            sets = tuple(_before_slices(bytes(packet), _SYNTAX[codec]))
            first = sets if number == 0 else first
            found.update(dict.fromkeys(sets))
    return ParameterSets(codec, first, tuple(found))


def _before_slices(packet: bytes, syntax: _Syntax) -> Iterator[bytes]:
    """The parameter sets that stand before the first slice of an access unit; the slices are not looked through."""
    found = packet.find(_PREFIX)
    while found >= 0:
        start = found + len(_PREFIX)
        header = packet[start : start + 2]
        if len(header) < 2 or syntax.kind(header) in syntax.slices:
            return
        found = packet.find(_PREFIX, start)
        if syntax.kind(header) in syntax.sets:
            yield packet[start : found if found >= 0 else None].rstrip(b"\0")


def _pps_id(unit: bytes) -> int:
    """Of HEVC: the first ue(v) after the header of two bytes (H.265, 7.3.2.3.1 and 9.2)."""
    bits = "".join(f"{byte:08b}" for byte in unit[2:6])
    zeros = len(bits) - len(bits.lstrip("0"))
    return int(bits[zeros : 2 * zeros + 1] or "0", 2) - 1

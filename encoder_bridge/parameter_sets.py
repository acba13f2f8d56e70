"""Parameter sets of a bare HEVC stream: an MP4 of the widely played kind (hvc1) holds them apart from the pictures."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from encoder_bridge.av_input import open_video

START_CODE = b"\0\0\0\1"
_UNIT = re.compile(b"\0\0\1")
_FIRST_NON_SLICE, _VPS, _SPS, _PPS = 32, 32, 33, 34
"""NAL unit types (H.265, table 7-1)."""


def parameter_sets(path: Path) -> list[bytes]:
    """All VPS, SPS and PPS of a bare HEVC stream without start codes, each once, in the order they first appear."""
    found: dict[bytes, None] = {}
    with open_video(path) as (container, stream):
        for packet in container.demux(stream):
            found.update(dict.fromkeys(_before_slices(bytes(packet))))
    return list(found)


def fit_one_entry(sets: Sequence[bytes]) -> bool:
    """Whether all sets can stand side by side for the whole stream: no two of them have the same id.

    Several VPS or SPS are taken to have the same one, as encoders give it to them.
    """
    kinds = [_kind(unit) for unit in sets]
    ids = [_pps_id(unit) for unit in sets if _kind(unit) == _PPS]
    return kinds.count(_VPS) <= 1 and kinds.count(_SPS) <= 1 and len(ids) == len(set(ids))


def _before_slices(packet: bytes) -> Iterator[bytes]:
    """The parameter sets that stand before the first slice of an access unit."""
    starts = (match.end() for match in _UNIT.finditer(packet))
    for start, after in itertools.pairwise(itertools.chain(starts, [len(packet) + 3])):
        unit = packet[start : after - 3].rstrip(b"\0")
        if not unit or _kind(unit) < _FIRST_NON_SLICE:
            return
        if _kind(unit) in (_VPS, _SPS, _PPS):
            yield unit


def _kind(unit: bytes) -> int:
    return (unit[0] >> 1) & 0x3F


def _pps_id(unit: bytes) -> int:
    """The first ue(v) after the header of two bytes (H.265, 7.3.2.3.1 and 9.2)."""
    bits = "".join(f"{byte:08b}" for byte in unit[2:6])
    zeros = len(bits) - len(bits.lstrip("0"))
    return int(bits[zeros : 2 * zeros + 1] or "0", 2) - 1

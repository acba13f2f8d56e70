"""Finds containers cut short from their outermost structure alone; libav plays what is left and says nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

_ISO_BRANDS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_EBML_MAGIC = b"\x1a\x45\xdf\xa3"
_EBML_SEGMENT = 0x18538067
_EBML_MAX_HEADERS = 16
_JUNK_ALLOWED = 8


def cut_short(path: Path) -> str | None:
    """What is missing at the end of an MP4/MOV, Matroska/WebM or AVI file, in words; None where nothing is."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(0)
        if head[4:8] in _ISO_BRANDS:
            return _iso_fault(file, size)
        if head[:4] == _EBML_MAGIC:
            return _matroska_fault(file, size)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return _riff_fault(head, size)
    return None


def _iso_fault(file: IO[bytes], size: int) -> str | None:
    seen = set()
    for kind, start, length in _iso_boxes(file, size):
        if start + length > size:
            return f"its {kind.decode('latin-1')!r} box ends {start + length - size} bytes after the file; cut short"
        seen.add(kind)
    if b"moov" not in seen:
        return "it has no 'moov' box (the index an MP4 gets when it is finished); cut short"
    return None


def _iso_boxes(file: IO[bytes], size: int) -> Iterator[tuple[bytes, int, int]]:
    position = 0
    while position + _JUNK_ALLOWED <= size:
        file.seek(position)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:
            length = size - position
        if length < 8 or not kind.isascii():
            return
        yield kind, position, length
        position += length


def _matroska_fault(file: IO[bytes], size: int) -> str | None:
    for _ in range(_EBML_MAX_HEADERS):
        element = _vint(file, keep_marker=True)
        length = _vint(file, keep_marker=False)
        if element is None or length is None:
            return "its header ends early; cut short"
        if length < 0:
            return None
        end = file.tell() + length
        if end > size:
            return f"its segment ends {end - size} bytes after the file; cut short"
        if element == _EBML_SEGMENT:
            return None
        file.seek(end)
    return None


def _vint(file: IO[bytes], keep_marker: bool) -> int | None:
    """An EBML variable-length integer; -1 for the reserved "unknown size", None at the end of the file."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    octets = 9 - first[0].bit_length()
    rest = file.read(octets - 1)
    if len(rest) < octets - 1:
        return None
    value = int.from_bytes(first + rest, "big")
    if keep_marker:
        return value
    bits = 7 * octets
    value &= (1 << bits) - 1
    return -1 if value == (1 << bits) - 1 else value


def _riff_fault(head: bytes, size: int) -> str | None:
    end = 8 + int.from_bytes(head[4:8], "little")
    return f"its RIFF chunk ends {end - size} bytes after the file; cut short" if end > size + 1 else None

"""Quantised coefficients to a baseline JPEG file: one interleaved scan, Huffman tables made for it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.jpeg_coding.huffman import HuffmanTable, optimal_table

ZIGZAG = np.array(
    sorted(range(64), key=lambda k: (k // 8 + k % 8, k % 8 if (k // 8 + k % 8) % 2 == 0 else k // 8)), np.int64
)
"""Place in a block, row by row, of each coefficient in coding order."""
EOB, ZRL = 0x00, 0xF0
_JFIF = b"JFIF\0\1\1\0\0\1\0\1\0\0"


@dataclass(frozen=True)
class Component:
    """One colour component.

    Attributes:
        levels: (rows, columns, 64) quantised coefficients in coding order, rows and columns whole MCUs.
        across, down: sampling factors.
        table: number of its quantisation and Huffman tables, 0 or 1.
    """

    levels: NDArray[np.int32]
    across: int
    down: int
    table: int


@dataclass(frozen=True)
class Tokens:
    """Symbols of a scan in coding order.

    Attributes:
        table: 2·(component's table) + (0 for DC, 1 for AC).
        symbol: Huffman symbol.
        extra, bits: the bits that follow it, and how many.
    """

    table: NDArray[np.int64]
    symbol: NDArray[np.int64]
    extra: NDArray[np.int64]
    bits: NDArray[np.int64]

    def frequency(self, table: int) -> NDArray[np.int64]:
        """(256,) how often each symbol of a table occurs."""
        counts: NDArray[np.int64] = np.bincount(self.symbol[self.table == table], minlength=256)
        return counts


def jpeg_bytes(
    size: tuple[int, int], components: Sequence[Component], tables: Sequence[NDArray[Any]], comment: bytes = b""
) -> bytes:
    """A baseline JPEG file.

    Args:
        size: (H, W) in samples, at most 65535.
        components: Y alone, or Y, Cb, Cr.
        tables: (64,) quantisation tables in coding order, 1–255.
        comment: text of a COM segment; none where empty.
    """
    tokens = tokens_of(components)
    codes = [optimal_table(tokens.frequency(number)) for number in range(2 * len(tables))]
    parts = [b"\xff\xd8", _segment(0xE0, _JFIF)]
    parts += [_segment(0xFE, comment)] if comment else []
    parts += [_segment(0xDB, bytes([n]) + bytes(table.astype(np.uint8))) for n, table in enumerate(tables)]
    parts += [_frame_header(size, components)]
    parts += [_segment(0xC4, _table_bytes(number, code)) for number, code in enumerate(codes)]
    parts += [_scan_header(components), _entropy_bytes(tokens, codes), b"\xff\xd9"]
    return b"".join(parts)


def tokens_of(components: Sequence[Component]) -> Tokens:
    """The symbols of an interleaved scan."""
    blocks, owner = _in_scan_order(components)
    table = np.array([component.table for component in components])[owner]
    dc = _differences(blocks[:, 0], owner)
    return _ordered(_dc_tokens(dc, table), *_ac_tokens(blocks, table))


def size_category(values: NDArray[Any]) -> NDArray[np.int64]:
    """Bits of |value|: the SSSS of T.81."""
    bits = np.ceil(np.log2(np.abs(values).astype(np.float64) + 1))
    return np.asarray(bits, np.int64)


def _in_scan_order(components: Sequence[Component]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n, 64) blocks as the scan visits them, and the component of each."""
    per_mcu, owner = [], []
    for number, component in enumerate(components):
        a, d = (component.across, component.down) if len(components) > 1 else (1, 1)
        rows, columns, _ = component.levels.shape
        mcus = component.levels.reshape(rows // d, d, columns // a, a, 64).swapaxes(1, 2)
        per_mcu.append(mcus.reshape(-1, a * d, 64))
        owner += [number] * (a * d)
    blocks = np.concatenate(per_mcu, axis=1)
    return blocks.reshape(-1, 64).astype(np.int64), np.tile(owner, len(blocks))


def _differences(dc: NDArray[np.int64], owner: NDArray[np.int64]) -> NDArray[np.int64]:
    result = np.empty_like(dc)
    for number in range(int(owner.max()) + 1):
        own = owner == number
        result[own] = np.diff(dc[own], prepend=0)
    return result


_Keyed = tuple[NDArray[np.int64], Tokens]
_BLOCK, _PLACE = 1 << 10, 1 << 3


def _dc_tokens(dc: NDArray[np.int64], table: NDArray[np.int64]) -> _Keyed:
    bits = size_category(dc)
    return np.arange(len(dc)) * _BLOCK, Tokens(2 * table, bits, _extra(dc, bits), bits)


def _ac_tokens(blocks: NDArray[np.int64], table: NDArray[np.int64]) -> tuple[_Keyed, _Keyed, _Keyed]:
    """Coefficients, runs of sixteen zeros before them, and ends of blocks."""
    block, place = np.nonzero(blocks[:, 1:])
    place = place + 1
    first = np.append(True, np.diff(block) > 0)[: len(block)]
    run = place - np.where(first, 0, np.roll(place, 1)) - 1
    value = blocks[block, place]
    bits = size_category(value)
    key = block * _BLOCK + place * _PLACE
    levels = key + _PLACE - 1, Tokens(2 * table[block] + 1, run % 16 * 16 + bits, _extra(value, bits), bits)
    times = run // 16
    long = np.repeat(np.arange(len(run)), times)
    runs = key[long], _bare(2 * table[block][long] + 1, ZRL)
    last = np.zeros(len(blocks), np.int64)
    last[block] = place
    ends = np.flatnonzero(last < 63)
    return levels, runs, (ends * _BLOCK + _BLOCK - 1, _bare(2 * table[ends] + 1, EOB))


def _bare(table: NDArray[np.int64], symbol: int) -> Tokens:
    zero = np.zeros_like(table)
    return Tokens(table, zero + symbol, zero, zero)


def _extra(value: NDArray[np.int64], bits: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(value < 0, value + (1 << bits) - 1, value)


def _ordered(*parts: _Keyed) -> Tokens:
    order = np.argsort(np.concatenate([key for key, _ in parts]), kind="stable")
    names = ("table", "symbol", "extra", "bits")
    return Tokens(*(np.concatenate([getattr(tokens, name) for _, tokens in parts])[order] for name in names))


def _entropy_bytes(tokens: Tokens, codes: Sequence[HuffmanTable]) -> bytes:
    code = np.stack([table.code for table in codes])[tokens.table, tokens.symbol]
    length = np.stack([table.length for table in codes])[tokens.table, tokens.symbol] + tokens.bits
    value = (code << tokens.bits) | tokens.extra
    end = np.cumsum(length)
    total = int(end[-1])
    shift = np.repeat(end, length) - 1 - np.arange(total)
    bits = (np.repeat(value, length) >> shift) & 1
    filled = np.concatenate([bits, np.ones(-total % 8, np.int64)]).astype(np.uint8)
    return np.packbits(filled).tobytes().replace(b"\xff", b"\xff\0")


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _frame_header(size: tuple[int, int], components: Sequence[Component]) -> bytes:
    head = struct.pack(">BHHB", 8, *size, len(components))
    parts = [bytes([n + 1, c.across << 4 | c.down, c.table]) for n, c in enumerate(components)]
    return _segment(0xC0, head + b"".join(parts))


def _scan_header(components: Sequence[Component]) -> bytes:
    parts = [bytes([n + 1, c.table << 4 | c.table]) for n, c in enumerate(components)]
    return _segment(0xDA, bytes([len(components)]) + b"".join(parts) + b"\0\x3f\0")


def _table_bytes(number: int, table: HuffmanTable) -> bytes:
    place = bytes([(number % 2) << 4 | number // 2])
    return place + bytes(table.counts.astype(np.uint8)) + bytes(table.symbols)

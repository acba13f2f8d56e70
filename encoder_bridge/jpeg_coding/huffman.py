"""Huffman tables made for the symbols of one picture (ITU-T T.81, annex K.2 and C.2)."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_LENGTH = 16
_RESERVED = 256
"""Takes the code of ones alone, which T.81 forbids."""


@dataclass(frozen=True)
class HuffmanTable:
    """A table as DHT writes it and as an encoder uses it.

    Attributes:
        counts: (16,) codes of each length 1–16.
        symbols: in order of their codes.
        code, length: (256,) int64 by symbol; length 0 for symbols without a code.
    """

    counts: NDArray[np.int64]
    symbols: NDArray[np.uint8]
    code: NDArray[np.int64]
    length: NDArray[np.int64]


def optimal_table(frequency: NDArray[Any]) -> HuffmanTable:
    """The table with the shortest codes of at most 16 bits for (256,) symbol counts."""
    depth = _depths(np.append(frequency, 1))
    counts = _limited(np.bincount(depth, minlength=MAX_LENGTH + 2)[1:])
    symbols = np.lexsort((np.arange(256), depth[:256]))[np.count_nonzero(depth[:256] == 0) :].astype(np.uint8)
    code, length = np.zeros(256, np.int64), np.zeros(256, np.int64)
    value, place = 0, 0
    for bits in range(1, MAX_LENGTH + 1):
        for symbol in symbols[place : place + counts[bits - 1]]:
            code[symbol], length[symbol] = value, bits
            value += 1
        place += int(counts[bits - 1])
        value <<= 1
    return HuffmanTable(counts, symbols, code, length)


def _depths(frequency: NDArray[Any]) -> NDArray[np.int64]:
    """Depth of each symbol in a Huffman tree, 0 for those that do not occur."""
    heap = [(int(count), -symbol, [symbol]) for symbol, count in enumerate(frequency) if count]
    heapq.heapify(heap)
    depth = np.zeros(len(frequency), np.int64)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        members = first[2] + second[2]
        depth[members] += 1
        heapq.heappush(heap, (first[0] + second[0], first[1], members))
    return depth


def _limited(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most 16 bits (T.81, figure K.3), and without the reserved code, the longest."""
    counts = counts.copy()
    for bits in range(len(counts), MAX_LENGTH, -1):
        while counts[bits - 1]:
            shorter = bits - 2
            while not counts[shorter - 1]:
                shorter -= 1
            counts[bits - 1] -= 2
            counts[bits - 2] += 1
            counts[shorter] += 2
            counts[shorter - 1] -= 1
    counts = counts[:MAX_LENGTH]
    counts[np.flatnonzero(counts)[-1]] -= 1
    return counts

"""Rate-distortion optimised quantisation of JPEG blocks, each with a weight of its own.

Baseline JPEG has one step for all blocks of a component. A block that matters little is made cheap by levels lowered
or left out where that costs less weighted error than the bits it saves: a shortest path over the levels of the block,
all blocks of a component at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.jpeg_coding.stream import EOB, ZRL, size_category

Floats = NDArray[np.float64]
_LARGEST = 1023
"""Of an AC level (T.81, F.1.2.2: ten bits)."""
_PASSES = 2


@dataclass(frozen=True)
class Rates:
    """Estimated bits of AC symbols.

    Attributes:
        level: (64, 11) of a level by the zeros before it and its size category, its own bits included.
        end: of the end of a block.
    """

    level: Floats
    end: float

    @staticmethod
    def of(levels: NDArray[Any]) -> Rates:
        """What levels (n, 63) would cost with a Huffman table made for them, smoothed for symbols they lack."""
        block, place = np.nonzero(levels)
        first = np.append(True, np.diff(block) > 0)[: len(block)]
        run = place - np.where(first, -1, np.roll(place, 1)) - 1
        counts = np.full(256, 0.05)
        np.add.at(counts, run % 16 * 16 + size_category(levels[block, place]), 1.0)
        counts[ZRL] += (run // 16).sum()
        last = np.full(len(levels), -1)
        last[block] = place
        counts[EOB] += np.count_nonzero(last < 62)
        bits = np.log2(counts.sum() / counts)
        runs, sizes = np.arange(64)[:, None], np.arange(11)[None]
        return Rates(bits[runs % 16 * 16 + sizes] + runs // 16 * bits[ZRL] + sizes, float(bits[EOB]))


def plain_levels(coefficients: Floats, table: NDArray[Any]) -> NDArray[np.int32]:
    """(n, 64) levels rounded to the nearest, halves away from zero, as libjpeg does."""
    scaled = coefficients / table
    levels = np.trunc(scaled + np.copysign(0.5, scaled))
    levels[:, 1:] = np.clip(levels[:, 1:], -_LARGEST, _LARGEST)
    return np.asarray(levels, np.int32)


def optimised_levels(
    coefficients: Floats, table: NDArray[Any], scale: NDArray[Any], weight: NDArray[Any], rate_weight: float
) -> NDArray[np.int32]:
    """Levels that minimise weight · Σ((c − level · table) / scale)² + rate_weight · bits in each block.

    Args:
        coefficients: (n, 64) orthonormal DCT coefficients in coding order.
        table: (64,) quantisation steps.
        scale: (64,) unit of the error of each coefficient.
        weight: (n,) of the blocks, more than 0.
        rate_weight: what a bit is worth; 0 gives ``plain_levels``.

    Returns:
        (n, 64) int32. DC is rounded: its bits depend on the block before.
    """
    levels = plain_levels(coefficients, table)
    if rate_weight <= 0:
        return levels
    rounded = levels[:, 1:]
    best = rounded
    for _ in range(_PASSES):
        rates = Rates.of(best)
        best = _shortest(
            coefficients[:, 1:], rounded, table[1:], weight[:, None] / scale[None, 1:] ** 2, rates, rate_weight
        )
    return np.concatenate([levels[:, :1], best], axis=1)


def _shortest(
    coefficients: Floats, rounded: NDArray[Any], table: NDArray[Any], worth: Floats, rates: Rates, rate_weight: float
) -> NDArray[np.int32]:
    """The cheapest levels, each the rounded one, one less, or none."""
    result = np.zeros_like(rounded)
    count = np.count_nonzero(rounded, axis=1)
    order = np.argsort(-count, kind="stable")
    order = order[: np.count_nonzero(count)]
    if not len(order):
        return result
    count = count[order]
    # Places of the levels in the blocks, in front of their rows; what follows them is never read.
    place = np.argsort(rounded[order] == 0, axis=1, kind="stable")[:, : count[0]]
    rows = order[:, None]
    path = _Path(coefficients[rows, place], rounded[rows, place], table[place], worth[rows, place], place, count)
    chosen = path.solve(rates, rate_weight)
    np.put_along_axis(kept := np.zeros((len(order), rounded.shape[1]), rounded.dtype), place, chosen, axis=1)
    result[order] = kept
    return result


@dataclass(frozen=True)
class _Path:
    """Blocks by falling number of levels; (n, k) arrays of their coefficients, levels, steps, worths and places."""

    value: Floats
    level: NDArray[Any]
    step: Floats
    worth: Floats
    place: NDArray[Any]
    count: NDArray[Any]

    def solve(self, rates: Rates, rate_weight: float) -> NDArray[np.int32]:
        """(n, k) levels of the cheapest path."""
        n, k = self.level.shape
        dropped = np.cumsum(np.pad(self.worth * self.value**2, ((0, 0), (1, 0))), axis=1)
        # cost[:, j]: cheapest with level j − 1 the last one kept, less all that would be dropped up to it.
        cost = np.full((n, k + 1), np.inf)
        cost[:, 0] = 0.0
        came, taken = np.zeros((n, k), np.int16), np.zeros((n, k), np.int32)
        for j in range(k):
            m = int(np.searchsorted(-self.count, -j, side="left"))
            cost[:m, j + 1], came[:m, j], taken[:m, j] = self._step(j, m, cost, rates, rate_weight)
            cost[:m, j + 1] -= dropped[:m, j + 1] - dropped[:m, j]
        ends = cost + rate_weight * rates.end * (np.pad(self.place, ((0, 0), (1, 0)), constant_values=-1) < 62)
        return self._follow(np.argmin(ends, axis=1), came, taken)

    def _step(
        self, j: int, m: int, cost: Floats, rates: Rates, rate_weight: float
    ) -> tuple[Floats, NDArray[Any], NDArray[Any]]:
        run = self.place[:m, j, None] - np.pad(self.place[:m, :j], ((0, 0), (1, 0)), constant_values=-1) - 1
        best = np.full(m, np.inf)
        came, taken = np.zeros(m, np.int64), np.zeros(m, np.int32)
        for less in (0, 1):
            level = self.level[:m, j] - less * np.sign(self.level[:m, j])
            error = self.worth[:m, j] * (self.value[:m, j] - level * self.step[:m, j]) ** 2
            total = cost[:m, : j + 1] + rate_weight * rates.level[run, size_category(level)[:, None]]
            source = np.argmin(total, axis=1)
            value = total[np.arange(m), source] + error
            better = (value < best) & (level != 0)
            best, came, taken = (
                np.where(better, value, best),
                np.where(better, source, came),
                np.where(better, level, taken),
            )
        return best, came, taken

    def _follow(self, last: NDArray[Any], came: NDArray[Any], taken: NDArray[Any]) -> NDArray[np.int32]:
        n, k = self.level.shape
        result, rows = np.zeros((n, k), np.int32), np.arange(n)
        while np.any(last):
            on = last > 0
            at = last[on] - 1
            result[rows[on], at] = taken[rows[on], at]
            last = np.where(on, came[rows, np.maximum(last - 1, 0)], 0)
        return result

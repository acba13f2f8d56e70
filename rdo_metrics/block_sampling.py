"""Blocks drawn so that every level of accuracy is met equally often: QoMEX 2023, section III-E.

A network's answer to a coded picture is compared with its answer to the original (pseudo-ground truth). Blocks drawn at
random are nearly all unharmed; here the accuracy is drawn first, uniformly among k ranges, then a picture and a coding
configuration, then a block of that accuracy in it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError

BINS = 10
"""k of the paper."""
_PATIENCE = 4096
"""Draws in a row without a block after which every coded picture is gone through, so that the search has an end."""
_CACHE = 1 << 30
"""Bytes of window counts kept."""
_LABELLED = -1
"""In place of a configuration: which windows of a picture are labelled."""

Mask = NDArray[np.bool_]
Counts = NDArray[np.uint16 | np.uint32]


@dataclass(frozen=True)
class Population:
    """What blocks are drawn from; all pictures coded in all configurations.

    Attributes:
        pictures, configurations: how many.
        agreement: (picture, configuration) → (H, W) bool M of Eq. (2), true where the labels are equal.
        labelled: picture → (H, W) bool, false where the real ground truth has no label; None where there is none.
    """

    pictures: int
    configurations: int
    agreement: Callable[[int, int], Mask]
    labelled: Callable[[int], Mask] | None = None

    def __post_init__(self) -> None:
        if self.pictures < 1 or self.configurations < 1:
            raise MetricInputError(
                f"{self.pictures} pictures, {self.configurations} configurations; expected at least one of each"
            )


@dataclass(frozen=True)
class Block:
    """A square of ``side`` samples at (x, y), its upper left corner, and its share of equal labels, 0..1."""

    picture: int
    configuration: int
    x: int
    y: int
    side: int
    accuracy: float

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the block in its picture."""
        return slice(self.y, self.y + self.side), slice(self.x, self.x + self.side)


class BlockSampler:
    """Draws blocks of one size.

    Args:
        population: see there; ``agreement`` is asked again where its counts have left the cache.
        side: N, in samples.
        bins: k.
        seed: of all draws.
        patience: draws in a row without a block after which all coded pictures are searched, each once.
        cache_bytes: memory for the counts of windows; beside them a picture's own are held, and k flags of each.

    Raises MetricInputError for a side below 1 or bins that no block can tell apart.
    """

    def __init__(
        self,
        population: Population,
        side: int,
        bins: int = BINS,
        seed: int = 0,
        patience: int = _PATIENCE,
        cache_bytes: int = _CACHE,
    ) -> None:
        if side < 1 or not 1 <= bins <= side * side:
            raise MetricInputError(f"blocks of {side}x{side} in {bins} bins; expected at least 1, and 1..side² bins")
        self._population, self._side, self._bins = population, side, bins
        self._rng = np.random.default_rng(seed)
        self._patience = patience
        self._cache: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
        self._room = cache_bytes
        self._has: dict[tuple[int, int], NDArray[np.bool_]] = {}
        self._holders = np.zeros(bins, np.int64)
        # Eq. (3): S in [jN²/k, (j+1)N²/k[, N² itself included in the last range.
        self._edges = [-(-j * side * side // bins) for j in range(bins)] + [side * side + 1]

    def draw(self, count: int, skip_empty: bool = False) -> list[Block]:
        """``count`` blocks, the range of accuracies uniform, then picture and configuration, then the block.

        Where a picture has no block of the range, another picture and configuration are drawn for the same range. The
        paper searches for ever where no picture has one; here that is found out, by looking at each once.

        Args:
            count: how many.
            skip_empty: leave out ranges that no picture has.

        Raises MetricInputError for an empty range, unless skipped, and where there is no block at all.
        """
        blocks: list[Block] = []
        open_bins = list(range(self._bins))
        while len(blocks) < count:
            index = open_bins[int(self._rng.integers(len(open_bins)))]
            found = self._search(index)
            if found is not None:
                blocks.append(found)
                continue
            open_bins.remove(index)
            if not (skip_empty and open_bins):
                raise MetricInputError(self._nothing(index))
        return blocks

    def _search(self, index: int) -> Block | None:
        pictures, configurations = self._population.pictures, self._population.configurations
        for _ in range(self._patience):
            picture, configuration = int(self._rng.integers(pictures)), int(self._rng.integers(configurations))
            if self._present(picture, configuration)[index]:
                return self._pick(picture, configuration, index)
            if len(self._has) == pictures * configurations and not self._holders[index]:
                return None
        # The first holder in a random order is as uniform among them as the first of independent draws.
        for pair in self._rng.permutation(pictures * configurations):
            picture, configuration = divmod(int(pair), configurations)
            if self._present(picture, configuration)[index]:
                return self._pick(picture, configuration, index)
        return None

    def _pick(self, picture: int, configuration: int, index: int) -> Block:
        counts = self._window_counts(picture, configuration)
        low, high = self._edges[index], self._edges[index + 1]
        candidates = np.flatnonzero((counts >= low) & (counts < high))
        place = int(candidates[self._rng.integers(len(candidates))])
        y, x = divmod(place, counts.shape[1])
        return Block(picture, configuration, x, y, self._side, float(counts[y, x]) / self._side**2)

    def _present(self, picture: int, configuration: int) -> NDArray[np.bool_]:
        """(bins,) whether the picture has a block of each range; remembered, so that a redraw costs nothing."""
        key = picture, configuration
        if key not in self._has:
            found = np.bincount(self._window_counts(*key).ravel(), minlength=self._edges[-1] + 1)[: self._edges[-1]]
            self._has[key] = np.logical_or.reduceat(found > 0, self._edges[:-1])
            self._holders += self._has[key]
        return self._has[key]

    def _window_counts(self, picture: int, configuration: int) -> Counts:
        """(H − N + 1, W − N + 1) equal labels in the window at each place; above N² where it is not valid."""

        def count() -> Counts:
            counts = window_sums(self._population.agreement(picture, configuration), self._side)
            valid = self._valid(picture, counts.shape)
            return counts if valid is None else np.where(valid, counts, counts.dtype.type(self._edges[-1]))

        return self._cached((picture, configuration), count)

    def _valid(self, picture: int, shape: tuple[int, ...]) -> Mask | None:
        labelled = self._population.labelled
        if labelled is None:
            return None
        valid = self._cached((picture, _LABELLED), lambda: window_sums(labelled(picture), self._side) == self._side**2)
        if valid.shape != shape:
            raise MetricInputError(f"picture {picture}: labels and predictions differ in size")
        return valid

    def _cached(self, key: tuple[int, int], make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """What ``make`` gives; what was not asked for longest goes where the room is used up."""
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        self._cache[key] = made = make()
        self._room -= made.nbytes
        while self._room < 0 and len(self._cache) > 1:
            self._room += self._cache.popitem(last=False)[1].nbytes
        return made

    def _nothing(self, index: int) -> str:
        low, high = index / self._bins, (index + 1) / self._bins
        return (
            f"no {self._side}x{self._side} block with an accuracy of {low:g} to {high:g} in {len(self._has)} coded "
            "pictures; expected coarser configurations among them, smaller blocks or fewer bins"
        )


def window_sums(mask: Mask, side: int) -> Counts:
    """(H − N + 1, W − N + 1) number of true samples in the N×N window at each place: M∗K with K separable.

    Raises MetricInputError for a picture smaller than the window.
    """
    if mask.ndim != 2 or min(mask.shape) < side:
        raise MetricInputError(f"picture of {mask.shape}; expected (H, W) of at least {side}x{side}")
    sums = cv2.boxFilter(mask.astype(np.uint8), cv2.CV_32S, (side, side), anchor=(0, 0), normalize=False)
    inside = np.asarray(sums)[: mask.shape[0] - side + 1, : mask.shape[1] - side + 1]
    # Half the memory where the sum fits, and one value more for what is not valid.
    return inside.astype(np.uint16) if side * side < np.iinfo(np.uint16).max else inside.astype(np.uint32)

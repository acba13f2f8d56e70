"""How well metrics predict a block's accuracy: correlations on blocks drawn by the protocol of QoMEX 2023."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.block_model import BlockModel
from models.task_model import TaskModel
from rdo_metrics.block_sampling import Block
from rdo_metrics.candidates.learned import cell_mean
from rdo_metrics.candidates.ssim import ssim_maps
from rdo_metrics.candidates.windows import Rect
from rdo_metrics.correlation import Correlation, correlate
from sweeps.block_data import SIDES, CodedStills, sampled

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""(H, W, 3) uint8 RGB of an original and its coded version."""
Measure = Callable[[Pair], Callable[[Block], float]]
"""Looks at a pair of pictures once, then gives the value of each block in them."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        side: of the blocks.
        metric: its name.
        found: correlations with the blocks' accuracy.
    """

    side: int
    metric: str
    found: Correlation


def psnr_of(pair: Pair) -> Callable[[Block], float]:
    """Luma PSNR of blocks in dB, 100 where they are equal."""
    error = (_luma(pair[0]) - _luma(pair[1])) ** 2

    def value(block: Block) -> float:
        mean = float(error[block.place].mean())
        return 10 * float(np.log10(255**2 / mean)) if mean > 0 else 100.0

    return value


def ssim_of(pair: Pair) -> Callable[[Block], float]:
    """Mean luma SSIM of blocks."""
    similarity, _ = ssim_maps(_luma(pair[0]), _luma(pair[1]))
    return lambda block: float(similarity[block.place].mean())


def learned(model: BlockModel) -> Measure:
    """What a metric with maps predicts when it sees the whole picture."""

    def measure(pair: Pair) -> Callable[[Block], float]:
        found = model.maps(pair[0][None], pair[1][None])[0]
        return lambda block: cell_mean(found, model.cell, Rect(block.x, block.y, block.side, block.side))

    return measure


def learned_in_windows(model: BlockModel, context: int = 32) -> Measure:
    """What it predicts when it sees the block and ``context`` samples around it, as in an encoder."""

    def measure(pair: Pair) -> Callable[[Block], float]:
        size = pair[0].shape[0], pair[0].shape[1]

        def value(block: Block) -> float:
            rect = Rect(block.x, block.y, block.side, block.side)
            window = rect.dilated(context, size)
            seen = (picture[window.luma][None] for picture in pair)
            return cell_mean(model.maps(*seen)[0], model.cell, rect.within(window))

        return value

    return measure


def evaluate(
    made: CodedStills, measures: Mapping[str, Measure], count: int = 4096, sides: Sequence[int] = SIDES, seed: int = 0
) -> list[Row]:
    """Correlations of every measure with the accuracy of ``count`` blocks of every size.

    Every coded picture is looked at once for each measure. Raises MetricInputError where no block can be drawn.
    """
    drawn = {side: sampled(made, side, count, seed) for side in sides}
    by_picture: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for side, blocks in drawn.items():
        for index, block in enumerate(blocks):
            by_picture.setdefault((block.configuration, block.picture), []).append((side, index))
    values = {name: {side: np.empty(count) for side in sides} for name in measures}
    for (coding, picture), members in sorted(by_picture.items()):
        pair = np.asarray(made.originals[picture]), np.asarray(made.coded(coding)[picture])
        for name, measure in measures.items():
            value = measure(pair)
            for side, index in members:
                values[name][side][index] = value(drawn[side][index])
    accuracy = {side: [block.accuracy for block in blocks] for side, blocks in drawn.items()}
    return [Row(side, name, correlate(values[name][side], accuracy[side])) for side in sides for name in measures]


@dataclass(frozen=True)
class Speed:
    """Median milliseconds of a picture: ``metric`` for the pair, ``network`` for one picture of it."""

    metric: float
    network: float

    @property
    def ratio(self) -> float:
        """How many times faster the metric is."""
        return self.network / self.metric


def speed(model: BlockModel, network: TaskModel, pair: Pair, repeats: int = 31) -> Speed:
    """Both in turns, in one run, so that what else the machine does touches both alike."""
    first, second = pair[0][None], pair[1][None]
    tasks: list[Callable[[], Any]] = [lambda: model(first, second), lambda: network.logits(second)]
    times: list[list[float]] = [[], []]
    for _ in range(repeats + 2):
        for task, found in zip(tasks, times, strict=True):
            began = time.perf_counter()
            task()
            found.append(time.perf_counter() - began)
    metric, driver = (float(np.median(found[2:])) * 1e3 for found in times)
    return Speed(metric, driver)


def table(rows: Sequence[Row]) -> str:
    """Markdown: sizes × metrics."""
    lines = ["| block | metric | SROCC | PLCC | KROCC |", "|---|---|---|---|---|"]
    for row in rows:
        f = row.found
        lines.append(f"| {row.side}×{row.side} | {row.metric} | {f.srocc:.3f} | {f.plcc:.3f} | {f.krocc:.3f} |")
    return "\n".join(lines)


def _luma(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    luma: NDArray[np.float32] = rgb.astype(np.float32) @ _LUMA
    return luma

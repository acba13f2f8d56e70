"""What a small network expects the task network to lose, from original and reconstruction alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError
from rdo_metrics.candidates.base import CANDIDATE_METRICS, CandidateFrame, Choice, LossMaps
from rdo_metrics.candidates.stacks import required, stacked
from rdo_metrics.candidates.windows import Rect

_DOUBTFUL = 0.1
"""Predicted share of changed labels from which a cell counts as damaged."""


@CANDIDATE_METRICS.register("learned")
class LearnedMetric:
    """Predicted number of pixels whose label changes, in the rectangle and its margin.

    A full-reference network (``mrdo train block``) sees the window of the original and that with the candidate and
    gives a share for each cell. Lower is better; a perfect reconstruction gives next to 0.

    Args:
        margin: luma samples around the rectangle whose loss counts as well, within the window.
    """

    needs: tuple[str, ...] = ("losses",)
    context = 32

    def __init__(self, margin: int = 16) -> None:
        self.margin = margin

    def distortions(self, batch: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """See ``CandidateMetric.distortions``. Raises MetricInputError where a network answers otherwise."""
        results: dict[int, NDArray[np.float64]] = {}
        for run, stack in stacked(batch, "losses", originals=True):
            for member, maps in stack.shares(_maps(run, *stack.pairs())):
                choice = member.choice
                part = choice.place.dilated(self.margin, (choice.window.height, choice.window.width))
                results[member.index] = np.array([cell_mean(m, run.cell, part) * part.area for m in maps])
        return [results[index] for index in range(len(batch))]

    def picture(self, frame: CandidateFrame) -> float:
        """See ``CandidateMetric.picture``; the network sees the whole picture."""
        run: LossMaps = required(frame.networks, "losses")
        everywhere = Rect(0, 0, frame.size[1], frame.size[0])
        return cell_mean(self._whole(frame), run.cell, everywhere) * everywhere.area

    def damage(self, frame: CandidateFrame) -> NDArray[np.bool_]:
        """(H, W) where more than ``_DOUBTFUL`` of the labels are expected to change in the base."""
        run: LossMaps = required(frame.networks, "losses")
        height, width = frame.size
        doubtful = self._whole(frame) > _DOUBTFUL
        return np.asarray(doubtful.repeat(run.cell, axis=0).repeat(run.cell, axis=1)[:height, :width])

    @staticmethod
    def _whole(frame: CandidateFrame) -> NDArray[np.float64]:
        """Map of the base; calibration may look at another base than the encoder's, with the same cache."""
        held: list[tuple[object, NDArray[np.float64]]] = frame.once("loss map", list)
        if not held or held[0][0] is not frame.base:
            run = required(frame.networks, "losses")
            original, base = (frame.to_rgb(planes)[None] for planes in (frame.original, frame.base))
            held[:] = [(frame.base, _maps(run, original, base)[0])]
        return held[0][1]


def cell_mean(cells: NDArray[np.float64], cell: int, rect: Rect) -> float:
    """Mean over a rectangle of a map, each cell counted by the part of it that lies inside.

    Args:
        cells: (h, w), the map.
        cell: side of a cell in samples.
        rect: in samples of what the map is of.
    """
    down = _overlap(cells.shape[0], cell, rect.y, rect.height)
    across = _overlap(cells.shape[1], cell, rect.x, rect.width)
    return float(down @ cells @ across)


def _overlap(count: int, cell: int, start: int, length: int) -> NDArray[np.float64]:
    """Share of ``length`` samples from ``start`` on that falls into each cell."""
    edges = np.arange(count) * cell
    inside = np.minimum(edges + cell, start + length) - np.maximum(edges, start)
    return np.asarray(np.clip(inside, 0, None) / length, np.float64)


def _maps(run: LossMaps, originals: NDArray[np.uint8], trials: NDArray[np.uint8]) -> NDArray[np.float64]:
    found = np.asarray(run.maps(originals, trials), dtype=np.float64)
    height, width = (-(-side // run.cell) for side in trials.shape[1:3])
    if found.shape != (len(trials), height, width):
        raise MetricInputError(f"loss maps of shape {found.shape}; expected ({len(trials)}, {height}, {width})")
    return np.maximum(found, 0)

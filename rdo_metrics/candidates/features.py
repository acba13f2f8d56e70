"""Squared error between feature maps: feature-based RDO (Fischer et al., arXiv 2203.05890)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError
from rdo_metrics.candidates.base import CANDIDATE_METRICS, CandidateFrame, Choice, Float
from rdo_metrics.candidates.stacks import Member, required, stacked
from rdo_metrics.candidates.windows import Rect

_FAINT = 1e-12
"""Mean square below which a layer says nothing."""


@CANDIDATE_METRICS.register("features")
class FeatureMetric:
    """Squared error of a network's first feature maps, at the positions that belong to the rectangle.

    D = Σ_layers s² · Σ_positions mean over channels of (f − f̂)² / E_layer: a position at stride s stands for s² luma
    samples, and E_layer, the mean square of the layer over the frame's original, makes layers of different scale count
    alike. f is taken from the original's own window, whose borders and alignment are those of the trials, so equal
    samples give exactly 0. Lower is better.

    The published hybrid, the average with the squared error, is what calibration makes of every metric
    (``calibration.combine`` with share 1); share 0 is the published feature-only form.
    """

    needs: tuple[str, ...] = ("features",)
    context = 16

    def distortions(self, batch: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """See ``CandidateMetric.distortions``. Raises MetricInputError where a network answers otherwise."""
        results: dict[int, NDArray[np.float64]] = {}
        for run, stack in stacked(batch, "features", originals=True):
            layers = feature_maps(run(stack.rgb), stack.rgb)
            for member in stack.members:
                results[member.index] = self._judged(member, layers)
        return [results[index] for index in range(len(batch))]

    def picture(self, frame: CandidateFrame) -> float:
        """See ``CandidateMetric.picture``."""
        original, base = whole(frame, frame.original), whole(frame, frame.base)
        energies = frame.once("feature energies", lambda: _energies(original))
        everywhere = Rect(0, 0, frame.size[1], frame.size[0])
        terms = zip(original, base, energies, strict=True)
        return float(sum(_squared_error(f, g, everywhere, frame.size)[0] / e for f, g, e in terms if e > _FAINT))

    def _judged(self, member: Member, layers: Sequence[Float]) -> NDArray[np.float64]:
        choice, span = member.choice, member.span
        size = choice.window.height, choice.window.width
        frame = choice.frame
        energies: list[float] = frame.once("feature energies", lambda: _energies(whole(frame, frame.original)))
        total = np.zeros(len(choice.trials))
        for maps, energy in zip(layers, energies, strict=True):
            if energy > _FAINT:
                total += _squared_error(maps[span.start - 1 : span.start], maps[span], choice.place, size) / energy
        return total


def whole(frame: CandidateFrame, planes: Sequence[NDArray[np.generic]]) -> list[Float]:
    """Feature maps (1, C, h, w) of a whole picture of the frame, one per layer."""
    rgb = frame.to_rgb(tuple(planes))[None]
    return feature_maps(required(frame.networks, "features")(rgb), rgb)


def feature_maps(answer: Sequence[Float], rgb: NDArray[np.uint8]) -> list[Float]:
    """The network's answer, checked: (N, C, h, w) for each layer. MetricInputError on any other."""
    maps = list(answer)
    if not maps or any(m.ndim != 4 or len(m) != len(rgb) for m in maps):
        raise MetricInputError(f"feature maps {[m.shape for m in maps]}; expected ({len(rgb)}, C, h, w) of every layer")
    return maps


def positions(place: Rect, size: tuple[int, int], grid: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a feature map that belong to a rectangle of the picture it was made of; at least one each.

    A position at stride s covers s samples and belongs to the rectangle that holds the first of them, so rectangles
    that tile a picture share out its positions.

    Args:
        place: in luma samples of the picture.
        size: (H, W) of the picture.
        grid: (h, w) of the feature map.
    """
    rows = _range(place.y, place.height, stride(size[0], grid[0]), grid[0])
    return rows, _range(place.x, place.width, stride(size[1], grid[1]), grid[1])


def stride(length: int, count: int) -> float:
    """Luma samples per feature position: whole where a strided network rounded the side, else the exact ratio."""
    step = max(round(length / count), 1)
    return step if count in (length // step, -(-length // step)) else length / count


def _range(start: int, length: int, step: float, count: int) -> slice:
    first = min(int(np.ceil(start / step)), count - 1)
    return slice(first, max(first + 1, min(int(np.ceil((start + length) / step)), count)))


def _squared_error(original: Float, trials: Float, place: Rect, size: tuple[int, int]) -> NDArray[np.float64]:
    """(K,) Σ over the positions of ``place`` of the mean squared error over channels, times the area of a position."""
    grid = (trials.shape[2], trials.shape[3])
    rows, columns = positions(place, size, grid)
    area = stride(size[0], grid[0]) * stride(size[1], grid[1])
    error = trials[:, :, rows, columns] - original[:, :, rows, columns]
    flat = error.reshape(len(error), -1)
    # Row by row: how many trials are judged together must not change the sum of one.
    sums = np.array([np.dot(row, row) for row in flat], dtype=np.float64)
    return np.asarray(sums * (area / trials.shape[1]))


def _energies(layers: Sequence[Float]) -> list[float]:
    return [float(np.mean(np.square(maps), dtype=np.float64)) for maps in layers]

"""Structural similarity of luma, at one scale (Wang et al. 2004) and at several (Wang et al. 2003)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from rdo_metrics.candidates.base import CANDIDATE_METRICS, CandidateFrame, Choice, Float
from rdo_metrics.candidates.windows import TILE, Rect, pasted
from rdo_metrics.weights import block_mean

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
RADIUS = 5
"""Of the Gaussian window: 11 samples, σ 1.5."""
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of Wang et al. 2003, finest scale first."""
SCALES = 4
"""At most, as the fifth does not fit into the window of a CTU."""


@CANDIDATE_METRICS.register("ssim")
class SsimMetric:
    """Σ (1 − SSIM) over the luma samples of the rectangle: SSIM's error times the area.

    Lower is better, 0 for a perfect reconstruction, at most 2 per sample. The Gaussian window looks 5 samples into the
    context; where the window ends earlier, samples are mirrored.
    """

    needs: tuple[str, ...] = ()
    context = 8

    def distortions(self, batch: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """See ``CandidateMetric.distortions``."""
        return [self._judged(choice) for choice in batch]

    def picture(self, frame: CandidateFrame) -> float:
        """See ``CandidateMetric.picture``."""
        original, base = (_luma(planes[0], frame.bit_depth) for planes in (frame.original, frame.base))
        return _error_sum(ssim_maps(original, base)[0])

    @staticmethod
    def _judged(choice: Choice) -> NDArray[np.float64]:
        size = choice.context[0].shape[0], choice.context[0].shape[1]
        # An even margin keeps the rest of the code free of half chroma samples.
        near = choice.place.dilated(RADIUS + 1, size)
        place = choice.place.within(near).luma
        original, *trials = _lumas(choice, near)
        return np.array([_error_sum(ssim_maps(original, trial)[0][place]) for trial in trials])


@CANDIDATE_METRICS.register("ms-ssim")
class MsSsimMetric:
    """(1 − MS-SSIM) of luma in the rectangle, times its area.

    At each scale the mean over the part of the map that belongs to the rectangle is taken. As many of the first four
    scales are used as the window has room for (a side of 11 samples), their exponents scaled to a sum of 1. Lower is
    better, 0 for a perfect reconstruction, at most 1 per sample.
    """

    needs: tuple[str, ...] = ()
    context = 32

    def distortions(self, batch: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """See ``CandidateMetric.distortions``."""
        return [self._judged(choice) for choice in batch]

    def picture(self, frame: CandidateFrame) -> float:
        """See ``CandidateMetric.picture``."""
        original, base = (_luma(planes[0], frame.bit_depth) for planes in (frame.original, frame.base))
        weights = scale_weights(frame.size)
        maps = _pyramid_maps(original, base, len(weights))
        means = [block_mean(scale, TILE >> level) for level, scale in enumerate(maps)]
        return float(np.sum((1 - _product(means, weights)) * _tile_areas(frame.size)))

    @staticmethod
    def _judged(choice: Choice) -> NDArray[np.float64]:
        original, *trials = _lumas(choice, Rect(0, 0, choice.window.width, choice.window.height))
        weights = scale_weights(original.shape)
        return np.array([_ms_error(original, trial, choice.place, weights) for trial in trials])


def ssim_maps(reference: Float, distorted: Float) -> tuple[Float, Float]:
    """SSIM of every sample and its contrast-structure factor: (H, W) float32 on 0–255 each → (H, W) float32, ≤ 1.

    Higher is better, 1 for equal pictures. Borders are mirrored; ``[5:-5, 5:-5]`` is what a window inside sees.
    """
    mean_r, mean_d = _blur(reference), _blur(distorted)
    product, square_r, square_d = mean_r * mean_d, mean_r * mean_r, mean_d * mean_d
    covariance = _blur(reference * distorted) - product
    variances = _blur(reference * reference + distorted * distorted) - square_r - square_d
    structure = (2 * covariance + np.float32(C2)) / (variances + np.float32(C2))
    return (2 * product + np.float32(C1)) / (square_r + square_d + np.float32(C1)) * structure, structure


def scale_weights(size: Sequence[int], most: int = SCALES) -> tuple[float, ...]:
    """Exponents of as many scales as a picture (H, W) has room for, at least one and at most ``most``; sum 1."""
    count = 1
    while count < most and min(size) >> count >= 2 * RADIUS + 1:
        count += 1
    used = SCALE_WEIGHTS[:count]
    return tuple(weight / sum(used) for weight in used)


def _ms_error(original: Float, trial: Float, place: Rect, weights: Sequence[float]) -> float:
    maps = _pyramid_maps(original, trial, len(weights))
    means = [np.atleast_1d(np.mean(scale[_at_scale(place, level)])) for level, scale in enumerate(maps)]
    return float((1 - _product(means, weights))[0] * place.area)


def _pyramid_maps(reference: Float, distorted: Float, count: int) -> list[Float]:
    """What MS-SSIM averages at each scale: contrast-structure, at the last one all of SSIM."""
    maps = []
    for level in range(count):
        whole, structure = ssim_maps(reference, distorted)
        maps.append(whole if level == count - 1 else structure)
        reference, distorted = _halved(reference), _halved(distorted)
    return maps


def _product(means: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> NDArray[np.float64]:
    total = np.ones(means[0].shape)
    for mean, weight in zip(means, weights, strict=True):
        total *= np.clip(mean.astype(np.float64), 0, 1) ** weight
    return total


def _at_scale(place: Rect, level: int) -> tuple[slice, slice]:
    step = 1 << level
    rows = slice(place.y // step, -(-(place.y + place.height) // step))
    return rows, slice(place.x // step, -(-(place.x + place.width) // step))


def _tile_areas(size: tuple[int, int]) -> NDArray[np.float64]:
    down, across = (np.minimum(TILE, side - np.arange(0, side, TILE)) for side in size)
    return np.multiply.outer(down, across).astype(np.float64)


def _error_sum(similarity: Float) -> float:
    return float(np.sum(np.maximum(1 - similarity, 0), dtype=np.float64))


def _lumas(choice: Choice, near: Rect) -> list[Float]:
    """Luma of the original and of each trial in its window, cropped to ``near``."""
    depth = choice.frame.bit_depth
    windows = pasted(choice.context[:1], choice.place, [trial[:1] for trial in choice.trials])
    planes = [choice.original_window()[0], *(window[0] for window in windows)]
    return [_luma(plane[near.luma], depth) for plane in planes]


def _luma(plane: NDArray[np.generic], bit_depth: int) -> Float:
    """float32 in units of 8-bit samples."""
    return np.asarray(plane, dtype=np.float32) / np.float32(1 << (bit_depth - 8))


def _blur(values: Float) -> Float:
    return np.asarray(cv2.GaussianBlur(values, (2 * RADIUS + 1,) * 2, 1.5, borderType=cv2.BORDER_REFLECT_101))


def _halved(values: Float) -> Float:
    """Means of 2×2 samples; odd sizes repeat their first row and column, as the common implementations do."""
    height, width = values.shape
    if height % 2 or width % 2:
        padded = cv2.copyMakeBorder(values, 1, 0, 1, 0, cv2.BORDER_REPLICATE)
        values = np.ascontiguousarray(padded[: padded.shape[0] // 2 * 2, : padded.shape[1] // 2 * 2], dtype=np.float32)
    return np.asarray(cv2.resize(values, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))

"""DCT ratio of first-layer features (seed paper 003, equation 21 and section 3.3) as a distortion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rdo_metrics.candidates.base import CANDIDATE_METRICS, CandidateFrame, Choice, Float
from rdo_metrics.candidates.features import feature_maps, positions, whole
from rdo_metrics.candidates.stacks import stacked
from rdo_metrics.candidates.windows import tiles
from rdo_metrics.dct_ratio import floors, log_ratio, spectrum


@CANDIDATE_METRICS.register("dct-ratio")
class DctRatioMetric:
    """Area × mean over filters i and frequencies of |ln((|F_i(o)| + ε_i) / (|F_i(c)| + ε_i))|.

    F_i is the DCT of filter i's response in the first layer the network gives, over the positions of the rectangle. The
    paper's E_i = F_i(o)/F_i(c) is 1 where nothing was lost, but divides by coefficients that quantisation has brought
    to 0, has poles and signs, and its mean lets losses and gains cancel. Here magnitudes are compared; ε_i, a tenth of
    the mean magnitude of filter i over the frame's original, keeps ratios of nothing to nothing at 1 and bounds all
    others; and the modulus of the logarithm, to first order |E_i − 1|, counts a coefficient halved and one doubled
    alike. The paper takes whole pictures; here each rectangle has a spectrum of its own, as it is what is chosen.

    Lower is better, 0 for a perfect reconstruction.
    """

    needs: tuple[str, ...] = ("features",)
    context = 16

    def distortions(self, batch: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """See ``CandidateMetric.distortions``. Raises MetricInputError where a network answers otherwise."""
        results: dict[int, NDArray[np.float64]] = {}
        for run, stack in stacked(batch, "features", originals=True):
            maps = feature_maps(run(stack.rgb), stack.rgb)[0]
            for member in stack.members:
                choice, span = member.choice, member.span
                size = choice.window.height, choice.window.width
                rows, columns = positions(choice.place, size, (maps.shape[2], maps.shape[3]))
                # One spectrum at a time: how many trials are judged together must not change the sum of one.
                spectra = [spectrum(maps[k, :, rows, columns]) for k in range(span.start - 1, span.stop)]
                floor = _floor_of(choice.frame)
                errors = [log_ratio(spectra[0], trial, floor) for trial in spectra[1:]]
                results[member.index] = np.array(errors) * choice.rect.area
        return [results[index] for index in range(len(batch))]

    def picture(self, frame: CandidateFrame) -> float:
        """See ``CandidateMetric.picture``."""
        original, base = whole(frame, frame.original)[0][0], whole(frame, frame.base)[0][0]
        floor = frame.once("dct floor", lambda: _floor(frame, original))
        total = 0.0
        for tile in tiles(frame.size):
            rows, columns = positions(tile, frame.size, (original.shape[1], original.shape[2]))
            wanted, found = spectrum(original[:, rows, columns]), spectrum(base[:, rows, columns])
            total += log_ratio(wanted, found, floor) * tile.area
        return total


def _floor_of(frame: CandidateFrame) -> Float:
    return frame.once("dct floor", lambda: _floor(frame, whole(frame, frame.original)[0][0]))


def _floor(frame: CandidateFrame, maps: Float) -> Float:
    """ε of every filter, (C, 1, 1): from the spectra of the original's tiles without their means."""
    total, count = np.zeros(len(maps)), 0
    for tile in tiles(frame.size):
        rows, columns = positions(tile, frame.size, (maps.shape[1], maps.shape[2]))
        magnitudes = spectrum(maps[:, rows, columns])
        magnitudes[:, 0, 0] = 0
        total += magnitudes.sum(axis=(1, 2), dtype=np.float64)
        count += magnitudes[0].size
    return floors(total, count)

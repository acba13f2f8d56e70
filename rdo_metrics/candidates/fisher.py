"""Quadratic form of the Fisher information of the original: what an error would do to the network's answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rdo_metrics.candidates.base import CANDIDATE_METRICS, CandidateFrame, Choice, Float
from rdo_metrics.candidates.stacks import required
from rdo_metrics.candidates.windows import Planes, Rect
from rdo_metrics.maps.base import MapContext
from rdo_metrics.maps.fisher import fisher
from rdo_metrics.weights import block_mean


@CANDIDATE_METRICS.register("fisher")
class FisherMetric:
    """½ Σ F·e² over the luma samples of the rectangle: the second-order form of KL(f(x)‖f(x̂)), in nats.

    F is the diagonal of ``rdo_metrics.maps.fisher``, computed once per frame from gradients at the original, so that a
    candidate costs no network run. Its mean over cells is taken, as single samples of the estimate are noise. The
    gradients take luma to be of limited range; what that means for full range is a constant factor, which calibration
    undoes. Lower is better, 0 for a perfect reconstruction of luma.

    Args:
        draws: samples of the Fisher diagonal.
        cell: side of the cells in luma samples.
    """

    needs: tuple[str, ...] = ("log_probs", "signed_grad")
    context = 0

    def __init__(self, draws: int = 6, cell: int = 4) -> None:
        self.draws = draws
        self.cell = cell

    def distortions(self, batch: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """See ``CandidateMetric.distortions``."""
        return [self._judged(choice) for choice in batch]

    def picture(self, frame: CandidateFrame) -> float:
        """See ``CandidateMetric.picture``."""
        everywhere = Rect(0, 0, frame.size[1], frame.size[0])
        return _quadratic(self._diagonal(frame), frame, everywhere, frame.base)

    def _judged(self, choice: Choice) -> NDArray[np.float64]:
        diagonal = self._diagonal(choice.frame)
        return np.array([_quadratic(diagonal, choice.frame, choice.rect, trial) for trial in choice.trials])

    def _diagonal(self, frame: CandidateFrame) -> Float:
        return frame.once(("fisher diagonal", self.draws, self.cell), lambda: self._estimate(frame))

    def _estimate(self, frame: CandidateFrame) -> Float:
        """(H, W) float32 ≥ 0, per squared luma step of an 8-bit picture."""
        context = MapContext(
            original_rgb=frame.to_rgb(frame.original),
            original_luma=frame.original[0],
            log_probs=required(frame.networks, "log_probs"),
            logp_signed_grad=required(frame.networks, "signed_grad"),
            bit_depth=frame.bit_depth,
            index=frame.index,
            seed=frame.seed,
        )
        cells = block_mean(fisher(context, self.draws), self.cell)
        height, width = frame.size
        return cells.repeat(self.cell, axis=0).repeat(self.cell, axis=1)[:height, :width]


def _quadratic(diagonal: Float, frame: CandidateFrame, rect: Rect, planes: Planes) -> float:
    error = frame.original[0][rect.luma].astype(np.float32) - planes[0]
    error /= np.float32(1 << (frame.bit_depth - 8))
    return 0.5 * float(np.sum(diagonal[rect.luma] * np.square(error, out=error), dtype=np.float64))

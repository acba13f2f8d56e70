"""The control: squared error, which is what the encoder would go by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rdo_metrics.candidates.base import CANDIDATE_METRICS, CandidateFrame, Choice, Planes
from rdo_metrics.candidates.windows import crop
from rdo_metrics.psnr import sse


@CANDIDATE_METRICS.register("sse")
class SseMetric:
    """Sum of squared errors of luma and chroma of the rectangle, in samples of the coding depth; an exact integer.

    Recomputed from the planes, so that an encoder that judges by itself and one that asks can be compared: equals
    ``Choice.sse`` bit for bit. Lower is better, 0 for a perfect reconstruction.
    """

    needs: tuple[str, ...] = ()
    context = 0

    def distortions(self, batch: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """See ``CandidateMetric.distortions``."""
        return [self._judged(choice) for choice in batch]

    def picture(self, frame: CandidateFrame) -> float:
        """See ``CandidateMetric.picture``."""
        return float(squared_error(frame.original, frame.base))

    @staticmethod
    def _judged(choice: Choice) -> NDArray[np.float64]:
        original = crop(choice.frame.original, choice.rect)
        return np.array([squared_error(original, trial) for trial in choice.trials], dtype=np.float64)


def squared_error(reference: Planes, distorted: Planes) -> int:
    """Sum over all planes, exact. Raises MetricInputError on different shapes or sample types."""
    return sum(sse(a, b) for a, b in zip(reference, distorted, strict=True))

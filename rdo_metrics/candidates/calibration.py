"""From a metric's own unit to the squared error that an encoder trades against bits (design §5.5).

The encoder minimises D + λR in each rectangle, D and λ in squared samples of the coding depth. For one frame

    α = SSE(base) / D_metric(base)

over the whole picture, base being the first pass: on average over the frame a trial's α·D_metric is then as large as
its squared error. For one rectangle

    D_k = share · α · D_metric,k · λ_rect/λ_frame + (1 − share) · SSE_k

with share 1 for the metric alone and 0 for squared error alone. The two add up to 1, so that D stays of the size that
the encoder's λ was made for: α·D_metric + SSE would weigh distortion twice, which is a smaller λ in disguise. Why the
λ ratio: a metric's unit is a global one, a unit of task loss costs the same wherever it falls, so it trades at the
frame's λ; squared error trades at the rectangle's own λ, which is where a map has put its weight w = λ_frame/λ_rect. In
the frame's units the cost is share·α·D_metric + (1 − share)·w·SSE + λ_frame·R; the encoder adds R at λ_rect, so
everything is multiplied by λ_rect/λ_frame = 1/w. Without a map the ratio is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

from encoder_bridge.errors import MetricInputError
from encoder_bridge.frames import Plane
from rdo_metrics.candidates.base import CandidateFrame, CandidateMetric, Choice, Planes
from rdo_metrics.candidates.sse import squared_error

NEVER = 1e30
"""A distortion that no trial can win with, yet finite, and within a float's range."""
_BLOCK = 8


def calibrate(metric: CandidateMetric, frame: CandidateFrame, qp: float = 32.0) -> float:
    """α of a frame, ≥ 0 and finite: squared error per unit of the metric, see the module.

    Where the base is the original itself (there was no first pass), a coded picture stands in for it (``stand_in``).
    α is 0, and the squared error decides alone, where the picture shows no distortion in either measure: flat pictures,
    or a metric that sees nothing of the coding.

    Args:
        metric: who judges.
        frame: original and base.
        qp: of the stand-in.

    Raises MetricInputError where the metric gives something else than a finite number of at least 0.
    """
    error = squared_error(frame.original, frame.base)
    if not error:
        frame = replace(frame, base=stand_in(frame.original, qp, frame.bit_depth))
        error = squared_error(frame.original, frame.base)
    distortion = float(metric.picture(frame))
    if not np.isfinite(distortion) or distortion < 0:
        name = type(metric).__name__
        raise MetricInputError(f"{name} gave {distortion} for frame {frame.index}; expected a finite number ≥ 0")
    alpha = error / distortion if distortion else 0.0
    return alpha if np.isfinite(alpha) else 0.0


def hybrid(
    metric: CandidateMetric, batch: Sequence[Choice], alphas: Sequence[float], share: float = 0.5,
    guard: float | None = None,
) -> list[NDArray[np.float64]]:  # fmt: skip
    """D of every trial of every choice, see ``combine``; ``alphas`` has one value a choice, that of its frame."""
    judged = metric.distortions(batch)
    return [
        combine(choice, values, alpha, guard, share)
        for choice, values, alpha in zip(batch, judged, alphas, strict=True)
    ]


def combine(
    choice: Choice, values: NDArray[np.float64], alpha: float, guard: float | None = None, share: float = 0.5
) -> NDArray[np.float64]:
    """D_k = share · α · values_k · λ ratio + (1 − share) · SSE_k of one choice, (K,) float64, finite; lower is better.

    Args:
        choice: what was judged.
        values: (K,) the metric's answer.
        alpha: of the frame. At 0 the squared error is all there is to go by, so it counts whatever ``share`` says.
        guard: ≥ 1; a trial whose squared error exceeds that many times the choice's least gets ``NEVER``. The trial of
            the least squared error always stays. None lets the metric take any.
        share: of the metric, 0 to 1; the rest is squared error's.

    Raises MetricInputError unless there are K finite values ≥ 0.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.shape != choice.sse.shape or not np.isfinite(found).all() or (found < 0).any():
        raise MetricInputError(
            f"distortions {found.tolist()} for {len(choice.trials)} candidates of {choice.rect} in frame "
            f"{choice.frame.index}; expected as many finite numbers of at least 0"
        )
    weighed = share * alpha * choice.lambda_ratio * found + (1 - share) * choice.sse
    cost = weighed if alpha > 0 else 1.0 * choice.sse
    if guard is not None:
        cost = np.where(choice.sse > guard * choice.sse.min(), NEVER, cost)
    return np.minimum(cost, NEVER)


def stand_in(original: Planes, qp: float = 32.0, bit_depth: int = 8) -> Planes:
    """What coding at ``qp`` might make of a picture: its 8×8 DCT quantised with step 2^((qp−4)/6) and a dead zone.

    No prediction, no filter; only the size of the error and where it falls are meant. Same shapes and sample types.
    """
    step = 2 ** ((qp - 4) / 6) * (1 << (bit_depth - 8))
    return tuple(_quantised(plane, step, (1 << bit_depth) - 1) for plane in original)


def _quantised(plane: Plane, step: float, peak: int) -> Plane:
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % _BLOCK), (0, -width % _BLOCK)), mode="edge").astype(np.float32)
    blocks = padded.reshape(padded.shape[0] // _BLOCK, _BLOCK, padded.shape[1] // _BLOCK, _BLOCK)
    levels = dctn(blocks, axes=(1, 3), norm="ortho") / np.float32(step)
    # A third instead of a half is how encoders round coefficients of intra blocks.
    kept = np.sign(levels) * np.floor(np.abs(levels) + np.float32(1 / 3)) * np.float32(step)
    samples = idctn(kept, axes=(1, 3), norm="ortho").reshape(padded.shape)[:height, :width]
    result: Plane = np.clip(np.rint(samples), 0, peak).astype(plane.dtype)
    return result

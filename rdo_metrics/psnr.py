"""Peak signal-to-noise ratio of planes and of YUV pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError

PLANE_WEIGHTS = (6.0, 1.0, 1.0)
"""Y, Cb, Cr in the 6:1:1 mean common in video coding (Ohm et al. 2012)."""


def sse(reference: NDArray[Any], distorted: NDArray[Any]) -> int:
    """Sum of squared errors of two planes (H, W), uint8 or uint16; exact. Lower is better.

    Raises MetricInputError on different shapes or sample types, or empty planes.
    """
    _check(reference, distorted)
    # int64 products: a 16-bit difference squared overflows int32 in the sum of two samples.
    difference = reference.astype(np.int32) - distorted
    return int(np.einsum("ij,ij->", difference, difference, dtype=np.int64))


def psnr(reference: NDArray[Any], distorted: NDArray[Any], bit_depth: int = 8) -> float:
    """PSNR of one plane in dB, 10·log10(peak²/MSE) with peak 2^depth − 1. Higher is better.

    Args:
        reference, distorted: (H, W) uint8 at 8 bit, uint16 above, values below 2^depth.

    Returns:
        dB; ``math.inf`` for identical planes (``mean_psnr`` averages squared errors, so such frames do no harm there).

    Raises MetricInputError on different shapes or types, or a depth the sample type cannot hold.
    """
    return _db(sse(reference, distorted) / reference.size, _peak(reference, bit_depth))


def psnr_yuv(reference: Sequence[NDArray[Any]], distorted: Sequence[NDArray[Any]], bit_depth: int = 8) -> float:
    """6:1:1 weighted mean of the Y, Cb and Cr PSNR in dB; the luma PSNR alone for 4:0:0. Higher is better.

    Identical planes would make the mean infinite whatever the others are like, so the result is infinite only where
    every plane is identical; otherwise identical planes are left out of the mean.

    Raises MetricInputError as ``psnr``, or where the numbers of planes differ or are not 1 or 3.
    """
    if len(reference) != len(distorted) or len(reference) not in (1, 3):
        raise MetricInputError(f"{len(reference)} and {len(distorted)} planes; expected 1 or 3 in both")
    return weighted_psnr([psnr(a, b, bit_depth) for a, b in zip(reference, distorted, strict=True)])


def weighted_psnr(planes: Sequence[float]) -> float:
    """6:1:1 mean of the PSNR of Y, Cb and Cr (or Y alone) in dB; identical planes (inf) are left out unless all are."""
    finite = [(w, v) for w, v in zip(PLANE_WEIGHTS, planes, strict=False) if math.isfinite(v)]
    if not finite:
        return math.inf
    return sum(w * v for w, v in finite) / sum(w for w, _ in finite)


def mean_psnr(total_sse: int, samples: int, bit_depth: int = 8) -> float:
    """PSNR of a whole sequence in dB from its summed squared error: finite unless every frame is identical."""
    if samples < 1 or total_sse < 0:
        raise MetricInputError(f"squared error {total_sse} over {samples} samples; expected ≥ 0 over at least 1")
    return _db(total_sse / samples, (1 << bit_depth) - 1)


def _db(mse: float, peak: int) -> float:
    return math.inf if mse == 0 else 10.0 * math.log10(peak * peak / mse)


def _peak(plane: NDArray[Any], bit_depth: int) -> int:
    if not 1 <= bit_depth <= 8 * plane.dtype.itemsize:
        raise MetricInputError(f"bit depth {bit_depth} with {plane.dtype} samples; expected at most the sample size")
    return (1 << bit_depth) - 1


def _check(reference: NDArray[Any], distorted: NDArray[Any]) -> None:
    if reference.shape != distorted.shape or reference.ndim != 2 or not reference.size:
        raise MetricInputError(f"planes {reference.shape} and {distorted.shape}; expected the same (H, W), not empty")
    if reference.dtype != distorted.dtype or reference.dtype not in (np.uint8, np.uint16):
        raise MetricInputError(f"samples {reference.dtype} and {distorted.dtype}; expected uint8 or uint16 in both")

"""DCT ratio of first-layer features (seed paper 003, equation 21 and section 3.3): what a detector's first look lost.

For whole pictures, with the original at hand; ``rdo_metrics.candidates.dct_ratio`` judges candidates of CTUs by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, rfft2

from encoder_bridge.errors import ConfigError, MetricInputError

Float = NDArray[np.float32]
SHARE = 0.1
"""Of a filter's mean spectrum: what a coefficient is measured against at least."""


def spectrum(maps: Float) -> Float:
    """|DCT-II| of every filter's response, (C, h, w) float32, orthonormal."""
    return np.asarray(np.abs(dctn(np.ascontiguousarray(maps), axes=(1, 2), norm="ortho")))


def fourier_spectrum(maps: Float) -> Float:
    """|DFT| at the first quarter of the frequencies of (C, 2h, 2w) responses to a mirrored picture, (C, h, w)."""
    height, width = maps.shape[1] // 2, maps.shape[2] // 2
    return np.asarray(np.abs(rfft2(np.ascontiguousarray(maps), norm="ortho")[:, :height, :width]))


def floors(total: NDArray[np.float64], count: int, share: float = SHARE) -> Float:
    """ε of every filter, (C, 1, 1) float32: a share of its mean magnitude.

    Args:
        total: (C,) sum of each filter's magnitudes over the original, without those of frequency 0.
        count: coefficients in each sum.
    """
    mean = share * total / count
    # Filters that never answer must not turn the rounding of the others into a loss.
    least = max(1e-3 * float(mean.mean()), float(np.finfo(np.float32).tiny) * 1e6)
    return np.maximum(mean, least).astype(np.float32)[:, None, None]


def ratio(original: Float, coded: Float, floor: Float) -> float:
    """Mean of (|F(o)| + ε) / (|F(c)| + ε); 1 for equal spectra."""
    return float(np.mean((original + floor) / (coded + floor), dtype=np.float64))


def log_ratio(original: Float, coded: Float, floor: Float) -> float:
    """Mean of |ln((|F(o)| + ε) / (|F(c)| + ε))|; 0 for equal spectra."""
    return float(np.mean(np.abs(np.log((original + floor) / (coded + floor))), dtype=np.float64))


FORMS: dict[str, Callable[[Float, Float, Float], float]] = {"ratio": ratio, "log": log_ratio}
"""How the magnitudes of both pictures become one number."""
TRANSFORMS: dict[str, Callable[[Float], Float]] = {"dct": spectrum, "fourier": fourier_spectrum}
"""``dct`` of the responses (the paper's figure 4) or ``fourier`` of those to the mirrored picture (its equation 21)."""


@dataclass(frozen=True)
class DctRatio:
    """E = mean over filters i and frequencies of (|F_i(o)| + ε_i) / (|F_i(c)| + ε_i). Higher is worse, 1 without loss.

    F_i is the transform of filter i's response in the first layer of a detector's backbone, over the whole RGB picture
    (section 3.3: no conversion to YCbCr, no blocks, the mean over filters). The published E_i = F_i(o) / F_i(c) divides
    by coefficients that quantisation has brought to 0, and its signs cancel in the mean. Here magnitudes are compared
    and ε_i, ``share`` times the mean magnitude of filter i over the original, is added to both: ratios of nothing to
    nothing are 1, no ratio exceeds (|F_i(o)| + ε_i) / ε_i, and as ``share`` goes to 0 the published ratio comes back.

    Values lie above 0: above 1 where coding takes away more than it adds, below where blocks in a smooth picture add
    more. With ``form`` "log" they are at least 0, and a coefficient halved counts as much as one doubled.

    Args:
        features: (N, H, W, 3) uint8 RGB → feature maps (N, C, h, w), the first of which is looked at:
            ``models.features.first_layer_model`` of any ONNX network.
        form: see ``FORMS``.
        transform: see ``TRANSFORMS``; "fourier" costs four times as much.
        share: of the mean magnitude, above 0.

    Raises ConfigError for an unknown form or transform, or a share that is not above 0.
    """

    features: Callable[[NDArray[np.uint8]], Sequence[Float]]
    form: str = "ratio"
    transform: str = "dct"
    share: float = SHARE

    def __post_init__(self) -> None:
        if self.form not in FORMS or self.transform not in TRANSFORMS or not self.share > 0:
            raise ConfigError(
                f"DCT ratio with form {self.form!r}, transform {self.transform!r}, share {self.share}; "
                f"expected {' or '.join(FORMS)}, {' or '.join(TRANSFORMS)}, and more than 0"
            )

    def __call__(self, originals: NDArray[np.uint8], coded: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, H, W, 3) or (H, W, 3) uint8 RGB of both → (N,) float64. MetricInputError for shapes that differ."""
        first, second = (p[None] if p.ndim == 3 else p for p in (originals, coded))
        if first.shape != second.shape or first.ndim != 4 or first.shape[3] != 3:
            raise MetricInputError(f"pictures {originals.shape} and {coded.shape}; expected the same (N, H, W, 3)")
        return np.array([FORMS[self.form](*self.spectra(a, b)) for a, b in zip(first, second, strict=True)], np.float64)

    def spectra(self, original: NDArray[np.uint8], coded: NDArray[np.uint8]) -> tuple[Float, Float, Float]:
        """|F(o)|, |F(c)|, (C, h, w) each, and ε (C, 1, 1) of two (H, W, 3) uint8 RGB: what every form is made of."""
        before, after = (self._spectrum(picture) for picture in (original, coded))
        faint = before.sum(axis=(1, 2), dtype=np.float64) - before[:, 0, 0]
        return before, after, floors(faint, max(before[0].size - 1, 1), self.share)

    def _spectrum(self, picture: NDArray[np.uint8]) -> Float:
        if self.transform == "fourier":
            height, width = picture.shape[:2]
            picture = np.pad(picture, ((0, height), (0, width), (0, 0)), mode="symmetric")
        answer = self.features(picture[None])
        if not len(answer) or answer[0].ndim != 4 or len(answer[0]) != 1:
            raise MetricInputError(f"feature maps {[m.shape for m in answer]}; expected (1, C, h, w)")
        return TRANSFORMS[self.transform](answer[0][0])


def window_means(values: Sequence[float] | NDArray[Any], frames: int) -> NDArray[np.float64]:
    """Means over non-overlapping windows of ``frames`` frames, (T // frames,); the rest at the end is left out.

    The paper's label of a window (section 4.2, 100 frames). Raises MetricInputError where there is no whole window.
    """
    found = np.asarray(values, np.float64).ravel()
    if not 1 <= frames <= len(found):
        raise MetricInputError(f"windows of {frames} frames in a video of {len(found)}; expected 1 to {len(found)}")
    count = len(found) // frames
    means: NDArray[np.float64] = found[: count * frames].reshape(count, frames).mean(axis=1)
    return means

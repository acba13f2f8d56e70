"""Does a metric say what a detector finds? AP over windows of frames beside metrics of the same frames (seed 003)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.atomic import replacing
from encoder_bridge.errors import MetricInputError
from models.detector import Detections
from rdo_metrics.candidates.ssim import ssim_maps
from rdo_metrics.correlation import Correlation, correlate
from rdo_metrics.dct_ratio import FORMS, DctRatio, window_means
from rdo_metrics.objects.measures import mean_delta_object_iou, mean_object_iou
from rdo_metrics.objects.precision import Matching, Objects, windows_of

Rgb = NDArray[np.uint8]
Detect = Callable[[Rgb], Sequence[Detections]]
Layer = Callable[[Rgb], Sequence[NDArray[np.float32]]]
FrameMetrics = Callable[[Rgb, Rgb], Mapping[str, float]]
"""An original and a coded picture, (H, W, 3) uint8 RGB → metrics by name."""
LEAST_SCORE = 0.05
"""Of detections that AP ranks; it needs the unsure ones as well."""
_MOST_PSNR = 100.0
"""Stands for infinity, as means and correlations need numbers."""


@dataclass(frozen=True)
class Watched:
    """What a detector and metrics make of one coded video.

    Attributes:
        found: detections in each coded frame.
        values: metric → (T,) float64.
    """

    found: tuple[Objects, ...]
    values: dict[str, NDArray[np.float64]]

    def save(self, path: Path) -> None:
        """Write a ``.npz`` file."""
        counts = np.array([len(f) for f in self.found], np.int64)
        joined = {
            "boxes": np.concatenate([np.asarray(f.boxes, np.float64).reshape(-1, 4) for f in self.found]),
            "labels": np.concatenate([np.asarray(f.labels, np.int64) for f in self.found]),
            "scores": np.concatenate([np.asarray(f.scores, np.float64) for f in self.found]),
        }
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, counts=counts, **joined, **{f"m_{k}": v for k, v in self.values.items()})

    @classmethod
    def load(cls, path: Path) -> Watched:
        """Read what ``save`` wrote."""
        with np.load(path) as arrays:
            cuts = np.cumsum(arrays["counts"])[:-1]
            parts = (np.split(arrays[name], cuts) for name in ("boxes", "labels", "scores"))
            found = tuple(Objects(*each) for each in zip(*parts, strict=True))
            return cls(found, {name[2:]: arrays[name] for name in arrays.files if name.startswith("m_")})


def luma_psnr(original: Rgb, coded: Rgb) -> float:
    """PSNR of BT.601 luma in dB, higher is better; 100 for equal pictures."""
    error = float(np.square(_luma(original) - _luma(coded)).mean())
    return _MOST_PSNR if error == 0 else min(10 * float(np.log10(255**2 / error)), _MOST_PSNR)


def luma_ssim(original: Rgb, coded: Rgb) -> float:
    """Mean SSIM of BT.601 luma, higher is better, 1 for equal pictures."""
    return float(ssim_maps(_luma(original), _luma(coded))[0][5:-5, 5:-5].mean())


def frame_metrics(layers: Mapping[str, Layer]) -> FrameMetrics:
    """PSNR, SSIM, and for each named first layer the DCT ratio and its logarithmic form."""
    ratios = {f", {name}" if name else "": DctRatio(layer) for name, layer in layers.items()}

    def measure(original: Rgb, coded: Rgb) -> dict[str, float]:
        found = {"PSNR": luma_psnr(original, coded), "SSIM": luma_ssim(original, coded)}
        for name, metric in ratios.items():
            spectra = metric.spectra(original, coded)
            found |= {f"DCT {form}{name}": compute(*spectra) for form, compute in FORMS.items()}
        return found

    return measure


def watch(originals: Iterable[Rgb], coded: Iterable[Rgb], detect: Detect, metrics: FrameMetrics) -> Watched:
    """Run the detector and the metrics on every frame of a coded video; both videos are walked through once.

    Raises MetricInputError for videos of different lengths, and what detector and metrics raise.
    """
    found: list[Objects] = []
    values: list[Mapping[str, float]] = []
    try:
        for original, picture in zip(originals, coded, strict=True):
            found.append(as_objects(detect(picture[None])[0]))
            values.append(metrics(original, picture))
    except ValueError as error:
        if "zip()" not in str(error):
            raise
        raise MetricInputError(f"videos differ in length after {len(found)} frames; expected as many frames") from None
    names = values[0] if values else ()
    return Watched(tuple(found), {name: np.array([v[name] for v in values], np.float64) for name in names})


def as_objects(found: Detections) -> Objects:
    """A detector's answer as the metrics take it."""
    return Objects(found.boxes, found.labels, found.scores)


def above(found: Sequence[Objects], score: float) -> list[Objects]:
    """Only detections of at least a score."""
    kept = [np.asarray(f.scores) >= score for f in found]
    return [
        Objects(np.asarray(f.boxes)[k], np.asarray(f.labels)[k], np.asarray(f.scores)[k])
        for f, k in zip(found, kept, strict=True)
    ]


@dataclass(frozen=True)
class Windows:
    """Windows of one or more coded videos.

    Attributes:
        ap, ap50: (M,) of each window; NaN where it has no object.
        values: metric → (M,) mean over the window's frames.
    """

    ap: NDArray[np.float64]
    ap50: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]


def windows(matching: Matching, seen: Watched, frames: int) -> Windows:
    """AP and the mean of every metric over the non-overlapping windows of ``frames`` frames."""
    precision = windows_of(matching, frames)
    means = {name: window_means(values, frames) for name, values in seen.values.items()}
    return Windows(np.array([p.ap for p in precision]), np.array([p.ap50 for p in precision]), means)


def joined(parts: Sequence[Windows]) -> Windows:
    """All windows of several videos."""
    names = parts[0].values
    values = {name: np.concatenate([p.values[name] for p in parts]) for name in names}
    return Windows(np.concatenate([p.ap for p in parts]), np.concatenate([p.ap50 for p in parts]), values)


def correlations(found: Windows, target: str = "ap") -> dict[str, Correlation]:
    """How well each metric's mean over a window goes with the window's AP (tables 1 and 2 of the paper).

    Args:
        target: "ap" or "ap50".

    Raises MetricInputError where there are fewer than three windows with objects, or all have the same AP.
    """
    accuracy = found.ap if target == "ap" else found.ap50
    return {name: correlate(values, accuracy) for name, values in found.values.items()}


@dataclass(frozen=True)
class Judged:
    """One coded video: means over all of it, and its windows where it has a whole one."""

    summary: dict[str, float]
    windows: Windows | None


def judged(truth: Sequence[Objects], before: Watched, after: Watched, options: Mapping[str, Any]) -> Judged:
    """AP, AP50, Object IoU, Delta Object IoU and the mean of every metric of one coded video.

    Args:
        before: detections in the originals.
        options: "score", the least of detections that Object IoU counts; "window", frames that AP is taken over.
    """
    matching = Matching(truth, after.found)
    whole = matching.precision()
    first, second = (above(seen.found, options["score"]) for seen in (before, after))
    summary = {
        "AP": whole.ap,
        "AP50": whole.ap50,
        "Object IoU": mean_object_iou(truth, second),
        "Delta Object IoU": mean_delta_object_iou(truth, first, second),
        **{name: float(values.mean()) for name, values in after.values.items()},
    }
    enough = options["window"] <= len(truth)
    return Judged(summary, windows(matching, after, options["window"]) if enough else None)


def correlations_of(parts: Sequence[Windows | None]) -> dict[str, Correlation]:
    """``correlations`` of all windows of several videos; empty where there are too few or AP never changes."""
    found = [part for part in parts if part is not None]
    try:
        return correlations(joined(found)) if found else {}
    except MetricInputError:
        return {}


def _luma(rgb: Rgb) -> NDArray[np.float32]:
    return (rgb @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.float32)

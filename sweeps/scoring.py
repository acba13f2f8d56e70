"""What a network sees in a decoded video: confusion matrices and PSNR, frame by frame."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.color import planes_to_rgb
from encoder_bridge.errors import MetricInputError, ModelError
from encoder_bridge.frames import Frame, FrameSource, VideoFormat
from encoder_bridge.padding import crop_planes, padded_format
from encoder_bridge.transform import flat_chroma, resize_planes
from rdo_metrics.accuracy import ACCURACY_METRICS, confusion
from rdo_metrics.psnr import mean_psnr, sse, weighted_psnr

VOID = 255
Advance = Callable[[int], None]
Watch = Callable[[NDArray[Any], NDArray[Any]], None]


class Labeller(Protocol):
    """The part of a task model that scoring needs."""

    @property
    def name(self) -> str:
        """Short name for tables."""

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes."""

    def labels(self, rgb: NDArray[np.uint8]) -> NDArray[Any]:
        """(H, W, 3) RGB → (1, H, W) class of each pixel."""


@dataclass
class VideoScores:
    """Everything measured on one decoded video.

    Attributes:
        plane_sse: (T, planes) squared error of each frame's planes at ``bit_depth``.
        plane_samples: samples of each plane in one frame.
        confusion: network name → "pseudo" or "labels" → (T, C, C) int32.
    """

    bit_depth: int
    plane_samples: list[int]
    plane_sse: list[list[int]] = field(default_factory=list)
    confusion: dict[str, dict[str, NDArray[np.int32]]] = field(default_factory=dict)

    def psnr(self) -> dict[str, float]:
        """PSNR in dB of y, u, v over the whole video and their 6:1:1 mean "yuv"; inf for identical planes."""
        totals = np.sum(np.asarray(self.plane_sse, dtype=np.int64), axis=0)
        values = [
            mean_psnr(int(total), samples * len(self.plane_sse), self.bit_depth)
            for total, samples in zip(totals, self.plane_samples, strict=True)
        ]
        return {**dict(zip("yuv", values, strict=False)), "yuv": weighted_psnr(values)}

    def frame_psnr(self) -> list[float]:
        """Luma PSNR of each frame in dB."""
        return [mean_psnr(frame[0], self.plane_samples[0], self.bit_depth) for frame in self.plane_sse]

    def summary(self) -> dict[str, dict[str, float | None]]:
        """Network → agreement, miou_pseudo, miou_labels (None without labels), each in 0–1, higher is better."""
        return {name: _summary(arrays) for name, arrays in self.confusion.items()}


def _summary(arrays: Mapping[str, NDArray[np.int32]]) -> dict[str, float | None]:
    pseudo = arrays["pseudo"].sum(axis=0, dtype=np.int64)
    miou = ACCURACY_METRICS.get("miou").compute
    labels = arrays.get("labels")
    return {
        "agreement": ACCURACY_METRICS.get("agreement").compute(pseudo),
        "miou_pseudo": miou(pseudo),
        "miou_labels": None if labels is None else miou(labels.sum(axis=0, dtype=np.int64)),
    }


def label_video(source: FrameSource, network: Labeller, advance: Advance) -> Iterator[NDArray[np.uint8]]:
    """Pseudo-GT: the network's labels of every frame, taken after the conversion to the coded chroma format."""
    for frame in source:
        yield network.labels(planes_to_rgb(frame.planes, source.format))[0].astype(np.uint8)
        advance(1)


def score_video(
    reference: FrameSource,
    test: FrameSource,
    networks: Sequence[Labeller],
    pseudo: Mapping[str, Iterable[NDArray[np.uint8]]],
    labels: Iterable[NDArray[np.uint8]] | None,
    advance: Advance,
    watch: Watch | None = None,
) -> VideoScores:
    """Score ``test`` against ``reference``.

    Args:
        reference: the original, in the chroma format it was coded in.
        test: the decoded video; of another size it is resized to the reference's, as a receiver would.
        networks: judges.
        pseudo: network name → its labels of the reference's frames.
        labels: ground truth of each frame, or None.
        advance: called with 1 after each frame.
        watch: called with the luma of each frame, original and decoded, at the reference's size and depth.

    Raises:
        MetricInputError: the videos have different numbers of frames, or label images another size.
    """
    fmt = reference.format
    scores = VideoScores(fmt.bit_depth, [h * w for h, w in fmt.plane_shapes])
    collected: dict[str, dict[str, list[NDArray[Any]]]] = {n.name: {"pseudo": []} for n in networks}
    truth: Iterable[NDArray[np.uint8] | None] = itertools.repeat(None) if labels is None else labels
    references = {name: iter(frames) for name, frames in pseudo.items()}
    for (original, decoded), target in zip(_pairs(reference, test), truth, strict=False):
        planes = match_planes(decoded.planes, test.format, fmt)
        scores.plane_sse.append([sse(a, b) for a, b in zip(original.planes, planes, strict=True)])
        if watch is not None:
            watch(original.planes[0], planes[0])
        rgb = planes_to_rgb(planes, fmt)
        for network in networks:
            seen = network.labels(rgb)[0]
            _count(collected[network.name], seen, next(references[network.name]), target, _class_count(network))
        advance(1)
    _check_complete(scores, reference)
    scores.confusion = {
        name: {kind: np.stack(arrays).astype(np.int32) for kind, arrays in kinds.items()}
        for name, kinds in collected.items()
    }
    return scores


def _class_count(network: Labeller) -> int:
    if not network.classes:
        raise ModelError(f"{network.name}: its file names no classes; give --classes NAME,NAME,…")
    return len(network.classes)


def _count(
    into: dict[str, list[NDArray[Any]]],
    seen: NDArray[Any],
    pseudo: NDArray[np.uint8],
    target: NDArray[np.uint8] | None,
    classes: int,
) -> None:
    into["pseudo"].append(confusion(seen, pseudo, classes, ignore=VOID))
    if target is None:
        return
    if target.shape != seen.shape:
        raise MetricInputError(f"label image {target.shape[::-1]} for a frame of {seen.shape[::-1]}; expected the same")
    void = np.where(target < classes, target, VOID).astype(np.uint8)
    into.setdefault("labels", []).append(confusion(seen, void, classes, ignore=VOID))


def _pairs(reference: FrameSource, test: FrameSource) -> Iterator[tuple[Frame, Frame]]:
    for index, (a, b) in enumerate(itertools.zip_longest(reference, test)):
        if a is None or b is None:
            short = "reference" if a is None else "test"
            raise MetricInputError(f"the {short} video ends after {index} frames, the other goes on; expected as many")
        yield a, b


def _check_complete(scores: VideoScores, reference: FrameSource) -> None:
    done = len(scores.plane_sse)
    if done == 0:
        raise MetricInputError("no frame was scored: no frames, or no label images for them")
    expected = reference.frame_count
    if expected is not None and done < expected:
        raise MetricInputError(f"labels end after {done} of {expected} frames; expected one label image a frame")


def match_planes(planes: tuple[NDArray[Any], ...], given: VideoFormat, wanted: VideoFormat) -> tuple[NDArray[Any], ...]:
    """Bring decoded planes to another size and depth, as a receiver would before its network looks.

    4:0:0 pictures have flat chroma, and of others that are wanted in 4:0:0 only luma counts.
    Raises MetricInputError where the chroma formats differ otherwise.
    """
    if "400" in (given.chroma, wanted.chroma) and given.chroma != wanted.chroma:
        given = replace(given, chroma=wanted.chroma)
        planes = flat_chroma(planes, given)
    if given.chroma != wanted.chroma:
        raise MetricInputError(f"chroma format {given.chroma} against {wanted.chroma}; expected the same")
    if given.plane_shapes == padded_format(wanted).plane_shapes:
        planes = crop_planes(planes, wanted)
    elif given.plane_shapes != wanted.plane_shapes:
        planes = resize_planes(planes, replace(given, width=wanted.width, height=wanted.height))
    return tuple(_to_depth(plane, given.bit_depth, wanted.bit_depth) for plane in planes)


def _to_depth(plane: NDArray[Any], given: int, wanted: int) -> NDArray[Any]:
    if given < wanted:
        return plane.astype(np.uint16) << (wanted - given)
    if given > wanted:
        rounded = (plane.astype(np.uint32) + (1 << (given - wanted - 1))) >> (given - wanted)
        dtype = np.uint8 if wanted == 8 else np.uint16
        return np.asarray(np.minimum(rounded, (1 << wanted) - 1), dtype=dtype)
    return plane

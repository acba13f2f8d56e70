"""What a full-reference image quality metric says of itself, what it is given, and the registry of them all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError, ToolNotFoundError
from encoder_bridge.frames import DEPTHS, Plane
from encoder_bridge.registry import Registry

Pictures = NDArray[Any]
"""(N, H, W) luma or (N, H, W, 3) RGB; uint8 at 8 bit, uint16 at 10."""
Scores = NDArray[np.float64]
"""(N,), NaN where a picture is too small for the metric."""
_AT_ONCE = 1 << 20
"""Luma samples that wait to be scored together."""


@dataclass(frozen=True)
class MetricInfo:
    """A metric's properties, known without loading anything.

    Attributes:
        name: what the registry and the command line call it.
        title: as papers write it.
        range: least and greatest value.
        higher_is_better: direction.
        min_side: smallest width and height in samples; scores of smaller pictures are NaN.
        color: what it sees: "luma", or "luma as RGB" where it wants three channels and gets luma in each.
        paper: where it is from.
        equation: what is computed, in that paper's symbols.
        identity: score of a picture against itself; None where that depends on the picture.
        weights: files of learned weights it needs.
        unit: "dB" or none.
        video: scores a frame by what was before it as well, so the pictures of a call are one video in order.
    """

    name: str
    title: str
    range: tuple[float, float]
    higher_is_better: bool
    min_side: int
    color: str
    paper: str
    equation: str
    identity: float | None
    weights: tuple[str, ...] = ()
    unit: str = ""
    video: bool = False

    @property
    def needs_weights(self) -> bool:
        """Whether it is a network with learned weights."""
        return bool(self.weights)

    @property
    def best(self) -> float:
        """The better end of the range."""
        return self.range[1] if self.higher_is_better else self.range[0]


class IqaMetric(ABC):
    """A full-reference metric on luma. Register the class: ``@IQA_METRICS.register("psnr")``.

    Seed 000 (QoMEX 2023, §III-B) scores the grey component, and so does every metric here: RGB becomes BT.601 luma,
    rounded to a sample, first. A luma plane is taken as it is, its range of sample values from 0 to 2^depth − 1.
    Scores do not depend on which other pictures are in the call, but for ``info.video``.

    Args:
        device: "cpu" or "cuda"; never falls back from one to the other.
        weights: folder with the files of ``info.weights``; see ``rdo_metrics.iqa.weights``.

    Raises:
        ToolNotFoundError: its library, its program or its weights are not here; the message says what brings them.
        DeviceError: the device is not here, or the metric cannot use it.
    """

    info: ClassVar[MetricInfo]

    def __init__(self, device: str = "cpu", weights: Path | None = None) -> None:
        self.device, self.weights = device, weights

    def scores(self, originals: Pictures, coded: Pictures, bit_depth: int = 8) -> Scores:
        """Score each coded picture against its original.

        Args:
            originals, coded: see ``Pictures``; of one shape and type.
            bit_depth: of the samples, 8 or 10.

        Returns:
            (N,) float64 within ``info.range``; NaN throughout where the pictures are smaller than ``info.min_side``.

        Raises:
            MetricInputError: the arrays are no pictures, or differ in shape or type.
        """
        check_pictures(originals, coded, bit_depth)
        pair = luma(originals, bit_depth), luma(coded, bit_depth)
        if min(pair[0].shape[1:]) < self.info.min_side:
            return np.full(len(originals), np.nan)
        if not len(originals):
            return np.zeros(0)
        # Rounding and ringing carry a few values over the ends: HaarPSI of equal pictures is 1.0000002, of black inf.
        found: Scores = np.clip(self._scores(*pair, bit_depth), *self.info.range)
        return found

    def collector(self, bit_depth: int = 8) -> Collector:
        """A place to put the frames of two videos into, one pair after the other."""
        return Collector(self, bit_depth)

    @abstractmethod
    def _scores(self, originals: Pictures, coded: Pictures, bit_depth: int) -> Scores:
        """(N,) float64 of luma (N, H, W), N ≥ 1 and no side below ``info.min_side``."""

    @classmethod
    @abstractmethod
    def missing(cls, weights: Path | None = None) -> str | None:
        """What keeps it from running here and what brings that; None where nothing does. Loads no library."""


class Collector:
    """Scores two videos whose frames come one pair at a time, with few of them in memory; a context manager."""

    def __init__(self, metric: IqaMetric, bit_depth: int = 8) -> None:
        self.metric, self.bit_depth = metric, bit_depth
        self._waiting: list[tuple[Plane, Plane]] = []
        self._found: list[Scores] = []

    def add(self, original: Plane, coded: Plane) -> None:
        """The next frame of both, luma (H, W). Raises as ``IqaMetric.scores``, for this frame or one before."""
        self._waiting.append((original, coded))
        if len(self._waiting) * original.size >= _AT_ONCE:
            self._score()

    def result(self) -> Scores:
        """(T,) scores of all frames so far, as ``IqaMetric.scores`` gives them."""
        self._score()
        return np.concatenate([np.zeros(0), *self._found])

    def close(self) -> None:
        """Let go of what it holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _score(self) -> None:
        if self._waiting:
            originals, coded = (np.stack(planes) for planes in zip(*self._waiting, strict=True))
            self._waiting.clear()
            self._found.append(self.metric.scores(originals, coded, self.bit_depth))


IQA_METRICS: Registry[type[IqaMetric]] = Registry("iqa_metric")


def make_iqa_metric(name: str, device: str = "cpu", weights: Path | None = None) -> IqaMetric:
    """The metric registered as ``name``. Raises ConfigError on an unknown name, and as ``IqaMetric``."""
    return IQA_METRICS.get(name)(device, weights)


def missing_of(name: str, weights: Path | None = None) -> str | None:
    """``IqaMetric.missing`` of a registered name; also why another package's metric cannot be imported."""
    try:
        return IQA_METRICS.get(name).missing(weights)
    except ToolNotFoundError as error:
        return str(error)


def luma(pictures: Pictures, bit_depth: int = 8) -> Pictures:
    """(N, H, W) of the same type: BT.601 luma of (N, H, W, 3) RGB, rounded; luma itself as it is."""
    if pictures.ndim == 3:
        return pictures
    n, height, width, _ = pictures.shape
    if not pictures.size:
        return np.zeros((n, height, width), pictures.dtype)
    rows = np.ascontiguousarray(pictures).reshape(n * height, width, 3)
    return np.asarray(cv2.cvtColor(rows, cv2.COLOR_RGB2GRAY)).reshape(n, height, width)


def check_pictures(originals: Pictures, coded: Pictures, bit_depth: int) -> None:
    """MetricInputError unless both are pictures of one shape and of the type of that depth."""
    if originals.shape != coded.shape or not _are_pictures(originals):
        raise MetricInputError(
            f"pictures {originals.shape} and {coded.shape}; expected the same (N, H, W) or (N, H, W, 3), no side 0"
        )
    wanted = np.uint8 if bit_depth == 8 else np.uint16
    if bit_depth not in DEPTHS or originals.dtype != wanted or coded.dtype != wanted:
        raise MetricInputError(
            f"samples {originals.dtype} and {coded.dtype} at {bit_depth} bit; expected uint8 at 8, uint16 at 10"
        )


def _are_pictures(array: Pictures) -> bool:
    return (array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)) and 0 not in array.shape[1:3]

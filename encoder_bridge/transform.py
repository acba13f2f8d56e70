"""Sources made of sources: a part of a video, the video at another size, or without its colours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import numpy as np

from encoder_bridge.color import bt601_luma
from encoder_bridge.errors import ConfigError, DecodeError
from encoder_bridge.frames import CHROMA_SHIFTS, Frame, FrameSource, Plane, VideoFormat
from encoder_bridge.source_base import BaseSource


def slice_source(source: FrameSource, start: int = 0, count: int | None = None) -> BaseSource:
    """At most ``count`` frames from frame ``start`` on, renumbered from 0 and, when ``start`` > 0, timed from 0.

    Raises:
        ConfigError: ``start`` < 0 or ``count`` < 1. DecodeError while walking where ``start`` is past the end.
    """
    if start < 0:
        raise ConfigError(f"first frame {start}; expected at least 0")
    if count is not None and count < 1:
        raise ConfigError(f"frame count {count}; expected at least 1")
    return _Slice(source, start, count)


def resize_source(source: FrameSource, scale: float) -> BaseSource:
    """The video at ``scaled_size(source.format, scale)``; see ``resize_planes``. ConfigError unless scale > 0."""
    return resize_to(source, *scaled_size(source.format, scale))


def resize_to(source: FrameSource, width: int, height: int) -> BaseSource:
    """The video at ``width`` × ``height`` luma samples."""
    return _Resized(source, replace(source.format, width=width, height=height))


def gray_source(source: FrameSource, chroma: str = "400") -> BaseSource:
    """BT.601 luma alone (seed 001, IV), in 4:0:0 or in ``chroma`` with flat chroma planes; a 4:0:0 video as it is."""
    return _Gray(source, replace(source.format, chroma=chroma))


def scaled_size(fmt: VideoFormat, scale: float) -> tuple[int, int]:
    """Width and height times ``scale``, rounded up to whole chroma samples: MPEG's rule, ceil(W·δ/2)·2 in 4:2:0.

    4:0:0 has the sizes of 4:2:0, so that a picture with and without its colours is coded with as many luma samples.
    Scale 1 keeps the size as it is, odd or not.
    """
    if not scale > 0:
        raise ConfigError(f"scale {scale}; expected a positive number")
    if scale == 1:
        return fmt.width, fmt.height
    sx, sy = CHROMA_SHIFTS[fmt.chroma] or (1, 1)
    return _whole(fmt.width * scale, 1 << sx), _whole(fmt.height * scale, 1 << sy)


def resize_planes(planes: tuple[Plane, ...], target: VideoFormat) -> tuple[Plane, ...]:
    """Each plane at the size ``target`` gives it: bicubic up and down (seed 001, III), a = −1/2.

    Where it shrinks, the kernel is as much wider as the picture gets smaller: it is the filter that keeps fine texture
    from turning into false edges, which a bicubic interpolation without it does not do. Planes are aligned at their
    outer borders, so left-sited chroma moves by less than half a luma sample.
    """
    return tuple(_resize(plane, shape, target) for plane, shape in zip(planes, target.plane_shapes, strict=True))


def flat_chroma(planes: tuple[Plane, ...], target: VideoFormat) -> tuple[Plane, ...]:
    """The luma plane with neutral chroma in the planes that ``target`` has."""
    middle = 1 << (target.bit_depth - 1)
    return (planes[0], *(np.full(shape, middle, target.dtype) for shape in target.plane_shapes[1:]))


class _Slice(BaseSource):
    def __init__(self, source: FrameSource, start: int, count: int | None) -> None:
        total = source.frame_count
        left = None if total is None else max(total - start, 0)
        known = left if count is None else (None if left is None else min(left, count))
        super().__init__(_name(source), source.format, known, _notes(source))
        self._source, self._start, self._count = source, start, count

    def __iter__(self) -> Iterator[Frame]:
        stop = None if self._count is None else self._start + self._count
        origin = None
        for frame in islice(self._source, self._start, stop):
            if origin is None:
                origin = frame.pts if self._start else Fraction(0)
            yield Frame(frame.planes, frame.index - self._start, frame.pts - origin)
        if origin is None:
            raise DecodeError(f"{self.name}: zero frames from frame {self._start} on; the video is shorter")


class _Resized(BaseSource):
    def __init__(self, source: FrameSource, target: VideoFormat) -> None:
        super().__init__(_name(source), target, source.frame_count, _notes(source))
        self._source = source

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            yield replace(frame, planes=resize_planes(frame.planes, self.format))


class _Gray(BaseSource):
    def __init__(self, source: FrameSource, target: VideoFormat) -> None:
        super().__init__(_name(source), target, source.frame_count, _notes(source))
        self._source = source

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            luma = bt601_luma(frame.planes, self._source.format)
            yield replace(frame, planes=flat_chroma((luma,), self.format))


def _resize(plane: Plane, shape: tuple[int, int], target: VideoFormat) -> Plane:
    from PIL import Image

    if plane.shape == shape:
        return plane
    picture = Image.fromarray(plane if plane.dtype == np.uint8 else plane.astype(np.float32))
    resized = np.asarray(picture.resize(shape[::-1], Image.Resampling.BICUBIC))
    samples: Plane = np.rint(np.clip(resized, 0, (1 << target.bit_depth) - 1)).astype(target.dtype)
    return samples


def _whole(value: float, step: int) -> int:
    """Up to a multiple of ``step``; what floating point adds to a whole number does not count."""
    return max(step, step * math.ceil(round(value / step, 9)))


def _name(source: FrameSource) -> str:
    return str(getattr(source, "name", "video"))


def _notes(source: FrameSource) -> tuple[str, ...]:
    return tuple(getattr(source, "notes", ()))

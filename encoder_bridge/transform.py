"""Sources made of sources: a part of a video, or the video at another size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import cv2
import numpy as np

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


def scaled_size(fmt: VideoFormat, scale: float) -> tuple[int, int]:
    """Width and height times ``scale``, rounded to the nearest multiple of the chroma subsampling, at least one.

    Scale 1 keeps the size as it is, odd or not.
    """
    if not scale > 0:
        raise ConfigError(f"scale {scale}; expected a positive number")
    if scale == 1:
        return fmt.width, fmt.height
    sx, sy = CHROMA_SHIFTS[fmt.chroma] or (0, 0)
    return _nearest_multiple(fmt.width * scale, 1 << sx), _nearest_multiple(fmt.height * scale, 1 << sy)


def resize_planes(planes: tuple[Plane, ...], target: VideoFormat) -> tuple[Plane, ...]:
    """Each plane at the size ``target`` gives it: area average where it shrinks, Lanczos (8 taps) where it grows.

    Planes are aligned at their outer borders, so left-sited chroma moves by less than half a luma sample.
    """
    return tuple(_resize(plane, shape, target) for plane, shape in zip(planes, target.plane_shapes, strict=True))


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


def _resize(plane: Plane, shape: tuple[int, int], target: VideoFormat) -> Plane:
    if plane.shape == shape:
        return plane
    if shape[0] <= plane.shape[0] and shape[1] <= plane.shape[1]:
        return cv2.resize(plane, shape[::-1], interpolation=cv2.INTER_AREA)
    grown = cv2.resize(plane.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LANCZOS4)
    samples: Plane = np.rint(np.clip(grown, 0, (1 << target.bit_depth) - 1)).astype(target.dtype)
    return samples


def _nearest_multiple(value: float, step: int) -> int:
    return max(step, step * int(value / step + 0.5))


def _name(source: FrameSource) -> str:
    return str(getattr(source, "name", "video"))


def _notes(source: FrameSource) -> tuple[str, ...]:
    return tuple(getattr(source, "notes", ()))

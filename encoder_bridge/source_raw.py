"""Frames of a headerless planar file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import numpy as np

from encoder_bridge.errors import DecodeError
from encoder_bridge.frames import Frame, Plane, VideoFormat
from encoder_bridge.source_base import (
    DEFAULT_FPS,
    BaseSource,
    RawSpec,
    SourceOptions,
    check_sample_range,
    resolve_colour,
)


class RawSource(BaseSource):
    """A ``.yuv`` file: planes one after another, frame after frame, no padding."""

    def __init__(self, path: Path, spec: RawSpec, options: SourceOptions) -> None:
        fmt, notes = _format_of(spec, options)
        size, step = path.stat().st_size, frame_bytes(fmt)
        if size == 0:
            raise DecodeError(f"{path}: zero frames; the file is empty")
        if size % step:
            raise DecodeError(
                f"{path}: {size} bytes are not a whole number of frames of {step} bytes ({fmt.width}x{fmt.height} "
                f"4:{fmt.chroma[1]}:{fmt.chroma[2]} {fmt.bit_depth} bit); check --size and --format"
            )
        self._path = path
        super().__init__(str(path), fmt, size // step, notes)

    def __iter__(self) -> Iterator[Frame]:
        """Frames in file order, ``pts`` = index / fps."""
        with self._path.open("rb") as file:
            for index in range(self._frame_count or 0):
                where = f"{self.name}: frame {index}"
                planes = read_planes(file, self.format, where)
                check_sample_range(planes, self.format, where)
                yield Frame(planes, index, index / self.format.fps)


def frame_bytes(fmt: VideoFormat) -> int:
    """Bytes of one frame's planes without padding."""
    return sum(math.prod(shape) for shape in fmt.plane_shapes) * fmt.dtype.itemsize


def read_planes(file: BufferedReader, fmt: VideoFormat, where: str) -> tuple[Plane, ...]:
    """One frame's planes from the file position on; DecodeError where the file ends first."""
    need = frame_bytes(fmt)
    samples = np.empty(need // fmt.dtype.itemsize, fmt.dtype if fmt.bit_depth == 8 else np.dtype("<u2"))
    have = file.readinto(samples.data.cast("B"))
    if have < need:
        raise DecodeError(f"{where} has {have} of {need} bytes; the file is cut short")
    planes, start = [], 0
    for shape in fmt.plane_shapes:
        stop = start + math.prod(shape)
        planes.append(samples[start:stop].reshape(shape))
        start = stop
    return tuple(planes)


def _format_of(spec: RawSpec, options: SourceOptions) -> tuple[VideoFormat, list[str]]:
    matrix, range_, notes = resolve_colour(spec.height, spec.chroma, (spec.matrix, spec.range), options)
    fps = options.fps or spec.fps
    if fps is None:
        notes.append(f"frame rate not stated; {DEFAULT_FPS} assumed; set --fps")
    fmt = VideoFormat(
        spec.width, spec.height, spec.chroma, spec.bit_depth, fps or DEFAULT_FPS, matrix=matrix, range=range_
    )
    return fmt, notes

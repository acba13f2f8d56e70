"""Odd picture sizes: HEVC crops in whole chroma samples, so the last column or row is repeated before coding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from encoder_bridge.frames import CHROMA_SHIFTS, Frame, Plane, VideoFormat


def padded_format(fmt: VideoFormat) -> VideoFormat:
    """The format with width and height rounded up to whole chroma samples; the same object where they are already."""
    shift_x, shift_y = CHROMA_SHIFTS[fmt.chroma] or (0, 0)
    width, height = _round_up(fmt.width, shift_x), _round_up(fmt.height, shift_y)
    return fmt if (width, height) == (fmt.width, fmt.height) else replace(fmt, width=width, height=height)


def pad_frame(frame: Frame, target: VideoFormat) -> Frame:
    """The frame with edge samples repeated up to ``target``'s size; chroma planes have that size already."""
    return replace(frame, planes=tuple(map(_pad, frame.planes, target.plane_shapes)))


def crop_planes(planes: tuple[Plane, ...], target: VideoFormat) -> tuple[Plane, ...]:
    """What ``pad_frame`` added, taken away again."""
    return tuple(plane[:height, :width] for plane, (height, width) in zip(planes, target.plane_shapes, strict=True))


def _pad(plane: Plane, shape: tuple[int, int]) -> Plane:
    rows, columns = shape[0] - plane.shape[0], shape[1] - plane.shape[1]
    return np.pad(plane, ((0, rows), (0, columns)), mode="edge") if rows or columns else plane


def _round_up(value: int, shift: int) -> int:
    return (value + (1 << shift) - 1) >> shift << shift

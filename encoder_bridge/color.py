"""RGB to YCbCr planes and back, exact for every matrix, range, depth and chroma format (ITU-T H.273, 8.3).

Chroma of 4:2:0 and 4:2:2 is sited left (H.273 chroma_sample_loc_type 0): horizontally on the even luma columns,
vertically midway between two luma rows. Down: [1 2 1]/4 across, [1 1]/2 down. Up: bilinear at the same positions.
Borders repeat the edge sample, so odd sizes need no special case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ConfigError
from encoder_bridge.frames import CHROMA_SHIFTS, Plane, VideoFormat

KR_KB: dict[str, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020nc": (0.2627, 0.0593),
}
"""Luma coefficients of red and blue (H.273, table 4)."""

RgbImage = NDArray[np.uint8]
"""(H, W, 3) uint8, R G B, non-linear, 0–255."""


def luma_weights(fmt: VideoFormat) -> NDArray[np.float64]:
    """(3,) float64: Kr, Kg, Kb of the format's matrix; they sum to 1."""
    kr, kb = KR_KB[fmt.matrix]
    return np.array([kr, 1.0 - kr - kb, kb])


def ycc_from_rgb_matrix(fmt: VideoFormat) -> NDArray[np.float64]:
    """(3, 3) float64: sample values of Y, Cb, Cr (without ``ycc_offset``) per unit of R, G, B on 0–255."""
    weights = luma_weights(fmt)
    eye = np.eye(3)
    cb = (eye[2] - weights) / (2.0 * (1.0 - weights[2]))
    cr = (eye[0] - weights) / (2.0 * (1.0 - weights[0]))
    luma_scale, chroma_scale = _sample_scales(fmt)
    return np.stack([weights * luma_scale, cb * chroma_scale, cr * chroma_scale]) / 255.0


def rgb_from_ycc_matrix(fmt: VideoFormat) -> NDArray[np.float64]:
    """(3, 3) float64: R, G, B on 0–255 per unit of Y, Cb, Cr sample value.

    It is the Jacobian ∂RGB/∂YCbCr: a gradient g (3,) over RGB folds into luma as ``g @ rgb_from_ycc_matrix(f)[:, 0]``.
    """
    inverse: NDArray[np.float64] = np.linalg.inv(ycc_from_rgb_matrix(fmt)).astype(np.float64)
    return inverse


def ycc_offset(fmt: VideoFormat) -> NDArray[np.float64]:
    """(3,) float64: sample values of black and of neutral chroma."""
    unit = 1 << (fmt.bit_depth - 8)
    return np.array([16.0 if fmt.range == "limited" else 0.0, 128.0, 128.0]) * unit


def rgb_to_planes(rgb: RgbImage, fmt: VideoFormat) -> tuple[Plane, ...]:
    """Planes of ``fmt`` from an RGB picture.

    Args:
        rgb: (H, W, 3) uint8 of the format's size.
        fmt: matrix, range, depth and chroma format of the result.

    Returns:
        Y, Cb, Cr (Y alone for 4:0:0) with ``fmt.plane_shapes`` and ``fmt.dtype``, rounded to nearest.

    Raises:
        ConfigError: wrong shape or dtype.
    """
    _expect_rgb(rgb, fmt)
    forward = np.column_stack([ycc_from_rgb_matrix(fmt), ycc_offset(fmt)])
    if fmt.chroma == "400":
        luma = cv2.transform(rgb.astype(np.float32), forward[:1])
        return (_to_samples(luma.reshape(fmt.height, fmt.width), fmt),)
    y, cb, cr = cv2.split(cv2.transform(rgb.astype(np.float32), forward))
    return tuple(_to_samples(plane, fmt) for plane in (y, _chroma_down(cb, fmt), _chroma_down(cr, fmt)))


def planes_to_rgb(planes: Sequence[Plane], fmt: VideoFormat) -> RgbImage:
    """(H, W, 3) uint8 RGB of a frame's planes, clipped to 0–255; 4:0:0 gives grey.

    Raises:
        ConfigError: planes whose number, shape or dtype is not the format's.
    """
    check_planes(planes, fmt)
    inverse = rgb_from_ycc_matrix(fmt)
    if fmt.chroma == "400":
        grey = _grey_table(fmt)[np.minimum(planes[0], (1 << fmt.bit_depth) - 1)]
        return np.ascontiguousarray(np.broadcast_to(grey[..., None], (*grey.shape, 3)))
    luma = planes[0].astype(np.float32)
    ycc = cv2.merge([luma, _chroma_up(planes[1], fmt), _chroma_up(planes[2], fmt)])
    backward = np.column_stack([inverse, -inverse @ ycc_offset(fmt)])
    rgb: RgbImage = np.rint(np.clip(cv2.transform(ycc, backward), 0.0, 255.0)).astype(np.uint8)
    return rgb


def bt601_luma(planes: Sequence[Plane], fmt: VideoFormat) -> Plane:
    """(H, W) luma by BT.601's coefficients, at the format's range and depth; the luma plane itself where it is that.

    Luma of another matrix has the same grey axis, so it differs by a multiple of each chroma difference.

    Raises:
        ConfigError: planes whose number, shape or dtype is not the format's.
    """
    check_planes(planes, fmt)
    if fmt.chroma == "400" or fmt.matrix == "bt601":
        return planes[0]
    weights = luma_weights(replace(fmt, matrix="bt601"))
    luma_scale, _ = _sample_scales(fmt)
    of_cb, of_cr = (weights @ rgb_from_ycc_matrix(fmt))[1:] * luma_scale / 255.0
    middle = ycc_offset(fmt)[1:]
    cb, cr = (_chroma_up(plane, fmt) for plane in planes[1:])
    return _to_samples(planes[0] + of_cb * (cb - middle[0]) + of_cr * (cr - middle[1]), fmt)


def reduced_rgb(planes: Sequence[Plane], fmt: VideoFormat) -> RgbImage:
    """(ceil(H/2), ceil(W/2), 3) uint8 RGB: means of 2×2 luma samples with the chroma that 4:2:0 has for them.

    Twenty times quicker than ``planes_to_rgb`` and a reduction, and as good for looking at: chroma siting is ignored.

    Raises:
        ConfigError: planes whose number, shape or dtype is not the format's.
    """
    check_planes(planes, fmt)
    small = replace(fmt, width=-(-fmt.width // 2), height=-(-fmt.height // 2), chroma=_REDUCED[fmt.chroma])
    return planes_to_rgb([_halved(plane, small) for plane in planes], small)


def _halved(plane: Plane, fmt: VideoFormat) -> Plane:
    height, width = fmt.height, fmt.width
    if plane.shape == (height, width):
        return plane
    down, across = (2 * height if plane.shape[0] > height else height), (2 * width if plane.shape[1] > width else width)
    filled = np.pad(plane, ((0, down - plane.shape[0]), (0, across - plane.shape[1])), mode="edge")
    return np.asarray(cv2.resize(filled, (width, height), interpolation=cv2.INTER_AREA), plane.dtype)


_REDUCED = {"400": "400", "420": "444", "422": "444", "444": "444"}


def check_planes(planes: Sequence[Plane], fmt: VideoFormat) -> None:
    """ConfigError unless the planes have the number, shapes and dtype that ``fmt`` demands."""
    shapes = tuple(plane.shape for plane in planes)
    if shapes != fmt.plane_shapes:
        raise ConfigError(
            f"planes of shape {shapes}; expected {fmt.plane_shapes} for 4:{fmt.chroma[1]}:{fmt.chroma[2]}"
        )
    for plane in planes:
        if plane.dtype != fmt.dtype:
            raise ConfigError(f"plane of dtype {plane.dtype}; expected {fmt.dtype} for {fmt.bit_depth} bit")


def _sample_scales(fmt: VideoFormat) -> tuple[float, float]:
    if fmt.range == "full":
        top = float((1 << fmt.bit_depth) - 1)
        return top, top
    unit = float(1 << (fmt.bit_depth - 8))
    return 219.0 * unit, 224.0 * unit


def _expect_rgb(rgb: RgbImage, fmt: VideoFormat) -> None:
    if rgb.shape != (fmt.height, fmt.width, 3) or rgb.dtype != np.uint8:
        raise ConfigError(
            f"RGB picture of shape {rgb.shape}, {rgb.dtype}; expected ({fmt.height}, {fmt.width}, 3) uint8"
        )


def _to_samples(plane: NDArray[Any], fmt: VideoFormat) -> Plane:
    samples: Plane = np.rint(np.clip(plane, 0, (1 << fmt.bit_depth) - 1)).astype(fmt.dtype)
    return samples


def _chroma_down(plane: NDArray[Any], fmt: VideoFormat) -> NDArray[Any]:
    sx, sy = CHROMA_SHIFTS[fmt.chroma] or (0, 0)
    if not sx and not sy:
        return plane
    across = np.array([0.25, 0.5, 0.25] if sx else [0.0, 1.0, 0.0], np.float32)
    down = np.array([0.0, 0.5, 0.5] if sy else [0.0, 1.0, 0.0], np.float32)
    smooth = cv2.sepFilter2D(plane, cv2.CV_32F, across, down, borderType=cv2.BORDER_REPLICATE)
    return smooth[:: 1 << sy, :: 1 << sx]


def _chroma_up(plane: Plane, fmt: VideoFormat) -> NDArray[Any]:
    sx, sy = CHROMA_SHIFTS[fmt.chroma] or (0, 0)
    samples = plane.astype(np.float32)
    if sx:
        samples = _interpolate_left(samples, fmt.width)
    return _interpolate_middle(samples, fmt.height) if sy else samples


def _interpolate_left(samples: NDArray[Any], width: int) -> NDArray[Any]:
    """Even columns are the samples themselves, odd ones the mean of their neighbours."""
    out = np.empty((samples.shape[0], 2 * samples.shape[1]), np.float32)
    out[:, ::2] = samples
    out[:, 1:-1:2] = (samples[:, :-1] + samples[:, 1:]) * np.float32(0.5)
    out[:, -1] = samples[:, -1]
    return out[:, :width]


def _interpolate_middle(samples: NDArray[Any], height: int) -> NDArray[Any]:
    """Rows lie a quarter of a chroma row off the samples: weights 3/4 and 1/4."""
    padded = np.pad(samples, ((1, 1), (0, 0)), mode="edge")
    near = padded[1:-1] * np.float32(0.75)
    out = np.empty((2 * samples.shape[0], samples.shape[1]), np.float32)
    out[::2] = near + padded[:-2] * np.float32(0.25)
    out[1::2] = near + padded[2:] * np.float32(0.25)
    return out[:height]


@lru_cache(maxsize=8)
def _grey_table(fmt: VideoFormat) -> RgbImage:
    scale, _ = _sample_scales(fmt)
    codes = np.arange(1 << fmt.bit_depth, dtype=np.float64)
    grey: RgbImage = np.rint(np.clip((codes - ycc_offset(fmt)[0]) * 255.0 / scale, 0.0, 255.0)).astype(np.uint8)
    return grey

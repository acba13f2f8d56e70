"""From libav pictures to planes: which pixel formats are taken as they are, unpacked, converted, or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.color import rgb_to_planes
from encoder_bridge.errors import DecodeError
from encoder_bridge.frames import Plane, VideoFormat

_PLANAR = {
    f"{stem}{suffix}": (chroma, depth)
    for stem, chroma in (("gray", "400"), ("yuv420p", "420"), ("yuv422p", "422"), ("yuv444p", "444"))
    for suffix, depth in (("", 8), ("10le", 10))
}
_FULL_RANGE = {"yuvj420p": ("420", 8), "yuvj422p": ("422", 8), "yuvj444p": ("444", 8)}
_INTERLEAVED = {
    "nv12": ("420", 8),
    "nv16": ("422", 8),
    "nv24": ("444", 8),
    "p010le": ("420", 10),
    "p210le": ("422", 10),
    "p410le": ("444", 10),
}
_RGB = ("gbrp", "rgb24", "bgr24", "rgb0", "bgr0", "0rgb", "0bgr")
_MSB_SHIFT = 6
"""P010 and its kin keep 10 bits in the high end of 16."""


@dataclass(frozen=True)
class PixelLayout:
    """What a libav pixel format means for us.

    Attributes:
        name: libav's name.
        chroma, bit_depth: as ``VideoFormat``; None for RGB, which is converted.
        kind: "planar", "interleaved" (chroma pairs, unpacked without loss) or "rgb" (converted).
        full_range: the format itself says full range.
    """

    name: str
    chroma: str | None
    bit_depth: int | None
    kind: str
    full_range: bool = False


def layout_of(pixel_format: str, where: str) -> PixelLayout:
    """The layout of a libav pixel format; DecodeError with the ffmpeg command that converts for one not supported.

    8-bit RGB without alpha is converted by ``rgb_to_planes``. Alpha, palettes, packed YUV, other subsamplings and
    depths other than 8 and 10 are refused: what to keep of them is for the user to say.
    """
    if pixel_format in _PLANAR:
        return PixelLayout(pixel_format, *_PLANAR[pixel_format], kind="planar")
    if pixel_format in _FULL_RANGE:
        return PixelLayout(pixel_format, *_FULL_RANGE[pixel_format], kind="planar", full_range=True)
    if pixel_format in _INTERLEAVED:
        return PixelLayout(pixel_format, *_INTERLEAVED[pixel_format], kind="interleaved")
    if pixel_format in _RGB:
        return PixelLayout(pixel_format, None, None, kind="rgb")
    raise DecodeError(
        f"{where}: pixel format {pixel_format}; expected 8 or 10 bit gray, yuv420p, yuv422p, yuv444p or 8 bit RGB; "
        f"convert it first: ffmpeg -i {where} -pix_fmt {_nearest(pixel_format)} -c:v ffv1 converted.mkv"
    )


def planes_of(picture: av.VideoFrame, layout: PixelLayout, fmt: VideoFormat) -> tuple[Plane, ...]:
    """Planes of a decoded picture, line padding removed, as copies."""
    if layout.kind == "rgb":
        return rgb_to_planes(picture.to_ndarray(format="rgb24").astype(np.uint8, copy=False), fmt)
    if layout.kind == "interleaved":
        return _unpack(picture, fmt)
    return tuple(_rows(picture, i, fmt)[:, : shape[1]].copy() for i, shape in enumerate(fmt.plane_shapes))


def _unpack(picture: av.VideoFrame, fmt: VideoFormat) -> tuple[Plane, ...]:
    width = fmt.plane_shapes[1][1]
    pairs = _rows(picture, 1, fmt)[:, : 2 * width]
    planes = (_rows(picture, 0, fmt)[:, : fmt.width], pairs[:, ::2], pairs[:, 1::2])
    if fmt.bit_depth == 8:
        return tuple(np.ascontiguousarray(plane) for plane in planes)
    return tuple(plane >> _MSB_SHIFT for plane in planes)


def _rows(picture: av.VideoFrame, index: int, fmt: VideoFormat) -> NDArray[Any]:
    plane = picture.planes[index]
    dtype = fmt.dtype if fmt.bit_depth == 8 else np.dtype("<u2")
    rows = fmt.plane_shapes[index][0]
    stride = plane.line_size // dtype.itemsize
    samples: NDArray[Any] = np.frombuffer(memoryview(plane), dtype, count=rows * stride)
    return samples.reshape(rows, stride)


def _nearest(pixel_format: str) -> str:
    deep = av.VideoFormat(pixel_format).components[0].bits > 8
    return "yuv420p10le" if deep else "yuv420p"

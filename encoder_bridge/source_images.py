"""Frames of a folder or glob of still images, converted from RGB by the options' matrix, range and chroma format."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.color import RgbImage, rgb_to_planes
from encoder_bridge.errors import DecodeError
from encoder_bridge.frames import Frame, VideoFormat
from encoder_bridge.source_base import DEFAULT_FPS, BaseSource, SourceOptions

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm", ".pnm")
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_PNG_MAGIC, _PNG_END = b"\x89PNG", b"IEND"
_JPEG_MAGIC = b"\xff\xd8"


class ImageSource(BaseSource):
    """Images of one size in natural order (``frame_2`` before ``frame_10``), at a constant rate, default 30.

    RGB becomes 4:2:0, 8 bit, bt709, limited unless the options say otherwise; grey images keep neutral chroma.
    """

    def __init__(self, paths: Sequence[Path], options: SourceOptions, name: str) -> None:
        self._paths = sorted(paths, key=lambda path: natural_key(str(path)))
        height, width, _ = read_rgb(self._paths[0]).shape
        fmt = VideoFormat(
            width=width,
            height=height,
            chroma=options.chroma or "420",
            bit_depth=options.bit_depth or 8,
            fps=options.fps or DEFAULT_FPS,
            matrix=options.matrix or "bt709",
            range=options.range or "limited",
        )
        notes = [] if options.fps else [f"frame rate of images not stated; {DEFAULT_FPS} assumed; set --fps"]
        super().__init__(name, fmt, len(self._paths), notes if len(self._paths) > 1 else [])

    def __iter__(self) -> Iterator[Frame]:
        """Frames in natural order of their names; DecodeError for a damaged image or one of another size."""
        fmt = self.format
        for index, path in enumerate(self._paths):
            rgb = read_rgb(path)
            if rgb.shape[:2] != (fmt.height, fmt.width):
                raise DecodeError(
                    f"{path}: {rgb.shape[1]}x{rgb.shape[0]}; expected {fmt.width}x{fmt.height} as {self._paths[0].name}"
                )
            yield Frame(rgb_to_planes(rgb, fmt), index, index / fmt.fps)


def find_images(path: str) -> list[Path]:
    """Images of a folder, a glob pattern or a single image file; empty where ``path`` is none of them."""
    place = Path(path)
    if place.is_dir():
        return [p for p in place.iterdir() if is_image(p)]
    if place.is_file():
        return [place] if is_image(place) else []
    if glob.has_magic(path):
        return [p for p in map(Path, glob.glob(path)) if is_image(p)]  # noqa: PTH207 (the pattern may be absolute)
    return []


def is_image(path: Path) -> bool:
    """By suffix; hidden files are not."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key in which runs of digits compare as numbers; equal ones ("9", "09") by the whole text."""
    parts = re.split(r"(\d+)", text)
    return [*((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts), (2, 0, text)]


def read_rgb(path: Path) -> RgbImage:
    """(H, W, 3) uint8 RGB of an image file; EXIF orientation of JPEG applied.

    Raises:
        DecodeError: not an image, cut short, not 8 bit, or with transparency.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DecodeError(f"{path}: {error.strerror}") from error
    if _is_cut_short(data):
        raise DecodeError(f"{path}: image is cut short; get the whole file")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH if data[:2] == _JPEG_MAGIC else cv2.IMREAD_UNCHANGED
    image = _decode(data, flags)
    if image is None:
        raise DecodeError(f"{path}: not readable as an image; the file is damaged or of another kind")
    if image.dtype != np.uint8:
        raise DecodeError(f"{path}: {image.dtype} samples; expected 8 bit; convert it first: convert {path} -depth 8 …")
    return _as_rgb(image, path)


def _decode(data: bytes, flags: int) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        return None


def _as_rgb(image: NDArray[Any], path: Path) -> RgbImage:
    if image.ndim == 2:
        return np.ascontiguousarray(np.broadcast_to(image[..., None], (*image.shape, 3)))
    if image.shape[2] == 4:
        if image[..., 3].min() < 255:
            raise DecodeError(f"{path}: has transparency; expected opaque pixels; flatten it first")
        image = image[..., :3]
    rgb: RgbImage = np.ascontiguousarray(image[..., ::-1])
    return rgb


def _is_cut_short(data: bytes) -> bool:
    """OpenCV fills the rest of a cut JPEG or PNG with grey and says nothing."""
    if data[:2] == _JPEG_MAGIC:
        return data.find(_JPEG_END, max(data.rfind(_JPEG_SCAN), 0)) < 0
    return data[:4] == _PNG_MAGIC and data.rfind(_PNG_END) < 0

"""Small videos made with PyAV's own encoders, so that no outside program is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from encoder_bridge.color import rgb_to_planes
from encoder_bridge.frames import Frame, Plane, VideoFormat
from encoder_bridge.y4m import y4m_frame, y4m_header

PIXEL_FORMATS = {
    ("400", 8): "gray",
    ("420", 8): "yuv420p",
    ("422", 8): "yuv422p",
    ("444", 8): "yuv444p",
    ("400", 10): "gray10le",
    ("420", 10): "yuv420p10le",
    ("422", 10): "yuv422p10le",
    ("444", 10): "yuv444p10le",
}
_QUIET = {"libx265": {"x265-params": "log-level=none:pools=1"}, "libx264": {"threads": "1"}}


def moving_planes(fmt: VideoFormat, index: int) -> tuple[Plane, ...]:
    """A smooth picture that moves: something to predict, something to code."""
    y, x = np.mgrid[: fmt.height, : fmt.width].astype(np.float64)
    waves = (np.sin((x + 3 * index) / 7), np.cos((y - 2 * index) / 9), np.sin((x + y) / 11))
    return rgb_to_planes(np.stack([127 + 90 * wave for wave in waves], -1).astype(np.uint8), fmt)


def picture_of(planes: Sequence[Plane], fmt: VideoFormat) -> av.VideoFrame:
    """The planes as a libav picture."""
    picture = av.VideoFrame(fmt.width, fmt.height, PIXEL_FORMATS[fmt.chroma, fmt.bit_depth])
    for target, plane in zip(picture.planes, planes, strict=True):
        rows = np.zeros((target.height, target.line_size), np.uint8)
        data = np.ascontiguousarray(plane).view(np.uint8).reshape(plane.shape[0], -1)
        rows[: data.shape[0], : data.shape[1]] = data
        target.update(rows.tobytes())
    return picture


@pytest.fixture
def planes() -> Callable[[VideoFormat, int], tuple[Plane, ...]]:
    return moving_planes


@pytest.fixture
def write_y4m(tmp_path: Path) -> Callable[..., Path]:
    """(fmt, count=5, name="in.y4m") -> path."""

    def write(fmt: VideoFormat, count: int = 5, name: str = "in.y4m") -> Path:
        path = tmp_path / name
        with path.open("wb") as file:
            file.write(y4m_header(fmt))
            for index in range(count):
                file.writelines(y4m_frame(Frame(moving_planes(fmt, index), index, index / fmt.fps)))
        return path

    return write


@pytest.fixture
def write_coded(tmp_path: Path) -> Callable[..., Path]:
    """(name, fmt, pts=…, codec="libx264", options={…}, tags={…}) -> path of a coded video."""

    def write(
        name: str,
        fmt: VideoFormat,
        pts: Sequence[Fraction] = tuple(Fraction(i, 30) for i in range(8)),
        codec: str = "libx264",
        options: dict[str, str] | None = None,
        turned: float | None = None,
        mirrored: bool = False,
        pixel_format: str | None = None,
        tags: dict[str, int] | None = None,
        still: bool = False,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=fmt.fps, options=_QUIET.get(codec, {}) | (options or {}))
            stream.width, stream.height = fmt.width, fmt.height
            stream.pix_fmt = pixel_format or PIXEL_FORMATS[fmt.chroma, fmt.bit_depth]
            base = Fraction(1, math.lcm(fmt.fps.numerator, *{time.denominator for time in pts}))
            stream.codec_context.time_base = base
            for key, value in (tags or {}).items():
                setattr(stream.codec_context, key, value)
            if turned is not None or mirrored:
                stream.set_display_rotation(turned or 0, hflip=mirrored)
            first = picture_of(moving_planes(fmt, 0), fmt)
            for index, time in enumerate(pts):
                picture = first if still else picture_of(moving_planes(fmt, index), fmt)
                if pixel_format is not None:
                    picture = picture.reformat(format=pixel_format)
                picture.pts, picture.time_base = int(time / base), base
                for key, value in (tags or {}).items():
                    if hasattr(picture, key):
                        setattr(picture, key, value)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return path

    return write

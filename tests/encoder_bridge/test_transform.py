"""Slices, sizes, digests, and memory that does not grow with the video."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from encoder_bridge.color import rgb_to_planes
from encoder_bridge.errors import ConfigError, DecodeError
from encoder_bridge.frames import Frame, Plane, VideoFormat
from encoder_bridge.source_base import BaseSource
from encoder_bridge.sources import open_source
from encoder_bridge.transform import gray_source, resize_planes, resize_source, resize_to, scaled_size, slice_source
from encoder_bridge.y4m import y4m_header

Planes = Callable[[VideoFormat, int], tuple[Plane, ...]]
Writer = Callable[..., Path]
ALL_FORMATS = list(itertools.product(("400", "420", "422", "444"), (8, 10)))


def _same(planes: tuple[Plane, ...], others: tuple[Plane, ...]) -> bool:
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(planes, others, strict=True))


def test_slice(write_y4m: Writer, planes: Planes) -> None:
    fmt = VideoFormat(32, 16)
    source = open_source(write_y4m(fmt))
    part = slice_source(source, 2, 2)
    frames = list(part)
    assert part.frame_count == 2
    assert [(f.index, f.pts) for f in frames] == [(0, Fraction(0)), (1, Fraction(1, 30))]
    assert _same(frames[0].planes, planes(fmt, 2))
    assert len(list(slice_source(source, 0, 99))) == 5
    with pytest.raises(DecodeError, match="zero frames from frame 7"):
        list(slice_source(source, 7))
    with pytest.raises(ConfigError):
        slice_source(source, -1)
    with pytest.raises(ConfigError):
        slice_source(source, 0, 0)


@pytest.mark.parametrize(
    ("chroma", "scale", "size"),
    [
        ("420", 0.5, (52, 26)),
        ("400", 0.5, (52, 26)),
        ("444", 0.5, (51, 26)),
        ("422", 0.75, (76, 39)),
        ("420", 0.001, (2, 2)),
        ("420", 1, (101, 51)),
    ],
)
def test_scaled_size(chroma: str, scale: float, size: tuple[int, int]) -> None:
    assert scaled_size(VideoFormat(101, 51, chroma), scale) == size


@pytest.mark.parametrize(
    ("scale", "size"),
    [(0.25, (512, 256)), (0.375, (768, 384)), (0.625, (1280, 640)), (0.7, (1434, 718)), (0.875, (1792, 896))],
)
def test_scaled_sizes_of_seed_001(scale: float, size: tuple[int, int]) -> None:
    assert scaled_size(VideoFormat(2048, 1024), scale) == size


def _through(plane: NDArray[Any], width: int, height: int, depth: int = 8) -> Plane:
    fmt = VideoFormat(width, height, "400", depth)
    return resize_planes((plane.astype(fmt.dtype),), fmt)[0]


def test_bicubic_is_exact_on_ramps_and_does_not_alias() -> None:
    ramp = np.tile(np.arange(40, 200, 2), (64, 1))
    assert np.abs(_through(ramp, 160, 128)[8:-8, 8:-8].astype(int) - (40 + np.arange(8, 152) - 0.5)).max() <= 1
    fine = np.tile([0, 255], (64, 32))
    small = _through(fine, 20, 20)
    assert np.ptp(small[:, 2:-2].astype(int)) < 30  # without the wider kernel the stripes beat against the new grid
    step = np.repeat([[60.0] * 16 + [160.0] * 16], 32, 0)
    grown = _through(step, 64, 64)
    assert grown.max() > 162 and grown.min() < 58  # bicubic overshoots, linear and area do not


def test_ten_bit_bicubic_is_as_fine_as_its_samples() -> None:
    ramp = np.tile(np.arange(100, 900, 4), (64, 1))
    grown = _through(ramp, 400, 64, 10)
    assert len(np.unique(grown[:, 8:-8])) > 350


def test_gray_is_bt601_luma(planes: Planes) -> None:
    fmt = VideoFormat(64, 48, matrix="bt709", range="full", chroma="444")
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[:, :20], rgb[:, 20:40], rgb[:, 40:] = (200, 40, 30), (20, 180, 60), (70, 70, 70)
    source = _One(fmt, rgb_to_planes(rgb, fmt))
    gray = gray_source(source)
    assert (gray.format.chroma, gray.format.width) == ("400", 64)
    (luma,) = next(iter(gray)).planes
    expected = rgb.astype(float) @ (0.299, 0.587, 0.114)
    assert np.abs(luma - expected).max() < 1.5
    assert np.abs(source.planes[0] - expected).max() > 5
    flat = next(iter(gray_source(source, "420"))).planes
    assert np.array_equal(flat[0], luma) and all((plane == 128).all() for plane in flat[1:])
    assert next(iter(gray_source(_One(replace(fmt, matrix="bt601"), source.planes)))).planes[0] is source.planes[0]


class _One(BaseSource):
    def __init__(self, fmt: VideoFormat, planes: tuple[Plane, ...]) -> None:
        super().__init__("one", fmt, 1)
        self.planes = planes

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(self.planes, 0, Fraction(0))


@pytest.mark.parametrize(("chroma", "depth"), ALL_FORMATS)
def test_resize_keeps_the_picture(chroma: str, depth: int, write_y4m: Writer) -> None:
    source = open_source(write_y4m(VideoFormat(64, 48, chroma, depth), count=1))
    small = resize_source(source, 0.5)
    assert (small.format.width, small.format.height, small.format.bit_depth) == (32, 24, depth)
    frame = next(iter(small))
    assert tuple(p.shape for p in frame.planes) == small.format.plane_shapes
    back = next(iter(resize_to(small, 64, 48))).planes[0].astype(float)
    assert np.abs(back - next(iter(source)).planes[0])[4:-4, 4:-4].mean() < 2.5 * (1 << (depth - 8))
    with pytest.raises(ConfigError):
        resize_source(source, 0)


def test_digest_names_format_and_samples(write_y4m: Writer, planes: Planes) -> None:
    path = write_y4m(VideoFormat(32, 16))
    digest = open_source(path).digest()
    assert digest == open_source(path).digest()
    assert digest != open_source(path, matrix="bt2020nc").digest()
    assert digest != slice_source(open_source(path), 0, 4).digest()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert digest != open_source(path).digest()


_PEAK = """
import resource, sys
from encoder_bridge.sources import open_source
before = None
for frame in open_source(sys.argv[1]):
    if frame.index == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, frame.index)
"""


@pytest.mark.parametrize("kind", ["y4m", "mkv"])
def test_memory_does_not_grow_with_length(kind: str, tmp_path: Path, write_coded: Writer) -> None:
    fmt, count = VideoFormat(640, 480), 150
    path = tmp_path / f"long.{kind}"
    if kind == "mkv":
        times = [Fraction(i, 30) for i in range(count)]
        write_coded(path.name, fmt, pts=times, options={"preset": "ultrafast"}, still=True)
    else:
        with path.open("wb") as file:
            file.write(y4m_header(fmt))
            for index in range(count):
                file.write(b"FRAME\n" + bytes([index]) * (640 * 480 * 3 // 2))
    command, root = [sys.executable, "-c", _PEAK, str(path)], Path(__file__).resolve().parents[2]
    growth, last = map(int, subprocess.run(command, capture_output=True, check=True, cwd=root).stdout.split())
    assert last == count - 1
    assert growth < 20_000  # kB; all frames together are 69 MB

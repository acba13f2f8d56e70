"""Laws of the colour conversions, for every matrix, range, depth and chroma format."""

from __future__ import annotations

import itertools
import time

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder_bridge.color import (
    luma_weights,
    planes_to_rgb,
    reduced_rgb,
    rgb_from_ycc_matrix,
    rgb_to_planes,
    ycc_from_rgb_matrix,
    ycc_offset,
)
from encoder_bridge.errors import ConfigError
from encoder_bridge.frames import MATRICES, RANGES, VideoFormat

FORMATS = [
    VideoFormat(31, 17, chroma, depth, matrix=matrix, range=range_)
    for matrix, range_, depth, chroma in itertools.product(MATRICES, RANGES, (8, 10), ("400", "420", "422", "444"))
]


def _name(fmt: VideoFormat) -> str:
    return f"{fmt.matrix}-{fmt.range}-{fmt.bit_depth}-{fmt.chroma}"


def _flat(fmt: VideoFormat, rgb: tuple[int, int, int]) -> np.ndarray:
    return np.broadcast_to(np.array(rgb, np.uint8), (fmt.height, fmt.width, 3)).copy()


def _smooth(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = (np.sin(x / 40), np.cos(y / 35), np.sin((x + y) / 50))
    return np.stack([128 + 80 * wave for wave in waves], -1).round().astype(np.uint8)


@pytest.mark.parametrize("fmt", FORMATS, ids=_name)
def test_planes_have_the_formats_shapes_and_dtype(fmt: VideoFormat) -> None:
    planes = rgb_to_planes(_smooth(31, 17), fmt)
    assert tuple(plane.shape for plane in planes) == fmt.plane_shapes
    assert {plane.dtype for plane in planes} == {fmt.dtype}
    assert planes_to_rgb(planes, fmt).shape == (17, 31, 3)


@pytest.mark.parametrize("fmt", FORMATS, ids=_name)
def test_black_and_white_are_the_ends_of_the_range(fmt: VideoFormat) -> None:
    unit, top = 1 << (fmt.bit_depth - 8), (1 << fmt.bit_depth) - 1
    low, high = (16 * unit, 235 * unit) if fmt.range == "limited" else (0, top)
    for value, luma in ((0, low), (255, high)):
        planes = rgb_to_planes(_flat(fmt, (value,) * 3), fmt)
        assert (planes[0] == luma).all()
        assert all((plane == 128 * unit).all() for plane in planes[1:])
        assert (planes_to_rgb(planes, fmt) == value).all()


@pytest.mark.parametrize("fmt", [f for f in FORMATS if f.chroma != "400"], ids=_name)
def test_flat_colours_come_back(fmt: VideoFormat) -> None:
    limit = 1 if fmt.bit_depth == 10 or fmt.range == "full" else 2
    for rgb in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (12, 200, 99), (250, 251, 3)):
        back = planes_to_rgb(rgb_to_planes(_flat(fmt, rgb), fmt), fmt).astype(int)
        assert np.abs(back - rgb).max() <= limit


@pytest.mark.parametrize("fmt", [f for f in FORMATS if f.chroma == "444"], ids=_name)
def test_full_resolution_chroma_round_trip(fmt: VideoFormat) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (17, 31, 3), dtype=np.uint8)
    error = np.abs(planes_to_rgb(rgb_to_planes(rgb, fmt), fmt).astype(int) - rgb)
    assert error.max() <= (1 if fmt.bit_depth == 10 or fmt.range == "full" else 2)


@pytest.mark.parametrize("fmt", FORMATS, ids=_name)
def test_matrices_are_inverse_and_luma_weights_sum_to_one(fmt: VideoFormat) -> None:
    assert np.allclose(rgb_from_ycc_matrix(fmt) @ ycc_from_rgb_matrix(fmt), np.eye(3), atol=1e-12)
    assert luma_weights(fmt).sum() == pytest.approx(1.0)
    # one step of luma moves R, G and B alike: what folds an RGB gradient into luma
    assert np.allclose(rgb_from_ycc_matrix(fmt)[:, 0], rgb_from_ycc_matrix(fmt)[0, 0])
    scale = 255 / 219 if fmt.range == "limited" else 255 / ((1 << fmt.bit_depth) - 1) * (1 << (fmt.bit_depth - 8))
    assert rgb_from_ycc_matrix(fmt)[0, 0] * (1 << (fmt.bit_depth - 8)) == pytest.approx(scale)


def test_bt709_limited_red_is_the_textbook_triple() -> None:
    fmt = VideoFormat(2, 2, "444")
    assert [int(p[0, 0]) for p in rgb_to_planes(_flat(fmt, (255, 0, 0)), fmt)] == [63, 102, 240]
    assert ycc_offset(fmt).tolist() == [16, 128, 128]


def test_chroma_is_sited_left() -> None:
    fmt = VideoFormat(8, 4, "420", 10, range="full")
    rgb = np.zeros((4, 8, 3), np.uint8)
    rgb[:, :, 2] = np.arange(8) * 30
    blue = rgb_to_planes(rgb, fmt)[1].astype(float) - 512
    slope = (blue[0, 2] - blue[0, 1]) / 2
    per_column = 30 * ycc_from_rgb_matrix(fmt)[1, 2]
    assert slope == pytest.approx(per_column, abs=0.5)
    assert blue[0, 1] == pytest.approx(2 * per_column, abs=0.5)  # sample 1 lies on column 2, not on 2.5


@pytest.mark.parametrize("chroma", ["420", "422"])
def test_chroma_ramp_survives_down_and_up(chroma: str) -> None:
    fmt = VideoFormat(40, 24, chroma, 10, range="full")
    y, x = np.mgrid[:24, :40]
    rgb = np.stack([60 + 2 * x, 90 + 2 * y, 200 - 2 * x], -1).astype(np.uint8)
    back = planes_to_rgb(rgb_to_planes(rgb, fmt), fmt).astype(int)
    assert np.abs(back - rgb)[2:-2, 2:-2].max() <= 1


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("range_", RANGES)
@pytest.mark.parametrize(("chroma", "limit"), [("444", 1), ("420", 2)])
def test_agrees_with_libswscale(matrix: str, range_: str, chroma: str, limit: int) -> None:
    fmt = VideoFormat(64, 48, chroma, matrix=matrix, range=range_)
    rgb = _smooth(64, 48)
    code = {"bt601": 5, "bt709": 1, "bt2020nc": 9}[matrix]
    picture = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
        format=f"yuv{chroma}p",
        dst_colorspace=code,
        dst_color_range=2 if range_ == "full" else 1,
        interpolation="BICUBIC",
    )
    for mine, theirs in zip(rgb_to_planes(rgb, fmt), picture.planes, strict=True):
        other = np.frombuffer(bytes(theirs), np.uint8).reshape(theirs.height, theirs.line_size)[:, : theirs.width]
        assert np.abs(mine.astype(int) - other)[1:-1, 1:-1].max() <= limit


@settings(max_examples=25, deadline=None)
@given(width=st.integers(1, 9), height=st.integers(1, 9), fmt=st.sampled_from(FORMATS))
def test_any_size_works(width: int, height: int, fmt: VideoFormat) -> None:
    sized = VideoFormat(width, height, fmt.chroma, fmt.bit_depth, matrix=fmt.matrix, range=fmt.range)
    grey = np.full((height, width, 3), 77, np.uint8)
    assert np.abs(planes_to_rgb(rgb_to_planes(grey, sized), sized).astype(int) - 77).max() <= 1


def test_wrong_input_is_a_config_error() -> None:
    fmt = VideoFormat(4, 4)
    with pytest.raises(ConfigError, match=r"expected \(4, 4, 3\) uint8"):
        rgb_to_planes(np.zeros((4, 5, 3), np.uint8), fmt)
    with pytest.raises(ConfigError, match="expected uint8"):
        planes_to_rgb([np.zeros(s, np.uint16) for s in fmt.plane_shapes], fmt)
    with pytest.raises(ConfigError, match="4:2:0"):
        planes_to_rgb([np.zeros((4, 4), np.uint8)], fmt)


def test_fast_enough_for_a_frame_loop() -> None:
    fmt = VideoFormat(480, 360)
    rgb = _smooth(480, 360)
    best = 1.0
    for _ in range(10):
        start = time.perf_counter()
        planes_to_rgb(rgb_to_planes(rgb, fmt), fmt)
        best = min(best, time.perf_counter() - start)
    assert best < 0.02


@pytest.mark.parametrize("fmt", FORMATS, ids=_name)
def test_a_reduced_picture_is_the_mean_of_the_whole(fmt):
    rgb = _smooth(fmt.width, fmt.height)
    planes = rgb_to_planes(rgb, fmt)
    small = reduced_rgb(planes, fmt).astype(int)
    assert small.shape == (9, 16, 3)
    even = np.pad(planes_to_rgb(planes, fmt), ((0, 1), (0, 1), (0, 0)), mode="edge").astype(float)
    means = even.reshape(9, 2, 16, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - means)[:-1, 1:-1].max() <= 12 and np.abs(small - means).mean() < 4

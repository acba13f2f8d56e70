"""Windows of one size, and which of their samples are coded ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder_bridge.errors import PluginError
from encoder_bridge.wire import ABOVE, ABOVE_LEFT, ABOVE_RIGHT, LEFT
from rdo_metrics.candidates.windows import Rect, crop
from sweeps.windows import CodedPicture, WindowPlan, intersection

SIZE = (150, 200)
PLAN = WindowPlan(SIZE, 64, 16)


@pytest.mark.parametrize(
    ("rect", "window"),
    [
        (Rect(0, 0, 64, 64), Rect(0, 0, 96, 96)),
        (Rect(64, 64, 64, 64), Rect(48, 48, 96, 96)),
        (Rect(192, 0, 8, 64), Rect(104, 0, 96, 96)),
        (Rect(0, 128, 64, 22), Rect(0, 54, 96, 96)),
        (Rect(192, 128, 8, 22), Rect(104, 54, 96, 96)),
        (Rect(80, 96, 16, 16), Rect(48, 48, 96, 96)),
    ],
)
def test_windows_lie_in_the_picture_and_have_one_size(rect: Rect, window: Rect) -> None:
    assert PLAN.window(rect) == window


def test_a_picture_smaller_than_the_window_is_the_window() -> None:
    assert WindowPlan((48, 300), 64, 32).window(Rect(64, 0, 64, 48)) == Rect(32, 0, 128, 48)
    assert WindowPlan((48, 80), 64, 32).window(Rect(64, 0, 16, 48)) == Rect(0, 0, 80, 48)


@given(
    st.integers(1, 200), st.integers(1, 200), st.sampled_from((16, 32, 64)), st.integers(0, 70), st.integers(0, 10**6)
)
def test_every_window_holds_its_ctu(width: int, height: int, ctu: int, context: int, place: int) -> None:
    width, height = 2 * width, 2 * height
    plan = WindowPlan((height, width), ctu, context)
    rect = plan.ctu_of(Rect(place % width, place // width % height, 1, 1))
    window = plan.window(rect)
    assert intersection(rect, window) == rect
    assert window.x % 2 == window.y % 2 == 0
    assert window.x >= 0 and window.x + window.width <= width and window.y >= 0 and window.y + window.height <= height
    even = context + context % 2
    assert (window.width, window.height) == (min(width, ctu + 2 * even), min(height, ctu + 2 * even))


@given(
    st.integers(1, 200), st.integers(1, 200), st.sampled_from((16, 32, 64)), st.integers(0, 70), st.integers(0, 10**6),
    st.sampled_from((2, 8, 32, 64)),
)  # fmt: skip
def test_windows_start_at_multiples_and_end_there_or_with_the_picture(
    width: int, height: int, ctu: int, context: int, place: int, align: int
) -> None:
    width, height = 2 * width, 2 * height
    plan = WindowPlan((height, width), ctu, context, align)
    rect = plan.ctu_of(Rect(place % width, place // width % height, 1, 1))
    window = plan.window(rect)
    other = plan.window(plan.ctu_of(Rect(place // 7 % width, place // 3 % height, 1, 1)))
    assert intersection(rect.dilated(context, plan.size), window) == rect.dilated(context, plan.size)
    for start, length, limit, twin in (
        (window.x, window.width, width, (other.x, other.width)),
        (window.y, window.height, height, (other.y, other.height)),
    ):
        assert start >= 0 and start % align == 0
        assert start + length == limit or (start + length < limit and length % align == 0)
        # One size, counted in units: the network sees whole ones.
        assert -(-length // align) == -(-twin[1] // align)


def test_aligned_windows_sample_by_sample() -> None:
    plan = WindowPlan((360, 480), 64, 32, 32)
    assert plan.window(Rect(64, 64, 64, 64)) == Rect(32, 32, 128, 128)
    assert plan.window(Rect(448, 320, 32, 40)) == Rect(352, 256, 128, 104)
    assert WindowPlan((360, 480), 64, 32, 64).window(Rect(64, 0, 64, 64)) == Rect(0, 0, 192, 192)


def numbered(value: int) -> tuple[np.ndarray, ...]:
    luma = np.full(SIZE, value, np.uint8)
    chroma = np.full((SIZE[0] // 2, SIZE[1] // 2), value, np.uint8)
    return luma, chroma, chroma


def painted() -> CodedPicture:
    """Base 0; the CTU in row r and column c is coded as 10r + c + 1."""
    picture = CodedPicture(numbered(0))
    for row in range(3):
        for column in range(4):
            cell = PLAN.ctu_of(Rect(64 * column, 64 * row, 1, 1))
            picture.paste(cell, crop(numbered(10 * row + column + 1), cell))
    return picture


def test_only_named_neighbours_are_seen_as_coded() -> None:
    rect = Rect(64, 64, 64, 64)
    for mask, seen in (
        (0, {0, 12}),
        (LEFT, {0, 11, 12}),
        (ABOVE | ABOVE_LEFT, {0, 1, 2, 12}),
        (ABOVE_RIGHT, {0, 3, 12}),
    ):
        luma, cb, cr = painted().view(PLAN.window(rect), PLAN.coded(rect, mask))
        assert set(np.unique(luma)) == set(np.unique(cb)) == set(np.unique(cr)) == seen


def test_the_window_at_a_corner_sample_by_sample() -> None:
    """Right edge, second row: the window of 96 starts at 104, 48; CTU columns are at 128 and 192, rows at 64."""
    rect = Rect(192, 64, 8, 64)
    luma, cb, _ = painted().view(PLAN.window(rect), PLAN.coded(rect, LEFT | ABOVE_LEFT))
    expected = np.zeros((96, 96), np.uint8)
    expected[:16, 24:88] = 3
    expected[16:80, 24:88] = 13
    expected[16:80, 88:] = 14
    assert np.array_equal(luma, expected)
    assert np.array_equal(cb, expected[::2, ::2])


def test_a_window_is_a_copy() -> None:
    picture = painted()
    view = picture.view(Rect(0, 0, 64, 64), PLAN.coded(Rect(0, 0, 64, 64), 0))
    view[0][:] = 99
    assert picture.view(Rect(0, 0, 64, 64), [Rect(0, 0, 64, 64)])[0].max() == 1
    assert picture.base[0].max() == 0


@pytest.mark.parametrize("shifts", [(0, 0), (1, 0), (1, 1)])
def test_chroma_takes_its_part(shifts: tuple[int, int]) -> None:
    luma = np.arange(32 * 48, dtype=np.uint16).reshape(32, 48)
    chroma = luma[:: 1 << shifts[1], :: 1 << shifts[0]].copy()
    picture = CodedPicture((luma, chroma))
    y, c = picture.view(Rect(8, 4, 16, 20), [])
    assert np.array_equal(c, y[:: 1 << shifts[1], :: 1 << shifts[0]])


def test_planes_of_another_size_or_type_are_the_encoders_fault() -> None:
    picture = painted()
    good = crop(numbered(5), Rect(0, 0, 64, 64))
    with pytest.raises(PluginError, match=r"64x64 uint16.*expected 64x64 uint8"):
        picture.paste(Rect(0, 0, 64, 64), tuple(plane.astype(np.uint16) for plane in good))
    with pytest.raises(PluginError, match="expected 32x64"):
        picture.paste(Rect(0, 0, 64, 32), good)
    with pytest.raises(PluginError, match="expected"):
        picture.paste(Rect(160, 0, 64, 64), good)

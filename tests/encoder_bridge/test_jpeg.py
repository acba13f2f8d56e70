"""JPEG: our coefficients become the file libjpeg would have written, and what is thinned out is worth it."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import idctn

from encoder_bridge.config import CodingConfig, MapConfig, RunOptions
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoder import SideInfo
from encoder_bridge.encoders.jpeg import Jpeg, _by_libjpeg, _libjpeg_tables, qp_to_quality, quality_to_qp
from encoder_bridge.frames import CHROMA_SHIFTS, Frame, Plane, VideoFormat
from encoder_bridge.jpeg_coding import blocks, rdo, stream
from encoder_bridge.jpeg_coding.huffman import optimal_table

FULL = VideoFormat(53, 37, range="full")


def planes_of(fmt: VideoFormat, seed: int = 0) -> tuple[Plane, ...]:
    rng = np.random.default_rng(seed)
    made = []
    for height, width in fmt.plane_shapes:
        y, x = np.mgrid[:height, :width]
        wave = 128 + 60 * np.sin(x / 5.3 + seed) * np.cos(y / 7.1) + rng.normal(0, 9, (height, width))
        made.append(wave.clip(0, 255).astype(np.uint8))
    return tuple(made)


def by_us(planes: tuple[Plane, ...], fmt: VideoFormat, quality: int) -> bytes:
    """The plain picture from coefficients of our own."""
    shift_x, shift_y = CHROMA_SHIFTS[fmt.chroma] or (0, 0)
    tables, components = _libjpeg_tables(quality), []
    for number, plane in enumerate(planes):
        down, across = (1 << shift_y, 1 << shift_x) if number == 0 else (1, 1)
        grid = blocks.dct_blocks(plane, down, across)
        levels = rdo.plain_levels(grid.reshape(-1, 64), tables[min(number, 1)]).reshape(grid.shape)
        components.append(stream.Component(levels, across, down, min(number, 1)))
    return stream.jpeg_bytes((fmt.height, fmt.width), components, tables[: min(len(planes), 2)])


@pytest.mark.parametrize("chroma", ["400", "420", "422", "444"])
def test_the_file_is_libjpegs_to_the_byte(chroma: str) -> None:
    fmt = replace(FULL, width=48, height=32, chroma=chroma)
    same = 0
    for seed in range(6):  # libjpeg's integer DCT rounds a level in a thousand otherwise than ours
        planes = planes_of(fmt, seed)
        same += by_us(planes, fmt, 30) == _by_libjpeg(planes, fmt, 30)
    assert same >= 2


@pytest.mark.parametrize("chroma", ["400", "420", "422", "444"])
@pytest.mark.parametrize("quality", [10, 60, 100])
def test_an_odd_size_decodes_to_what_the_levels_say(chroma: str, quality: int) -> None:
    fmt = replace(FULL, chroma=chroma)
    planes = planes_of(fmt)
    ours, theirs = (Image.open(io.BytesIO(d)) for d in (by_us(planes, fmt, quality), _by_libjpeg(planes, fmt, quality)))
    ours.draft(ours.mode if chroma == "400" else "YCbCr", ours.size)
    theirs.draft(theirs.mode if chroma == "400" else "YCbCr", theirs.size)
    a, b = np.asarray(ours).astype(int), np.asarray(theirs).astype(int)
    assert ours.size == (fmt.width, fmt.height)
    assert np.mean(np.abs(a - b) > 1) < 0.1
    table = _libjpeg_tables(quality)[0]
    levels = rdo.plain_levels(blocks.dct_blocks(planes[0]).reshape(-1, 64), table) * table
    natural = np.empty_like(levels)
    natural[:, stream.ZIGZAG] = levels
    first = idctn(natural[0].reshape(8, 8), norm="ortho") + 128
    luma = a if chroma == "400" else a[..., 0]
    assert np.abs(luma[:8, :8] - first.clip(0, 255)).max() <= 1.01


def test_samples_pass_without_a_colour_conversion() -> None:
    planes = planes_of(FULL)
    file = Image.open(io.BytesIO(_by_libjpeg(planes, FULL, 100)))
    file.draft("YCbCr", file.size)
    assert np.abs(np.asarray(file)[..., 0].astype(int) - planes[0]).max() <= 1


def test_huffman_codes_are_short_and_tell_each_other_apart() -> None:
    frequency = np.zeros(256, np.int64)
    frequency[:24] = [max(1, round(1.62**n)) for n in range(24)]
    table = optimal_table(frequency)
    lengths = table.length[:24]
    assert lengths.min() >= 1 and lengths.max() == 16
    assert table.counts.sum() == 24 and sum(2.0 ** -lengths.astype(float)) < 1
    codes = [format(c, f"0{n}b") for c, n in zip(table.code[:24], lengths, strict=True)]
    assert not any(b.startswith(a) for a, b in itertools.permutations(codes, 2))
    assert all("0" in code for code in codes)
    assert (np.diff(lengths) <= 0).all()


def cost(levels: NDArray[np.int32], value: NDArray[np.float64], step: float, rates: rdo.Rates, price: float) -> float:
    error, bits, last = float(((value - levels * step) ** 2).sum()), 0.0, -1
    for place in np.flatnonzero(levels):
        bits += rates.level[place - last - 1, int(abs(levels[place])).bit_length()]
        last = place
    return error + price * (bits + (rates.end if last < 62 else 0.0))


def test_the_levels_are_the_cheapest_of_all() -> None:
    rng = np.random.default_rng(2)
    value = np.zeros((12, 63))
    for row in value:
        row[rng.choice(63, 5, replace=False)] = rng.normal(0, 25, 5)
    rounded = np.trunc(value / 8 + np.copysign(0.5, value)).astype(np.int32)
    rates, price = rdo.Rates.of(rounded), 12.0
    found = rdo._shortest(value, rounded, np.full(63, 8.0), np.ones((12, 63)), rates, price)
    for row, levels, best in zip(value, rounded, found, strict=True):
        places = np.flatnonzero(levels)
        options = [{0, int(levels[p]), int(levels[p] - np.sign(levels[p]))} for p in places]
        tried = []
        for choice in itertools.product(*options):
            candidate = np.zeros(63, np.int32)
            candidate[places] = choice
            tried.append(cost(candidate, row, 8.0, rates, price))
        assert cost(best, row, 8.0, rates, price) == pytest.approx(min(tried))


def test_what_a_bit_is_worth_decides() -> None:
    value = blocks.dct_blocks(planes_of(replace(FULL, width=96, height=64))[0]).reshape(-1, 64)
    table, ones = _libjpeg_tables(50)[0], np.ones(len(value))
    plain = rdo.plain_levels(value, table)
    kept = [np.count_nonzero(rdo.optimised_levels(value, table, table, ones, price)) for price in (0, 0.05, 0.3, 3)]
    assert np.array_equal(rdo.optimised_levels(value, table, table, ones, 0), plain)
    assert kept[0] > kept[1] > kept[2] > kept[3] > 0
    weight = np.where(np.arange(len(value)) % 2, 4.0, 0.25)
    levels = rdo.optimised_levels(value, table, table, weight, 0.1)
    assert np.count_nonzero(levels[1::2]) > 1.3 * np.count_nonzero(levels[::2])
    assert np.array_equal(levels[:, 0], plain[:, 0])


def test_weights_and_offsets_of_one_size_say_nothing(tmp_path: Path) -> None:
    planes, plain = planes_of(FULL), CodingConfig(codec="jpeg", qp=40)
    aware = replace(plain, rdo="map", map=MapConfig())

    def coded(config: CodingConfig, side: SideInfo | None) -> bytes:
        frames = [(Frame(planes, 0, Fraction(0)), side)]
        return Jpeg().encode(iter(frames), FULL, config, RunOptions(), tmp_path / "x.mjpeg").path.read_bytes()

    flat = SideInfo(weight=np.ones((5, 7), np.float32), qp_offset=np.zeros((3, 4), np.float32))
    assert coded(aware, flat) == coded(aware, SideInfo()) == coded(aware, None) == coded(plain, None)
    told = SideInfo(weight=np.linspace(0.2, 1.8, 35, dtype=np.float32).reshape(5, 7))
    assert coded(aware, told) != coded(plain, None) == coded(replace(plain, neutral=True), told)


@pytest.mark.parametrize("range_", ["limited", "full"])
def test_the_range_is_stated(range_: str, tmp_path: Path) -> None:
    fmt = replace(FULL, range=range_)
    frames = ((Frame(planes_of(fmt, n), n, n / fmt.fps), None) for n in range(2))
    Jpeg().encode(frames, fmt, CodingConfig(codec="jpeg", qp=90), RunOptions(), tmp_path / "x.mjpeg")
    assert decode_stream(tmp_path / "x.mjpeg").format.range == range_


def test_ten_bit_input_is_rounded_to_eight(tmp_path: Path) -> None:
    fmt = VideoFormat(32, 32, "400", 10)
    plane = np.full((32, 32), 4 * 77 + 3, np.uint16)
    config = CodingConfig(codec="jpeg", qp=100, bit_depth=8)
    Jpeg().encode([(Frame((plane,), 0, Fraction(0)), None)], fmt, config, RunOptions(), tmp_path / "x.mjpeg")
    assert (next(iter(decode_stream(tmp_path / "x.mjpeg"))).planes[0] == 78).all()


def test_quality_and_qp_are_two_names_of_one_step() -> None:
    assert quality_to_qp(50) == pytest.approx(28)
    assert [round(qp_to_quality(quality_to_qp(q))) for q in range(1, 98)] == [*range(1, 98)]
    steps = {q: _libjpeg_tables(q)[0][0] for q in (10, 25, 60, 80)}
    assert all(2 ** ((quality_to_qp(q) - 4) / 6) == pytest.approx(step, rel=0.1) for q, step in steps.items())

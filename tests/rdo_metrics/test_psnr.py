"""PSNR: golden values, depths, identical planes, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from encoder_bridge.errors import MetricInputError
from rdo_metrics.psnr import mean_psnr, psnr, psnr_yuv, sse

ZERO = np.zeros((4, 6), dtype=np.uint8)


def test_golden_values():
    assert psnr(ZERO, ZERO + 1) == pytest.approx(48.1308036, abs=1e-6)
    assert psnr(ZERO, np.full_like(ZERO, 255)) == pytest.approx(0.0)
    ten = ZERO.astype(np.uint16)
    assert psnr(ten, ten + 4, bit_depth=10) == pytest.approx(20 * math.log10(1023 / 4))


def test_error_is_symmetric_and_does_not_wrap():
    a, b = ZERO + 250, ZERO + 5
    assert sse(a, b) == sse(b, a) == 245 * 245 * 24
    big = np.full((2000, 1000), 65535, dtype=np.uint16)
    assert sse(big, np.zeros_like(big)) == 65535**2 * 2_000_000


def test_identical_planes_are_infinite():
    assert psnr(ZERO, ZERO) == math.inf
    assert psnr_yuv([ZERO] * 3, [ZERO] * 3) == math.inf


def test_yuv_is_the_6_1_1_mean_and_luma_alone_for_monochrome():
    y, u, v = ZERO + 1, ZERO + 2, ZERO + 4
    expected = (6 * psnr(ZERO, y) + psnr(ZERO, u) + psnr(ZERO, v)) / 8
    assert psnr_yuv([ZERO] * 3, [y, u, v]) == pytest.approx(expected)
    assert psnr_yuv([ZERO], [y]) == pytest.approx(psnr(ZERO, y))


def test_an_identical_plane_is_left_out_of_the_yuv_mean():
    assert psnr_yuv([ZERO] * 3, [ZERO + 1, ZERO, ZERO]) == pytest.approx(psnr(ZERO, ZERO + 1))


def test_mean_psnr_is_of_the_mean_squared_error():
    assert mean_psnr(sse(ZERO, ZERO) + sse(ZERO, ZERO + 1), 48) == pytest.approx(
        psnr(ZERO, ZERO + 1) + 10 * math.log10(2)
    )
    assert mean_psnr(0, 10) == math.inf
    with pytest.raises(MetricInputError):
        mean_psnr(0, 0)


@pytest.mark.parametrize(
    ("a", "b", "depth"),
    [
        (ZERO, ZERO[1:], 8),
        (ZERO, ZERO.astype(np.uint16), 8),
        (ZERO.astype(float), ZERO.astype(float), 8),
        (ZERO[:0], ZERO[:0], 8),
        (ZERO, ZERO, 10),
        (ZERO[0], ZERO[0], 8),
    ],
)
def test_refusals(a, b, depth):
    with pytest.raises(MetricInputError, match="expected"):
        psnr(a, b, depth)


def test_plane_counts_must_fit():
    with pytest.raises(MetricInputError, match="2 and 2 planes"):
        psnr_yuv([ZERO] * 2, [ZERO] * 2)

"""Correlations of metrics with accuracy: the published ones of QoMEX 2023, and their intervals."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from encoder_bridge.errors import MetricInputError
from rdo_metrics.correlation import COEFFICIENTS, correlate, correlate_or_nan, resample_correlations

# Table II, block level: PLCC, SROCC, KROCC at 32, 64 and 128; "-" is NaN.
TABLE_II = """
PSNR    0.0036 0.0008 0.0003 0.0474 0.0500 0.0330 0.1589 0.1567 0.1042
SSIM    0.0032 0.0031 0.0023 0.0245 0.0222 0.0149 0.1058 0.1099 0.0736
MS_SSIM - - - 0.0425 0.0693 0.0456 0.1308 0.1696 0.1129
FSIM    0.0153 0.0312 0.0213 0.1234 0.1355 0.0903 0.2491 0.2575 0.1732
SR_SIM  0.0095 0.0062 0.0041 0.0182 0.0175 0.0122 0.0715 0.0903 0.0612
GMSD    0.0515 0.0438 0.0294 0.1075 0.1193 0.0788 0.2273 0.2340 0.1568
MS_GMSD 0.0497 0.0377 0.0255 0.1032 0.1116 0.0739 0.2258 0.2315 0.1550
VSI     0.0372 0.0383 0.0258 0.1202 0.1299 0.0870 0.2420 0.2603 0.1760
HaarPSI 0.0658 0.0530 0.0356 0.1301 0.1347 0.0894 0.2711 0.2738 0.1840
MDSI    0.0293 0.0224 0.0154 0.0742 0.0728 0.0484 0.1712 0.1652 0.1108
LPIPS   0.0561 0.0552 0.0371 0.1751 0.1747 0.1165 0.3067 0.3181 0.2139
DISTS   0.0496 0.0441 0.0296 0.1629 0.1634 0.1092 0.3160 0.3276 0.2216
"""
PUBLISHED = {
    row.split()[0]: [math.nan if cell == "-" else float(cell) for cell in row.split()[1:]]
    for row in TABLE_II.strip().splitlines()
}
EXCERPT = Path(__file__).parent / "data" / "qomex2023_excerpt.json"


def test_a_perfect_order_is_1_whatever_its_direction():
    x = np.arange(1.0, 20)
    for sign in (1, -1):
        found = correlate(sign * x**3, x)
        assert found.srocc == pytest.approx(1) and found.krocc == pytest.approx(1)
        assert 0.8 < found.plcc < 0.99 and found.count == 19


def test_values_that_are_not_known_are_left_out():
    x, y = np.array([1.0, 2, np.nan, 3, 4]), np.array([2.0, 1, 9, 3, 5])
    assert correlate(x, y) == correlate(x[[0, 1, 3, 4]], y[[0, 1, 3, 4]])
    assert correlate(x, y).count == 4


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [4, 4, 4]), ([1], [1, 2])])
def test_what_has_no_correlation_is_refused(x: list[float], y: list[float]):
    with pytest.raises(MetricInputError):
        correlate(x, y)


def test_what_has_no_correlation_is_nan_in_a_table():
    for x in ([math.nan] * 4, [1.0] * 4, [1.0, 2.0, math.nan, math.nan]):
        found = correlate_or_nan(x, [1.0, 2, 3, 5])
        assert math.isnan(found.srocc) and math.isnan(found.plcc) and math.isnan(found.krocc)
    assert correlate_or_nan([1, 2, 3], [1, 3, 2]) == correlate([1, 2, 3], [1, 3, 2])
    with pytest.raises(MetricInputError):
        correlate_or_nan([1, 2, 3], [1, 2])


@pytest.mark.parametrize(("place", "side"), list(enumerate([32, 64, 128])))
def test_table_ii_of_qomex_2023_comes_out_to_four_decimals(camvid: Path, place: int, side: int):
    path = camvid.parent / "qomex2023" / f"{side}x{side}_metrics.json"
    if not path.is_file():
        pytest.skip("the blocks of QoMEX 2023 are not here")
    blocks = json.loads(path.read_text()).values()
    assert len(blocks) == 4096 and len(PUBLISHED) == 12
    accuracy = [block["acc"] for block in blocks]
    for metric, numbers in PUBLISHED.items():
        found = correlate_or_nan([block[metric] for block in blocks], accuracy)
        for name, wanted in zip(COEFFICIENTS, numbers[3 * place : 3 * place + 3], strict=True):
            assert f"{getattr(found, name):.4f}" == f"{wanted:.4f}", (metric, name)


@pytest.mark.parametrize("side", ["32", "64", "128"])
def test_an_excerpt_of_the_recorded_blocks_has_the_correlations_of_their_definitions(side: str):
    """The file's correlations are of its own blocks, counted pair by pair when it was made."""
    excerpt = json.loads(EXCERPT.read_text())["sizes"][side]
    scores = {name: np.array(column, np.float64) for name, column in excerpt["scores"].items()}
    accuracy = scores.pop("acc")
    assert set(scores) == set(PUBLISHED) == set(excerpt["correlations"])
    for metric, values in scores.items():
        found = correlate_or_nan(values, accuracy)
        for name, wanted in zip(COEFFICIENTS, excerpt["correlations"][metric], strict=True):
            expected = math.nan if wanted is None else wanted
            assert getattr(found, name) == pytest.approx(expected, abs=1e-8, nan_ok=True), (metric, name)
    assert (excerpt["correlations"]["MS_SSIM"][0] is None) == (side == "32")


def noisy(seed: int, pictures: int = 40, each: int = 25) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """A good and a bad metric whose errors are common to the blocks of a picture."""
    rng = np.random.default_rng(seed)
    picture = np.repeat(np.arange(pictures), each)
    accuracy = rng.random(pictures * each)
    shared = rng.standard_normal(pictures)[picture]
    good = accuracy + 0.1 * rng.standard_normal(len(accuracy)) + 0.1 * shared
    return {"good": -good, "bad": accuracy + 2 * rng.standard_normal(len(accuracy))}, accuracy, picture


def test_intervals_hold_the_value_and_tell_good_from_bad():
    metrics, accuracy, picture = noisy(1)
    drawn = resample_correlations(metrics, accuracy, picture, n=200)
    for metric, values in metrics.items():
        low, high = drawn.interval(metric) or (2.0, -2.0)
        assert low < correlate(values, accuracy).srocc < high
    low, high = drawn.difference("good", "bad") or (0.0, 0.0)
    assert 0.3 < low < high < 1
    assert drawn.difference("good", "good") == (0, 0)


def test_intervals_are_wide_where_blocks_of_a_picture_are_alike():
    """Ten copies of each value are no more to go by than one."""
    rng = np.random.default_rng(3)
    accuracy = rng.random(60)
    metric = accuracy + rng.standard_normal(60)

    def width(copies: int, own_pictures: bool) -> float:
        groups = np.arange(60 * copies) if own_pictures else np.repeat(np.arange(60), copies)
        drawn = resample_correlations({"m": np.repeat(metric, copies)}, np.repeat(accuracy, copies), groups, n=300)
        low, high = drawn.interval("m", "plcc") or (0.0, 0.0)
        return high - low

    assert width(10, own_pictures=False) == pytest.approx(width(1, own_pictures=True), rel=0.01)
    assert width(10, own_pictures=True) < 0.5 * width(10, own_pictures=False)


def test_an_interval_of_nothing_holds_0():
    rng = np.random.default_rng(5)
    drawn = resample_correlations({"m": rng.random(300)}, rng.random(300), np.arange(300), n=200)
    low, high = drawn.interval("m") or (1.0, 1.0)
    assert low < 0 < high < 0.3


def test_a_metric_without_values_has_no_interval():
    drawn = resample_correlations({"m": np.full(9, np.nan), "k": np.arange(9)}, np.arange(9.0), np.arange(9), n=20)
    assert drawn.interval("m") is None and drawn.difference("m", "k") is None
    with pytest.raises(MetricInputError, match="expected one of"):
        drawn.interval("unknown")


def test_resamples_depend_on_the_seed_alone():
    metrics, accuracy, picture = noisy(2)
    first, again, other = (resample_correlations(metrics, accuracy, picture, n=20, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.values["good"], again.values["good"])
    assert not np.array_equal(first.values["good"], other.values["good"])
    alone = resample_correlations({"good": metrics["good"]}, accuracy, picture, n=20, seed=1)
    np.testing.assert_array_equal(first.values["good"], alone.values["good"])


@pytest.mark.parametrize(
    "wrong", [{"n": 0}, {"level": 1.0}, {"together": 41}, {"together": 0}, {"accuracy": [1.0]}, {"pictures": [1]}]
)
def test_resamples_that_make_no_sense_are_refused(wrong: dict[str, object]):
    metrics, accuracy, picture = noisy(2)
    given = {"accuracy": accuracy, "pictures": picture, "n": 5} | wrong
    with pytest.raises(MetricInputError):
        resample_correlations(metrics, **given)  # type: ignore[arg-type]

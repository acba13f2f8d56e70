"""Bootstrap over frames: coverage of a known answer, determinism, undefined draws, speed."""

from __future__ import annotations

import time

import numpy as np
import pytest

from encoder_bridge.errors import CurveError
from rdo_metrics.accuracy import miou
from rdo_metrics.bd_rate import bd_quality, bd_rate
from rdo_metrics.bootstrap import bootstrap, bootstrap_bd_rate
from rdo_metrics.curve import RDCurve
from rdo_metrics.iso import rate_at
from rdo_metrics.resampling import FrameBootstrap


def scalar_arm(factor, frames=40, seed=0, noise=0.2):
    """Six points; per-frame rates vary, a frame's metric is its own and equal in both arms."""
    rng = np.random.default_rng(seed)
    size, level = rng.gamma(5, 1, frames), rng.normal(0, 0.01, frames)
    return [(factor * size * 2.0**-q * 1e4, 0.8 - 0.06 * q + level) for q in range(6)]


def confusion_arm(gain, frames, classes=11, seed=0):
    rng = np.random.default_rng(seed)
    eye = np.eye(classes, dtype=np.int64)
    arm = []
    for q in range(6):
        right = 0.95 - 0.05 * q + gain
        conf = eye * rng.poisson(2000 * right, (frames, 1, 1)) + rng.poisson(
            200 * (1 - right), (frames, classes, classes)
        )
        arm.append((rng.gamma(20, 1e4, frames) * 2.0**-q, conf))
    return arm


def mean_of(frames):
    return lambda total: float(total) / frames


def test_an_exact_scaling_has_an_interval_of_no_width():
    anchor, test = scalar_arm(1.0), scalar_arm(0.7)
    result = bootstrap_bd_rate(anchor, test, mean_of(40), method="pchip", n=100)
    assert result.result.value_percent == pytest.approx(-30)
    assert result.interval == (pytest.approx(-30), pytest.approx(-30))
    assert result.undefined == 0 and result.reason == ""


def test_point_estimate_is_the_bd_rate_of_the_summed_statistics():
    anchor, test = confusion_arm(0.0, 30), confusion_arm(0.02, 30, seed=1)
    curves = [RDCurve([b.sum() for b, _ in arm], [miou(c.sum(axis=0)) for _, c in arm]) for arm in (anchor, test)]
    expected = bd_rate(*curves, method="akima").value_percent
    result = bootstrap_bd_rate(anchor, test, miou, method="akima", n=50)
    assert result.result.value_percent == pytest.approx(expected, rel=1e-12)
    assert result.interval is not None
    assert result.interval[0] < expected < result.interval[1]


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    # Per-frame log factors N(log 0.8, 0.3): the truth for equal frame sizes is the mean factor.
    truth = 100 * (0.8 * np.exp(0.3**2 / 2) - 1)
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        factor = 0.8 * np.exp(rng.normal(0, 0.3, 40))
        anchor = [(np.full(40, 1e4 * 2.0**-q), np.full(40, 0.8 - 0.06 * q)) for q in range(5)]
        test = [(b * factor, m) for b, m in anchor]
        low, high = bootstrap_bd_rate(anchor, test, mean_of(40), method="pchip", n=100).interval
        inside += low <= truth <= high
    assert 46 <= inside <= 59


def test_both_arms_and_all_points_share_the_drawn_frames():
    # A huge common frame-to-frame variation of rate cancels only when the same frames are drawn everywhere.
    rng = np.random.default_rng(0)
    size = rng.pareto(1.5, 50) + 0.01
    anchor = [(size * 2.0**-q, np.full(50, 0.8 - 0.06 * q)) for q in range(5)]
    test = [(0.75 * b, m) for b, m in anchor]
    low, high = bootstrap_bd_rate(anchor, test, mean_of(50), method="pchip", n=100).interval
    assert high - low < 1e-6


def test_seed_decides_everything():
    arms = confusion_arm(0.0, 20), confusion_arm(0.02, 20, seed=1)
    first, again, other = (bootstrap_bd_rate(*arms, miou, method="pchip", n=60, seed=s) for s in (0, 0, 1))
    assert first == again
    assert first.interval != other.interval


def test_higher_level_is_wider_and_blocks_widen_for_dependent_frames():
    rng = np.random.default_rng(0)
    factor = np.repeat(np.exp(rng.normal(-0.2, 0.3, 10)), 10)
    anchor = [(np.full(100, 2.0**-q), np.full(100, 0.8 - 0.06 * q)) for q in range(5)]
    test = [(b * factor, m) for b, m in anchor]

    def width(**options):
        low, high = bootstrap_bd_rate(anchor, test, mean_of(100), method="pchip", n=300, **options).interval
        return high - low

    assert width(level=0.95) > width(level=0.8)
    assert width(block=10) > 1.8 * width(block=1)


def test_many_undefined_draws_give_a_reason_instead_of_an_interval():
    # One frame of two decides the metric of the test arm; draws without it lie elsewhere.
    bits = np.ones(2)
    anchor = [(bits * 2.0**-q, np.array([0.8 - 0.1 * q] * 2)) for q in range(4)]
    test = [(bits * 2.0**-q, np.array([0.8 - 0.1 * q, 5.6 - 0.1 * q])) for q in range(4)]
    with pytest.raises(CurveError, match="undefined"):
        bootstrap_bd_rate(anchor, test, mean_of(2), method="pchip")
    test = [(b, m - np.array([4.8, 4.8])) for b, m in test]
    with pytest.raises(CurveError, match="undefined"):
        bootstrap_bd_rate(anchor, test, mean_of(2), method="pchip")
    balanced = [(b, np.array([m[0] - 1, m[0] + 1])) for b, m in anchor]
    result = bootstrap_bd_rate(anchor, balanced, mean_of(2), method="pchip", n=400)
    assert result.interval is None
    assert result.undefined == pytest.approx(200, abs=40)
    assert f"{result.undefined} of 400" in result.reason
    allowed = bootstrap_bd_rate(anchor, balanced, mean_of(2), method="pchip", n=400, max_undefined=0.9)
    assert allowed.interval == (pytest.approx(0), pytest.approx(0))


def test_frames_without_anything_to_measure_make_a_draw_undefined():
    conf = np.zeros((4, 2, 2))
    conf[0] = [[90, 10], [5, 95]]
    anchor = [(np.ones(4) * 2.0**-q, conf + q * conf[:, ::-1]) for q in range(4)]
    result = bootstrap_bd_rate(anchor, anchor, miou, method="pchip", n=300)
    assert 0.2 < result.undefined / 300 < 0.45
    assert result.interval is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a[:0], "no operating points"),
        (lambda a: [(b[:-1], m) for b, m in a], "expected \\(F,\\) and"),
        (lambda a: [(b[:-1], m[:-1]) for b, m in a], "same frames in both arms"),
    ],
)
def test_inputs_that_do_not_fit(change, words):
    with pytest.raises(CurveError, match=words):
        bootstrap_bd_rate(scalar_arm(1), change(scalar_arm(1)), mean_of(40), method="pchip")


@pytest.mark.parametrize("options", [{"n": 0}, {"level": 1.0}, {"block": 0}, {"block": 41}])
def test_bad_options(options):
    with pytest.raises(CurveError, match="expected n ≥ 1"):
        bootstrap_bd_rate(scalar_arm(1), scalar_arm(1), mean_of(40), method="pchip", **options)


@pytest.mark.slow
def test_a_thousand_draws_of_233_frames_take_seconds():
    anchor, test = confusion_arm(0.0, 233), confusion_arm(0.02, 233, seed=1)
    start = time.process_time()
    result = bootstrap_bd_rate(anchor, test, miou, method="pchip", n=1000)
    assert time.process_time() - start < 10
    assert result.interval is not None


def test_bd_accuracy_with_an_interval():
    """The test arm's metric is 0.02 higher at every rate, in every draw."""
    anchor = scalar_arm(1.0)
    test = [(bits, stats + 0.02) for bits, stats in anchor]
    found = bootstrap(lambda a, t: bd_quality(a, t, method="pchip").value, [anchor, test], mean_of(40), n=50)
    assert found.value == pytest.approx(0.02)
    assert found.interval == (pytest.approx(0.02), pytest.approx(0.02))


def test_a_number_of_zero_is_a_number():
    arm = scalar_arm(1.0)
    found = bootstrap(lambda a, t: bd_rate(a, t, method="akima").value_percent, [arm, arm], mean_of(40), n=30)
    assert (found.value, found.interval, found.undefined) == (0.0, (0.0, 0.0), 0)


def test_one_set_of_draws_serves_many_numbers():
    draws = FrameBootstrap(40, n=60, seed=3)
    curves = [draws.curve(scalar_arm(f, noise=0.1), mean_of(40), label=str(f)) for f in (1.0, 0.7)]
    both = draws.estimate(lambda a, t: bd_rate(a, t, method="pchip").value_percent, *curves)
    alone = bootstrap_bd_rate(scalar_arm(1.0), scalar_arm(0.7), mean_of(40), method="pchip", n=60, seed=3)
    assert (both.value, both.interval) == (alone.result.value_percent, alone.interval)
    assert draws.estimate(lambda c: c.rates[0], curves[0]).value == curves[0].full.rates[0]
    with pytest.raises(CurveError, match=r"far: frames per operating point \[39\]; expected 40"):
        draws.curve(scalar_arm(1.0, frames=39), mean_of(39), label="far")
    with pytest.raises(CurveError, match="no rate at 5"):
        draws.estimate(lambda c: rate_at(c, 5.0, method="pchip"), curves[0])

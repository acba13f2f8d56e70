"""Bjontegaard deltas: known answers, laws, preconditions, and agreement with the bjontegaard package."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder_bridge.errors import CurveError
from rdo_metrics.bd_rate import bd_quality, bd_rate, mean_bd_rate
from rdo_metrics.curve import METHODS, RDCurve, pareto

RATES = np.array([1e5, 2.1e5, 3.9e5, 8.3e5, 1.5e6, 3.2e6])
MIOU = np.array([0.41, 0.55, 0.66, 0.74, 0.79, 0.82])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factor", [0.7, 1.0, 1.35])
def test_scaled_rates_give_exactly_the_scale(method, factor):
    result = bd_rate(RDCurve(RATES, MIOU), RDCurve(factor * RATES, MIOU), method=method)
    assert result.value_percent == pytest.approx(100 * (factor - 1), abs=1e-9)
    assert result.overlap == 1.0
    assert result.dropped == (0, 0)
    assert (result.low, result.high) == (0.41, 0.82)


@pytest.mark.parametrize("method", METHODS)
def test_log_linear_curves_with_a_slope_have_a_closed_form(method):
    # log2 rate = 10·m against log2 rate = 10·m + m − 0.6 on m in 0–1: the mean difference is −0.1 octaves.
    m = np.linspace(0, 1, 5)
    result = bd_rate(RDCurve(2 ** (10 * m), m), RDCurve(2 ** (11 * m - 0.6), m), method=method)
    assert result.value_percent == pytest.approx(100 * (2**-0.1 - 1), abs=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_crossing_curves_average_out(method):
    m = np.linspace(0, 1, 6)
    result = bd_rate(RDCurve(2 ** (8 * m), m), RDCurve(2 ** (9 * m - 0.5), m), method=method)
    assert result.value_percent == pytest.approx(0, abs=1e-8)


SHARED_METHODS = ("pchip", "akima", "cubic")
# The curves of the package's own README.
OWN_RATES = [9487.76, 4593.60, 2486.44, 1358.24], [9787.80, 4469.00, 2451.52, 1356.24]
OWN_PSNR = [40.037, 38.615, 36.845, 34.851], [40.121, 38.651, 36.970, 34.987]


@pytest.mark.parametrize(
    ("method", "rate", "psnr"),
    [("pchip", -4.417485, 0.119693), ("akima", -4.425245, 0.119409), ("cubic", -4.420463, 0.120409)],
)
def test_curves_of_the_bjontegaard_package_itself(method, rate, psnr):
    anchor, test = (RDCurve(r, m) for r, m in zip(OWN_RATES, OWN_PSNR, strict=True))
    ours, quality = bd_rate(anchor, test, method=method), bd_quality(anchor, test, method=method)
    assert ours.value_percent == pytest.approx(rate, abs=1e-6)
    assert quality.value == pytest.approx(psnr, abs=1e-6)
    package = pytest.importorskip("bjontegaard")
    rates_and_metrics = (*(OWN_RATES[0], OWN_PSNR[0]), *(OWN_RATES[1], OWN_PSNR[1]))
    assert ours.value_percent == pytest.approx(package.bd_rate(*rates_and_metrics, method=method), abs=1e-6)
    assert quality.value == pytest.approx(package.bd_psnr(*rates_and_metrics, method=method), abs=1e-6)


@pytest.mark.parametrize("method", SHARED_METHODS)
def test_agrees_with_the_bjontegaard_package(method):
    package = pytest.importorskip("bjontegaard")
    rng = np.random.default_rng(3)
    for points in (4, 5, 6, 9):
        for _ in range(20):
            ra, rt = (np.cumsum(rng.uniform(1, 5, points)) * 1e4 for _ in range(2))
            ma, mt = (30 + np.cumsum(rng.uniform(1.5, 2.5, points)) for _ in range(2))
            ours = bd_rate(RDCurve(ra, ma), RDCurve(rt, mt), method=method)
            theirs = package.bd_rate(ra, ma, rt, mt, method=method, min_overlap=0)
            assert ours.value_percent == pytest.approx(theirs, rel=1e-6, abs=1e-6)
            quality = bd_quality(RDCurve(ra, ma), RDCurve(rt, mt), method=method, min_overlap=0.2)
            assert quality.value == pytest.approx(
                package.bd_psnr(ra, ma, rt, mt, method=method, min_overlap=0), rel=1e-6, abs=1e-6
            )


@pytest.mark.parametrize("method", METHODS)
def test_order_and_duplicates_do_not_matter(method):
    test = RDCurve(0.8 * RATES, MIOU + 0.01)
    clean = bd_rate(RDCurve(RATES, MIOU), test, method=method)
    order = [3, 0, 5, 1, 1, 4, 2, 5]
    shuffled = bd_rate(RDCurve(RATES[order], MIOU[order]), test, method=method)
    assert shuffled.value_percent == clean.value_percent
    assert shuffled.dropped == (2, 0)


def test_dominated_points_are_dropped_and_counted():
    rates = [100, 200, 300, 400, 400, 500]
    metrics = [0.5, 0.6, 0.55, 0.7, 0.65, 0.7]
    kept_rates, kept = pareto(RDCurve(rates, metrics))
    assert kept_rates.tolist() == [100, 200, 400]
    assert kept.tolist() == [0.5, 0.6, 0.7]
    result = bd_rate(RDCurve([100, 200, 400], [0.5, 0.6, 0.7]), RDCurve(rates, metrics), method="pchip")
    assert result.value_percent == pytest.approx(0, abs=1e-12)
    assert result.dropped == (0, 3)


def test_lower_is_better_mirrors_higher_is_better():
    up = bd_rate(RDCurve(RATES, MIOU), RDCurve(0.9 * RATES, MIOU**1.1), method="pchip")
    down = bd_rate(
        RDCurve(RATES, 1 - MIOU, higher_better=False),
        RDCurve(0.9 * RATES, 1 - MIOU**1.1, higher_better=False),
        method="pchip",
    )
    assert down.value_percent == pytest.approx(up.value_percent, rel=1e-12)
    assert down.low == pytest.approx(1 - up.high) and down.high == pytest.approx(1 - up.low)


def test_too_little_overlap_is_an_error_not_a_number():
    low, high = RDCurve(RATES, MIOU, label="plain"), RDCurve(RATES, MIOU + 0.3, label="map")
    with pytest.raises(CurveError, match=r"undefined: plain and map share 15\.5 %"):
        bd_rate(low, high, method="pchip")
    with pytest.raises(CurveError, match=r"share 0\.0 %"):
        bd_rate(low, RDCurve(RATES, MIOU + 0.5), method="pchip", min_overlap=0)
    assert math.isfinite(bd_rate(low, high, method="pchip", min_overlap=0.1).value_percent)


def test_overlap_is_shared_over_spanned():
    # 0–1 against 0.25–1.25: 0.75 shared of 1.25 spanned.
    m = np.linspace(0, 1, 5)
    result = bd_rate(RDCurve(2 ** (4 * m), m), RDCurve(2 ** (4 * m), m + 0.25), method="akima")
    assert result.overlap == pytest.approx(0.6)
    assert (result.low, result.high) == (0.25, 1.0)
    assert result.value_percent == pytest.approx(-50, abs=1e-9)


@pytest.mark.parametrize(
    ("rates", "metrics", "words"),
    [
        ([1, 2, 3, math.nan], [1, 2, 3, 4], "rate nan at point 3"),
        ([1, 2, 3, 4], [1, math.inf, 3, 4], "metric inf at point 1"),
        ([0, 2, 3, 4], [1, 2, 3, 4], "rate 0 at point 0; expected more than 0"),
        ([-1, 2, 3, 4], [1, 2, 3, 4], "rate -1 at point 0"),
        ([1, 2, 3], [1, 2, 3, 4], "3 rates and 4 metrics"),
        ([], [], "no points"),
        ([[1, 2]], [[1, 2]], "expected one dimension"),
        (["a", "b"], [1, 2], "expected a sequence of numbers"),
        ([1, None], [1, 2], "rate nan at point 1"),
    ],
)
def test_bad_points_are_named(rates, metrics, words):
    with pytest.raises(CurveError, match=words):
        RDCurve(rates, metrics)


@pytest.mark.parametrize(("method", "points"), [("pchip", 1), ("akima", 1), ("cubic", 3)])
def test_too_few_points(method, points):
    good = RDCurve(RATES, MIOU)
    with pytest.raises(CurveError, match=f"{points} point"):
        bd_rate(good, RDCurve(RATES[:points], MIOU[:points]), method=method, min_overlap=0)
    # Six points of which the Pareto set keeps one.
    with pytest.raises(CurveError, match="1 point"):
        bd_rate(good, RDCurve(RATES, np.full(6, 0.5)), method=method, min_overlap=0)


def test_two_points_are_a_straight_line_and_no_curve():
    for method in ("pchip", "akima"):
        with pytest.raises(CurveError, match=rf"2 point\(s\) left.*{method} needs 3"):
            bd_rate(RDCurve([1, 16], [0, 1]), RDCurve([0.5, 8], [0, 1]), method=method)
        result = bd_rate(RDCurve([1, 4, 16], [0, 0.5, 1]), RDCurve([0.5, 2, 8], [0, 0.5, 1]), method=method)
        assert result.value_percent == pytest.approx(-50)


DENTED = np.array([0.41, 0.58, 0.55, 0.74, 0.81, 0.80])


def test_vcm_keeps_monotone_points_and_is_pchip_on_them():
    test = RDCurve(0.8 * RATES[::-1], MIOU[::-1] + 0.01)
    result = bd_rate(RDCurve(RATES, MIOU), test, method="vcm")
    assert result.value_percent == bd_rate(RDCurve(RATES, MIOU), test, method="pchip").value_percent
    assert result.fitted == (False, False) and result.method == "vcm"


def test_vcm_leaves_no_point_of_a_dented_curve_out():
    anchor, dented = RDCurve(RATES, MIOU), RDCurve(0.8 * RATES, DENTED)
    result = bd_rate(anchor, dented, method="vcm")
    assert result.fitted == (False, True) and result.dropped == (0, 0)
    assert bd_rate(anchor, dented, method="pchip").dropped == (0, 2)
    # The dents lie below the curve that pchip draws past them, so the fit is costlier.
    assert result.value_percent > bd_rate(anchor, dented, method="pchip").value_percent
    assert bd_quality(anchor, dented, method="vcm").fitted == (False, True)


def test_vcm_against_its_own_scaling_and_mirror():
    anchor, test = RDCurve(RATES, DENTED), RDCurve(0.6 * RATES, DENTED)
    assert bd_rate(anchor, test, method="vcm").value_percent == pytest.approx(-40, abs=1e-6)
    assert bd_rate(anchor, test, method="vcm", saturating=True).value_percent == pytest.approx(-40, abs=1e-6)
    down = [RDCurve(c.rates, -c.metrics, higher_better=False) for c in (anchor, test)]
    assert bd_rate(*down, method="vcm").value_percent == pytest.approx(-40, abs=1e-6)


@pytest.mark.parametrize(
    ("rates", "metrics", "words"),
    [
        ([100], [0.5], "1 point"),
        ([100, 200, 300], [0.5, 0.7, 0.6], "odd: monotone cubic through 3 distinct rate"),
        ([100, 200, 300, 300], [0.5, 0.7, 0.6, 0.8], "3 distinct rate"),
        ([100, 200, 300, 400], [0.8, 0.7, 0.6, 0.5], "1 point"),
    ],
)
def test_vcm_has_no_number_where_a_cubic_is_not_determined_or_flat(rates, metrics, words):
    with pytest.raises(CurveError, match=words):
        bd_rate(RDCurve(RATES, MIOU), RDCurve(rates, metrics, label="odd"), method="vcm", min_overlap=0)


@pytest.mark.parametrize("method", METHODS)
def test_duplicates_count_once(method):
    twice = RDCurve(np.repeat(RATES, 2), np.repeat(MIOU, 2))
    result = bd_rate(RDCurve(RATES, MIOU), twice, method=method)
    assert result.value_percent == pytest.approx(0, abs=1e-12)
    assert result.dropped == (0, 6) and result.fitted == (False, False)


def test_method_is_required_and_checked():
    curve = RDCurve(RATES, MIOU)
    with pytest.raises(TypeError, match="method"):
        bd_rate(curve, curve)
    with pytest.raises(CurveError, match="'spline'; expected one of pchip, akima, cubic, vcm"):
        bd_rate(curve, curve, method="spline")


def test_opposite_directions_are_refused():
    with pytest.raises(CurveError, match="higher is better"):
        bd_rate(RDCurve(RATES, MIOU), RDCurve(RATES, MIOU, higher_better=False), method="pchip")


def test_saturating_axis_integrates_over_minus_log_of_the_error():
    m = np.array([0.5, 0.75, 0.875, 0.9375])
    anchor, test = RDCurve([1, 2, 4, 8], m), RDCurve([0.5, 1, 2, 4], m)
    result = bd_rate(anchor, test, method="cubic", saturating=True)
    assert result.value_percent == pytest.approx(-50, abs=1e-9)
    assert (result.low, result.high) == (pytest.approx(0.5), pytest.approx(0.9375))
    other = RDCurve([0.6, 1.1, 2, 3], m)
    direct = bd_rate(RDCurve(anchor.rates, -np.log(1 - m)), RDCurve(other.rates, -np.log(1 - m)), method="pchip")
    assert bd_rate(anchor, other, method="pchip", saturating=True).value_percent == pytest.approx(direct.value_percent)


@pytest.mark.parametrize("metric", [1.0, 36.2, -0.1])
def test_saturating_axis_refuses_what_has_no_place_on_it(metric):
    with pytest.raises(CurveError, match=r"saturating axis is for \[0, 1\)"):
        bd_rate(
            RDCurve([1, 2, 3], [0.1, 0.2, 0.3]), RDCurve([1, 2, 3], [0.1, 0.2, metric]), method="pchip", saturating=True
        )


def test_bd_quality_of_a_constant_offset():
    for method in METHODS:
        result = bd_quality(RDCurve(RATES, MIOU), RDCurve(RATES, MIOU + 0.02), method=method)
        assert result.value == pytest.approx(0.02)
        assert (result.low, result.high) == (pytest.approx(1e5), pytest.approx(3.2e6))
    lower = bd_quality(RDCurve(RATES, -MIOU, False), RDCurve(RATES, -MIOU - 0.02, False), method="pchip")
    assert lower.value == pytest.approx(-0.02)


def test_mean_over_sequences_beside_the_mean_curve():
    a, b = RDCurve(RATES, MIOU, label="a"), RDCurve(4 * RATES, MIOU, label="b")
    arms = {"a": (a, RDCurve(0.5 * RATES, MIOU)), "b": (b, RDCurve(4 * RATES, MIOU))}
    result = mean_bd_rate(arms, method="pchip")
    assert result.mean_percent == pytest.approx(-25)
    # Mean rates: anchor 2.5 R, test 2.25 R: the large sequence dominates.
    assert result.of_mean_curve is not None
    assert result.of_mean_curve.value_percent == pytest.approx(-10)
    assert not result.undefined


def test_undefined_sequences_are_named_and_left_out():
    good = (RDCurve(RATES, MIOU), RDCurve(0.9 * RATES, MIOU))
    bad = (RDCurve(RATES, MIOU), RDCurve(RATES[:4], MIOU[:4] + 0.4, label="far"))
    result = mean_bd_rate({"good": good, "bad": bad}, method="pchip")
    assert result.mean_percent == pytest.approx(-10)
    assert list(result.per_sequence) == ["good"]
    assert "far" in result.undefined["bad"]
    assert result.of_mean_curve is None and "same operating points" in result.mean_curve_reason
    with pytest.raises(CurveError, match="undefined for every sequence"):
        mean_bd_rate({"bad": bad}, method="pchip")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(1, 1e9), st.floats(0.01, 0.99)), min_size=2, max_size=12),
    st.floats(0.2, 5),
    st.sampled_from(["pchip", "akima"]),
)
def test_any_curve_against_its_own_scaling(points, factor, method):
    rates, metrics = np.array(points).T
    try:
        anchor = RDCurve(rates, metrics)
        result = bd_rate(anchor, RDCurve(factor * rates, metrics), method=method)
    except CurveError as error:
        assert re.search(r"[12] point\(s\) left", str(error))
        return
    assert result.value_percent == pytest.approx(100 * (factor - 1), rel=1e-4, abs=1e-4)
    assert result.dropped[0] == result.dropped[1]

"""Rate at equal accuracy, and compression at an accuracy constraint."""

from __future__ import annotations

import numpy as np
import pytest

from encoder_bridge.errors import CurveError
from rdo_metrics.bootstrap import bootstrap
from rdo_metrics.compression import best_compression
from rdo_metrics.curve import METHODS, RDCurve
from rdo_metrics.iso import iso_rate, metric_at, rate_at

CURVE = RDCurve([1000, 100, 400, 200], [0.8, 0.3, 0.7, 0.5], label="map")


@pytest.mark.parametrize("method", ["pchip", "akima", "vcm"])
def test_at_the_points_it_is_the_points(method):
    for rate, metric in CURVE.points:
        assert rate_at(CURVE, metric, method=method) == pytest.approx(rate)
        assert metric_at(CURVE, rate, method=method) == pytest.approx(metric)


@pytest.mark.parametrize("method", METHODS)
def test_between_the_points_of_a_log_linear_curve(method):
    m = np.linspace(0, 1, 5)
    curve = RDCurve(2 ** (10 * m), m)
    assert rate_at(curve, 0.33, method=method) == pytest.approx(2**3.3)
    assert metric_at(curve, 2**3.3, method=method) == pytest.approx(0.33)
    down = RDCurve(2 ** (10 * m), 1 - m, higher_better=False)
    assert rate_at(down, 0.67, method=method) == pytest.approx(2**3.3)
    assert metric_at(down, 2**3.3, method=method) == pytest.approx(0.67)


def test_outside_the_range_there_is_a_reason_and_no_number():
    with pytest.raises(CurveError, match=r"map: no rate at 0.81: the metric spans 0.3 to 0.8"):
        rate_at(CURVE, 0.81, method="pchip")
    with pytest.raises(CurveError, match=r"map: no metric at rate 99"):
        metric_at(CURVE, 99, method="pchip")
    with pytest.raises(CurveError, match="no rate at nan"):
        rate_at(CURVE, float("nan"), method="pchip")
    with pytest.raises(CurveError, match=r"spans 0.2 to 0.7"):
        rate_at(RDCurve([1, 2, 3], [0.7, 0.5, 0.2], higher_better=False), 0.1, method="pchip")
    with pytest.raises(CurveError, match="1 point"):
        rate_at(RDCurve([1], [1]), 1, method="pchip")
    with pytest.raises(CurveError, match="expected one of"):
        rate_at(CURVE, 0.5, method="spline")


def test_saving_at_one_accuracy():
    test = RDCurve(0.6 * CURVE.rates, CURVE.metrics)
    assert iso_rate(CURVE, test, 0.55, method="pchip") == pytest.approx(-40)


def test_rate_at_an_accuracy_has_an_interval():
    frames = np.array([1.0, 3.0] * 10)
    arm = [(frames * r, np.full(20, m)) for r, m in zip([100, 200, 400], [0.3, 0.5, 0.7], strict=True)]
    found = bootstrap(lambda c: rate_at(c, 0.5, method="pchip"), [arm], lambda total: float(total) / 20, n=200)
    assert found.value == pytest.approx(200 * 40)
    assert found.interval is not None and found.interval[0] < 200 * 40 < found.interval[1]


# Seed 001's own Table VI for VVenC and JPEG, by mIoU constraint; PNG needs 2362.90 kB an image.
PNG_KB = 2362.90
TABLE_VI = {
    "JPG": {0.783: 15.9, 0.763: 33.2, 0.723: 52.6, 0.642: 172.0, 0.562: 358.3},
    "VVenC": {0.763: 43.4, 0.723: 107.3, 0.642: 273.9, 0.562: 529.3},
}


@pytest.mark.parametrize("codec", TABLE_VI)
@pytest.mark.parametrize("constraint", [0.783, 0.763, 0.723, 0.642, 0.562])
def test_table_six_comes_out_of_the_sizes_it_stands_for(codec, constraint):
    points = TABLE_VI[codec]
    curve = RDCurve([PNG_KB / ratio for ratio in points.values()], list(points))
    if constraint not in points:
        with pytest.raises(CurveError, match=r"no operating point reaches 0\.783: the best is 0\.763"):
            best_compression({codec: curve}, PNG_KB, constraint)
        return
    found = best_compression({codec: curve}, PNG_KB, constraint)
    assert found.ratio == pytest.approx(points[constraint])
    assert found.point.metric == constraint


def test_the_cheapest_point_that_is_good_enough_wins_and_nothing_is_interpolated():
    curves = {"1": RDCurve([100, 300], [0.5, 0.9]), "0.5": RDCurve([80, 200], [0.6, 0.8])}
    found = best_compression(curves, 1000, 0.55)
    assert (found.ratio, found.point.curve, found.point.index) == (12.5, "0.5", 0)
    assert best_compression(curves, 1000, 0.61).point.rate == 200
    errors = {"1": RDCurve([100, 300], [0.5, 0.1], higher_better=False)}
    assert best_compression(errors, 1000, 0.2).ratio == pytest.approx(1000 / 300)


@pytest.mark.parametrize("size", [0, -1, float("nan"), float("inf")])
def test_a_lossless_size_must_be_one(size):
    with pytest.raises(CurveError, match="lossless size"):
        best_compression({"1": CURVE}, size, 0.1)
    with pytest.raises(CurveError, match="there are none"):
        best_compression({}, 1, 0.1)

"""Hulls of curves: small cases by hand, laws, BD-rates of hulls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder_bridge.errors import CurveError
from rdo_metrics.bd_rate import bd_rate
from rdo_metrics.bootstrap import bootstrap
from rdo_metrics.curve import RDCurve, pareto
from rdo_metrics.hull import SHAPES, HullPoint, hull

FULL = RDCurve([100, 200, 400, 800], [0.30, 0.50, 0.70, 0.80])
HALF = RDCurve([50, 100, 200, 300], [0.35, 0.52, 0.60, 0.61])


def test_two_resolutions_by_hand():
    result = hull({"1": FULL, "0.5": HALF}, shape="pareto")
    assert result.points == (
        HullPoint("0.5", 0, 50, 0.35),
        HullPoint("0.5", 1, 100, 0.52),
        HullPoint("0.5", 2, 200, 0.60),
        HullPoint("0.5", 3, 300, 0.61),
        HullPoint("1", 2, 400, 0.70),
        HullPoint("1", 3, 800, 0.80),
    )
    assert result.curve.rates.tolist() == [50, 100, 200, 300, 400, 800]
    # (300, 0.61) lies below the line from (200, 0.60) to (400, 0.70), which is 0.65 there.
    convex = hull({"1": FULL, "0.5": HALF}, shape="convex")
    assert [(p.curve, p.rate) for p in convex.points] == [
        *(("0.5", 50), ("0.5", 100), ("0.5", 200)),
        *(("1", 400), ("1", 800)),
    ]


def test_the_hull_of_one_curve_is_its_own_upper_left_set():
    dented = RDCurve([4, 1, 3, 2, 3], [0.7, 0.1, 0.4, 0.5, 0.4])
    result = hull({"only": dented}, shape="pareto")
    assert [(p.rate, p.metric) for p in result.points] == list(zip(*(v.tolist() for v in pareto(dented)), strict=True))
    assert [p.index for p in result.points] == [1, 3, 0]


curves_of_points = st.dictionaries(
    st.sampled_from(["1", "0.75", "0.5", "0.25"]),
    st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 99)), min_size=1, max_size=8),
    min_size=1,
)


@settings(max_examples=100, deadline=None)
@given(curves_of_points)
def test_nothing_lies_above_the_hull_and_every_point_is_where_it_says(points):
    curves = {name: RDCurve(*np.array(p, float).T) for name, p in points.items()}
    wide, convex = (hull(curves, shape=shape) for shape in SHAPES)
    for p in wide.points:
        assert curves[p.curve].points[p.index] == (p.rate, p.metric)
        assert not any(
            (c.rates <= p.rate).__and__(c.metrics > p.metric).any()
            or ((c.rates < p.rate) & (c.metrics >= p.metric)).any()
            for c in curves.values()
        )
    assert set(convex.points) <= set(wide.points)
    assert {convex.points[0], convex.points[-1]} == {wide.points[0], wide.points[-1]}
    for curve in curves.values():
        inside = curve.rates >= convex.curve.rates[0]
        above = np.interp(curve.rates[inside], convex.curve.rates, convex.curve.metrics)
        assert (curve.metrics[inside] <= above + 1e-9).all()
    slopes = np.diff(convex.curve.metrics) / np.diff(convex.curve.rates)
    assert (np.diff(slopes) < 0).all()


def test_lower_is_better_mirrors():
    down = {n: RDCurve(c.rates, -c.metrics, higher_better=False) for n, c in {"1": FULL, "0.5": HALF}.items()}
    assert [(p.curve, p.index) for p in hull(down, shape="convex").points] == [
        (p.curve, p.index) for p in hull({"1": FULL, "0.5": HALF}, shape="convex").points
    ]


def test_free_resolution_never_costs_bits():
    free = hull({"1": FULL, "0.5": HALF}, shape="pareto").curve
    assert bd_rate(FULL, free, method="pchip").value_percent < -20
    assert bd_rate(FULL, hull({"1": FULL}, shape="pareto").curve, method="pchip").value_percent == 0


def test_a_hull_has_an_interval():
    """Per-frame sizes vary; half the bits at the same accuracy is −50 % in every draw."""
    rng = np.random.default_rng(0)
    size = rng.gamma(5, 1, 12)
    full = [(size * r, np.full(12, m)) for r, m in zip([100, 200, 400], [0.3, 0.5, 0.7], strict=True)]
    half = [(0.5 * bits, stats) for bits, stats in full]

    def gain(one, other):
        both = hull({"1": one, "0.5": other}, shape="pareto").curve
        return bd_rate(one, both, method="pchip").value_percent

    result = bootstrap(gain, [full, half], lambda total: float(total) / 12, n=50)
    assert result.value == pytest.approx(-50) and result.undefined == 0
    assert result.interval == (pytest.approx(-50), pytest.approx(-50))


def test_refusals():
    with pytest.raises(CurveError, match="'round'; expected one of pareto, convex"):
        hull({"1": FULL}, shape="round")
    with pytest.raises(CurveError, match="JPEG hull: no curves"):
        hull({}, shape="pareto", label="JPEG hull")
    with pytest.raises(CurveError, match="disagree"):
        hull({"1": FULL, "0.5": RDCurve([1], [1], higher_better=False)}, shape="pareto")

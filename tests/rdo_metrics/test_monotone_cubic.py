"""The monotone cubic of MPEG VCM: laws, and an independent solver's answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from encoder_bridge.errors import CurveError
from rdo_metrics.monotone_cubic import fit_monotone_cubic

RATES = np.log10([0.9e5, 1.8e5, 3.9e5, 8.3e5, 1.5e6, 3.2e6])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-100, 100)), min_size=4, max_size=15))
def test_it_rises_and_is_concave_everywhere(points):
    x, y = np.array(points).T
    try:
        curve = fit_monotone_cubic(x, y)
    except CurveError as error:
        assert "distinct" in str(error)
        return
    grid = np.linspace(curve.low, curve.high, 501)
    slope, scale = curve.derivative(grid), np.ptp(y) / (curve.high - curve.low) + 1e-12
    assert slope.min() >= 0
    assert np.diff(slope).max() <= 1e-9 * scale
    assert np.diff(curve(grid)).min() >= -1e-9 * (np.ptp(y) + 1e-12)


def test_where_the_plain_cubic_rises_and_is_concave_it_is_the_plain_cubic():
    rng = np.random.default_rng(0)
    y = 3.0 + 2.0 * RATES - 0.1 * RATES**2 + rng.normal(0, 1e-3, 6)
    plain = np.polynomial.Polynomial.fit(RATES, y, 3)
    grid = np.linspace(RATES[0], RATES[-1], 200)
    assert plain.deriv()(grid).min() > 0 and plain.deriv(2)(grid).max() < 0
    assert fit_monotone_cubic(RATES, y)(grid) == pytest.approx(plain(grid), abs=1e-9)


def test_a_cubic_comes_back_exactly_and_its_slope_is_the_derivative():
    t = (RATES - RATES[0]) / np.ptp(RATES)
    curve = fit_monotone_cubic(RATES, 0.4 + 0.6 * (1 - (1 - t) ** 3))
    assert curve(RATES) == pytest.approx(0.4 + 0.6 * (1 - (1 - t) ** 3), abs=1e-12)
    step = 1e-6
    inside = RATES[1:-1]
    slope = (curve(inside + step) - curve(inside - step)) / (2 * step)
    assert curve.derivative(inside) == pytest.approx(slope, rel=1e-6)


def test_it_passes_near_points_with_one_dent():
    y = np.array([0.41, 0.55, 0.66, 0.74, 0.79, 0.785])
    fitted = fit_monotone_cubic(RATES, y)(RATES)
    assert np.abs(fitted - y).max() < 0.015
    assert (np.diff(fitted) >= 0).all()


@pytest.mark.parametrize("seed", range(8))
def test_no_other_solver_finds_a_better_one(seed):
    """Wang et al. minimise with SLSQP from a fixed start, constrained at the points: never a smaller error in ours."""
    rng = np.random.default_rng(seed)
    y = np.sort(rng.uniform(0.3, 0.8, 6)) + rng.normal(0, 0.05, 6)
    t = (RATES - RATES[0]) / np.ptp(RATES)
    powers, ends = np.vander(t, 4), np.array([0.0, 1.0])
    slope = np.stack([3 * ends**2, 2 * ends, np.ones(2), np.zeros(2)], axis=1)
    bend = np.stack([6 * ends, 2 * np.ones(2), np.zeros(2), np.zeros(2)], axis=1)
    rules = [{"type": "ineq", "fun": lambda b: slope @ b}, {"type": "ineq", "fun": lambda b: -(bend @ b)}]
    start = [0.0, 0.0, 0.1, 0.5]
    found = minimize(lambda b: ((powers @ b - y) ** 2).sum(), start, method="SLSQP", constraints=rules, tol=1e-14)
    ours = fit_monotone_cubic(RATES, y)(RATES)
    assert ((ours - y) ** 2).sum() <= found.fun + 1e-10
    assert ours == pytest.approx(powers @ found.x, abs=1e-4)


def test_falling_points_become_their_mean():
    fitted = fit_monotone_cubic(RATES, np.linspace(1, 0, 6))
    assert fitted(RATES) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([1, 2, 3], [1, 2, 3], "3 distinct"),
        ([1, 1, 2, 2, 3], [1, 2, 3, 4, 5], "3 distinct"),
        ([1, 2, 3, np.nan], [1, 2, 3, 4], "expected finite"),
        ([1, 2, 3, 4], [1, 2, 3], "expected finite"),
    ],
)
def test_refusals(x, y, words):
    with pytest.raises(CurveError, match=words):
        fit_monotone_cubic(x, y)

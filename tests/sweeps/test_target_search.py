"""The search on known surfaces: it lands on the target, with few probes, near the least rate there is."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder_bridge.errors import ConfigError
from rdo_metrics.curve import RDCurve
from rdo_metrics.hull import hull
from sweeps.target.curves import Point, Spread, Surface, logit
from sweeps.target.search import Goal, Probe, Search

SCALES = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
Truth = Callable[[Point], tuple[float, float]]


def points(modes: tuple[str, ...] = ("psnr",), scales: tuple[float, ...] = SCALES, most: int = 51) -> list[Point]:
    return [Point(mode, scale, qp, float(qp)) for mode in modes for scale in scales for qp in range(most + 1)]


def surface(
    level: float = 3.0,
    slope: float = 1.2,
    loss: float = 1.2,
    rate: float = -1.5,
    noise: float = 0.0,
    seed: int = 0,
    bend: float = 0.15,
) -> Truth:
    """Logit-linear accuracy and log-linear rate; ``noise`` is each point's own, always the same for one point."""

    def measure(point: Point) -> tuple[float, float]:
        x, u = (point.qp - 32) / 10, math.log2(point.scale)
        own = np.random.default_rng([seed, int(point.qp), int(1000 * point.scale), len(point.rdo)])
        accuracy = level - slope * x - bend * x * x + loss * u - 0.1 * u * u + noise * own.standard_normal()
        return 2 ** (rate - 1.7 * x + 1.6 * u), 1 / (1 + math.exp(-accuracy))

    return measure


def run(truth: Truth, goal: Goal, among: list[Point], allowed: Callable[[Point], bool] | None = None) -> Search:
    search = Search(among, goal)
    while (point := search.ask(allowed)) is not None:
        search.tell(Probe(point, *truth(point)))
    return search


def least_rate(truth: Truth, goal: Goal, among: list[Point]) -> float:
    measured = [truth(point) for point in among]
    return min((bpp for bpp, accuracy in measured if goal.reached(accuracy)), default=math.inf)


def hull_rate(truth: Truth, accuracy: float) -> float:
    """Of the convex hull of all points."""
    rates, accuracies = zip(*(truth(point) for point in points()), strict=True)
    whole = hull({"all": RDCurve(rates, accuracies)}, shape="convex").curve
    return float(np.interp(accuracy, whole.metrics, whole.rates))


curves = st.builds(
    surface,
    level=st.floats(2.2, 4.2),
    slope=st.floats(0.8, 1.8),
    loss=st.floats(0.5, 2.0),
    rate=st.floats(-4.0, 0.5),
    noise=st.floats(0, 0.03),
    seed=st.integers(0, 99),
)


@settings(max_examples=40, deadline=None)
@given(curves, st.floats(0.85, 0.96))
def test_one_scale_ends_on_target_wherever_a_quality_does(truth: Truth, target: float) -> None:
    goal, among = Goal(target), points(scales=(1.0,))
    search = run(truth, goal, among)
    best = search.best()
    assert best is not None and len(search.probes) <= 8
    if any(goal.on_target(truth(point)[1]) for point in among):
        assert goal.on_target(best.accuracy)
        # A quality step is 12 % of the rate; noise may hide the very cheapest one.
        assert best.bpp <= least_rate(truth, goal, among) * 1.13


@settings(max_examples=30, deadline=None)
@given(curves, st.floats(0.9, 0.96))
def test_all_scales_end_within_a_point(truth: Truth, target: float) -> None:
    goal, among = Goal(target), points()
    search = run(truth, goal, among)
    best = search.best()
    assert best is not None and len(search.probes) <= 8
    if least_rate(truth, goal, among) < math.inf:
        assert abs(best.accuracy - target) <= 0.013


def test_over_many_clips_the_rate_is_within_a_few_percent_of_the_least() -> None:
    rng, over = np.random.default_rng(0), []
    for seed in range(30):
        level, slope, loss = rng.uniform(2.2, 4.2), rng.uniform(0.8, 1.8), rng.uniform(0.4, 1.8)
        truth, goal = surface(level, slope, loss, rng.uniform(-4, 0.5), 0.02, seed), Goal(rng.uniform(0.88, 0.97))
        best = run(truth, goal, points()).best()
        if best is not None and goal.on_target(best.accuracy):
            over.append(best.bpp / hull_rate(truth, best.accuracy) - 1)
    assert len(over) >= 25
    assert np.mean(over) < 0.03 and np.quantile(over, 0.9) < 0.13


@settings(max_examples=30, deadline=None)
@given(curves, st.floats(0.9, 0.96), st.sampled_from([0.0, 0.002, None]))
def test_nothing_tried_beats_what_is_taken_and_the_floor_holds(
    truth: Truth, target: float, shortfall: float | None
) -> None:
    goal = Goal(target, shortfall=shortfall)
    search = run(truth, goal, points())
    best = search.best()
    assert best is not None
    assert not any(p.bpp < best.bpp and p.accuracy >= best.accuracy for p in search.probes)
    assert goal.floor == pytest.approx(target - (0.005 if shortfall is None else shortfall))
    if any(p.accuracy >= goal.floor for p in search.probes):
        assert best.accuracy >= goal.floor


def told(goal: Goal, *measured: tuple[float, float]) -> Search:
    search = Search(points(), goal)
    for place, (bpp, accuracy) in enumerate(measured):
        search.tell(Probe(search.points[30 + place], bpp, accuracy))
    return search


@pytest.mark.parametrize(
    ("shortfall", "measured", "taken"),
    [
        (None, [(0.10, 0.950), (0.101, 0.958)], 1),  # much more accuracy for almost nothing
        (None, [(0.10, 0.950), (0.130, 0.951)], 0),
        (None, [(0.10, 0.950), (0.080, 0.949)], 1),
        (0.0, [(0.10, 0.950), (0.080, 0.949)], 0),
        (None, [(0.10, 0.950), (0.080, 0.941)], 0),  # below the floor
        (None, [(0.10, 0.952), (0.090, 0.965)], 1),  # better in both, though above the tolerance
        (None, [(0.10, 0.962), (0.090, 0.948)], 1),
    ],
)
def test_the_efficient_probe_on_target_is_taken(
    shortfall: float | None, measured: list[tuple[float, float]], taken: int
) -> None:
    search = told(Goal(0.95, shortfall=shortfall), *measured)
    assert search.best() == search.probes[taken]


def test_a_bump_does_not_stop_the_search() -> None:
    smooth = surface()

    def bumpy(point: Point) -> tuple[float, float]:
        bpp, accuracy = smooth(point)
        return bpp, accuracy - (0.02 if point.quality in (28, 29) else 0.0)

    goal = Goal(0.95)
    best = run(bumpy, goal, points(scales=(1.0,))).best()
    assert best is not None and goal.on_target(best.accuracy)


def test_a_better_rdo_mode_is_found_and_taken() -> None:
    plain = surface()

    def measure(point: Point) -> tuple[float, float]:
        bpp, accuracy = plain(point)
        return bpp * (0.8 if point.rdo == "map" else 1.0), accuracy

    best = run(measure, Goal(0.93), points(("psnr", "map"))).best()
    assert best is not None and best.point.rdo == "map"


def test_no_point_is_tried_twice_and_the_same_measurements_give_the_same_search() -> None:
    first, second = (run(surface(noise=0.05, seed=3), Goal(0.94), points()).probes for _ in range(2))
    assert first == second and len({probe.point for probe in first}) == len(first)


def test_only_allowed_points_are_asked_for() -> None:
    search = run(surface(), Goal(0.9), points(), lambda point: point.scale == 0.5)
    assert search.probes and {probe.point.scale for probe in search.probes} == {0.5}


def test_a_target_out_of_reach_is_sought_at_the_finest_setting() -> None:
    search = run(surface(level=0.0, slope=0.3, bend=0.0), Goal(0.99), points(scales=(1.0,)))
    best = search.best()
    assert best is not None and best.point.quality == 0 and best.accuracy < 0.99
    assert len(search.probes) < 8


def test_a_target_exceeded_everywhere_ends_at_the_coarsest_setting() -> None:
    search = run(surface(level=6.0, slope=0.3, loss=0.1, bend=0.0), Goal(0.7), points(scales=(1.0,)))
    best = search.best()
    assert best is not None and best.point.quality == 51 and best.accuracy > 0.71
    assert len(search.probes) < 8


def test_what_is_wanted_must_be_possible() -> None:
    for accuracy, tolerance in ((0.0, 0.01), (95.0, 0.01), (0.9, 0.0)):
        with pytest.raises(ConfigError):
            Goal(accuracy, tolerance)
    for shortfall in (-0.001, 0.011, math.nan):
        with pytest.raises(ConfigError, match="expected between 0 and the tolerance"):
            Goal(0.9, shortfall=shortfall)
    with pytest.raises(ConfigError, match="at least 1"):
        Goal(0.9, max_probes=0)
    with pytest.raises(ConfigError, match="no operating points"):
        Search([], Goal(0.9))
    with pytest.raises(ConfigError, match="agreement"):
        Search(points(), Goal(0.9), metric="map50")


def test_a_posterior_goes_through_what_was_seen_and_is_surer_near_it() -> None:
    among = points(scales=(0.5, 1.0))
    spread = Spread(0.3, 0.1, 0.1, 0.05, 0.1, 0.05, 0.03, 0.1, 0.05)
    belief = Surface(among, np.zeros(len(among)), spread)
    prior_mean, prior_deviation = belief.posterior([], [])
    mean, deviation = belief.posterior([30, 60], [0.5, -0.2])
    assert np.allclose(prior_mean, 0) and np.allclose(mean[[30, 60]], [0.5, -0.2])
    assert (deviation <= prior_deviation + 1e-12).all()
    assert deviation[31] < deviation[50]


def test_shares_of_nought_and_one_have_finite_logits() -> None:
    assert np.isfinite(logit(np.array([0.0, 0.5, 1.0]))).all() and float(logit(0.5)) == 0

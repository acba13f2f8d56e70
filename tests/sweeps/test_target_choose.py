"""Shots choose together: one resolution, each within its probes, on surfaces that are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder_bridge.errors import CurveError
from sweeps.target.choose import Choice, Part, Tried, choose
from sweeps.target.curves import Point
from sweeps.target.search import Goal, Probe, Search
from sweeps.target.shots import Shot

SCALES = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Known:
    """What is measured of a shot is a formula: accuracy falls with QP, and with smaller pictures by ``loss``."""

    level: float
    loss: float
    rate: float
    modes: tuple[str, ...] = ("psnr", "map")
    scales: tuple[float, ...] = SCALES

    def search(self, goal: Goal) -> Search:
        return Search([Point(m, s, q, float(q)) for m in self.modes for s in self.scales for q in range(52)], goal)

    def measure(self, point: Point) -> Probe:
        x, u = (point.qp - 32) / 10, math.log2(point.scale)
        gained = 0.1 if point.rdo == "map" else 0.0
        accuracy = 1 / (1 + math.exp(-(self.level - 1.2 * x - 0.15 * x * x + self.loss * u)))
        return Probe(point, 2 ** (self.rate - 1.7 * x + 1.6 * u - gained), accuracy)


def run(shots: Sequence[Known], goal: Goal) -> tuple[list[Choice], list[Tried]]:
    parts = [Part(Shot(8 * i, 8), shot) for i, shot in enumerate(shots)]  # type: ignore[arg-type]
    *tried, choices = choose(parts, goal)
    return choices, tried  # type: ignore[return-value]


shots = st.builds(Known, st.floats(2.0, 4.5), st.floats(0.4, 2.0), st.floats(-4.0, 0.5))


@settings(max_examples=40, deadline=None)
@given(st.lists(shots, min_size=1, max_size=3), st.floats(0.8, 0.97), st.integers(1, 8))
def test_shots_share_a_resolution_and_keep_to_their_probes(several: list[Known], target: float, most: int) -> None:
    goal = Goal(target, max_probes=most)
    try:
        choices, tried = run(several, goal)
    except CurveError as error:
        assert most < 6, error
        return
    assert len({choice.best.point.scale for choice in choices}) == 1 and len(tried) <= most * len(several)
    for choice in choices:
        assert len(choice.probes) <= most and choice.best in choice.probes
        assert choice.best.accuracy >= target - goal.tolerance
        rivals = [p for p in choice.probes if p.point.scale == choice.best.point.scale]
        assert not any(p.bpp < choice.best.bpp and p.accuracy >= choice.best.accuracy for p in rivals)
        if choice.outcome == "on target":
            # More than the target is never worth more than 15 % of rate.
            on = [p.bpp for p in rivals if target <= p.accuracy <= target + goal.tolerance]
            assert choice.best.bpp <= 1.16 * min(on, default=math.inf)


@pytest.mark.parametrize("target", [0.97, 0.98, 0.985, 0.99])
def test_a_target_near_one_is_not_answered_with_the_finest_quality(target: float) -> None:
    shot, goal = Known(4.5, 1.0, -1.0), Goal(target)
    (choice,), _ = run([shot], goal)
    assert choice.outcome == "on target" and choice.best.point.qp > 5
    everything = [shot.measure(point) for point in shot.search(goal).points]
    assert choice.best.bpp <= 1.3 * min(probe.bpp for probe in everything if probe.accuracy >= target)


def test_with_no_shortfall_nothing_below_the_target_is_taken() -> None:
    shot = Known(3.0, 1.0, -1.0, scales=(1.0,))
    most = max(shot.measure(point).accuracy for point in shot.search(Goal(0.9)).points)
    (choice,), _ = run([shot], Goal(most + 0.002, shortfall=0.001))
    assert choice.outcome == "below"
    with pytest.raises(CurveError, match="no finer setting is left"):
        run([shot], Goal(most + 0.002, shortfall=0.0))


def test_what_is_wanted_of_one_probe_of_several_shots_is_told_apart_from_a_fault() -> None:
    with pytest.raises(CurveError, match="--max-probes 1 ended the search"):
        run([Known(2.0, 2.0, -1.0), Known(2.0, 0.4, -1.0)], Goal(0.97, max_probes=1))

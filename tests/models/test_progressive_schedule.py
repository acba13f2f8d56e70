"""Eq. (1), Tables II to IV and the epoch counts of seed 001."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder_bridge.errors import ConfigError
from models.train.progressive.plan import (
    GRAY,
    QUALITIES,
    RESOLUTIONS,
    Plan,
    Selection,
    make_plan,
)
from models.train.progressive.schedule import PAPER_CODECS, RESOLUTION, SCHEDULES, ProgressiveSchedule

TABLE_IV = Selection(("vvenc",), (1.0,), (False,), tuple(float(q) for q in range(0, 51, 5)))


def table_iv(speed: float) -> Plan:
    schedule = ProgressiveSchedule(0, 60, 5, speed, 200)
    return make_plan(Selection(TABLE_IV.codecs, TABLE_IV.scales, TABLE_IV.grays, TABLE_IV.qualities, schedule))


@pytest.mark.parametrize(
    ("codec", "parameters", "levels"),
    [
        ("jpeg", (100, 1, 1, 0.05, 65), 48),
        ("jpeg2000", (0, 500, 1, 0.015, 200), 176),
        ("jm", (0, 50, 5, 0.04, 70), 11),
        ("x265", (0, 50, 5, 0.04, 70), 11),
        ("vvenc", (0, 60, 5, 0.025, 72), 11),
    ],
)
def test_table_iii_gives_the_levels_of_table_ii(codec: str, parameters: tuple[float, ...], levels: int) -> None:
    schedule = SCHEDULES.get(codec)
    assert (schedule.p0, schedule.p_inf, schedule.step, schedule.speed, schedule.epochs) == parameters
    assert len(schedule.levels) == levels
    assert len(list(schedule)) == schedule.epochs


@pytest.mark.parametrize("codec", ["jm", "x265", "vvenc"])
def test_video_codecs_meet_every_fifth_qp(codec: str) -> None:
    assert SCHEDULES.get(codec).levels == tuple(range(0, 51, 5))


@pytest.mark.parametrize(("rounding", "epochs"), [(math.trunc, 22), (round, 25), (math.floor, 30)])
def test_only_the_cut_towards_zero_gives_table_iv(rounding: Callable[[float], int], epochs: int) -> None:
    levels = [60 + 5 * rounding(-12 * math.exp(-0.085 * e)) for e in range(200)]
    assert sum(level <= 50 for level in levels) == epochs
    ours = ProgressiveSchedule(0, 60, 5, 0.085, 200)
    assert (list(ours) == levels) == (rounding is math.trunc)


@pytest.mark.parametrize(
    ("speed", "epochs", "complexity"), [(0.085, 22, 26.51), (0.045, 40, 48.19), (0.025, 72, 86.75)]
)
def test_table_iv_complexity_of_progressive_training(speed: float, epochs: int, complexity: float) -> None:
    plan = table_iv(speed)
    (training,) = plan.trainings
    assert training.epochs == epochs == ProgressiveSchedule(0, 60, 5, speed, 200).epochs_through(50)
    assert len(plan.coded) == 11
    share = plan.complexity(training)
    assert share is not None and round(share, 2) == complexity


def test_table_iv_complexity_of_the_others() -> None:
    augmentation = make_plan(TABLE_IV, "augmentation")
    assert augmentation.trainings[0].epochs == 39
    share = augmentation.complexity(augmentation.trainings[0])
    assert share is not None and round(share, 2) == 46.99
    separate = make_plan(TABLE_IV, "separate")
    assert len(separate.trainings) == 11
    assert all(t.legs[0].until_converged and t.parent is None for t in separate.trainings)


def test_the_whole_plan_is_the_papers() -> None:
    plan = make_plan(Selection())
    assert plan.progressive_count == 60
    assert plan.quality_epochs == 4278 == 2 * (200 + 7 * (65 + 70 + 70 + 72))
    assert len(plan.coded) == len(set(plan.coded)) == 1486
    per_codec = {codec: sum(c.codec == codec for c in plan.coded) for codec in PAPER_CODECS}
    assert per_codec == {"jpeg": 672, "jpeg2000": 352, "jm": 154, "x265": 154, "vvenc": 154}
    kinds = [t.kind for t in plan.trainings]
    assert (kinds.count(GRAY), kinds.count(RESOLUTIONS), kinds.count(QUALITIES)) == (1, 2, 58)


def test_chains_are_interlaced() -> None:
    plan = make_plan(Selection())
    done: dict[str, set[str]] = {}
    for training in plan.trainings:
        if training.parent is None:
            assert training.start.name() == "pristine"
        else:
            assert training.start.name() in done[training.parent], "the parent comes first and keeps these weights"
        done[training.name] = {c.name() for c in training.wanted}
    by_name = {t.name: t for t in plan.trainings}
    assert by_name["color/resolution"].parent is None
    assert by_name["gray/resolution"].parent == "gray/pristine"
    chain = by_name["gray/vvenc/0.375"]
    assert (chain.parent, chain.start.scale, chain.start.gray, chain.start.codec) == (
        "gray/resolution",
        0.375,
        True,
        "",
    )
    assert {c.scale for c in chain.wanted} == {0.375}
    assert [t for t in by_name if "jpeg2000" in t] == ["color/jpeg2000/1", "gray/jpeg2000/1"]


def test_resolutions_are_the_papers_seven() -> None:
    assert RESOLUTION.levels == (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25)


def test_a_part_of_the_plan_ends_with_its_last_level() -> None:
    plan = make_plan(Selection(("x265",), (1.0, 0.5), (False,), (20.0, 30.0)))
    by_name = {t.name: t for t in plan.trainings}
    assert list(by_name) == ["color/resolution", "color/x265/1", "color/x265/0.5"]
    assert [leg.configurations[0].scale for leg in by_name["color/resolution"].legs] == [1.0, 0.875, 0.75, 0.625, 0.5]
    chain = by_name["color/x265/0.5"]
    assert [leg.configurations[0].quality for leg in chain.legs] == [0, 5, 10, 15, 20, 25, 30]
    assert [c.quality for c in chain.wanted] == [20, 30]


def test_a_quotient_that_is_whole_does_not_slip() -> None:
    # (1.0 − 0.7)/0.1 is 3.0000000000000004 and (0.7 − 1.0)/0.1 is −3.0000000000000004 in floating point, and the
    # start must be p0 itself; ln 2 as speed halves the distance each epoch, exactly on paper.
    assert ProgressiveSchedule(1.0, 0.7, 0.1, 0.5, 5).level(0) == 1.0
    assert ProgressiveSchedule(0.9, 0.6, 0.1, 0.5, 5).level(0) == 0.9
    halves = ProgressiveSchedule(0, 64, 1, math.log(2), 9)
    assert list(halves) == [0, 32, 48, 56, 60, 62, 63, 64, 64]


@given(
    st.floats(-200, 200),
    st.integers(1, 200),
    st.booleans(),
    st.sampled_from([0.125, 0.1, 0.3, 1.0, 5.0]),
    st.floats(0.001, 2.0),
)
def test_levels_run_from_p0_towards_p_inf(start: float, count: int, falling: bool, step: float, speed: float) -> None:
    start = round(start, 3)
    end = start - count * step if falling else start + count * step
    schedule = ProgressiveSchedule(start, end, step, speed, 60)
    levels = schedule.levels
    assert levels[0] == pytest.approx(start, abs=1e-8)
    signs = {(b > a) for a, b in itertools.pairwise(levels)}
    assert signs <= {not falling}, "monotone: each level is one run of epochs"
    low, high = min(start, end) - 1e-6, max(start, end) + 1e-6
    assert all(low <= level <= high for level in levels)
    assert sum(epochs for _, epochs in schedule.runs) == 60


@pytest.mark.parametrize(
    "values", [(0, 50, 0, 0.04, 70), (0, 50, 5, 0, 70), (0, 50, 5, -1, 70), (0, 50, 5, 0.04, 0), (5, 5, 1, 0.04, 3)]
)
def test_impossible_schedules_are_refused(values: tuple[float, float, float, float, int]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        ProgressiveSchedule(*values)


def test_unknown_parts_are_refused() -> None:
    with pytest.raises(ConfigError, match="level 33 is not reached"):
        Selection(("x265",), qualities=(33.0,))
    with pytest.raises(ConfigError, match="unknown progressive schedule 'av2'"):
        Selection(("av2",))
    with pytest.raises(ConfigError, match=r"level 0\.3 is not reached"):
        Selection(scales=(0.3,))
    with pytest.raises(ConfigError, match="strategy 'magic'"):
        make_plan(Selection(), "magic")


def test_every_codec_of_the_project_has_a_schedule() -> None:
    from encoder_bridge.encoders import ENCODERS

    assert set(ENCODERS.shown()) <= set(SCHEDULES.names())
    assert {"x264", "hm", "vtm"} <= set(SCHEDULES.names())

"""The learned candidate metric: maps of cells, windows, what counts as damage. Its laws are in test_candidates.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encoder_bridge.errors import MetricInputError
from rdo_metrics.candidates import make_candidate_metric
from rdo_metrics.candidates.base import Rect
from rdo_metrics.candidates.learned import LearnedMetric, cell_mean


@pytest.mark.parametrize("rect", [Rect(0, 0, 8, 8), Rect(3, 5, 21, 30), Rect(16, 8, 24, 16), Rect(39, 30, 1, 1)])
def test_the_mean_of_a_rectangle_counts_each_cell_by_its_part(rect: Rect):
    cells = np.random.default_rng(0).random((5, 6))
    whole = cells.repeat(8, axis=0).repeat(8, axis=1)
    assert cell_mean(cells, 8, rect) == pytest.approx(whole[rect.luma].mean())


def test_it_needs_no_driving_network_and_looks_at_the_surroundings():
    metric = make_candidate_metric("learned")
    assert metric.needs == ("losses",) and metric.context >= 32
    assert make_candidate_metric("learned", 48).context == 48


class Flat:
    """Answers the same everywhere, or with maps of a wrong shape."""

    cell = 8

    def __init__(self, level: float, rows: int = 0) -> None:
        self.level, self.rows = level, rows

    def maps(self, originals: np.ndarray, trials: np.ndarray) -> np.ndarray:
        height, width = (-(-side // 8) for side in trials.shape[1:3])
        return np.full((len(trials), height + self.rows, width), self.level)


def flat(toy, *args):
    frame = toy.frame()
    return replace(frame, networks=replace(frame.networks, losses=Flat(*args)), cache={})


def test_the_unit_is_pixels(toy):
    frame = flat(toy, 0.25)
    (values,) = LearnedMetric(margin=0).distortions([toy.choice(frame)])
    np.testing.assert_allclose(values, 0.25 * 64 * 64)
    (wider,) = LearnedMetric(margin=16).distortions([toy.choice(frame)])
    np.testing.assert_allclose(wider, 0.25 * 96 * 96)
    assert LearnedMetric().picture(frame) == pytest.approx(0.25 * frame.size[0] * frame.size[1])


def test_damage_is_where_labels_are_likely_to_change(toy):
    metric = LearnedMetric()
    for level, expected in ((0.05, False), (0.5, True)):
        lost = metric.damage(flat(toy, level))
        assert lost.shape == toy.frame().size and lost.dtype == bool and (lost == expected).all()


def test_a_prediction_below_zero_is_none(toy):
    assert not LearnedMetric().distortions([toy.choice(flat(toy, -0.1))])[0].any()


def test_maps_of_another_size_are_refused(toy):
    with pytest.raises(MetricInputError, match="loss maps of shape"):
        LearnedMetric().distortions([toy.choice(flat(toy, 0.5, 1))])


def test_the_map_of_a_base_is_not_taken_for_that_of_another(toy):
    metric, frame = LearnedMetric(), toy.frame()
    first = metric.picture(frame)
    assert metric.picture(replace(frame, base=frame.original)) == 0 < first
    assert metric.picture(frame) == first

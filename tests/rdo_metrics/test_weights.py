"""From block weights to QP offsets and 8×8 weights: golden arrays and laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from encoder_bridge.config import MapConfig
from encoder_bridge.errors import MetricInputError
from rdo_metrics.maps.base import smooth
from rdo_metrics.weights import (
    advised_strength,
    block_mean,
    block_sum,
    grid_shape,
    interpolate_maps,
    realised_weight,
    residual_weights,
    shrink_weights,
    side_info,
    weights_8x8,
    weights_to_qp,
)

SIZE = (360, 480)
GRID = (23, 30)


def raw_map(seed=0, grid=GRID):
    return np.random.default_rng(seed).lognormal(0, 1, grid).astype(np.float32)


MAPS = arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.floats(0, 1e4, width=32),
)


def test_block_sums_and_means_of_partial_blocks():
    array = np.arange(15, dtype=np.float32).reshape(3, 5)
    assert block_sum(array, 2).tolist() == [[12, 20, 13], [21, 25, 14]]
    assert block_mean(array, 2).tolist() == [[3, 5, 6.5], [10.5, 12.5, 14]]
    assert block_mean(array, 8).tolist() == [[7]]
    assert block_sum(array, 1).tolist() == array.tolist()


def test_block_sum_of_bytes_does_not_wrap():
    assert block_sum(np.full((32, 16), 255, dtype=np.uint8), 16).tolist() == [[65280], [65280]]


@pytest.mark.parametrize("bad", [np.zeros(4), np.zeros((0, 4)), np.zeros((2, 2, 2))])
def test_block_sum_refuses_other_shapes(bad):
    with pytest.raises(MetricInputError, match="expected"):
        block_sum(bad, 2)


def test_shrinkage_by_hand():
    # Mean 2, tau 0.5: (w/2 + 0.5) / 1.5.
    assert shrink_weights(np.array([[0.0, 1.0], [2.0, 5.0]]), 0.5, 100).ravel() == pytest.approx([1 / 3, 2 / 3, 1, 2])


def test_shrinkage_clips_outliers():
    w = np.ones((20, 20))
    w[3, 4] = 1e6
    assert shrink_weights(w, 0.0).max() == pytest.approx(1.0)
    assert shrink_weights(w, 0.0, 100).max() == pytest.approx(400, rel=1e-2)


def test_a_lone_positive_block_survives_the_clip():
    w = np.zeros((20, 20))
    w[3, 4] = 7
    shrunk = shrink_weights(w, 0.3)
    assert shrunk[3, 4] > 100 * shrunk[0, 0] > 0
    assert (shrink_weights(np.zeros((3, 4))) == 1).all()


@settings(max_examples=60, deadline=None)
@given(MAPS, st.floats(0.01, 2), st.sampled_from([1e-6, 3.0, 1e5]))
def test_shrunk_weights_have_mean_1_stay_positive_and_forget_scale(raw, tau, scale):
    shrunk = shrink_weights(raw, tau)
    assert shrunk.mean() == pytest.approx(1, rel=1e-3)
    assert shrunk.min() >= np.float32(tau / (1 + tau)) * 0.999
    assert shrink_weights(raw.astype(np.float64) * scale, tau) == pytest.approx(shrunk, rel=1e-3)


@pytest.mark.parametrize("top", [3e-42, 1e-300, 1e300])
def test_weights_of_any_size_have_mean_1(top):
    raw = np.zeros((4, 5))
    raw[0, :2] = top, top / 2
    expected = shrink_weights(raw / top, 0.5)
    assert expected.mean() == pytest.approx(1, rel=1e-6) and expected[0, 0] > expected[0, 1] > expected[1, 1]
    assert shrink_weights(raw, 0.5) == pytest.approx(expected, rel=1e-6)
    if 1e-45 < top < 1e38:
        assert shrink_weights(raw.astype(np.float32), 0.5).mean() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_bad_weights_are_named(bad):
    w = np.ones((3, 3))
    w[1, 1] = bad
    for function in (shrink_weights, weights_to_qp, lambda a: weights_8x8(a, (48, 48))):
        with pytest.raises(MetricInputError, match=f"weight {bad:g}; expected finite values of at least 0"):
            function(w)


def test_qp_of_powers_of_two():
    offsets = weights_to_qp(np.array([[1.0, 2.0], [4.0, 2.0]]), group=16)
    assert offsets.dtype == np.float32
    assert offsets.tolist() == [[3, 0], [-3, 0]]
    assert weights_to_qp(np.array([[1.0, 2.0], [4.0, 2.0]]), strength=0.5, group=16, whole=False).tolist() == [
        [1.5, 0],
        [-1.5, 0],
    ]


def test_groups_share_the_offset_of_their_mean_weight():
    w = np.array([[1, 3, 1], [2, 2, 1], [4, 4, 0.5]])
    offsets = weights_to_qp(w, group=32, clip=20, whole=False)
    assert np.unique(offsets[:2, :2]).size == 1
    ratio = realised_weight(offsets)
    assert ratio[0, 0] / ratio[0, 2] == pytest.approx(2, rel=1e-5)
    assert ratio[2, 0] / ratio[2, 2] == pytest.approx(8, rel=1e-5)


@pytest.mark.parametrize("group", [16, 32, 64])
@pytest.mark.parametrize("strength", [0.5, 1.0, 3.0])
def test_qp_maps_are_whole_constant_in_groups_clipped_and_recentred(group, strength):
    offsets = weights_to_qp(shrink_weights(raw_map()), strength, 8.0, group)
    side = group // 16
    for y in range(0, GRID[0], side):
        for x in range(0, GRID[1], side):
            assert np.unique(offsets[y : y + side, x : x + side]).size == 1
    assert (offsets == np.rint(offsets)).all()
    assert np.abs(offsets).max() <= 8
    assert abs(offsets.mean()) < 0.1
    assert np.ptp(offsets) >= 2
    assert not np.signbit(offsets[offsets == 0]).any()


@settings(max_examples=60, deadline=None)
@given(MAPS, st.floats(0, 3), st.floats(0.5, 12))
def test_unrounded_offsets_have_mean_zero_within_the_clip(raw, strength, clip):
    offsets = weights_to_qp(raw, strength, clip, 16, whole=False)
    assert np.abs(offsets).max() <= np.float32(clip)
    assert abs(offsets.mean()) < 1e-2
    # An important block never gets a coarser quantiser than an unimportant one.
    order = np.argsort(raw, axis=None)
    assert (np.diff(offsets.ravel()[order]) <= 1e-5).all()


@settings(max_examples=60, deadline=None)
@given(MAPS, st.floats(0, 3), st.sampled_from([16, 32, 64]))
def test_rounded_offsets_stay_within_half_a_step_of_mean_zero(raw, strength, group):
    offsets = weights_to_qp(raw, strength, 8.0, group)
    assert abs(offsets.mean()) <= 0.5 + 1e-6


def test_uniform_weights_and_zero_strength_give_zero_offsets():
    assert (weights_to_qp(np.full(GRID, 7.3)) == 0).all()
    assert (weights_to_qp(raw_map(), strength=0) == 0).all()


def test_group_is_checked():
    with pytest.raises(MetricInputError, match="8; expected 16, 32 or 64"):
        weights_to_qp(raw_map(), group=8)


def test_8x8_weights_from_both_grids_and_odd_sizes():
    weights = weights_8x8(raw_map(grid=(2, 3)), (25, 40))
    assert weights.shape == (4, 5) and weights.dtype == np.float32
    assert weights.mean() == pytest.approx(1, abs=1e-6)
    assert weights[0, 0] == weights[1, 1] and weights[0, 0] != weights[0, 2]
    fine = np.arange(1, 21, dtype=np.float32).reshape(4, 5)
    assert weights_8x8(fine, (25, 40), clip=20, block=8) == pytest.approx(fine / 10.5, rel=1e-6)
    with pytest.raises(MetricInputError, match=r"expected \(4, 5\) blocks of 8"):
        weights_8x8(fine[1:], (25, 40), block=8)


def test_8x8_weights_equal_what_the_qp_map_would_realise():
    w = shrink_weights(raw_map())
    offsets = weights_to_qp(w, 0.8, 50, 16, whole=False)
    fine = weights_8x8(w, (368, 480), 0.8, 50)[::2, ::2]
    ratio = fine / realised_weight(offsets)
    assert ratio == pytest.approx(np.full_like(ratio, ratio[0, 0]), rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(MAPS)
def test_residual_times_realised_is_the_weight(raw):
    size = (raw.shape[0] * 16 - 3, raw.shape[1] * 16 - 9)
    w = shrink_weights(raw)
    full = weights_8x8(w, size)
    offsets = weights_to_qp(w, group=32)
    left = residual_weights(full, offsets)
    assert left.mean() == pytest.approx(1, rel=1e-5)
    realised = realised_weight(offsets).repeat(2, 0).repeat(2, 1)[: full.shape[0], : full.shape[1]]
    product = left * realised
    assert product / product.mean() == pytest.approx(full, rel=1e-4)


def test_nothing_is_left_where_the_qp_map_says_it_all():
    w = np.array([[1.0, 2.0], [4.0, 2.0]])
    left = residual_weights(weights_8x8(w, (32, 32)), weights_to_qp(w, group=16))
    assert left == pytest.approx(np.ones((4, 4)), rel=1e-6)
    with pytest.raises(MetricInputError, match="QP offsets"):
        residual_weights(np.ones((4, 4)), np.zeros((3, 2)))


@pytest.mark.parametrize(("qp_map", "weights"), [(True, False), (False, True), (True, True)])
def test_side_info_sends_what_is_asked(qp_map, weights):
    info = side_info(raw_map(), MapConfig(qp_map=qp_map, weights=weights, group=64), SIZE)
    assert (info.qp_offset is not None) == qp_map
    assert (info.weight is not None) == weights
    assert info.lambda_scale == 1.0
    if info.qp_offset is not None:
        assert info.qp_offset.shape == GRID and info.qp_offset.dtype == np.float32
    if info.weight is not None:
        assert info.weight.shape == (45, 60) and info.weight.mean() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("group", [16, 32, 64])
def test_side_info_never_counts_a_weight_twice(group):
    raw = smooth(raw_map(), 1.5, 16) ** 3
    both = side_info(raw, MapConfig(qp_map=True, weights=True, group=group), SIZE)
    alone = side_info(raw, MapConfig(qp_map=False, weights=True), SIZE)
    qp_only = side_info(raw, MapConfig(group=group), SIZE)
    assert (both.qp_offset == qp_only.qp_offset).all()
    realised = realised_weight(both.qp_offset).repeat(2, 0).repeat(2, 1)[:45, :60]
    product = both.weight * realised
    assert product / product.mean() == pytest.approx(alone.weight, rel=1e-4)
    # What is left to weigh inside the groups varies less than the whole, the less the smaller the groups.
    assert np.log(both.weight).std() < {16: 0.4, 32: 0.6, 64: 0.85}[group] * np.log(alone.weight).std()


def test_a_map_that_says_nothing_is_no_side_information():
    info = side_info(np.ones(GRID), MapConfig(qp_map=True, weights=True), SIZE)
    assert info.weight is None and info.qp_offset is None and info.lambda_scale == 1.0
    assert side_info(np.zeros(GRID), MapConfig(), SIZE).qp_offset is None


def test_side_info_from_an_8_grid():
    fine = raw_map(grid=(45, 60))
    info = side_info(fine, MapConfig(qp_map=True, weights=True), SIZE, block=8)
    assert info.qp_offset.shape == GRID and info.weight.shape == (45, 60)
    assert np.unique(info.weight[:2, :2]).size == 4
    with pytest.raises(MetricInputError, match=r"for a 480x360 picture; expected \(23, 30\) blocks of 16"):
        side_info(fine, MapConfig(), SIZE)


def test_interpolation_is_linear_and_holds_at_the_ends():
    maps = {2: np.zeros((2, 3)), 6: np.full((2, 3), 8.0), 8: np.full((2, 3), 4.0)}
    values = [interpolate_maps(maps, f)[0, 0] for f in (0, 2, 3, 4, 6, 7, 8, 11)]
    assert values == [0, 0, 2, 4, 8, 6, 4, 4]
    assert interpolate_maps(maps, 5).dtype == np.float32
    with pytest.raises(MetricInputError, match="expected at least one map"):
        interpolate_maps({}, 0)
    with pytest.raises(MetricInputError, match="all of one shape"):
        interpolate_maps({0: np.zeros((2, 3)), 1: np.zeros((3, 2))}, 0)


def test_advised_strength():
    assert [advised_strength(*a) for a in (("intra", False), ("lowdelay", True), ("lowdelay", False))] == [1, 1, 0.5]


def test_grid_shape_rounds_up():
    assert grid_shape(360, 480, 16) == (23, 30)
    assert grid_shape(1, 1, 16) == (1, 1)

"""Blocks drawn by accuracy: what the protocol of QoMEX 2023, section III-E, promises."""

from __future__ import annotations

import numpy as np
import pytest

from encoder_bridge.errors import MetricInputError
from rdo_metrics.block_sampling import Block, BlockSampler, Population, window_sums


def agreement(picture: int, configuration: int) -> np.ndarray:
    """Blobs of disagreement, more of them in later configurations."""
    rng = np.random.default_rng([picture, configuration])
    coarse = rng.random((8, 10)) > configuration / 6
    fine = rng.random((96, 120)) > 0.1 * configuration
    return np.kron(coarse, np.ones((12, 12), bool)) & fine


def population(**more: object) -> Population:
    return Population(5, 6, agreement, **more)  # type: ignore[arg-type]


def bin_of(block: Block, bins: int = 10) -> int:
    return min(int(round(block.accuracy * block.side**2) * bins // block.side**2), bins - 1)


def test_every_range_of_accuracy_is_met_equally_often():
    blocks = BlockSampler(population(), 16, seed=3).draw(3000)
    counts = np.bincount([bin_of(b) for b in blocks], minlength=10)
    assert counts.sum() == 3000
    # Uniform over ten ranges: a deviation of five standard errors would be a fault.
    assert np.abs(counts - 300).max() < 5 * np.sqrt(300 * 0.9)


def test_pictures_and_configurations_are_uniform_where_all_have_the_range():
    # Every picture holds every accuracy: a ramp from none right to all right.
    ramp = np.tile(np.arange(120) % 24 < np.linspace(0, 25, 120), (96, 1))
    blocks = BlockSampler(Population(4, 3, lambda p, c: ramp), 8, bins=4, seed=1).draw(2400)
    pairs = np.bincount([b.picture * 3 + b.configuration for b in blocks], minlength=12)
    assert np.abs(pairs - 200).max() < 5 * np.sqrt(200)


def test_accuracy_is_the_share_of_equal_labels_in_the_block():
    for side in (5, 16, 32):
        for block in BlockSampler(population(), side, seed=side).draw(60, skip_empty=True):
            inside = agreement(block.picture, block.configuration)[block.place]
            assert inside.shape == (side, side)
            assert block.accuracy == pytest.approx(inside.mean(), abs=1e-12)


@pytest.mark.parametrize("equal", [0, 9, 10, 19, 20, 89, 90, 99, 100])
def test_ranges_are_closed_below_and_open_above_but_for_the_last(equal: int):
    """Eq. (3) for N = 10, k = 10: S = 10 is the first count of the second range, S = 100 belongs to the last."""
    mask = np.zeros(100, bool)
    mask[:equal] = True
    sampler = BlockSampler(Population(1, 1, lambda p, c: mask.reshape(10, 10)), 10)
    found = sampler._present(0, 0)
    assert found.tolist() == [j == min(equal // 10, 9) for j in range(10)]


def test_blocks_with_an_unlabelled_pixel_are_never_drawn():
    known = np.ones((96, 120), bool)
    known[40, 60] = known[:20] = False
    for side in (8, 24):
        blocks = BlockSampler(population(labelled=lambda p: known), side).draw(400, skip_empty=True)
        assert all(known[b.place].all() for b in blocks)
        assert any(b.y < 48 for b in blocks) and any(b.y > 48 for b in blocks)


def test_every_place_of_a_range_can_be_drawn():
    mask = np.ones((12, 13), bool)
    blocks = BlockSampler(Population(1, 1, lambda p, c: mask), 8).draw(2000, skip_empty=True)
    assert {(b.y, b.x) for b in blocks} == {(y, x) for y in range(5) for x in range(6)}


def test_a_range_is_sought_in_other_pictures_until_it_is_found():
    def rare(picture: int, configuration: int) -> np.ndarray:
        return np.full((16, 16), (picture, configuration) != (7, 3))

    blocks = BlockSampler(Population(10, 10, rare), 16, bins=2, seed=2).draw(40)
    low = [b for b in blocks if b.accuracy == 0]
    assert 8 < len(low) < 32 and {(b.picture, b.configuration) for b in low} == {(7, 3)}


def test_a_range_that_nothing_has_ends_the_search():
    perfect = Population(3, 2, lambda p, c: np.ones((20, 20), bool))
    with pytest.raises(MetricInputError, match=r"no 8x8 block with an accuracy of 0.* in 6 coded pictures"):
        BlockSampler(perfect, 8).draw(100)
    assert {b.accuracy for b in BlockSampler(perfect, 8).draw(100, skip_empty=True)} == {1.0}
    nothing = Population(3, 2, lambda p, c: np.ones((20, 20), bool), lambda p: np.zeros((20, 20), bool))
    with pytest.raises(MetricInputError, match="no 8x8 block"):
        BlockSampler(nothing, 8).draw(1, skip_empty=True)
    many = Population(300, 10, lambda p, c: np.ones((8, 8), bool))
    with pytest.raises(MetricInputError, match="in 3000 coded pictures"):
        BlockSampler(many, 8, bins=2, seed=1, patience=50).draw(20)


def test_a_range_that_one_picture_in_thousands_has_is_found_after_patience_ends():
    def rare(picture: int, configuration: int) -> np.ndarray:
        return np.full((8, 8), (picture, configuration) not in {(11, 3), (170, 8)})

    blocks = BlockSampler(Population(200, 10, rare), 8, bins=2, seed=4, patience=3).draw(60)
    low = [(b.picture, b.configuration) for b in blocks if b.accuracy == 0]
    assert 15 < len(low) < 45 and set(low) == {(11, 3), (170, 8)}
    # Both holders are as likely, whichever way they were found.
    assert 5 <= low.count((11, 3)) <= len(low) - 5


def test_a_seed_names_the_blocks_and_the_cache_does_not():
    drawn = [BlockSampler(population(), 16, seed=s, cache_bytes=c).draw(200) for s, c in ((1, 1 << 30), (1, 1), (2, 1))]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_cache_is_bounded_and_spares_the_labels():
    asked: list[tuple[int, int]] = []

    def counted(picture: int, configuration: int) -> np.ndarray:
        asked.append((picture, configuration))
        return agreement(picture, configuration)

    BlockSampler(Population(5, 6, counted), 16).draw(500)
    assert len(asked) == len(set(asked)) <= 30
    asked.clear()
    BlockSampler(Population(5, 6, counted), 16, cache_bytes=1).draw(500)
    assert len(asked) > 100


@pytest.mark.parametrize("side", [1, 2, 7, 60])
def test_window_sums_count_every_window(side: int):
    mask = np.random.default_rng(side).random((61, 70)) > 0.3
    windows = np.lib.stride_tricks.sliding_window_view(mask, (side, side))
    np.testing.assert_array_equal(window_sums(mask, side), windows.sum(axis=(2, 3)))


def test_window_sums_of_large_blocks_do_not_overflow():
    assert window_sums(np.ones((300, 300), bool), 300).tolist() == [[90000]]


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(MetricInputError, match="at least 20x20"):
        BlockSampler(Population(1, 1, lambda p, c: np.ones((16, 30), bool)), 20).draw(1)
    with pytest.raises(MetricInputError, match="bins"):
        BlockSampler(population(), 3, bins=10)
    with pytest.raises(MetricInputError, match="at least one"):
        Population(0, 3, agreement)
    with pytest.raises(MetricInputError, match="differ in size"):
        BlockSampler(population(labelled=lambda p: np.ones((90, 120), bool)), 8).draw(1)

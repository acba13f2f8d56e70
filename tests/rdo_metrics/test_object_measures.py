"""Laws and golden values of the object measures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from encoder_bridge.errors import MetricInputError
from rdo_metrics.objects import (
    box_iou,
    cosine_similarity_difference,
    delta_object_iou,
    jaro_similarity,
    object_iou,
)

UNIT = np.array([[0.0, 0.0, 10.0, 10.0]])
SHIFTED = UNIT + np.array([5.0, 0.0, 5.0, 0.0])


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    low = rng.uniform(0, 50, (count, 2))
    return np.concatenate([low, low + rng.uniform(0, 40, (count, 2))], axis=1)


def test_box_iou_is_that_of_torchvision():
    torch = pytest.importorskip("torch")
    reference = pytest.importorskip("torchvision").ops.box_iou
    rng = np.random.default_rng(3)
    a, b = boxes(rng, 40), boxes(rng, 30)
    expected = reference(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    assert np.abs(box_iou(a, b) - expected).max() < 1e-12


def test_half_a_box_shifted_is_a_third():
    assert box_iou(UNIT, SHIFTED)[0, 0] == pytest.approx(1 / 3)


def test_boxes_without_area_have_no_iou_rather_than_nan():
    point = np.array([[3.0, 3.0, 3.0, 3.0]])
    assert box_iou(point, point)[0, 0] == 0.0


@pytest.mark.parametrize("wrong", [np.zeros((2, 3)), np.array([[5.0, 0, 1, 1]]), np.array([[0.0, 0, np.nan, 1]])])
def test_what_is_no_box_is_refused(wrong: np.ndarray):
    with pytest.raises(MetricInputError, match="box"):
        box_iou(wrong, UNIT)


def test_object_iou_takes_the_best_detection_of_the_class():
    found = np.concatenate([SHIFTED, UNIT])
    assert object_iou(UNIT, found)[0] == 1.0
    assert object_iou(UNIT, found, np.array([0]), np.array([0, 1]))[0] == pytest.approx(1 / 3)
    assert object_iou(UNIT, found[:0])[0] == 0.0


def test_labels_of_another_number_are_refused():
    with pytest.raises(MetricInputError, match="labels"):
        object_iou(UNIT, UNIT, np.array([0, 1]), np.array([0]))


def test_delta_object_iou_is_what_was_lost():
    nothing = UNIT[:0]
    assert delta_object_iou(UNIT, (UNIT, None), (nothing, None))[0] == 1.0
    assert delta_object_iou(UNIT, (SHIFTED, None), (UNIT, None))[0] == pytest.approx(-2 / 3)
    rng = np.random.default_rng(5)
    truth, found = boxes(rng, 6), boxes(rng, 9)
    assert not delta_object_iou(truth, (found, None), (found, None)).any()


@settings(deadline=None, max_examples=30)
@given(arrays(np.float64, (3, 8), elements=st.floats(0.1, 5)))
def test_a_face_that_is_not_changed_loses_nothing(faces: np.ndarray):
    assert np.abs(cosine_similarity_difference(faces, faces * 3)).max() < 1e-12


def test_cosine_difference_of_right_and_opposite_directions():
    original, coded = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 2.0], [-3.0, 0.0]])
    assert cosine_similarity_difference(original, coded) == pytest.approx([1.0, 2.0])
    assert cosine_similarity_difference(original, coded, reference=coded) == pytest.approx([-1.0, -2.0])


@pytest.mark.parametrize("wrong", [np.zeros((2, 4)), np.ones((3, 4)), np.full((2, 4), np.nan), np.ones(4)])
def test_embeddings_without_direction_or_partner_are_refused(wrong: np.ndarray):
    with pytest.raises(MetricInputError, match="embedding"):
        cosine_similarity_difference(np.ones((2, 4)), wrong)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [("MARTHA", "MARHTA", 0.944444), ("DIXON", "DICKSONX", 0.766667), ("JELLYFISH", "SMELLYFISH", 0.896296)],
)
def test_jaro_of_the_textbook(a: str, b: str, expected: float):
    pytest.importorskip("rapidfuzz")
    assert jaro_similarity([a], [b])[0] == pytest.approx(expected, abs=1e-6)


def test_jaro_of_nothing():
    pytest.importorskip("rapidfuzz")
    assert jaro_similarity(["", "AB12", ""], ["", "", "X"]).tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(MetricInputError, match="texts"):
        jaro_similarity(["A"], [])

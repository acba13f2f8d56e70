"""Confusion matrices and their aggregates."""

from __future__ import annotations

import numpy as np
import pytest

from encoder_bridge.errors import ConfigError, MetricInputError
from rdo_metrics.accuracy import ACCURACY_METRICS, agreement, confusion, iou, miou
from rdo_metrics.bootstrap import bootstrap_bd_rate

REFERENCE = np.array([[0, 0, 1], [1, 2, 255]], dtype=np.uint8)
PREDICTION = np.array([[0, 1, 1], [1, 1, 0]], dtype=np.uint8)


def test_rows_are_the_reference():
    conf = confusion(PREDICTION, REFERENCE, 4)
    assert conf.dtype == np.int64
    assert conf.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_golden_aggregates():
    conf = confusion(PREDICTION, REFERENCE, 4)
    assert agreement(conf) == pytest.approx(3 / 5)
    # IoU: class 0 1/2, class 1 2/4, class 2 0/1; class 3 is absent from the reference.
    assert miou(conf) == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert iou(conf)[:3] == pytest.approx([0.5, 0.5, 0.0])
    assert np.isnan(iou(conf)[3])


def test_matrices_of_frames_add_up():
    rng = np.random.default_rng(0)
    pred, ref = rng.integers(0, 5, (2, 3, 20, 30))
    total = confusion(pred, ref, 5, ignore=None)
    assert (sum(confusion(p, r, 5, ignore=None) for p, r in zip(pred, ref, strict=True)) == total).all()
    assert total.sum() == 1800


def test_brute_force_agrees():
    rng = np.random.default_rng(1)
    pred, ref = rng.integers(0, 4, (2, 200)).astype(np.uint8)
    expected = [
        ((pred == c) & (ref == c)).sum() / ((pred == c) | (ref == c)).sum() for c in range(4) if (ref == c).any()
    ]
    assert miou(confusion(pred, ref, 4)) == pytest.approx(np.mean(expected))


def test_a_class_predicted_but_absent_from_the_reference_only_costs_the_others():
    conf = np.array([[8, 2], [0, 0]])
    assert miou(conf) == pytest.approx(0.8)


def test_rare_classes_are_left_out_by_share():
    conf = np.diag([9990, 0, 0]).astype(np.int64)
    conf[1] = [9, 1, 0]
    assert miou(conf) == pytest.approx((9990 / 9999 + 0.1) / 2)
    assert miou(conf, min_share=0.002) == pytest.approx(9990 / 9999)
    assert ACCURACY_METRICS.get("miou_common").compute(conf) == miou(conf, min_share=0.002)


def test_void_label_is_a_parameter():
    reference = np.array([0, 1, 11])
    assert confusion(np.array([0, 1, 5]), reference, 11, ignore=11).sum() == 2
    with pytest.raises(MetricInputError, match="reference label 11; expected 0–10"):
        confusion(np.array([0, 1, 5]), reference, 11)


def test_identical_labels_are_perfect_for_every_registered_metric():
    labels = np.random.default_rng(0).integers(0, 11, (40, 50))
    conf = confusion(labels, labels, 11)
    worse = confusion(np.where(labels < 3, (labels + 1) % 11, labels), labels, 11)
    assert {"agreement", "miou"} <= set(ACCURACY_METRICS.names())
    for name in ACCURACY_METRICS:
        metric = ACCURACY_METRICS.get(name)
        assert metric.compute(conf) == (metric.high if metric.higher_better else metric.low)
        assert metric.low <= metric.compute(worse) < metric.high


@pytest.mark.parametrize("name", list(ACCURACY_METRICS))
def test_many_matrices_at_once_are_what_each_gives_alone(name):
    drawn = np.random.default_rng(3)
    confs = drawn.integers(0, 50, (40, 6, 6)) * (drawn.random((40, 6, 6)) < 0.4)
    confs[:, 2] = 0  # a class that the reference lacks
    confs[7] = 0
    metric = ACCURACY_METRICS.get(name)
    values = metric.each(confs)
    assert np.isnan(values[7]) and np.isfinite(np.delete(values, 7)).all()
    for conf, value in zip(np.delete(confs, 7, axis=0), np.delete(values, 7), strict=True):
        assert value == pytest.approx(metric.compute(conf), abs=1e-12)


@pytest.mark.parametrize("name", list(ACCURACY_METRICS))
def test_an_interval_is_the_same_by_one_matrix_and_by_many(name):
    drawn = np.random.default_rng(5)
    metric = ACCURACY_METRICS.get(name)
    arms = []
    for arm in range(2):
        arms.append([])
        for point in range(5):
            hits = np.eye(4) * 100 * (1 + point) + drawn.integers(0, 40, (12, 4, 4))
            arms[arm].append((drawn.integers(90, 110, 12) * 2.0**point * (1 + 0.2 * arm), hits))
    alone, many = (
        bootstrap_bd_rate(*arms, aggregate, method="pchip", n=60, min_overlap=0.1)
        for aggregate in (metric.compute, metric)
    )
    assert many.interval == pytest.approx(alone.interval, rel=1e-9) and many.undefined == alone.undefined


def test_refusals():
    with pytest.raises(MetricInputError, match="expected the same"):
        confusion(PREDICTION, REFERENCE[:1], 3)
    with pytest.raises(MetricInputError, match="expected integers"):
        confusion(PREDICTION.astype(float), REFERENCE, 3)
    with pytest.raises(MetricInputError, match="predicted label 1; expected 0–0"):
        confusion(np.array([1]), np.array([0]), 1)
    with pytest.raises(MetricInputError, match="0 labelled pixels"):
        agreement(np.zeros((3, 3)))
    with pytest.raises(MetricInputError, match="no class"):
        miou(np.zeros((3, 3)))
    with pytest.raises(MetricInputError, match=r"expected \(C, C\)"):
        miou(np.zeros((3, 4)))
    with pytest.raises(ConfigError, match="known: agreement"):
        ACCURACY_METRICS.get("dice")

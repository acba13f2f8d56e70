"""mIoU and agreement are those of mmsegmentation and torchmetrics, on random label maps."""

from __future__ import annotations

import numpy as np
import pytest

from rdo_metrics.accuracy import ACCURACY_METRICS, agreement, confusion, iou, miou

torch = pytest.importorskip("torch")

IGNORE = 255
CASES = [(seed, classes, share, absent) for seed, classes, share, absent in
         [(0, 11, 0.0, 0), (1, 11, 0.2, 0), (2, 19, 0.1, 5), (3, 3, 0.5, 1), (4, 2, 0.0, 1)]]  # fmt: skip


def label_maps(seed: int, classes: int, ignored: float, absent: int) -> tuple[np.ndarray, np.ndarray]:
    """(T, H, W) prediction and reference; the last ``absent`` classes are in neither, one is only predicted."""
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, classes - absent, (4, 30, 41)).astype(np.uint8)
    prediction = np.where(rng.random(reference.shape) < 0.6, reference, rng.integers(0, classes - absent))
    if classes - absent > 2:
        reference[reference == 1] = 0
    reference[rng.random(reference.shape) < ignored] = IGNORE
    return np.where(prediction == IGNORE, 0, prediction).astype(np.uint8), reference


@pytest.fixture(scope="module")
def mmseg_metric():
    pytest.importorskip("mmseg")
    from models.train import mmcv_shim

    mmcv_shim.install()
    from mmseg.evaluation.metrics import IoUMetric

    return IoUMetric


@pytest.mark.parametrize("case", CASES)
def test_miou_and_agreement_are_those_of_mmsegmentation(case, mmseg_metric):
    prediction, reference = label_maps(*case)
    classes = case[1]
    areas = [
        mmseg_metric.intersect_and_union(torch.from_numpy(p), torch.from_numpy(r.astype(np.int64)), classes, IGNORE)
        for p, r in zip(prediction, reference, strict=True)
    ]
    total = [sum(parts) for parts in zip(*areas, strict=True)]
    expected = mmseg_metric.total_area_to_metrics(*total, metrics=["mIoU"])
    conf = confusion(prediction, reference, classes, IGNORE)
    np.testing.assert_allclose(iou(conf), expected["IoU"], rtol=1e-6)
    assert agreement(conf) == pytest.approx(float(expected["aAcc"]), rel=1e-6)
    either = ACCURACY_METRICS.get("miou_either").compute(conf)
    assert either == pytest.approx(float(np.nanmean(expected["IoU"])), rel=1e-6)
    # Ours leaves out classes that are only predicted: what a mean over classes of the reference is.
    present = conf.sum(axis=1) > 0
    assert miou(conf) == pytest.approx(float(np.asarray(expected["IoU"])[present].mean()), rel=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_miou_and_agreement_are_those_of_torchmetrics(case):
    classification = pytest.importorskip("torchmetrics.functional.classification")
    prediction, reference = label_maps(*case)
    classes = case[1]
    pair = torch.from_numpy(prediction.astype(np.int64)), torch.from_numpy(reference.astype(np.int64))
    each = classification.multiclass_jaccard_index(*pair, classes, average="none", ignore_index=IGNORE).numpy()
    right = classification.multiclass_accuracy(*pair, classes, average="micro", ignore_index=IGNORE)
    conf = confusion(prediction, reference, classes, IGNORE)
    # torchmetrics writes 0 where we and mmsegmentation write NaN: classes in neither.
    np.testing.assert_allclose(np.nan_to_num(iou(conf)), each, rtol=1e-6)
    assert agreement(conf) == pytest.approx(float(right), rel=1e-6)


def test_without_a_class_that_is_only_predicted_all_means_agree(mmseg_metric):
    rng = np.random.default_rng(9)
    reference = rng.integers(0, 6, (1, 50, 50)).astype(np.uint8)
    prediction = np.where(rng.random(reference.shape) < 0.7, reference, (reference + 1) % 6).astype(np.uint8)
    conf = confusion(prediction, reference, 6)
    areas = mmseg_metric.intersect_and_union(
        torch.from_numpy(prediction[0]), torch.from_numpy(reference[0].astype(np.int64)), 6, IGNORE
    )
    expected = float(np.nanmean(mmseg_metric.total_area_to_metrics(*areas, metrics=["mIoU"])["IoU"]))
    assert miou(conf) == pytest.approx(expected, rel=1e-6)
    assert ACCURACY_METRICS.get("miou_either").compute(conf) == pytest.approx(expected, rel=1e-6)

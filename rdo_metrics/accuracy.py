"""Segmentation accuracy from confusion matrices, which add over frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError
from encoder_bridge.registry import Registry


@dataclass(frozen=True)
class AccuracyMetric:
    """A named aggregate of summed confusion matrices. Register an instance: ``ACCURACY_METRICS.register("miou")(…)``.

    Attributes:
        compute: (C, C) summed confusion matrix → value.
        higher_better: direction.
        low, high: range of the values.
        description: one line for ``mrdo metrics``.
    """

    compute: Callable[[NDArray[Any]], float]
    higher_better: bool
    low: float
    high: float
    description: str


ACCURACY_METRICS: Registry[AccuracyMetric] = Registry("accuracy_metric")


def confusion(
    prediction: NDArray[Any], reference: NDArray[Any], classes: int, ignore: int | None = 255
) -> NDArray[np.int64]:
    """Count pixels by (reference class, predicted class).

    Args:
        prediction: integer labels of any shape, each in 0…classes−1 where the reference is not ignored.
        reference: integer labels of the same shape; ``ignore`` (and nothing else outside 0…classes−1) may occur.
        classes: C.
        ignore: reference label of void pixels, left out; None where there is none.

    Returns:
        (C, C) int64, rows the reference. Matrices of frames add up to the sequence's.

    Raises MetricInputError on different shapes, labels that are not integers, or labels outside the range.
    """
    if prediction.shape != reference.shape:
        raise MetricInputError(f"labels of shape {prediction.shape} against {reference.shape}; expected the same")
    if prediction.dtype.kind not in "iu" or reference.dtype.kind not in "iu":
        raise MetricInputError(f"labels of type {prediction.dtype} and {reference.dtype}; expected integers")
    ref, pred = reference.ravel(), prediction.ravel()
    if ignore is not None:
        valid = ref != ignore
        ref, pred = ref[valid], pred[valid]
    _check_range(ref, classes, "reference")
    _check_range(pred, classes, "predicted")
    cells = ref.astype(np.int64) * classes + pred.astype(np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes).astype(np.int64, copy=False)


def iou(conf: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of each class, (C,) float64 in 0–1, higher is better; NaN for classes in neither."""
    _check_square(conf)
    hits = np.diagonal(conf).astype(np.float64)
    union = conf.sum(axis=0) + conf.sum(axis=1) - hits
    return np.asarray(np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0))


def miou(conf: NDArray[Any], min_share: float = 0.0) -> float:
    """Mean intersection over union, 0–1, higher is better.

    Args:
        conf: (C, C) confusion matrix summed over all frames (mIoU is not a mean of per-frame values).
        min_share: classes with a smaller share of the reference's pixels are left out of the mean (0.002 is usual:
            a handful of pixels of a rare class otherwise moves the mean by points).

    Classes absent from the reference are left out. Raises MetricInputError where no class is left.
    """
    _check_square(conf)
    support = conf.sum(axis=1)
    total = support.sum()
    kept = (support > 0) & (support >= min_share * total)
    if not kept.any():
        raise MetricInputError(
            f"mIoU over {int(total)} labelled pixels: no class has a share of at least {min_share:g}"
        )
    hits = np.diagonal(conf)
    union = support + conf.sum(axis=0) - hits
    return float((hits[kept] / union[kept]).mean())


def agreement(conf: NDArray[Any]) -> float:
    """Share of pixels with the reference's label (pixel accuracy), 0–1, higher is better.

    Raises MetricInputError for an empty confusion matrix.
    """
    _check_square(conf)
    total = conf.sum()
    if total == 0:
        raise MetricInputError("agreement over 0 labelled pixels; expected at least 1")
    return float(np.trace(conf) / total)


def _miou_common(conf: NDArray[Any]) -> float:
    return miou(conf, min_share=0.002)


def _miou_either(conf: NDArray[Any]) -> float:
    found = iou(conf)
    if np.isnan(found).all():
        raise MetricInputError("mIoU over 0 labelled pixels; expected at least 1")
    return float(np.nanmean(found))


ACCURACY_METRICS.register("agreement")(AccuracyMetric(agreement, True, 0.0, 1.0, "pixels labelled as in the reference"))
ACCURACY_METRICS.register("miou")(AccuracyMetric(miou, True, 0.0, 1.0, "mean IoU over classes in the reference"))
ACCURACY_METRICS.register("miou_common")(
    AccuracyMetric(_miou_common, True, 0.0, 1.0, "mean IoU over classes with at least 0.2 % of the reference")
)
ACCURACY_METRICS.register("miou_either")(
    AccuracyMetric(
        _miou_either, True, 0.0, 1.0, "mean IoU over classes in either labelling, as mmsegmentation takes it"
    )
)


def _check_square(conf: NDArray[Any]) -> None:
    if conf.ndim != 2 or conf.shape[0] != conf.shape[1] or not conf.size:
        raise MetricInputError(f"confusion matrix of shape {conf.shape}; expected (C, C)")


def _check_range(labels: NDArray[Any], classes: int, what: str) -> None:
    if labels.size and (int(labels.max()) >= classes or int(labels.min()) < 0):
        bad = int(labels.max()) if int(labels.max()) >= classes else int(labels.min())
        raise MetricInputError(f"{what} label {bad}; expected 0–{classes - 1} or the ignored label")

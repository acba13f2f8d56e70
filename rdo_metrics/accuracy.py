"""Segmentation accuracy from confusion matrices, which add over frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
        many: (N, C, C) → (N,), NaN where ``compute`` would raise; where it is given, resampling is many times faster.
    """

    compute: Callable[[NDArray[Any]], float]
    higher_better: bool
    low: float
    high: float
    description: str
    many: Callable[[NDArray[Any]], NDArray[np.float64]] | None = None

    def each(self, confs: NDArray[Any]) -> NDArray[np.float64]:
        """(N,) float64 values of N summed confusion matrices, (N, C, C); NaN where there is nothing to measure."""
        if self.many is not None:
            return self.many(confs)
        return one_by_one(self.compute, confs)


def one_by_one(compute: Callable[[NDArray[Any]], float], totals: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) float64 values of N sums of statistics (N, …); NaN where ``compute`` raises MetricInputError."""

    def value(total: NDArray[Any]) -> float:
        try:
            return compute(total)
        except MetricInputError:
            return math.nan

    return np.array([value(total) for total in totals], dtype=np.float64)


ACCURACY_METRICS: Registry[AccuracyMetric] = Registry("accuracy_metric")
_COMMON_SHARE = 0.002


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
    value = float(_mious(conf[None], min_share)[0])
    if math.isnan(value):
        raise MetricInputError(
            f"mIoU over {int(conf.sum())} labelled pixels: no class has a share of at least {min_share:g}"
        )
    return value


def agreement(conf: NDArray[Any]) -> float:
    """Share of pixels with the reference's label (pixel accuracy), 0–1, higher is better.

    Raises MetricInputError for an empty confusion matrix.
    """
    _check_square(conf)
    value = float(_agreements(conf[None])[0])
    if math.isnan(value):
        raise MetricInputError("agreement over 0 labelled pixels; expected at least 1")
    return value


def _mious(confs: NDArray[Any], min_share: float = 0.0) -> NDArray[np.float64]:
    support, hits = confs.sum(axis=2), np.diagonal(confs, axis1=1, axis2=2)
    kept = (support > 0) & (support >= min_share * support.sum(axis=1, keepdims=True))
    union = support + confs.sum(axis=1) - hits
    return _ratio(np.divide(hits, union, out=np.zeros(kept.shape), where=kept).sum(axis=1), kept.sum(axis=1))


def _agreements(confs: NDArray[Any]) -> NDArray[np.float64]:
    return _ratio(np.trace(confs, axis1=1, axis2=2), confs.sum(axis=(1, 2)))


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> NDArray[np.float64]:
    """above / below, NaN where that is 0 / 0."""
    return np.asarray(np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0))


def _miou_either(conf: NDArray[Any]) -> float:
    found = iou(conf)
    if np.isnan(found).all():
        raise MetricInputError("mIoU over 0 labelled pixels; expected at least 1")
    return float(np.nanmean(found))


ACCURACY_METRICS.register("agreement")(
    AccuracyMetric(agreement, True, 0.0, 1.0, "pixels labelled as in the reference", _agreements)
)
ACCURACY_METRICS.register("miou")(
    AccuracyMetric(miou, True, 0.0, 1.0, "mean IoU over classes in the reference", _mious)
)
ACCURACY_METRICS.register("miou_common")(
    AccuracyMetric(
        partial(miou, min_share=_COMMON_SHARE),
        True,
        0.0,
        1.0,
        "mean IoU over classes with at least 0.2 % of the reference",
        partial(_mious, min_share=_COMMON_SHARE),
    )
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

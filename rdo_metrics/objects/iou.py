"""Intersection over union of boxes, and the best of it for each object."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError

Boxes = NDArray[Any]
"""(N, 4) x0, y0, x1, y1 in any one unit, x1 ≥ x0, y1 ≥ y0."""


def box_iou(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """Area of the intersection over that of the union, of every pair. Higher is better.

    Args:
        first, second: (N, 4) and (M, 4) boxes.

    Returns:
        (N, M) float64 in 0..1, what ``torchvision.ops.box_iou`` gives; 0 for two boxes without area.

    Raises MetricInputError for other shapes, values that are not finite, or corners in the wrong order.
    """
    a, b = checked_boxes(first), checked_boxes(second)
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    union = _areas(a)[:, None] + _areas(b)[None] - common
    iou: NDArray[np.float64] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return iou


def object_iou(
    truth: Boxes,
    detections: Boxes,
    truth_labels: NDArray[Any] | None = None,
    detection_labels: NDArray[Any] | None = None,
) -> NDArray[np.float64]:
    """Object IoU (arXiv 2411.06776): for each object, its IoU with the detection that fits it best. Higher is better.

    Args:
        truth: (N, 4) ground-truth boxes.
        detections: (M, 4) what the detector found, above the score it is asked to report; M may be 0.
        truth_labels, detection_labels: (N,) and (M,) classes; with both, only detections of the same class count.

    Returns:
        (N,) float64 in 0..1; 0 for an object that no detection touches.

    Raises MetricInputError as ``box_iou``, or for labels of another length.
    """
    iou = box_iou(truth, detections)
    if truth_labels is not None and detection_labels is not None:
        a, b = np.asarray(truth_labels).reshape(-1), np.asarray(detection_labels).reshape(-1)
        if (len(a), len(b)) != iou.shape:
            raise MetricInputError(
                f"{len(a)} and {len(b)} labels for {iou.shape[0]} objects, {iou.shape[1]} detections"
            )
        iou = np.where(a[:, None] == b[None], iou, 0.0)
    best: NDArray[np.float64] = iou.max(axis=1, initial=0.0)
    return best


def checked_boxes(boxes: Boxes) -> NDArray[np.float64]:
    """(N, 4) float64. Raises MetricInputError as ``box_iou``."""
    found = np.asarray(boxes, np.float64)
    if found.size == 0:
        return found.reshape(0, 4)
    if found.ndim != 2 or found.shape[1] != 4:
        raise MetricInputError(f"boxes of shape {found.shape}; expected (N, 4) as x0, y0, x1, y1")
    if not np.isfinite(found).all() or (found[:, 2:] < found[:, :2]).any():
        raise MetricInputError("a box is not finite or ends before it begins; expected x0 <= x1 and y0 <= y1")
    return found


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = boxes[:, 2:] - boxes[:, :2]
    areas: NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return areas

"""Delta Object IoU: what coding took from the detection of each object."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdo_metrics.objects.iou import Boxes, object_iou

Detections = tuple[Boxes, NDArray[Any] | None]
"""Boxes (M, 4) and their classes (M,), or None where there is one class."""


def delta_object_iou(
    truth: Boxes, original: Detections, coded: Detections, labels: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """Delta Object IoU (arXiv 2411.06776): Object IoU on the original minus that on the coded picture. Lower is better.

    The difference leaves out how hard an object is for the detector anyway.

    Args:
        truth: (N, 4) ground-truth boxes.
        original, coded: what the detector found in either picture.
        labels: (N,) classes of the objects; with them, only detections of the same class count.

    Returns:
        (N,) float64 in −1..1: 0 where coding changed nothing, 1 where a perfectly found object is lost, negative
        where the box fits better after coding.

    Raises MetricInputError as ``object_iou``.
    """
    before = object_iou(truth, original[0], labels, original[1])
    after = object_iou(truth, coded[0], labels, coded[1])
    return before - after

"""What coding did to objects: boxes found again, faces still alike, plates still read."""

from rdo_metrics.objects.cosine import cosine_similarity_difference
from rdo_metrics.objects.delta_iou import delta_object_iou
from rdo_metrics.objects.iou import box_iou, object_iou
from rdo_metrics.objects.jaro import jaro_similarity
from rdo_metrics.objects.measures import OBJECT_MEASURES, ObjectMeasure
from rdo_metrics.objects.precision import (
    Matching,
    Objects,
    Precision,
    average_precision,
    pseudo_truth,
    window_precision,
)

__all__ = [
    "OBJECT_MEASURES",
    "Matching",
    "ObjectMeasure",
    "Objects",
    "Precision",
    "average_precision",
    "box_iou",
    "cosine_similarity_difference",
    "delta_object_iou",
    "jaro_similarity",
    "object_iou",
    "pseudo_truth",
    "window_precision",
]

"""What coding did to objects: boxes found again, faces still alike, plates still read."""

from rdo_metrics.objects.cosine import cosine_similarity_difference
from rdo_metrics.objects.delta_iou import delta_object_iou
from rdo_metrics.objects.iou import box_iou, object_iou
from rdo_metrics.objects.jaro import jaro_similarity

__all__ = ["box_iou", "cosine_similarity_difference", "delta_object_iou", "jaro_similarity", "object_iou"]

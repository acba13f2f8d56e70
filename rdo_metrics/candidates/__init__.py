"""Metrics that judge the candidate reconstructions of a CTU, one file each. Import registers the built-in ones."""

from __future__ import annotations

from rdo_metrics.candidates import dct_ratio, features, fisher, learned, local, sse, ssim, task
from rdo_metrics.candidates.base import CANDIDATE_METRICS, CandidateFrame, CandidateMetric, Choice, Networks, Rect
from rdo_metrics.candidates.file import BlockMetric, FileMetric

__all__ = [
    "CANDIDATE_METRICS",
    "BlockMetric",
    "CandidateFrame",
    "CandidateMetric",
    "Choice",
    "FileMetric",
    "Networks",
    "Rect",
    "dct_ratio",
    "features",
    "fisher",
    "learned",
    "local",
    "make_candidate_metric",
    "sse",
    "ssim",
    "task",
]


def make_candidate_metric(name: str, context: int | None = None) -> CandidateMetric:
    """The metric a configuration names: a registered one, or an ``.onnx`` file.

    Args:
        name: registered name or path.
        context: luma samples around a CTU that it will be shown, where that is not what suits it; its calibration
            looks at windows of that size.

    Raises ConfigError on an unknown name, ModelError or MetricInputError on a file that is no metric.
    """
    if name.endswith(".onnx"):
        return FileMetric(name, context)
    metric = CANDIDATE_METRICS.get(name)()
    if context is not None:
        metric.context = context
    return metric

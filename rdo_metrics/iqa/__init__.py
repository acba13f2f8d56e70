"""Full-reference image quality metrics on luma, one file each. Import registers the built-in ones."""

from rdo_metrics.iqa import (
    dists,
    fsim,
    gmsd,
    haarpsi,
    lpips,
    mdsi,
    ms_gmsd,
    ms_ssim,
    psnr,
    sr_sim,
    ssim,
    vif,
    vmaf,
    vsi,
)
from rdo_metrics.iqa.base import IQA_METRICS, IqaMetric, MetricInfo, make_iqa_metric, missing_of

__all__ = [
    "IQA_METRICS",
    "IqaMetric",
    "MetricInfo",
    "dists",
    "fsim",
    "gmsd",
    "haarpsi",
    "lpips",
    "make_iqa_metric",
    "mdsi",
    "missing_of",
    "ms_gmsd",
    "ms_ssim",
    "psnr",
    "sr_sim",
    "ssim",
    "vif",
    "vmaf",
    "vsi",
]

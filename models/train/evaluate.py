"""Validation of a network in training: confusion matrix, per-class IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import interpolate

from models.train.data import IGNORE, Samples, normalise

Counts = NDArray[Any]


@dataclass(frozen=True)
class Scores:
    """Accuracy against labels, ignored pixels left out (all higher better, 0..1).

    Attributes:
        miou: mean over classes that occur in the labels.
        accuracy: share of pixels right.
        iou: per class name; NaN where a class neither occurs nor is predicted.
    """

    miou: float
    accuracy: float
    iou: dict[str, float]


@torch.no_grad()
def evaluate(
    network: nn.Module, samples: Samples, classes: Sequence[str], device: torch.device, bf16: bool = False
) -> Scores:
    """Scores of a network on normalised RGB at the images' own size; logits are upsampled bilinearly.

    With ``bf16`` it computes in the device's reduced precision (``reduced_precision``).
    """
    network.eval()
    n = len(classes)
    confusion = np.zeros((n, n), np.int64)
    for index in range(len(samples)):
        image, label = samples.pair(index)
        pixels = normalise(image).transpose(2, 0, 1)[None]
        x = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
        with torch.autocast(device.type, reduced_precision(device), enabled=bf16):
            logits = network(x.to(memory_format=torch.channels_last))
        full = interpolate(logits.float(), size=label.shape, mode="bilinear", align_corners=False)
        confusion += confusion_matrix(full[0].argmax(0).cpu().numpy(), label, n)
    return scores_of(confusion, classes)


def reduced_precision(device: torch.device) -> torch.dtype:
    """What automatic mixed precision computes in: float16 on CUDA, bfloat16 on CPUs."""
    return torch.float16 if device.type == "cuda" else torch.bfloat16


def confusion_matrix(predicted: Counts, label: Counts, classes: int) -> Counts:
    """(classes, classes) int64 counts, rows the labels; pixels labelled 255 do not count."""
    known = label != IGNORE
    index = label[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(index, minlength=classes * classes).reshape(classes, classes)


def scores_of(confusion: Counts, classes: Sequence[str]) -> Scores:
    """IoU per class, its mean over the classes present, and pixel accuracy of a confusion matrix."""
    hit = np.diag(confusion).astype(np.float64)
    union = confusion.sum(0) + confusion.sum(1) - hit
    with np.errstate(invalid="ignore"):
        iou = hit / union
    present = confusion.sum(1) > 0
    miou = float(iou[present].mean()) if present.any() else float("nan")
    total = float(confusion.sum())
    accuracy = float(hit.sum() / total) if total else float("nan")
    return Scores(miou, accuracy, {name: float(v) for name, v in zip(classes, iou, strict=True)})

"""Export and proof: the file's answers beside torch's, on sizes it was not traced with."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.atomic import replacing
from encoder_bridge.errors import BridgeError, ModelError

if TYPE_CHECKING:
    from models.detector import Detections

Size = tuple[int, int]
Axes = Mapping[str, Mapping[int, str]]
TRACED: Size = (128, 160)
CHECKED: tuple[tuple[int, Size], ...] = ((1, (160, 224)), (2, (107, 139)))
"""Number of pictures and (H, W) that an export is checked with; none is the traced one."""
TOLERANCE = 1e-4
"""Largest difference, of logits as they are up to 1 and relative to the largest one beyond."""
UNDECIDED = 0.02
"""Share of a detector's boxes that rounding may swap for others: two overlap by the threshold, or scores tie."""
OPSET = 17


@dataclass(frozen=True)
class Exported:
    """An ONNX file that was written and checked.

    Attributes:
        path: the file.
        difference: largest |ONNX Runtime − torch| over all checked answers, divided by max(1, largest |answer|).
        classes: names in label order, empty where none are known.
        size: fixed (H, W) of one picture at a time, None for any number of any size.
        compared: answers compared: logits, or detections.
        opset: of ONNX.
    """

    path: Path
    difference: float
    classes: tuple[str, ...]
    size: Size | None
    compared: int
    opset: int = OPSET


def verify_segmentation(
    module: Any, output: Path, metadata: Mapping[str, str], size: Size | None, name: str
) -> Exported:
    """Write a segmentation module (RGB 0..255 in, logits of its size out), run it beside torch, keep it if it agrees.

    Raises ModelError where it cannot be exported or its answers differ by more than ``TOLERANCE``; no file is left.
    """
    from models.train.export import IMAGE_AXES

    axes: Axes = {k: {} if size else IMAGE_AXES for k in ("image", "logits")}
    checked = ((1, size),) if size else CHECKED
    return _verify(module, output, metadata, size, name, axes, checked, _compare_logits)


def verify_detection(module: Any, output: Path, metadata: Mapping[str, str], size: Size | None, name: str) -> Exported:
    """As ``verify_segmentation`` for a detector of one picture (``models.detector``), on what it finds in the probes.

    Boxes must have one of the same label on the other side, whatever the order, all but ``UNDECIDED`` of them.
    """
    axes: Axes = {"image": {} if size else {2: "H", 3: "W"}, **{k: {0: "D"} for k in ("boxes", "labels", "scores")}}
    checked = ((1, size),) if size else tuple((1, shape) for _, shape in CHECKED)
    return _verify(module, output, metadata, size, name, axes, checked, _compare_detections)


def _verify(
    module: Any,
    output: Path,
    metadata: Mapping[str, str],
    size: Size | None,
    name: str,
    axes: Axes,
    checked: Sequence[tuple[int, Size]],
    compare: Callable[[Any, Path, Any], tuple[float, int]],
) -> Exported:
    fix = "" if size else "; a network that works at one size only wants --size WxH"
    factor = 1 if size else _factor(module)
    traced = size or _scaled(TRACED, factor)
    pictures = [probe(count, _scaled(shape, factor)) for count, shape in checked]
    with replacing(output) as temporary:
        _write(module, temporary, probe(1, traced, seed=0), axes, metadata, f"{name} cannot be exported to ONNX", fix)
        found = [_run(compare, module, temporary, picture, name, fix) for picture in pictures]
        difference = max(d for d, _ in found)
        if not difference <= TOLERANCE:
            raise ModelError(
                f"{name}: ONNX Runtime differs from torch by {difference:.1e}; expected at most {TOLERANCE:.0e}{fix}"
            )
    classes = tuple(n for n in metadata["mrdo.classes"].split(",") if n)
    return Exported(output, difference, classes, size, sum(n for _, n in found))


def _factor(module: Any) -> int:
    """By how much the pictures of the check must be larger for the network to take them; 1 where nothing helps."""
    import torch

    for factor in (1, 4):
        with contextlib.suppress(Exception), torch.no_grad():
            module(probe(1, _scaled(TRACED, factor)))
            return factor
    return 1


def _scaled(size: Size, factor: int) -> Size:
    return size[0] * factor, size[1] * factor


def _write(
    module: Any, path: Path, example: Any, axes: Axes, metadata: Mapping[str, str], failure: str, fix: str
) -> None:
    from models.train.export import write_onnx

    try:
        write_onnx(module, path, (example,), axes, metadata)
    except BridgeError:
        raise
    # A foreign network may fail in any way while it is traced.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{failure}: {reason}{fix}") from error


def _run(
    compare: Callable[[Any, Path, Any], tuple[float, int]], module: Any, path: Path, pictures: Any, name: str, fix: str
) -> tuple[float, int]:
    shape = "x".join(str(side) for side in pictures.shape)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return compare(module, path, pictures)
    except ModelError as error:
        reason = str(error).replace(f"{path}: ", "")
        raise ModelError(f"{name}: the exported network fails: {reason}{fix}") from error
    # A foreign network may fail in any way on a size it does not like.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{name}: the network itself fails on an input of {shape}: {reason}{fix}") from error


def probe(count: int, size: Size, seed: int = 1) -> Any:
    """(count, 3, H, W) float32 tensor of smooth random pictures in 0..255, a function of the arguments."""
    import torch
    from torch.nn.functional import interpolate

    state = torch.Generator().manual_seed(((seed * 10 + count) * 10_007 + size[0]) * 10_007 + size[1])
    coarse = torch.rand(count, 3, 8, 10, generator=state) * 255
    smooth = interpolate(coarse, size=size, mode="bicubic", align_corners=False)
    return (smooth + 12 * torch.randn(smooth.shape, generator=state)).clamp(0, 255).round()


def _compare_logits(module: Any, path: Path, pictures: Any) -> tuple[float, int]:
    """Largest difference of ``TOLERANCE``'s kind, and the number of logits."""
    import torch

    from models.task_model import TaskModel

    with torch.no_grad():
        wanted = module(pictures).numpy()
    given = TaskModel(path).logits(_rgb(pictures))
    if wanted.shape != given.shape:
        raise ModelError(f"logits of shape {given.shape}; torch gives {wanted.shape}")
    return float(np.abs(wanted - given).max() / max(1.0, float(np.abs(wanted).max()))), wanted.size


def _compare_detections(module: Any, path: Path, pictures: Any) -> tuple[float, int]:
    import torch

    from models.detector import Detections, DetectorModel

    with torch.no_grad():
        boxes, labels, scores = (t.numpy() for t in module(pictures))
    (given,) = DetectorModel(path).detect(_rgb(pictures))
    wanted = Detections(boxes, labels, scores)
    return max(_unmatched(wanted, given, pictures), _unmatched(given, wanted, pictures)), len(scores)


def _unmatched(some: Detections, others: Detections, pictures: Any) -> float:
    """Largest distance of a detection from the nearest of the same label among the others, boxes in picture sides.

    The worst ``UNDECIDED`` of them do not count.
    """
    side = max(pictures.shape[-2:])
    distances = [0.0]
    for box, label, score in zip(some.boxes, some.labels, some.scores, strict=True):
        same = others.labels == label
        apart = np.maximum(np.abs(others.boxes[same] - box).max(axis=1) / side, np.abs(others.scores[same] - score))
        distances.append(float(apart.min()) if len(apart) else float("inf"))
    return sorted(distances)[-1 - int(UNDECIDED * len(some))]


def _rgb(pictures: Any) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pictures.numpy().astype(np.uint8).transpose(0, 2, 3, 1))

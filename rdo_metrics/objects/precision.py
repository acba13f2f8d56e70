"""Average precision of detections by COCO's own code (pycocotools): per video, per window of frames, per class."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError, ToolNotFoundError
from rdo_metrics.objects.iou import Boxes, checked_boxes

MOST = 100
"""Detections of one picture that count, best first, as in COCO."""
PSEUDO_SCORE = 0.5
"""Least score of a detection on the original that stands for an object."""
WINDOW = 100
"""Frames over which seed paper 003 takes AP."""


@dataclass(frozen=True)
class Objects:
    """Objects in one picture: the ground truth, or what a detector found.

    Attributes:
        boxes: (N, 4) x0, y0, x1, y1 in samples, x1 and y1 exclusive; N may be 0.
        labels: (N,) integer classes, at least 0.
        scores: (N,) confidence, higher is surer; None for ground truth.
        ignored: (N,) bool, of ground truth: objects that need not be found, nor are wrong when found (COCO's crowds).
    """

    boxes: Boxes
    labels: NDArray[Any]
    scores: NDArray[Any] | None = None
    ignored: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        boxes = checked_boxes(self.boxes)
        labels = np.asarray(self.labels)
        if labels.shape != (len(boxes),) or (labels.size and (labels.dtype.kind not in "iu" or labels.min() < 0)):
            raise MetricInputError(f"labels {labels.shape} {labels.dtype}; expected {len(boxes)} integers from 0")
        for name, values in (("scores", self.scores), ("ignored", self.ignored)):
            if values is not None and (np.shape(values) != (len(boxes),) or not np.isfinite(values).all()):
                raise MetricInputError(f"{name} of shape {np.shape(values)}; expected {len(boxes)} finite values")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Precision:
    """COCO's summary; every value 0..1, higher is better, NaN where the ground truth has no object to find.

    Attributes:
        ap: AP@[.5:.95], the mean over IoU thresholds 0.5, 0.55, …, 0.95 and over classes.
        ap50, ap75: AP at one threshold.
        recall: mean over thresholds and classes of the largest recall.
        per_class, per_class50: class → ap and ap50, for the classes of the ground truth.
        objects: objects that were to be found.
    """

    ap: float
    ap50: float
    ap75: float
    recall: float
    per_class: dict[int, float] = field(default_factory=dict)
    per_class50: dict[int, float] = field(default_factory=dict)
    objects: int = 0


class Matching:
    """Detections of a video matched with its objects once, for AP of all of it or of any part.

    Rules of COCO: detections are matched within a picture, best first, and ranked over all pictures together; at most
    100 of a picture and class count. A picture without objects adds its detections as false ones; a picture without
    either changes nothing. A class without objects anywhere in the part is left out of the mean, whatever was found of
    it, and where there is no object at all every value is NaN: precision of nothing is not 0.

    Args:
        truth, found: one for each picture; ``found`` with scores.

    Raises MetricInputError for other numbers of pictures or detections without scores, ToolNotFoundError without
    ``pycocotools`` (extra ``objects``).
    """

    def __init__(self, truth: Sequence[Objects], found: Sequence[Objects]) -> None:
        if len(truth) != len(found) or any(f.scores is None for f in found):
            raise MetricInputError(
                f"{len(truth)} pictures of ground truth, {len(found)} of detections; expected as many, all with scores"
            )
        self._counts = [len(_counted(t)) for t in truth]
        self._classes = sorted({int(k) for t in truth for k in _counted(t)})
        self._run = _matched(truth, found, self._classes)

    def __len__(self) -> int:
        return len(self._counts)

    def precision(self, part: slice = slice(None)) -> Precision:
        """AP over some of the pictures."""
        chosen = range(len(self))[part]
        precision, recall = self._accumulated(chosen) if self._classes and chosen else (np.zeros((10, 101, 0)),) * 2
        known = [k for k in range(precision.shape[2]) if precision[0, 0, k] >= 0]
        if not known:
            nothing = float("nan")
            return Precision(nothing, nothing, nothing, nothing)
        precision, recall, labels = precision[:, :, known], recall[:, known], [self._classes[k] for k in known]
        return Precision(
            ap=float(precision.mean()),
            ap50=float(precision[0].mean()),
            ap75=float(precision[5].mean()),
            recall=float(recall.mean()),
            per_class=dict(zip(labels, precision.mean(axis=(0, 1)).tolist(), strict=True)),
            per_class50=dict(zip(labels, precision[0].mean(axis=0).tolist(), strict=True)),
            objects=sum(self._counts[i] for i in chosen),
        )

    def _accumulated(self, chosen: range) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Precision (thresholds, recalls, classes) and recall (thresholds, classes); −1 for classes without objects."""
        part, run = copy.copy(self._run), self._run
        count = len(self)
        part.evalImgs = [run.evalImgs[k * count + i] for k in range(len(self._classes)) for i in chosen]
        part.params = copy.deepcopy(run.params)
        part.params.imgIds = [i + 1 for i in chosen]
        part._paramsEval = copy.deepcopy(part.params)
        with contextlib.redirect_stdout(io.StringIO()):
            part.accumulate()
        return part.eval["precision"][:, :, :, 0, -1], part.eval["recall"][:, :, 0, -1]


def average_precision(truth: Sequence[Objects], found: Sequence[Objects]) -> Precision:
    """AP of detections over all pictures of a video. Rules and errors as ``Matching``."""
    return Matching(truth, found).precision()


def window_precision(truth: Sequence[Objects], found: Sequence[Objects], frames: int = WINDOW) -> list[Precision]:
    """``average_precision`` of each non-overlapping window of ``frames`` frames; the rest at the end is left out.

    AP is not well defined for a single frame (seed paper 003, sections 3 and 4.2). Raises MetricInputError where there
    is no whole window, and as ``Matching``.
    """
    return windows_of(Matching(truth, found), frames)


def windows_of(matching: Matching, frames: int) -> list[Precision]:
    """As ``window_precision``, of what is matched already."""
    count = len(matching)
    if not 1 <= frames <= count:
        raise MetricInputError(f"windows of {frames} frames in a video of {count}; expected 1 to {count}")
    return [matching.precision(slice(i, i + frames)) for i in range(0, count - frames + 1, frames)]


def pseudo_truth(found: Sequence[Objects], score: float = PSEUDO_SCORE) -> list[Objects]:
    """What a detector finds in the originals, of at least ``score``, as the ground truth for coded pictures.

    AP against it says what coding changed and leaves out what the detector gets wrong anyway.
    """
    kept = [np.asarray(f.scores) >= score if f.scores is not None else np.ones(len(f), bool) for f in found]
    return [Objects(checked_boxes(f.boxes)[k], np.asarray(f.labels)[k]) for f, k in zip(found, kept, strict=True)]


def _counted(truth: Objects) -> NDArray[Any]:
    labels = np.asarray(truth.labels)
    return labels if truth.ignored is None else labels[~np.asarray(truth.ignored, bool)]


def _matched(truth: Sequence[Objects], found: Sequence[Objects], classes: Sequence[int]) -> Any:
    """pycocotools' evaluator after matching, over all areas."""
    coco, evaluator = _tools()
    known = {label: index + 1 for index, label in enumerate(classes)}
    with contextlib.redirect_stdout(io.StringIO()):
        wanted, given = coco(), coco()
        for table, pictures in ((wanted, truth), (given, found)):
            table.dataset = _dataset(pictures, known)
            table.createIndex()
        run = evaluator(wanted, given, "bbox")
        run.params.maxDets = [1, 10, MOST]
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
        run.evaluate()
    return run


def _dataset(pictures: Sequence[Objects], known: dict[int, int]) -> dict[str, Any]:
    """COCO's tables; identifiers start at 1, as pycocotools takes a match with number 0 for none."""
    annotations: list[dict[str, Any]] = []
    for index, objects in enumerate(pictures):
        boxes = checked_boxes(objects.boxes)
        for k, label in enumerate(np.asarray(objects.labels).tolist()):
            if label in known:
                sides = boxes[k, 2:] - boxes[k, :2]
                row: dict[str, Any] = {"id": len(annotations) + 1, "image_id": index + 1, "category_id": known[label]}
                row |= {"bbox": [*boxes[k, :2].tolist(), *sides.tolist()], "area": float(sides.prod())}
                row["iscrowd"] = int(objects.ignored[k]) if objects.ignored is not None else 0
                if objects.scores is not None:
                    row["score"] = float(objects.scores[k])
                annotations.append(row)
    images = [{"id": index + 1} for index in range(len(pictures))]
    return {"images": images, "categories": [{"id": k} for k in known.values()], "annotations": annotations}


def _tools() -> tuple[Callable[..., Any], Callable[..., Any]]:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise ToolNotFoundError(f"{error.name} is missing; run: pip install 'machine-rdo[objects]'") from error
    return COCO, COCOeval

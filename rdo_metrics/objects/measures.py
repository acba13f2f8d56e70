"""What coding did to objects as named measures of a whole video, each with its range and direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError
from encoder_bridge.registry import Registry
from rdo_metrics.objects.cosine import cosine_similarity_difference
from rdo_metrics.objects.delta_iou import delta_object_iou
from rdo_metrics.objects.iou import object_iou
from rdo_metrics.objects.jaro import jaro_similarity
from rdo_metrics.objects.precision import Objects, average_precision

Pictures = Sequence[Objects]


@dataclass(frozen=True)
class ObjectMeasure:
    """A named measure. Register an instance: ``OBJECT_MEASURES.register("ap")(…)``.

    Attributes:
        compute: of task "detection" (truth, found in the originals, found in the coded pictures), one ``Objects`` for
            each picture; of "face" (embeddings of the originals, of the coded pictures), (N, D) each; of "plate"
            (texts read in the originals, in the coded pictures). Returns a float, NaN where nothing can be measured.
        task: "detection", "face" or "plate".
        higher_better: direction.
        low, high: range of the values.
        description: one line for ``mrdo metrics``.
    """

    compute: Callable[[Any, Any, Any], float] | Callable[[Any, Any], float]
    task: str
    higher_better: bool
    low: float
    high: float
    description: str


OBJECT_MEASURES: Registry[ObjectMeasure] = Registry("object_measure")


def mean_object_iou(truth: Pictures, found: Pictures) -> float:
    """Object IoU, mean over the objects of all pictures, 0..1, higher is better; ignored objects do not count."""
    _same_length(truth, found)
    values = [object_iou(*_pair(t, f)) for t, f in zip(truth, found, strict=True)]
    return _mean([v[_kept(t)] for t, v in zip(truth, values, strict=True)])


def mean_delta_object_iou(truth: Pictures, original: Pictures, coded: Pictures) -> float:
    """Delta Object IoU, mean over the objects of all pictures, −1..1, lower is better; 0 where nothing changed."""
    _same_length(truth, original, coded)
    values = []
    for t, a, b in zip(truth, original, coded, strict=True):
        lost = delta_object_iou(t.boxes, (a.boxes, a.labels), (b.boxes, b.labels), t.labels)
        values.append(lost[_kept(t)])
    return _mean(values)


def mean_cosine_similarity(original: NDArray[Any], coded: NDArray[Any]) -> float:
    """Cosine similarity of each face's embeddings before and after coding, mean, −1..1, higher is better."""
    return _mean([1.0 - cosine_similarity_difference(original, coded)])


def mean_jaro(original: Sequence[str], coded: Sequence[str]) -> float:
    """Jaro similarity of what is read on each plate before and after coding, mean, 0..1, higher is better."""
    return _mean([jaro_similarity(original, coded)])


def _precision(name: str) -> Callable[[Pictures, Pictures, Pictures], float]:
    def compute(truth: Pictures, _: Pictures, coded: Pictures) -> float:
        return float(getattr(average_precision(truth, coded), name))

    return compute


def _object_iou(truth: Pictures, _: Pictures, coded: Pictures) -> float:
    return mean_object_iou(truth, coded)


def _pair(truth: Objects, found: Objects) -> tuple[Any, Any, Any, Any]:
    return truth.boxes, found.boxes, truth.labels, found.labels


def _kept(truth: Objects) -> NDArray[np.bool_]:
    return np.ones(len(truth), bool) if truth.ignored is None else ~np.asarray(truth.ignored, bool)


def _mean(parts: Sequence[NDArray[np.float64]]) -> float:
    values = np.concatenate(parts) if parts else np.zeros(0)
    return float(values.mean()) if values.size else float("nan")


def _same_length(*sequences: Pictures) -> None:
    counts = [len(s) for s in sequences]
    if len(set(counts)) != 1:
        raise MetricInputError(f"{', '.join(map(str, counts))} pictures; expected as many of each")


OBJECT_MEASURES.register("ap")(
    ObjectMeasure(_precision("ap"), "detection", True, 0.0, 1.0, "AP@[.5:.95] of COCO, mean over classes")
)
OBJECT_MEASURES.register("ap50")(
    ObjectMeasure(_precision("ap50"), "detection", True, 0.0, 1.0, "AP at IoU 0.5, mean over classes")
)
OBJECT_MEASURES.register("object-iou")(
    ObjectMeasure(_object_iou, "detection", True, 0.0, 1.0, "IoU of each object with the detection that fits it best")
)
OBJECT_MEASURES.register("delta-object-iou")(
    ObjectMeasure(mean_delta_object_iou, "detection", False, -1.0, 1.0, "Object IoU lost by coding")
)
OBJECT_MEASURES.register("cosine-similarity")(
    ObjectMeasure(mean_cosine_similarity, "face", True, -1.0, 1.0, "faces' embeddings before and after coding")
)
OBJECT_MEASURES.register("jaro")(
    ObjectMeasure(mean_jaro, "plate", True, 0.0, 1.0, "what is read on plates before and after coding")
)

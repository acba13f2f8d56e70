"""What coding does to objects: coded crops and, for each, what the task's own network lost. Plain arrays out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.atomic import replacing
from encoder_bridge.errors import ConfigError
from models.detector import Detections
from models.objects.crops import MARGIN, SIDE, object_crops
from models.objects.tasks import Detector, Embedder, Reader
from models.objects.types import ObjectSet, Rgb, from_arrays
from rdo_metrics.objects import cosine_similarity_difference, delta_object_iou, jaro_similarity, object_iou
from sweeps.object_codecs import CODECS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FOUND = 0.5
"""Least Object IoU on the original of objects whose loss is measured: what is not found cannot be lost."""


class Harm(Protocol):
    """Measures what coding did to the objects of a set, by the task's own network."""

    def __call__(self, pictures: Ints, coded: Rgb) -> tuple[Ints, Floats]:
        """Indices of pictures and their coded forms → indices of their objects and each one's loss, higher is worse."""

    def accuracy(self) -> dict[str, float]:
        """How well the network does on the originals."""


class DetectionHarm:
    """Delta Object IoU."""

    def __init__(self, network: Path, data: ObjectSet) -> None:
        self._detector, self._data = Detector(network), data
        self._known = _same_classes(self._detector.classes, data.names)
        self._before = self._detector(data.images)
        count = len(data.image_of)
        self._iou = np.zeros(count)
        for picture, found in enumerate(self._before):
            own = np.flatnonzero(data.image_of == picture)
            self._iou[own] = object_iou(data.boxes[own], found.boxes, data.labels[own], self._labels(found))
        self.measured = np.intersect1d(data.chosen, np.flatnonzero(self._iou >= FOUND))

    def __call__(self, pictures: Ints, coded: Rgb) -> tuple[Ints, Floats]:
        """See ``Harm``."""
        objects, losses = [], []
        for picture, after in zip(pictures, self._detector(coded), strict=True):
            own = self.measured[self._data.image_of[self.measured] == picture]
            if own.size:
                before = self._before[picture]
                objects.append(own)
                pair = (before.boxes, self._labels(before)), (after.boxes, self._labels(after))
                losses.append(delta_object_iou(self._data.boxes[own], pair[0], pair[1], self._data.labels[own]))
        return _joined(objects, np.int64), _joined(losses, np.float64)

    def accuracy(self) -> dict[str, float]:
        """Mean Object IoU and share of objects found, on the originals."""
        iou = self._iou[self._data.chosen]
        return {"object_iou": float(iou.mean()), "found": float((iou >= FOUND).mean()), "objects": float(len(iou))}

    def _labels(self, found: Detections) -> Ints | None:
        """The detector's classes as the set numbers them; None where they have no names in common."""
        if self._known is None:
            return None
        named = (found.labels >= 0) & (found.labels < len(self._known))
        return np.where(named, self._known[np.where(named, found.labels, 0)], -1)


class FaceHarm:
    """Cosine-similarity difference of embeddings."""

    def __init__(self, network: Path, data: ObjectSet) -> None:
        self._embedder, self._data = Embedder(network), data
        self._before = self._embedder(data.images)
        self.measured = data.chosen

    def __call__(self, pictures: Ints, coded: Rgb) -> tuple[Ints, Floats]:
        """See ``Harm``."""
        return pictures, cosine_similarity_difference(self._before[pictures], self._embedder(coded))

    def accuracy(self) -> dict[str, float]:
        """Share of faces whose nearest other face is the same person's."""
        alike = self._before @ self._before.T
        np.fill_diagonal(alike, -2)
        labels = self._data.labels
        return {"rank1": float((labels[alike.argmax(axis=1)] == labels).mean()), "identities": float(len(set(labels)))}


class PlateHarm:
    """1 − Jaro similarity of what is read before and after."""

    def __init__(self, network: Path, data: ObjectSet) -> None:
        self._reader, self._data = Reader(network), data
        self._before = self._reader(data.images)
        self.measured = data.chosen

    def __call__(self, pictures: Ints, coded: Rgb) -> tuple[Ints, Floats]:
        """See ``Harm``."""
        return pictures, 1.0 - jaro_similarity([self._before[i] for i in pictures], self._reader(coded))

    def accuracy(self) -> dict[str, float]:
        """Share of plates read without a mistake, and the mean Jaro similarity with what they say."""
        right = [a == b for a, b in zip(self._before, self._data.texts, strict=True)]
        jaro = jaro_similarity(self._data.texts, self._before)
        return {"read": float(np.mean(right)), "jaro": float(jaro.mean())}


HARMS: dict[str, Callable[[Path, ObjectSet], Any]] = {
    "detection": DetectionHarm,
    "face": FaceHarm,
    "plate": PlateHarm,
}
"""Task → its measure."""


@dataclass(frozen=True)
class CodedCrops:
    """Crops before and after coding.

    Attributes:
        originals: (M, S, S, 3) uint8 RGB.
        coded: (P, S, S, 3) uint8 RGB.
        index: (P,) the original of each coded crop.
        loss: (P,) float64, the task's measure, higher is worse.
        codec: (P,) names.
        level: (P,) the codec's own scale.
    """

    originals: Rgb
    coded: Rgb
    index: Ints
    loss: Floats
    codec: NDArray[np.str_]
    level: Ints

    def save(self, path: Path) -> None:
        """Write a ``.npz`` file."""
        with replacing(path) as temporary:
            np.savez(temporary, allow_pickle=False, **vars(self))

    @classmethod
    def load(cls, path: Path) -> CodedCrops:
        """Read what ``save`` wrote."""
        with np.load(path) as arrays:
            return cls(**{name: arrays[name] for name in cls.__dataclass_fields__})

    def of(self, codec: str) -> CodedCrops:
        """The crops of one codec."""
        return self.where(self.codec == codec)

    def where(self, chosen: NDArray[Any]) -> CodedCrops:
        """Some of the coded crops."""
        rest = (a[chosen] for a in (self.coded, self.index, self.loss, self.codec, self.level))
        return CodedCrops(self.originals, *rest)


def code_objects(
    data: ObjectSet,
    harm: Harm,
    codecs: Sequence[str],
    per_picture: int,
    seed: int = 0,
    side: int = SIDE,
    advance: Callable[[int], None] | None = None,
) -> CodedCrops:
    """Code each picture with some codecs and levels, measure each object's loss, cut out what a metric would see.

    Args:
        data: pictures and objects; the pictures are the originals.
        harm: the task's measure on ``data``.
        codecs: names in ``CODECS``; every picture draws ``per_picture`` of all their levels.
        seed: of that draw.
        side: of the crops.
        advance: called with 1 after each codec and level.
    """
    unknown = [name for name in codecs if name not in CODECS]
    if unknown:
        raise ConfigError(f"codec {unknown[0]!r}; expected one of {', '.join(CODECS)}")
    grid = [(name, level) for name in codecs for level in CODECS[name].levels]
    drawn = _draw(len(data.images), len(grid), per_picture, seed)
    margin = 0.0 if _fills(data) else MARGIN
    parts: list[tuple[Rgb, Ints, Floats, str, int]] = []
    for position, (name, level) in enumerate(grid):
        pictures = np.flatnonzero(drawn[:, position])
        if pictures.size:
            coded = CODECS[name].code(data.images[pictures], level)
            objects, losses = harm(pictures, coded)
            place = np.searchsorted(pictures, data.image_of[objects])
            parts.append((object_crops(coded, place, data.boxes[objects], side, margin), objects, losses, name, level))
        if advance is not None:
            advance(1)
    originals = object_crops(data.images, data.image_of, data.boxes, side, margin)
    return CodedCrops(
        originals,
        _joined([p[0] for p in parts], np.uint8),
        _joined([p[1] for p in parts], np.int64),
        _joined([p[2] for p in parts], np.float64),
        np.repeat([p[3] for p in parts], [len(p[0]) for p in parts]),
        np.repeat([p[4] for p in parts], [len(p[0]) for p in parts]),
    )


def save_objects(data: ObjectSet, path: Path) -> None:
    """Write a set as ``.npz``."""
    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **data.arrays())


def load_objects(path: Path) -> ObjectSet:
    """Read what ``save_objects`` wrote."""
    with np.load(path) as arrays:
        return from_arrays(arrays)


def quantiles(losses: Floats, known: Floats) -> NDArray[np.float32]:
    """Each loss as the share of ``known`` losses below it (ties count half): 0..1, one scale for all tasks."""
    ordered = np.sort(known)
    low, high = np.searchsorted(ordered, losses, "left"), np.searchsorted(ordered, losses, "right")
    share: NDArray[np.float32] = ((low + high) / (2 * len(ordered))).astype(np.float32)
    return share


def _draw(pictures: int, points: int, each: int, seed: int) -> NDArray[np.bool_]:
    """(pictures, points) bool with ``each`` true in a row."""
    rng = np.random.default_rng([seed, 7])
    order = rng.permuted(np.tile(np.arange(points), (pictures, 1)), axis=1)
    drawn: NDArray[np.bool_] = order < min(each, points)
    return drawn


def _fills(data: ObjectSet) -> bool:
    height, width = data.images.shape[1:3]
    return bool(len(data.boxes)) and bool((data.boxes == np.array([0, 0, width, height])).all())


def _same_classes(detector: Sequence[str], data: Sequence[str]) -> Ints | None:
    """Number in ``data`` of each class of the detector, −1 for those it does not have; None where none is shared."""
    order = {name.lower(): k for k, name in enumerate(data)}
    known = np.array([order.get(name.lower(), -1) for name in detector], np.int64)
    return known if (known >= 0).any() else None


def _joined(parts: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros((0,), dtype)

"""What all object tasks share: pictures with objects in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ConfigError

TASKS = ("detection", "face", "plate")
"""Object detection, face recognition, plate recognition."""

Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class ObjectSet:
    """Pictures of one size and the objects in them.

    Attributes:
        images: (N, H, W, 3) uint8 RGB.
        image_of: (M,) int64, index of each object's picture.
        boxes: (M, 4) float32 x0, y0, x1, y1 in samples, x1 and y1 exclusive.
        labels: (M,) int64, class of a detected object or identity of a face; 0 where there is none.
        texts: what each plate says, M strings; empty for tasks without text.
        judged: (M,) bool, False for objects that teach the task network but are not measured (small, hidden).
        names: class names, where objects have classes.
    """

    images: Rgb
    image_of: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    texts: tuple[str, ...] = ()
    judged: NDArray[np.bool_] | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.image_of)
        if self.boxes.shape != (count, 4) or len(self.labels) != count or len(self.texts) not in (0, count):
            raise ConfigError(
                f"{count} objects with boxes {self.boxes.shape}, {len(self.labels)} labels, {len(self.texts)} texts; "
                "expected as many of each"
            )
        if self.images.ndim != 4 or self.images.shape[3] != 3 or self.images.dtype != np.uint8:
            raise ConfigError(f"images {self.images.shape} {self.images.dtype}; expected (N, H, W, 3) uint8")
        if count and not 0 <= int(self.image_of.min()) <= int(self.image_of.max()) < len(self.images):
            raise ConfigError(f"objects in picture {int(self.image_of.max())} of {len(self.images)}")

    @property
    def chosen(self) -> NDArray[np.int64]:
        """Indices of the objects that are measured."""
        count = len(self.image_of)
        return np.arange(count) if self.judged is None else np.flatnonzero(self.judged)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays, for a ``.npz`` file."""
        judged = np.ones(len(self.image_of), bool) if self.judged is None else self.judged
        return {
            "images": self.images,
            "image_of": self.image_of,
            "boxes": self.boxes,
            "labels": self.labels,
            "texts": np.array(self.texts, dtype=np.str_),
            "judged": judged,
            "names": np.array(self.names, dtype=np.str_),
        }


def from_arrays(arrays: Any) -> ObjectSet:
    """The set whose ``arrays`` these are."""
    return ObjectSet(
        images=arrays["images"],
        image_of=arrays["image_of"],
        boxes=arrays["boxes"],
        labels=arrays["labels"],
        texts=tuple(str(t) for t in arrays["texts"]),
        judged=arrays["judged"],
        names=tuple(str(n) for n in arrays["names"]),
    )


def whole_pictures(images: Rgb, labels: NDArray[np.int64], texts: tuple[str, ...] = ()) -> ObjectSet:
    """Pictures that each show one object, filling them."""
    count, height, width = images.shape[:3]
    boxes = np.tile(np.array([0, 0, width, height], np.float32), (count, 1))
    return ObjectSet(images, np.arange(count), boxes, labels, texts)

"""Pictures and labels read when they are wanted, the latest kept in a bounded cache: a data set need not fit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import overload

import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ConfigError
from models.train.sources import IGNORE, PairFiles

CACHE_BYTES = 1 << 30
"""Decoded samples kept per data set; all of CamVid, a hundred pictures of Cityscapes."""

Array = NDArray[np.uint8]


class Cache:
    """The arrays used last, up to a number of bytes. Safe to use from several threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._items: OrderedDict[tuple[str, int], Array] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[str, int], read: Callable[[], Array]) -> Array:
        """The array under ``key``, read where it is not held."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key]
        array = read()
        with self._lock:
            if key not in self._items:
                self._items[key] = array
                self.held += array.nbytes
            while self.held > self.limit and self._items:
                self.held -= self._items.popitem(last=False)[1].nbytes
        return array


class _Lazy(Sequence[Array]):
    """A sequence whose items are read through a cache."""

    def __init__(self, count: int, kind: str, cache: Cache, read: Callable[[int], Array]) -> None:
        self._count, self._kind, self._cache, self._read = count, kind, cache, read

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> list[Array]: ...
    def __getitem__(self, index: int | slice) -> Array | list[Array]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        at = int(index) % self._count
        return self._cache.get((self._kind, at), lambda: self._read(at))


def open_pairs(files: PairFiles, classes: int, limit: int = CACHE_BYTES) -> tuple[Sequence[Array], Sequence[Array]]:
    """Pictures (H, W, 3) uint8 RGB and labels (H, W) uint8 of class indices, 255 ignored, as lazy sequences.

    Label values of ``classes`` and above become 255. The first pair is read at once, as a wrong folder shows there.
    Raises ConfigError, then or when a later file is read, for what is no image or no label.
    """
    cache = Cache(limit)
    count = len(files.images)
    images = _Lazy(count, "image", cache, lambda i: _read_image(files, i))
    labels = _Lazy(count, "label", cache, lambda i: _read_label(files, i, classes))
    check_pair(images[0], labels[0], str(files.labels[0]))
    return images, labels


def check_pair(image: Array, label: Array, name: str) -> None:
    """ConfigError unless a label map has its picture's size."""
    if label.shape != image.shape[:2]:
        raise ConfigError(f"label {name} has shape {label.shape}; expected {image.shape[:2]} class indices")


def _read_image(files: PairFiles, index: int) -> Array:
    bgr = cv2.imread(str(files.images[index]), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ConfigError(f"{files.images[index]} is not a readable image")
    return np.ascontiguousarray(bgr[:, :, ::-1], dtype=np.uint8)


def _read_label(files: PairFiles, index: int, classes: int) -> Array:
    path = files.labels[index]
    label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if label is None:
        raise ConfigError(f"{path} is not a readable image")
    if label.ndim != 2 or label.dtype != np.uint8:
        raise ConfigError(f"label {path} is {label.shape} {label.dtype}; expected {label.shape[:2]} class indices")
    indices = label if files.table is None else files.table[label]
    return np.where(indices < classes, indices, IGNORE).astype(np.uint8)

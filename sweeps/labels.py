"""Ground-truth labels beside a video: a folder of label images, or an array file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ConfigError, MetricInputError

_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".pgm")


class LabelSource(Protocol):
    """Labels of every frame in display order, (H, W) uint8; values outside a network's classes are void."""

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """From the first frame."""

    def digest(self) -> str:
        """SHA-256 hex digest of all labels."""


class LabelFolder:
    """Single-channel label images in name order, one a frame."""

    def __init__(self, folder: Path, count: int | None = None) -> None:
        folder = Path(folder)
        if not folder.is_dir():
            raise ConfigError(f"--labels {folder}: no such folder; expected label images, one a frame")
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES)
        if not files:
            raise ConfigError(f"--labels {folder}: no label images ({', '.join(_SUFFIXES)})")
        self.files = files[:count]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        import cv2

        for path in self.files:
            image: NDArray[Any] | None = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            if image is None or image.ndim != 2 or image.dtype != np.uint8:
                raise MetricInputError(f"{path}: expected an 8-bit single-channel label image")
            yield image

    def digest(self) -> str:
        """SHA-256 over names and contents."""
        sha = hashlib.sha256()
        for path in self.files:
            sha.update(path.name.encode() + b"\0" + path.read_bytes())
        return sha.hexdigest()


class LabelledVideo(Protocol):
    """A video that knows its own labels, as the procedural scenes do."""

    def labels(self) -> Iterator[NDArray[np.uint8]]:
        """(H, W) uint8 of each frame."""

    def digest(self) -> str:
        """SHA-256 hex digest of the video."""


class OwnLabels:
    """The labels a labelled video brings along."""

    def __init__(self, video: LabelledVideo) -> None:
        self._video = video

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return self._video.labels()

    def digest(self) -> str:
        """The video's digest names its labels too."""
        return self._video.digest()

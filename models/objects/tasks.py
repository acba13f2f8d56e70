"""The task networks of the object metrics in ONNX Runtime: boxes, embeddings and texts of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ModelError
from models.bound import BoundSession
from models.detector import OUTPUTS, Detections, DetectorModel
from models.metadata import ModelOptions, resolve
from models.objects.types import Rgb
from models.task_model import prepare

BATCH = 32
SCORE = 0.3
"""Least score of a reported detection."""
MOST = 50
"""Detections reported for one picture."""


class _Network:
    """One image in, ``outputs`` arrays out; metadata says the task."""

    task = ""
    outputs = 1

    def __init__(self, path: Path | str, device: str = "cpu", threads: int | None = None) -> None:
        self.path = Path(path)
        self._session = BoundSession(self.path, device, threads)
        self.metadata = self._session.metadata
        stated = self.metadata.get("mrdo.task")
        counts = len(self._session.inputs), len(self._session.outputs)
        if stated != self.task or counts != (1, self.outputs):
            raise ModelError(
                f"{path}: task {stated!r}, {counts[0]} inputs, {counts[1]} outputs; "
                f"expected task {self.task!r}, one image and {self.outputs} outputs"
            )
        self.spec = resolve(str(path), self.metadata, self._session.inputs[0].shape, ModelOptions())

    def _run(self, pictures: Rgb) -> list[NDArray[np.float32]]:
        parts = [
            self._session.run([prepare(pictures[i : i + BATCH], self.spec)]) for i in range(0, len(pictures), BATCH)
        ]
        return [np.concatenate(found) for found in zip(*parts, strict=True)]


class CentrePoints(_Network):
    """The detector trained here: outputs ``heatmap`` (N, classes, h, w) in 0..1 and ``sides`` (N, 4, h, w), distances
    in samples from a cell's centre to the box's left, top, right and bottom.

    Args:
        path: ``.onnx`` written by ``models.train.objects``.
        device, threads: as ``TaskModel``.
        score: least score of a reported detection.

    Raises ModelError, DeviceError.
    """

    task, outputs = "detection", 2

    def __init__(self, path: Path | str, device: str = "cpu", threads: int | None = None, score: float = SCORE) -> None:
        super().__init__(path, device, threads)
        self.score = score
        self.classes = self.spec.classes

    def detect(self, pictures: Rgb) -> list[Detections]:
        """(N, H, W, 3) uint8 RGB → what is in each."""
        heat, sides = self._run(pictures)
        stride = pictures.shape[1] / heat.shape[2]
        return [decode(h, s, stride, self.score) for h, s in zip(heat, sides, strict=True)]


class Detector:
    """Any detector: the one trained here, or a file that ``models.detector.DetectorModel`` takes.

    Args:
        path: ``.onnx``.
        device, threads: as ``TaskModel``.
        score: least score of a reported detection.

    Raises ModelError, DeviceError.
    """

    def __init__(self, path: Path | str, device: str = "cpu", threads: int | None = None, score: float = SCORE) -> None:
        own = not set(OUTPUTS) <= {o.name for o in BoundSession(Path(path), device, threads).outputs}
        self._network = CentrePoints(path, device, threads, score) if own else DetectorModel(path, device, threads)
        self.classes: tuple[str, ...] = self._network.classes
        self._score = score

    def __call__(self, pictures: Rgb) -> list[Detections]:
        """(N, H, W, 3) uint8 RGB → what is in each, of at least the score."""
        return [_above(found, self._score) for found in self._network.detect(pictures)]


def _above(found: Detections, score: float) -> Detections:
    kept = found.scores >= score
    return Detections(found.boxes[kept], found.labels[kept], found.scores[kept])


def decode(heat: NDArray[np.float32], sides: NDArray[np.float32], stride: float, score: float) -> Detections:
    """Peaks of a (classes, h, w) heatmap with (4, h, w) distances, as detections; a peak is the most of 3×3 cells."""
    from scipy.ndimage import maximum_filter

    peaks = (maximum_filter(heat, size=(1, 3, 3), mode="constant") == heat) & (heat >= score)
    labels, rows, columns = np.nonzero(peaks)
    scores = heat[labels, rows, columns]
    order = np.argsort(-scores, kind="stable")[:MOST]
    labels, rows, columns = labels[order], rows[order], columns[order]
    centre = np.stack([columns, rows], axis=1) * stride + stride / 2
    found = sides[:, rows, columns].T
    boxes = np.concatenate([centre - found[:, :2], centre + found[:, 2:]], axis=1).astype(np.float32)
    return Detections(boxes, labels.astype(np.int64), scores[order])


class Embedder(_Network):
    """Output ``embedding`` (N, D) of unit length."""

    task = "face"

    def __call__(self, pictures: Rgb) -> NDArray[np.float32]:
        """(N, H, W, 3) uint8 RGB → (N, D) float32."""
        return self._run(pictures)[0]


class Reader(_Network):
    """Output ``characters`` (N, length, alphabet + 1): log-probabilities of each position, index 0 for nothing."""

    task = "plate"

    def __init__(self, path: Path | str, device: str = "cpu", threads: int | None = None) -> None:
        super().__init__(path, device, threads)
        self.alphabet = self.metadata.get("mrdo.alphabet", "")
        if not self.alphabet:
            raise ModelError(f"{path}: the file does not state its alphabet (mrdo.alphabet)")

    def __call__(self, pictures: Rgb) -> list[str]:
        """(N, H, W, 3) uint8 RGB → what each says; empty where nothing is read."""
        return likeliest_text(self._run(pictures)[0], self.alphabet)


def likeliest_text(characters: NDArray[Any], alphabet: str) -> list[str]:
    """The likeliest character of each position of (N, length, alphabet + 1); positions of index 0 are left out."""
    return ["".join(alphabet[k - 1] for k in row if k) for row in characters.argmax(axis=2)]

"""A map network in ONNX Runtime: what a unit of squared error costs in each block, without a gradient."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ModelError
from models.bound import BoundSession

VARIANTS: dict[str, tuple[str, ...]] = {
    "image": ("image",),
    "pass": ("image", "reconstruction"),
    "head": ("statistics",),
}
"""``mrdo.map`` of a file → names of its inputs before the last, ``qp``."""
STATISTICS = 8
_BLOCK = 16
_MARGIN = 10.0

Half = NDArray[np.uint8]
"""(ceil(H/2), ceil(W/2), 3) uint8 RGB."""


class MapModel:
    """Runs a map network (design §5.4).

    The file's metadata ``mrdo.map`` says what it is given: ``image`` the original, ``pass`` the original and the first
    pass, both float32 or uint8 RGB 0..255 (N, 3, h, w) at half the size; ``head`` the ``statistics`` of the driving
    network's answer, float32 (N, STATISTICS, h, w) on 16×16 blocks; and last ``qp`` (N,) float32, the operating point.
    Its output is (N, 1, h, w) weights ≥ 0.

    Args:
        path: ``.onnx`` file.
        device: as ``TaskModel``.
        threads: None is half the cores, as the encoder that the weights are for works at the same time.

    Raises ModelError for an unsuitable file, DeviceError where the device is not here.
    """

    def __init__(self, path: Path | str, device: str = "cpu", threads: int | None = None) -> None:
        self.path = Path(path)
        threads = threads or max(1, (os.cpu_count() or 1) // 2)
        self._session = BoundSession(self.path, device, threads, spinning=False)
        self.variant = self._session.metadata.get("mrdo.map", "")
        names = tuple(i.name for i in self._session.inputs)
        if self.variant not in VARIANTS or names != (*VARIANTS[self.variant], "qp") or len(self._session.outputs) != 1:
            raise ModelError(
                f"{path}: not a map network (mrdo.map {self.variant!r}, inputs {', '.join(names)}); "
                "expected one that `mrdo train map` made"
            )

    def ask(self, qp: float, *given: NDArray[Any]) -> NDArray[np.float32]:
        """``of_answer`` or ``of_pictures``, whichever the variant wants."""
        return self.of_answer(qp, *given) if self.variant == "head" else self.of_pictures(qp, *given)

    def of_pictures(self, qp: float, original: Half, reconstruction: Half | None = None) -> NDArray[np.float32]:
        """(ceil(H/16), ceil(W/16)) float32 weights ≥ 0, any unit; higher means an error there costs more.

        Raises ModelError where the network answers with another shape, or needs what it is not given.
        """
        pictures = [original] if reconstruction is None or self.variant == "image" else [original, reconstruction]
        feeds = [np.ascontiguousarray(p.transpose(2, 0, 1))[None] for p in pictures]
        return self._run(qp, feeds, (-(-original.shape[0] * 2 // _BLOCK), -(-original.shape[1] * 2 // _BLOCK)))

    def of_answer(self, qp: float, log_probs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weights, as above, of the driving network's (C, H, W) log-probabilities on the original."""
        planes = statistics(log_probs)
        return self._run(qp, [planes[None]], planes.shape[1:])

    def _run(self, qp: float, feeds: list[NDArray[Any]], expected: tuple[int, ...]) -> NDArray[np.float32]:
        if len(feeds) != len(VARIANTS[self.variant]):
            raise ModelError(f"{self.path}: {len(feeds)} pictures; expected {', '.join(VARIANTS[self.variant])}")
        (answer,) = self._session.run([*feeds, np.array([qp], np.float32)])
        if answer.shape != (1, 1, *expected):
            raise ModelError(f"{self.path}: output of shape {answer.shape}; expected {(1, 1, *expected)}")
        return np.asarray(np.maximum(answer[0, 0], 0), np.float32)


def statistics(log_probs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What any segmentation network's answer says about its own certainty: (C, H, W) log-probabilities → (8, h, w).

    On 16×16 blocks: mean and largest entropy in nats, mean and least probability of the best class, mean and least
    margin between the two best in nats (at most 10), share of pixels whose right or lower neighbour has another label,
    mean probability of the second class.
    """
    labels = log_probs.argmax(axis=0)
    best_two = np.partition(log_probs, len(log_probs) - 2, axis=0)[-2:] if len(log_probs) > 1 else log_probs[[0, 0]]
    top, margin = np.exp(best_two[1]), np.minimum(best_two[1] - best_two[0], _MARGIN)
    entropy = -np.einsum("chw,chw->hw", np.exp(log_probs), np.maximum(log_probs, -80))
    edges = np.zeros(labels.shape, np.float32)
    edges[:, :-1] = labels[:, :-1] != labels[:, 1:]
    edges[:-1] = np.maximum(edges[:-1], labels[:-1] != labels[1:])
    planes = [_mean(entropy), _most(entropy), _mean(top), -_most(-top), _mean(margin), -_most(-margin)]
    return np.stack([*planes, _mean(edges), _mean(np.exp(best_two[0]))]).astype(np.float32)


def _mean(plane: NDArray[Any]) -> NDArray[np.float32]:
    height, width = plane.shape
    filled = _whole_blocks(plane)
    size = (-(-width // _BLOCK), -(-height // _BLOCK))
    return np.asarray(cv2.resize(filled.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)


def _most(plane: NDArray[Any]) -> NDArray[np.float32]:
    filled = _whole_blocks(plane)
    height, width = filled.shape
    blocks = filled.reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    return np.asarray(blocks.max(axis=(1, 3)), np.float32)


def _whole_blocks(plane: NDArray[Any]) -> NDArray[Any]:
    height, width = plane.shape
    return np.pad(plane, ((0, -height % _BLOCK), (0, -width % _BLOCK)), mode="edge")

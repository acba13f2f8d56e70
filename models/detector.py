"""An object detector in ONNX Runtime: RGB pictures in, boxes, labels and scores out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ModelError
from models.metadata import InputSpec, ModelOptions, resolve
from models.task_model import FLOATS, Rgb, open_session, prepare

OUTPUTS = ("boxes", "labels", "scores")


@dataclass(frozen=True)
class Detections:
    """Objects found in one picture, best first.

    Attributes:
        boxes: (D, 4) float32 left, top, right, bottom in pixels of the picture; edges, so that a box over the whole
            picture is 0, 0, W, H.
        labels: (D,) int64 class indices.
        scores: (D,) float32 confidence, 0..1, higher is surer.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)


class DetectorModel:
    """Runs an object detector: a file with one image input and the outputs ``boxes``, ``labels`` and ``scores``.

    The contract: the image is as for ``TaskModel`` (``mrdo.*`` metadata or ``options`` state it), one picture at a
    time; boxes (D, 4) float x1, y1, x2, y2 in pixels of the input, labels (D,) integers, scores (D,) floats, D of any
    length; ``mrdo.task`` is "detection" and ``mrdo.classes`` names the labels. A fixed input size is served by
    resizing the picture to it and the boxes back. `mrdo export --torchvision NAME` writes such files.

    Args:
        path: ``.onnx`` file.
        device: "cpu" or "cuda"; never falls back from one to the other.
        threads: CPU threads inside an operator, None for ONNX Runtime's choice.
        options: what the file does not say, or says wrongly.

    Raises:
        ModelError: absent, unreadable or unsuitable file. DeviceError: the device is not here.
    """

    def __init__(
        self, path: Path | str, device: str = "cpu", threads: int | None = None, options: ModelOptions | None = None
    ) -> None:
        self.path = Path(path)
        self.name = self.path.stem
        self.options = options or ModelOptions()
        self._session = open_session(self.path, device, threads)
        inputs, names = self._session.get_inputs(), [o.name for o in self._session.get_outputs()]
        if len(inputs) != 1 or inputs[0].type not in FLOATS:
            raise ModelError(f"{self.path}: {len(inputs)} inputs; expected one image of floats")
        if any(name not in names for name in OUTPUTS):
            raise ModelError(f"{self.path}: outputs {', '.join(names)}; a detector has boxes, labels and scores")
        self._input, self._dtype = inputs[0].name, FLOATS[inputs[0].type]
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.spec: InputSpec = resolve(str(self.path), metadata, inputs[0].shape, self.options)
        if self.spec.batch not in (None, 1):
            raise ModelError(f"{self.path}: takes {self.spec.batch} pictures at once; expected one")
        self.classes: tuple[str, ...] = self.spec.classes

    def detect(self, rgb: Rgb) -> list[Detections]:
        """Objects of every picture of (N, H, W, 3) or (H, W, 3) uint8 RGB. Raises ModelError."""
        pictures = rgb[None] if rgb.ndim == 3 else rgb
        if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.dtype != np.uint8 or 0 in pictures.shape:
            raise ModelError(f"pictures of shape {rgb.shape} {rgb.dtype}; expected (N, H, W, 3) or (H, W, 3) uint8 RGB")
        return [self._detect(pictures[i : i + 1]) for i in range(len(pictures))]

    def digest(self) -> str:
        """SHA-256 hex of the file and of the options: names the network in a run's key."""
        state = hashlib.sha256(self.path.read_bytes())
        state.update(json.dumps(self.options.as_dict(), sort_keys=True).encode())
        return state.hexdigest()

    def _detect(self, picture: Rgb) -> Detections:
        tensor = prepare(picture, self.spec).astype(self._dtype, copy=False)
        try:
            answers: list[Any] = self._session.run(list(OUTPUTS), {self._input: tensor})
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"{self.path}: failed on an input of shape {tensor.shape}: {reason}") from error
        return self._checked([np.asarray(a) for a in answers], picture.shape[1:3])

    def _checked(self, answers: list[NDArray[Any]], size: tuple[int, ...]) -> Detections:
        boxes, labels, scores = answers
        count = scores.size
        if boxes.shape != (count, 4) or labels.shape != (count,) or scores.shape != (count,):
            shapes = f"boxes {boxes.shape}, labels {labels.shape}, scores {scores.shape}"
            raise ModelError(f"{self.path}: {shapes}; expected (D, 4), (D,) and (D,)")
        if labels.dtype.kind not in "iu" or not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ModelError(
                f"{self.path}: labels {labels.dtype} or values that are not finite; expected integer labels"
            )
        if self.spec.size is not None:
            height, width = (s / f for s, f in zip(size, self.spec.size, strict=True))
            boxes = boxes * np.array([width, height, width, height])
        order = np.argsort(-scores, kind="stable")
        return Detections(
            boxes[order].astype(np.float32), labels[order].astype(np.int64), scores[order].astype(np.float32)
        )

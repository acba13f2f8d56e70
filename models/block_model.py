"""A full-reference block metric in ONNX: originals and reconstructions in, one number each out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ModelError
from models.bound import BoundSession
from models.metadata import InputSpec, ModelOptions, resolve
from models.task_model import Rgb, prepare

REFERENCE_NAMES = ("original", "reference", "ref")


class BlockModel:
    """Runs a network with two image inputs and one scalar per item, of shape (N,), (N, 1) or (N, 1, 1, 1).

    The input called original, reference or ref takes the originals; where none is, the first. Both are normalised as
    the file's ``mrdo.*`` metadata says; ``options`` override it.

    Args:
        path: ``.onnx`` file.
        device, threads: as ``TaskModel``.
        options: what the file does not say, or says wrongly.

    Raises ModelError for an unsuitable file, DeviceError where the device is not here.
    """

    def __init__(
        self, path: Path | str, device: str = "cpu", threads: int | None = None, options: ModelOptions | None = None
    ) -> None:
        self.path = Path(path)
        self._session = BoundSession(self.path, device, threads)
        inputs = self._session.inputs
        if len(inputs) != 2 or len(self._session.outputs) != 1:
            raise ModelError(
                f"{path}: {len(inputs)} inputs, {len(self._session.outputs)} outputs; expected two images and a number"
            )
        self.spec: InputSpec = resolve(str(path), self._session.metadata, inputs[0].shape, options or ModelOptions())
        self._swapped = inputs[1].name.lower() in REFERENCE_NAMES

    def __call__(self, originals: Rgb, reconstructions: Rgb) -> NDArray[np.float64]:
        """(N, h, w, 3) uint8 RGB of both → (N,) float64 predicted loss, lower is better."""
        if originals.shape != reconstructions.shape:
            raise ModelError(f"{self.path}: originals {originals.shape}, reconstructions {reconstructions.shape}")
        feeds = [prepare(originals, self.spec), prepare(reconstructions, self.spec)]
        (answer,) = self._session.run_in_batches(feeds[::-1] if self._swapped else feeds, self.spec)
        if answer.size != len(originals):
            raise ModelError(
                f"{self.path}: output of shape {answer.shape}; expected one number for each of {len(originals)}"
            )
        return answer.reshape(-1).astype(np.float64)

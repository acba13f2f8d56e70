"""A full-reference metric in ONNX: originals and reconstructions in, one number each out, or a map of losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ModelError
from models.bound import BoundSession
from models.metadata import PREFIX, InputSpec, ModelOptions, resolve
from models.task_model import Rgb, prepare

REFERENCE_NAMES = ("original", "reference", "ref")
CELL = PREFIX + "cell"
"""Metadata of a file whose output is a map: side of a cell in samples."""


class BlockModel:
    """Runs a network with two image inputs and one scalar per item, of shape (N,), (N, 1) or (N, 1, 1, 1).

    With ``mrdo.cell`` in its metadata the output is a map instead, (N, h, w), a loss for each cell of that many
    samples. The input called original, reference or ref takes the originals; where none is, the first. Both are
    normalised as the file's ``mrdo.*`` metadata says; ``options`` override it.

    Args:
        path: ``.onnx`` file.
        device, threads: as ``TaskModel``.
        options: what the file does not say, or says wrongly.

    Attributes:
        cell: side of a cell of the maps in samples; 0 for a file that gives one number.

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
        self.cell = _cell(str(path), self._session.metadata.get(CELL))

    def __call__(self, originals: Rgb, reconstructions: Rgb) -> NDArray[np.float64]:
        """(N, h, w, 3) uint8 RGB of both → (N,) float64 predicted loss, lower is better; of a map the mean."""
        if self.cell:
            return np.asarray(self.maps(originals, reconstructions).mean(axis=(1, 2)), np.float64)
        answer = self._run(originals, reconstructions)
        if answer.size != len(originals):
            raise ModelError(
                f"{self.path}: output of shape {answer.shape}; expected one number for each of {len(originals)}"
            )
        return answer.reshape(-1).astype(np.float64)

    def maps(self, originals: Rgb, reconstructions: Rgb) -> NDArray[np.float64]:
        """(N, h, w, 3) uint8 RGB of both → (N, ⌈h/cell⌉, ⌈w/cell⌉) float64 predicted losses, lower is better.

        Raises ModelError for a file that gives one number, or where the run fails.
        """
        if not self.cell:
            raise ModelError(f"{self.path}: gives one number for a picture; expected a map ({CELL} in its metadata)")
        height, width = (-(-side // self.cell) for side in originals.shape[1:3])
        answer = self._run(*(_padded(pictures, self.cell) for pictures in (originals, reconstructions)))
        if answer.shape != (len(originals), height, width):
            raise ModelError(
                f"{self.path}: map of shape {answer.shape}; expected ({len(originals)}, {height}, {width})"
            )
        return answer.astype(np.float64)

    def _run(self, originals: Rgb, reconstructions: Rgb) -> NDArray[np.float32]:
        if originals.shape != reconstructions.shape:
            raise ModelError(f"{self.path}: originals {originals.shape}, reconstructions {reconstructions.shape}")
        feeds = [prepare(originals, self.spec), prepare(reconstructions, self.spec)]
        (answer,) = self._session.run_in_batches(feeds[::-1] if self._swapped else feeds, self.spec)
        return answer


def _padded(pictures: Rgb, cell: int) -> Rgb:
    """Sides that are multiples of the cell, the last row and column repeated."""
    down, across = (-side % cell for side in pictures.shape[1:3])
    return np.pad(pictures, ((0, 0), (0, down), (0, across), (0, 0)), mode="edge") if down or across else pictures


def _cell(name: str, stated: str | None) -> int:
    if stated is None:
        return 0
    if not stated.isdecimal() or not int(stated):
        raise ModelError(f"{name}: {CELL} {stated!r}; expected a positive number of samples")
    return int(stated)

"""The first stages of a network in ONNX Runtime: RGB pictures in, feature maps out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ModelError
from models.block_model import BlockModel
from models.bound import BoundSession
from models.cut import CUT, cut_network, first_layer
from models.metadata import InputSpec, ModelOptions, resolve
from models.task_model import Rgb, prepare


class FeatureModel:
    """Runs a network up to some of its layers.

    Args:
        path: ``.onnx`` file.
        layers: names of tensors inside (``models.cut.list_layers``). None takes the file as it is where it was made by
            ``mrdo export``, else its first stages (``models.cut.first_stages``); an empty tuple any file as it is.
        device, threads: as ``TaskModel``.
        options: what the file does not say about its input, or says wrongly.

    Attributes:
        layers: names of the feature maps it gives.
        spec: what the network expects.

    Raises:
        ModelError: unsuitable file or unknown layer. DeviceError: the device is not here.
        ToolNotFoundError: the file must be cut and the onnx package is absent.
    """

    def __init__(
        self,
        path: Path | str,
        layers: Sequence[str] | None = None,
        device: str = "cpu",
        threads: int | None = None,
        options: ModelOptions | None = None,
    ) -> None:
        self.path = Path(path)
        session = self._open(layers, device, threads, options)
        shape = session.inputs[0].shape
        self.spec: InputSpec = resolve(str(path), session.metadata, shape, options or ModelOptions())
        self._taken = [i for i, output in enumerate(session.outputs) if len(output.shape or ("?",) * 4) == 4]
        if not self._taken:
            shapes = ", ".join(f"{o.name} {list(o.shape)}" for o in session.outputs)
            raise ModelError(f"{path}: no feature map among its outputs {shapes}; expected (N, C, h, w)")
        self.layers = tuple(session.outputs[i].name for i in self._taken)
        self._session = session

    def __call__(self, rgb: Rgb) -> list[NDArray[np.float32]]:
        """(N, h, w, 3) uint8 RGB → for each layer (N, C, h/s, w/s) float32. Raises ModelError where the run fails."""
        answers = self._session.run_in_batches([prepare(rgb, self.spec)], self.spec)
        maps = [answers[i] for i in self._taken]
        if any(m.ndim != 4 for m in maps):
            raise ModelError(f"{self.path}: feature maps of shape {[m.shape for m in maps]}; expected 4 dimensions")
        return [m.transpose(0, 3, 1, 2) for m in maps] if self.spec.output_layout == "NHWC" else maps

    def _open(
        self, layers: Sequence[str] | None, device: str, threads: int | None, options: ModelOptions | None
    ) -> BoundSession:
        whole = None
        if not layers:
            whole = BoundSession(self.path, device, threads)
            if len(whole.inputs) != 1:
                raise ModelError(f"{self.path}: {len(whole.inputs)} inputs; expected one image")
        if whole is not None and (layers is not None or CUT in whole.metadata):
            return whole
        content = cut_network(self.path, layers, options)
        # A file rather than bytes, so that opening it and its errors are those of every other network.
        with tempfile.TemporaryDirectory(prefix="mrdo-cut-") as folder:
            part = Path(folder) / "cut.onnx"
            part.write_bytes(content)
            return BoundSession(part, device, threads, name=str(self.path))


def first_layer_model(
    path: Path | str,
    layer: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    options: ModelOptions | None = None,
) -> FeatureModel:
    """A network up to its first convolution, or up to ``layer``; a file made by ``mrdo export`` as it is.

    Raises ModelError for an unsuitable file or unknown layer, DeviceError, and ToolNotFoundError where the file must be
    cut and the onnx package is absent.
    """
    if layer is None and CUT in BoundSession(Path(path), device, threads).metadata:
        return FeatureModel(path, (), device, threads, options)
    return FeatureModel(path, (layer or first_layer(path),), device, threads, options)


def open_metric_network(
    path: Path | str, device: str = "cpu", threads: int | None = None, options: ModelOptions | None = None
) -> FeatureModel | BlockModel:
    """The network of ``--metric FILE.onnx``: with two inputs a block metric, else feature maps, the file as it is.

    Raises ModelError for an unsuitable file, DeviceError where the device is not here.
    """
    if len(BoundSession(Path(path), device, threads).inputs) == 2:
        return BlockModel(path, device, threads, options)
    return FeatureModel(path, (), device, threads, options)

"""Export of a trained network: normalisation and final upsampling inside, metadata filled, one self-contained file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from encoder_bridge.atomic import replacing
from models.train.data import IGNORE, MEAN, STD

OPSET = 17
IMAGE_AXES = {0: "N", 2: "H", 3: "W"}


class Deployed(nn.Module):
    """RGB in 0..255, any size, to logits of the same size.

    Args:
        network: normalised pictures to logits.
        mean, std: of the network's input in units of 0..255, in its own colour order.
        swap: the network takes B G R.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, network: nn.Module, mean: Sequence[float] = MEAN, std: Sequence[float] = STD, swap: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.swap = swap
        self.register_buffer("mean", torch.tensor(tuple(mean)).view(1, 3, 1, 1))
        self.register_buffer("scale", 1.0 / torch.tensor(tuple(std)).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) float32 RGB 0..255 → (N, classes, H, W) float32 logits."""
        image = image[:, [2, 1, 0]] if self.swap else image
        logits = self.network((image - self.mean) * self.scale)
        return interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)


def export_onnx(network: nn.Module, path: Path, classes: Sequence[str], notes: Mapping[str, Any]) -> None:
    """Write ``network`` (evaluation mode, normalised input) as ONNX, opset 17, dynamic N, H, W.

    ``notes`` join the metadata as ``mrdo.<key>``. The file appears only when it is complete.
    """
    deployed = Deployed(network.float()).eval().cpu().to(memory_format=torch.contiguous_format)
    metadata = {**contract(classes), **{f"mrdo.{k}": str(v) for k, v in notes.items()}}
    axes = {"image": IMAGE_AXES, "logits": IMAGE_AXES}
    write_onnx(deployed, path, (torch.rand(1, 3, 360, 480) * 255,), axes, metadata)


def write_onnx(
    module: nn.Module,
    path: Path,
    example: tuple[Tensor, ...],
    axes: Mapping[str, Mapping[int, str]],
    metadata: Mapping[str, str],
) -> None:
    """Trace ``module`` into an ONNX file of opset 17 that appears only when it is complete.

    Args:
        module: in evaluation mode, on the CPU.
        path: file to write.
        example: inputs to trace with.
        axes: for each input in order, then each output, its dynamic axes (none: a fixed shape).
        metadata: the file's custom metadata, complete.
    """
    import onnx

    from models.onnx_graph import fold_initializers

    names = list(axes)
    with replacing(path) as partial:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                example,
                str(partial),
                opset_version=OPSET,
                dynamo=False,
                input_names=names[: len(example)],
                output_names=names[len(example) :],
                dynamic_axes={name: dict(dynamic) for name, dynamic in axes.items() if dynamic},
            )
        model = fold_initializers(onnx.load(str(partial)))
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model)
        onnx.save(model, str(partial))


def contract(classes: Sequence[str]) -> dict[str, str]:
    """The metadata every network of ours carries; mean and std are identity because they are baked in."""
    return {
        "mrdo.task": "segmentation",
        "mrdo.layout": "NCHW",
        "mrdo.color": "RGB",
        "mrdo.range": "0..255",
        "mrdo.mean": "0,0,0",
        "mrdo.std": "1,1,1",
        "mrdo.classes": ",".join(classes),
        "mrdo.ignore": str(IGNORE),
    }

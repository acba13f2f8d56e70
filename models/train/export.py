"""Export of a trained network: normalisation and final upsampling inside, metadata filled, one self-contained file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from models.train.data import IGNORE, MEAN, STD

OPSET = 17


class Deployed(nn.Module):
    """RGB in 0..255, any size, to logits of the same size."""

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("scale", 1.0 / torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) float32 RGB 0..255 → (N, classes, H, W) float32 logits."""
        logits = self.network((image - self.mean) * self.scale)
        return interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)


def export_onnx(network: nn.Module, path: Path, classes: Sequence[str], notes: Mapping[str, Any]) -> None:
    """Write ``network`` (evaluation mode, normalised input) as ONNX, opset 17, dynamic N, H, W.

    ``notes`` join the metadata as ``mrdo.<key>``. The file appears only when it is complete.
    """
    import onnx

    from models.onnx_graph import fold_initializers

    deployed = Deployed(network.float()).eval().cpu().to(memory_format=torch.contiguous_format)
    partial = path.with_name(path.name + ".partial")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            deployed,
            (torch.rand(1, 3, 360, 480) * 255,),
            str(partial),
            opset_version=OPSET,
            dynamo=False,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "N", 2: "H", 3: "W"}, "logits": {0: "N", 2: "H", 3: "W"}},
        )
    model = fold_initializers(onnx.load(str(partial)))
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {**contract(classes), **{f"mrdo.{k}": str(v) for k, v in notes.items()}})
    onnx.checker.check_model(model)
    onnx.save(model, str(partial))
    partial.replace(path)


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

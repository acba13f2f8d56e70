"""Gradients of a network's loss with respect to the picture: torch autograd through the ONNX file, NumPy in and out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import DeviceError, ModelError
from encoder_bridge.extras import need
from models.metadata import IGNORE, InputSpec, ModelOptions, logits_layout, resolve

Floats = NDArray[np.float32]
Labels = NDArray[Any]
Shape = Sequence[int | None]

_UNSPECIFIED = (None, 3, None, None)
_UNKNOWN = (None,) * 4


class GradientModel:
    """A segmentation network that can be differentiated.

    Pictures are (N, 3, H, W) float32 RGB, continuous values in 0..255, whatever the network itself takes; gradients
    have the same shape and are per 8-bit step. Labels are (N, H, W) integers, 255 ignored. Logits are brought to the
    picture's size bilinearly, as in TaskModel.

    Args:
        path: ``.onnx`` file with logits.
        options: what the file does not say about itself.
        device: "cpu" or "cuda"; no fallback.

    Raises:
        ToolNotFoundError: torch or onnx2torch absent. ModelError: unsuitable file. DeviceError: device absent.
    """

    def __init__(self, path: Path | str, options: ModelOptions | None = None, device: str = "cpu") -> None:
        need("exact", "torch", "onnx", "onnx2torch")
        self.name = Path(path).stem
        module, spec, declared = _load(Path(path), options or ModelOptions())
        self._set_up(module, spec, device, declared)

    @classmethod
    def from_torch(
        cls, module: Any, options: ModelOptions, device: str = "cpu", name: str = "torch module"
    ) -> GradientModel:
        """Wrap a torch module that maps its normalised input to (N, C, h, w) logits; ``options`` state the input."""
        need("exact", "torch")
        model = cls.__new__(cls)
        model.name = name
        layout = {} if options.layout is not None else {"mrdo.layout": "NCHW"}
        model._set_up(module, resolve(name, layout, _UNSPECIFIED, options), device)
        return model

    def logits(self, rgb: Floats) -> Floats:
        """(N, C, H, W) float32 logits."""
        import torch

        with torch.no_grad():
            return self._numpy(self._forward(self._tensor(rgb)))

    def loss_and_grad(self, rgb: Floats, labels: Labels) -> tuple[NDArray[np.float64], Floats]:
        """Cross-entropy to ``labels`` summed over pixels, (N,) float64 nats (≥ 0, lower better), and its gradient."""
        import torch

        x = self._tensor(rgb).requires_grad_(True)
        log_p = self._log_p(x, labels)
        loss = -log_p.double().sum(dim=(1, 2))
        (grad,) = torch.autograd.grad(loss.sum(), x)
        return loss.detach().cpu().numpy(), self._numpy(grad)

    def logp_signed_grad(self, rgb: Floats, labels: Labels, signs: NDArray[Any]) -> Floats:
        """Gradient of Σ signs·log p(labels), signs (N, H, W) of ±1: one draw of the Fisher diagonal's root (§5.1)."""
        import torch

        if signs.shape != labels.shape:
            raise ModelError(f"signs of shape {signs.shape}; expected that of the labels, {labels.shape}")
        x = self._tensor(rgb).requires_grad_(True)
        weights = torch.from_numpy(np.ascontiguousarray(signs, np.float32)).to(self._device)
        (grad,) = torch.autograd.grad((self._log_p(x, labels) * weights).sum(), x)
        return self._numpy(grad)

    def _set_up(self, module: Any, spec: InputSpec, device: str, declared: Sequence[Shape] = ()) -> None:
        import torch

        if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
            raise DeviceError(f"device {device!r} is not here for torch; use --device cpu")
        self._device = torch.device(device)
        self._spec = spec
        self._declared = declared
        # Convolutions and their gradients are a fifth faster on CPUs in this order.
        self._module = module.eval().to(self._device, memory_format=torch.channels_last)
        self._module.requires_grad_(False)
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(spec.mean, device=self._device).view(shape)
        self._std = torch.tensor(spec.std, device=self._device).view(shape)

    def _tensor(self, rgb: Floats) -> Any:
        import torch

        if rgb.ndim != 4 or rgb.shape[1] != 3 or rgb.dtype != np.float32:
            raise ModelError(f"pictures of shape {rgb.shape} {rgb.dtype}; expected (N, 3, H, W) float32 in 0..255")
        pictures = torch.from_numpy(np.ascontiguousarray(rgb))
        return pictures.to(self._device, memory_format=torch.channels_last)

    def _forward(self, x: Any) -> Any:
        from torch.nn.functional import interpolate

        size = x.shape[-2:]
        if self._spec.size is not None and self._spec.size != tuple(size):
            x = interpolate(x, size=self._spec.size, mode="bilinear", align_corners=False, antialias=True)
        x = x.flip(1) if self._spec.color == "BGR" else x
        x = x / 255.0 if self._spec.range == "0..1" else x
        x = (x - self._mean) / self._std
        fed = tuple(x.shape[-2:])
        x = x if self._spec.layout == "NCHW" else x.permute(0, 2, 3, 1)
        scores = self._scores(self._module(x), fed)
        if scores.shape[-2:] == size:
            return scores
        return interpolate(scores, size=size, mode="bilinear", align_corners=False)

    def _scores(self, answer: Any, fed: tuple[int, ...]) -> Any:
        outputs = answer if isinstance(answer, tuple | list) else (answer,)
        for output, declared in zip_longest(outputs, self._declared[: len(outputs)]):
            if output.dim() == 4 and output.is_floating_point():
                shape = declared if declared is not None and len(declared) == 4 else _UNKNOWN
                layout = logits_layout(self._spec, shape, tuple(output.shape), fed)
                return output if layout == "NCHW" else output.permute(0, 3, 1, 2)
        raise ModelError(f"{self.name}: no (N, C, h, w) logits among its outputs; gradients need them")

    def _log_p(self, x: Any, labels: Labels) -> Any:
        """(N, H, W) log-probability of each pixel's label, 0 where it is ignored."""
        import torch
        from torch.nn.functional import cross_entropy

        if labels.shape != (x.shape[0], *x.shape[2:]):
            raise ModelError(f"labels of shape {labels.shape}; expected {(x.shape[0], *x.shape[2:])}")
        scores = self._forward(x)
        target = torch.from_numpy(np.asarray(labels).astype(np.int64)).to(self._device)
        known = target[target != IGNORE]
        if known.numel() and not 0 <= int(known.min()) <= int(known.max()) < scores.shape[1]:
            found = f"{int(known.min())}..{int(known.max())}"
            raise ModelError(f"labels {found}; expected 0..{scores.shape[1] - 1}, or {IGNORE} for ignored pixels")
        return -cross_entropy(scores, target, ignore_index=IGNORE, reduction="none")

    @staticmethod
    def _numpy(tensor: Any) -> Floats:
        return np.ascontiguousarray(tensor.detach().float().cpu().numpy())


def _load(path: Path, options: ModelOptions) -> tuple[Any, InputSpec, list[Shape]]:
    import onnx
    import onnx2torch

    from models.onnx_graph import fold_initializers

    if not path.is_file():
        raise ModelError(f"no network file {path}; expected an .onnx file")
    try:
        model = fold_initializers(onnx.load(str(path)))
        warnings.filterwarnings("ignore", category=UserWarning, module=r"onnx2torch\.")
        module = onnx2torch.convert(model)
    except Exception as error:
        what = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path} cannot be differentiated (onnx2torch): {what}; use --map kl instead") from error
    metadata = {p.key: p.value for p in model.metadata_props}
    declared = [_shape(o) for o in model.graph.output]
    return module, resolve(str(path), metadata, _shape(model.graph.input[0]), options), declared


def _shape(value: Any) -> Shape:
    dims = value.type.tensor_type.shape.dim
    return [d.dim_value if d.HasField("dim_value") else None for d in dims]

"""Foreign networks as modules that the exporter can trace at any picture size."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear, pad
from torch.onnx.operators import shape_as_tensor


class Segmentor(nn.Module):
    """An mmsegmentation segmentor in its "whole" test mode: normalised pictures in, logits of their size out.

    Args:
        segmentor: mmseg ``EncoderDecoder`` or a descendant.
        divisor: sides are padded with ``value`` at the right and bottom to multiples of this, and the answer is cut;
            see ``find_divisor``.
        threshold: of a head with a single plane, the probability from which class 1 is chosen.
    """

    def __init__(self, segmentor: nn.Module, divisor: int = 1, value: float = 0.0, threshold: float = 0.5) -> None:
        super().__init__()
        self.segmentor = segmentor
        self.divisor, self.value, self.threshold = divisor, value, threshold

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, classes, H, W); of one plane two whose difference is its distance from the threshold."""
        height, width = x.shape[-2], x.shape[-1]
        if self.divisor > 1:
            x = pad(x, (0, -width % self.divisor, 0, -height % self.divisor), value=self.value)
        segmentor: Any = self.segmentor
        logits: Tensor = segmentor.encode_decode(x, [{"img_shape": x.shape[-2:], "ori_shape": x.shape[-2:]}])
        if logits.shape[1] == 1:
            edge = torch.logit(torch.tensor(self.threshold))
            logits = torch.cat([torch.zeros_like(logits), logits - edge], dim=1)
        return logits[..., :height, :width] if self.divisor > 1 else logits

    @torch.no_grad()
    def find_divisor(self, sides: tuple[int, int]) -> int:
        """Raise ``divisor`` to 32 or 64 where the network cannot take a picture of these sides without.

        Networks that add branches of different strides fail where a stride does not divide a side.
        """
        stated = self.divisor
        for divisor in (stated, *(d for d in (32, 64) if d > stated)):
            self.divisor = divisor
            # Foreign code may fail in any way; what fails with padding too is for the export to report.
            with contextlib.suppress(Exception):
                self(torch.zeros(1, 3, *sides))
                return divisor
        self.divisor = stated
        return stated


class Answer(nn.Module):
    """The tensor ``out`` of a torchvision segmentation network, which answers with a dictionary."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Normalised (N, 3, H, W) → logits (N, classes, H, W)."""
        answer: Tensor = self.network(x)["out"]
        return answer


class Detector(nn.Module):
    """A torchvision detector of one picture; its own transform resizes and normalises."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        transform: Any = network.transform
        if transform.fixed_size is None:
            transform.resize = _Resize(int(transform.min_size[-1]), int(transform.max_size))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(1, 3, H, W) RGB 0..255 → boxes (D, 4) xyxy in pixels, labels (D,) int64, scores (D,) in 0..1."""
        found = self.network([image[0] / 255.0])
        first = found[0] if isinstance(found, list | tuple) else found
        return first["boxes"], first["labels"], first["scores"]


class _Resize:
    """torchvision's resizing with sizes in double precision in the trace too, where it has them in single.

    A side that comes out a pixel shorter moves every box.
    """

    def __init__(self, shortest: int, longest: int) -> None:
        self.shortest, self.longest = float(shortest), float(longest)

    def __call__(self, image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
        sides = shape_as_tensor(image)[-2:].double()
        # Scalars and torch.minimum would be exported in single precision.
        limits = torch.tensor([self.shortest, self.longest], dtype=torch.float64)
        scale = (limits / torch.stack([sides.min(), sides.max()])).min()
        wanted = torch.floor(sides * scale).long()
        jit: Any = torch.jit
        size: Any = [wanted[0], wanted[1]] if jit.is_tracing() else wanted.tolist()
        return interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0], target


class AdaptivePool(nn.Module):
    """``nn.AdaptiveAvgPool2d`` as two matrix products, which, unlike the operator, ONNX can hold for any input size."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C, *size): means over the operator's own, partly overlapping, windows."""
        rows = _windows(x.shape[-2], self.size[0], x)
        columns = _windows(x.shape[-1], self.size[1], x)
        return torch.matmul(torch.matmul(rows, x), columns.transpose(0, 1))


def _windows(length: Any, parts: int, like: Tensor) -> Tensor:
    """(parts, length) weights of the mean from floor(i·length/parts) to ceil((i+1)·length/parts).

    Without comparisons, which not every reader of ONNX files can differentiate past.
    """
    at = torch.arange(length, device=like.device).to(like.dtype).unsqueeze(0)
    whole = torch.ones_like(at).sum()
    index = torch.arange(parts, device=like.device).to(like.dtype).unsqueeze(1)
    first, last = torch.floor(index * whole / parts), torch.ceil((index + 1) * whole / parts)
    inside = (at - first + 1).clamp(0, 1) * (last - at).clamp(0, 1)
    return inside / inside.sum(dim=1, keepdim=True)


class Attention(nn.Module):
    """``nn.MultiheadAttention`` in plain products; the original's trace keeps the number of positions."""

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        self.original = original

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *masks: Any, **options: Any) -> tuple[Tensor, None]:
        """As the original without masks: (L, N, E), or (N, L, E) with ``batch_first``; attention weights are None."""
        part = self.original
        if any(m is not None for m in (*masks, options.get("attn_mask"), options.get("key_padding_mask"))):
            raise ValueError("attention with a mask cannot be exported")
        weights = part.in_proj_weight.chunk(3)
        biases = (None,) * 3 if part.in_proj_bias is None else part.in_proj_bias.chunk(3)
        q, k, v = (
            self._heads(linear(x.transpose(0, 1) if part.batch_first else x, w, b))
            for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )
        shares = torch.softmax(torch.matmul(q * part.head_dim**-0.5, k.transpose(-2, -1)), dim=-1)
        mixed = torch.matmul(shares, v).permute(2, 0, 1, 3).flatten(2)
        answer: Tensor = part.out_proj(mixed)
        return answer.transpose(0, 1) if part.batch_first else answer, None

    def _heads(self, x: Tensor) -> Tensor:
        """(L, N, E) → (N, heads, L, E / heads)."""
        return x.reshape(x.shape[0], x.shape[1], self.original.num_heads, self.original.head_dim).permute(1, 2, 0, 3)


def make_traceable(network: nn.Module) -> nn.Module:
    """Replace, in place, what would freeze the traced picture's size; the answers stay the same."""
    for parent in list(network.modules()):
        for name, part in list(parent.named_children()):
            made = _traceable(part)
            if made is not None:
                setattr(parent, name, made)
    return network


def _traceable(part: nn.Module) -> nn.Module | None:
    if isinstance(part, nn.AdaptiveAvgPool2d):
        sides = part.output_size if isinstance(part.output_size, tuple) else (part.output_size,) * 2
        if all(isinstance(side, int) for side in sides) and sides != (1, 1):
            return AdaptivePool((int(sides[0] or 0), int(sides[1] or 0)))
    if isinstance(part, nn.MultiheadAttention) and part.in_proj_weight is not None and part.bias_k is None:
        return None if part.add_zero_attn else Attention(part)
    if type(part).__module__.startswith("mmseg.") and type(part).__name__ == "Upsample":
        stated: Any = part
        if not stated.size:
            return nn.Upsample(scale_factor=stated.scale_factor, mode=stated.mode, align_corners=stated.align_corners)
    return None

"""From block weights to what an encoder is told (design §5.3): shrinkage, QP offsets, 8×8 distortion weights.

A weight w is the worth of a unit of squared error in a block. An encoder realises it either by QP, because λ grows as
2^(QP/3) and a block coded at ΔQP = −3·log2 w minimises w·D + λR, or by multiplying D itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.config import MapConfig
from encoder_bridge.encoder import SideInfo
from encoder_bridge.errors import MetricInputError

Weights = NDArray[np.float32]

DEFAULT_TAU = 0.3
"""τ of design §5.3, where neither the user nor the map asks for another."""
QP_BLOCK = 16
WEIGHT_BLOCK = 8
_FLOOR = 1e-6
"""Smallest weight a logarithm is taken of; far below what the clip of ΔQP lets through."""


def grid_shape(height: int, width: int, block: int) -> tuple[int, int]:
    """Blocks down and across a picture, partial ones at the right and bottom edge included."""
    return -(-height // block), -(-width // block)


def repeat_blocks(grid: NDArray[Any], factor: int, shape: tuple[int, ...]) -> NDArray[Any]:
    """Repeat every block ``factor`` times in both directions, then crop to ``shape``."""
    if factor == 1:
        return grid
    return grid.repeat(factor, axis=0).repeat(factor, axis=1)[: shape[0], : shape[1]]


def block_sum(array: NDArray[Any], size: int) -> NDArray[np.float32]:
    """Sum over ``size``×``size`` blocks: (H, W) → (ceil(H/size), ceil(W/size)) float32; edge blocks sum what they have.

    Raises MetricInputError unless the array has two dimensions, at least one sample, and size ≥ 1.
    """
    if array.ndim != 2 or not array.size or size < 1:
        raise MetricInputError(f"array of shape {array.shape}, blocks of {size}; expected (H, W), not empty, size ≥ 1")
    height, width = array.shape
    columns = np.add.reduceat(array, np.arange(0, width, size), axis=1, dtype=np.float32)
    return np.add.reduceat(columns, np.arange(0, height, size), axis=0)


def block_mean(array: NDArray[Any], size: int) -> NDArray[np.float32]:
    """Mean over ``size``×``size`` blocks, shapes as ``block_sum``; edge blocks average only the samples they have."""
    sums = block_sum(array, size)
    return sums / (_extent(array.shape[0], size)[:, None] * _extent(array.shape[1], size))


def shrink_weights(weights: NDArray[Any], tau: float = DEFAULT_TAU, percentile: float = 99.5) -> Weights:
    """Tame outliers and pull weights towards their mean: clip at a percentile, then (w + τ·w̄) / ((1 + τ)·w̄).

    Args:
        weights: (h, w) raw block weights ≥ 0, in any unit.
        tau: τ ≥ 0; 0 keeps the weights, large values make them uniform.
        percentile: where the largest are cut, in (0, 100].

    Returns:
        (h, w) float32 with mean 1, unchanged by a scale on the input; all ones where every weight is zero.

    Raises MetricInputError on negative, infinite or NaN weights.
    """
    if tau < 0 or not 0 < percentile <= 100:
        raise MetricInputError(f"tau {tau:g}, percentile {percentile:g}; expected tau ≥ 0 and 0 < percentile ≤ 100")
    w = _in_range(_checked(weights, np.float64))
    clipped = np.minimum(w, np.percentile(w, percentile))
    if not clipped.any():
        # Fewer positive blocks than the percentile keeps: clipping would throw away all that is known.
        clipped = w
    mean = clipped.mean()
    if mean <= 0:
        return np.ones(w.shape, dtype=np.float32)
    return np.asarray((clipped / mean + tau) / (1 + tau), dtype=np.float32)


def weights_to_qp(
    weights: NDArray[Any], strength: float = 1.0, clip: float = 8.0, group: int = 32, whole: bool = True
) -> NDArray[np.float32]:
    """QP offsets that realise weights: ΔQP = −3·s·log2 w, recentred and clipped.

    Args:
        weights: (ceil(H/16), ceil(W/16)) positive weights, e.g. from ``shrink_weights``; only ratios matter.
        strength: s ≥ 0.
        clip: largest |ΔQP|.
        group: side of a quantisation group in luma samples, 16, 32 or 64; its blocks share one offset, that of their
            mean weight.
        whole: round to whole QP, which is what encoders code; False gives exact fractions.

    Returns:
        (ceil(H/16), ceil(W/16)) float32. The mean over blocks is 0 when not rounded. When rounded it is as near to 0 as
        one common shift before rounding can bring it: within ±0.02 for most maps, up to half a step where many blocks
        tie (measured: 0.2 for attribution maps, half of whose blocks are at the floor).

    Raises MetricInputError on weights that are negative or not finite, or another group size.
    """
    w = _checked(weights)
    if group not in (16, 32, 64):
        raise MetricInputError(f"quantisation group {group}; expected 16, 32 or 64")
    side = group // QP_BLOCK
    shared = repeat_blocks(block_mean(w, side), side, w.shape)
    offsets = -3.0 * strength * np.log2(np.maximum(shared, _FLOOR))
    return _recentred(offsets.astype(np.float64), clip, whole).astype(np.float32)


def weights_8x8(
    weights: NDArray[Any], size: tuple[int, int], strength: float = 1.0, clip: float = 8.0, block: int = QP_BLOCK
) -> Weights:
    """Distortion weights of 8×8 luma blocks: w^s, within 2^(±clip/3), mean 1.

    Args:
        weights: (ceil(H/block), ceil(W/block)) positive weights, e.g. from ``shrink_weights``.
        size: (H, W) of the picture in luma samples.
        strength, clip: as ``weights_to_qp``: a block gets the weight that the QP offset would realise.
        block: grid of ``weights``, 16 or 8.

    Returns:
        (ceil(H/8), ceil(W/8)) float32, mean 1. Dividing by the mean comes last, so the limits hold up to that factor.

    Raises MetricInputError on a grid that does not belong to the size, or weights negative or not finite.
    """
    w = _checked(weights)
    _expect_grid(w.shape, size, block)
    fine = repeat_blocks(w, block // WEIGHT_BLOCK, grid_shape(*size, WEIGHT_BLOCK))
    limit = 2.0 ** (clip / 3)
    powered = np.clip(np.maximum(fine, _FLOOR) ** strength, 1 / limit, limit)
    return np.asarray(powered / powered.mean(), dtype=np.float32)


def realised_weight(qp_offset: NDArray[Any]) -> Weights:
    """The distortion weight 2^(−ΔQP/3) that a QP offset already realises where λ follows QP; shape kept, float32."""
    return np.asarray(np.exp2(np.asarray(qp_offset, dtype=np.float32) / np.float32(-3)))


def residual_weights(weights: NDArray[Any], qp_offset: NDArray[Any]) -> Weights:
    """What is left for in-loop weights beside a QP map whose λ follows QP; otherwise the weight would count twice.

    Args:
        weights: (ceil(H/8), ceil(W/8)) weights wanted.
        qp_offset: (ceil(H/16), ceil(W/16)) offsets sent.

    Returns:
        (ceil(H/8), ceil(W/8)) float32, weights / 2^(−ΔQP/3) with mean 1: times the realised weight they are
        proportional to ``weights``, and on the scale on which a block at ΔQP = 0 weighs about 1.

    Raises MetricInputError where the two grids do not belong together.
    """
    w = _checked(weights)
    if grid_shape(w.shape[0], w.shape[1], 2) != qp_offset.shape:
        raise MetricInputError(f"QP offsets {qp_offset.shape} with 8×8 weights {w.shape}; expected half as many, up")
    left = w / repeat_blocks(realised_weight(qp_offset), 2, w.shape)
    return np.asarray(left / left.mean(), dtype=np.float32)


def side_info(raw: NDArray[Any], config: MapConfig, size: tuple[int, int], *, block: int = QP_BLOCK) -> SideInfo:
    """Everything the encoder is told about one frame, from a map's raw weights.

    Args:
        raw: (ceil(H/block), ceil(W/block)) raw weights ≥ 0, as ``Map.weights`` returns them.
        config: strength, tau, clip, group, and which of QP map and weights to send.
        size: (H, W) in luma samples.
        block: grid of ``raw``, 16 or 8.

    Returns:
        SideInfo. With both parts the weights are the ``residual_weights`` (the plugin ABI's convention; a hook that
        fixes λ at the frame's QP multiplies the realised part back in). Offsets that are all zero and weights that are
        all one say nothing and are left out (None).

    Raises MetricInputError on a grid that does not belong to the size, or weights negative or not finite.
    """
    _expect_grid(raw.shape, size, block)
    w = shrink_weights(raw, DEFAULT_TAU if config.tau is None else config.tau)
    offset = weight = None
    if config.qp_map:
        coarse = block_mean(w, QP_BLOCK // block) if block != QP_BLOCK else w
        offset = weights_to_qp(coarse, config.strength, config.clip, config.group)
    if config.weights:
        weight = weights_8x8(w, size, config.strength, config.clip, block)
    if weight is not None and offset is not None:
        weight = residual_weights(weight, offset)
    return SideInfo(_unless(weight, 1.0), _unless(offset, 0.0))


def interpolate_maps(maps: Mapping[int, NDArray[Any]], frame: int) -> Weights:
    """Raw weights of a frame between frames that have a map: linear in time, constant beyond the first and last.

    Args:
        maps: frame index → (h, w) weights, all of one shape; at least one.
        frame: index wanted.

    Raises MetricInputError with no maps, or maps of different shapes.
    """
    if len({m.shape for m in maps.values()}) != 1:
        shapes = sorted({m.shape for m in maps.values()})
        raise MetricInputError(f"maps of shapes {shapes}; expected at least one map, all of one shape")
    before = max((k for k in maps if k <= frame), default=min(maps))
    after = min((k for k in maps if k >= frame), default=max(maps))
    if before >= after:
        return np.asarray(maps[before], dtype=np.float32)
    part = (frame - before) / (after - before)
    return np.asarray((1 - part) * maps[before] + part * maps[after], dtype=np.float32)


def advised_strength(gop: str, receiver_known: bool) -> float:
    """Strength that transfers: 1, but 0.5 in inter when the receiving network is unknown (measured, design §5.3)."""
    return 1.0 if gop == "intra" or receiver_known else 0.5


def _recentred(offsets: NDArray[np.float64], clip: float, whole: bool) -> NDArray[np.float64]:
    """Shift, round and clip so that the mean over blocks is as near to 0 as a common shift allows."""

    def shifted(shift: float) -> NDArray[np.float64]:
        moved = offsets + shift
        return np.clip(np.rint(moved) if whole else moved, -limit, limit) + 0.0  # no negative zeros

    limit = np.floor(clip) if whole else clip
    centre = -float(offsets.mean())
    best = shifted(centre)
    reach = float(np.ptp(offsets)) + 1
    low, high = centre - reach, centre + reach
    for _ in range(40):
        if best.mean() == 0:
            break
        middle = (low + high) / 2
        trial = shifted(middle)
        low, high = (middle, high) if trial.mean() < 0 else (low, middle)
        best = min(best, trial, key=lambda o: abs(o.mean()))
    return best


def _extent(length: int, size: int) -> NDArray[np.float32]:
    starts = np.arange(0, length, size)
    return np.minimum(size, length - starts).astype(np.float32)


def _unless(values: Weights | None, neutral: float) -> Weights | None:
    return None if values is None or bool(np.all(values == neutral)) else values


def _in_range(w: NDArray[Any]) -> NDArray[np.float32]:
    """Scaled by a power of two to below 1, which changes no digit: the tiniest values have few in float32, or none."""
    return np.asarray(np.ldexp(w, -math.frexp(float(w.max()))[1]), dtype=np.float32)


def _checked(weights: NDArray[Any], dtype: type[np.floating[Any]] = np.float32) -> NDArray[Any]:
    w = np.asarray(weights, dtype=dtype)
    if w.ndim != 2 or not w.size:
        raise MetricInputError(f"weights of shape {w.shape}; expected (h, w), not empty")
    if not np.isfinite(w).all() or w.min() < 0:
        bad = w[~(np.isfinite(w) & (w >= 0))][0]
        raise MetricInputError(f"weight {bad:g}; expected finite values of at least 0")
    return w


def _expect_grid(shape: tuple[int, ...], size: tuple[int, int], block: int) -> None:
    if block not in (WEIGHT_BLOCK, QP_BLOCK):
        raise MetricInputError(f"weight grid of {block} samples; expected 8 or 16")
    expected = grid_shape(*size, block)
    if shape != expected:
        raise MetricInputError(
            f"weights of shape {shape} for a {size[1]}x{size[0]} picture; expected {expected} blocks of {block}"
        )

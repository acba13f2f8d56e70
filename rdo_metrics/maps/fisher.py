"""Curvature of the original (design §5.1): where would any error move the network's answer?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError
from rdo_metrics.maps.base import MAPS, Float, Labels, MapContext, chw, smooth
from rdo_metrics.weights import block_mean


@MAPS.register("fisher")
class FisherMap:
    """w = G∗F, F the diagonal of the Fisher information of the luma samples; KL(p(x)‖p(x̂)) ≈ ½ Σ F·e².

    Needs no first pass; depends on the original alone, so a frame's map is computed once for all operating points.

    Args:
        sigma: Gaussian in 16-sample blocks; None is 1.
        draws: samples of labels and signs; 4–8 suffice for block means.
        jitter: standard deviation of the noise added to the picture in each draw, in 8-bit RGB steps.
    """

    needs_network = True
    needs_first_pass = False
    needs_gradient = True
    probe = 0
    tau = 0.3

    def __init__(self, sigma: float | None = None, draws: int = 6, jitter: float = 2.5) -> None:
        self.sigma = 1.0 if sigma is None else sigma
        self.draws = draws
        self.jitter = jitter

    def weights(self, ctx: MapContext) -> Float:
        """Raw weights, see ``Map.weights``."""
        key = ("fisher", self.draws, self.jitter, ctx.block, ctx.seed)
        curvature = ctx.once(key, lambda: block_mean(fisher(ctx, self.draws, self.jitter), ctx.block))
        return smooth(curvature, self.sigma, ctx.block)


def fisher(ctx: MapContext, draws: int = 6, jitter: float = 2.5) -> Float:
    """Sampled diagonal Fisher information of luma: mean over draws of (∂/∂Y Σ ε·log p(y))², y~p(x), ε = ±1 per pixel.

    Random signs make the cross terms between output pixels vanish in the mean (Hutchinson), so one backward pass per
    draw serves all pixels. Labels are drawn from p of the original itself; ``jitter`` only moves the point where the
    gradient is taken.

    Returns:
        (H, W) float32, ≥ 0, per squared luma step of an 8-bit picture.

    Raises MetricInputError without a gradient or with draws < 1.
    """
    if ctx.logp_signed_grad is None:
        raise MetricInputError("the Fisher map needs gradients; expected a network with autograd (pip extra 'exact')")
    if draws < 1:
        raise MetricInputError(f"{draws} Fisher draws; expected at least 1")
    rng, original = ctx.rng(), chw(ctx.original_rgb)
    distribution = np.cumsum(np.exp(ctx.original_log_probs()), axis=0)
    total = np.zeros(ctx.size, dtype=np.float32)
    for _ in range(draws):
        labels, signs = _draw_labels(distribution, rng), _draw_signs(ctx.size, rng)
        noisy = original + np.float32(jitter) * rng.standard_normal(original.shape, dtype=np.float32)
        grad = np.asarray(ctx.logp_signed_grad(noisy[None], labels[None], signs[None]), dtype=np.float32)[0]
        total += np.square(_fold_luma(grad, ctx.full_range))
    return total / np.float32(draws)


def _fold_luma(grad: Float, full_range: bool) -> Float:
    """∂/∂Y from ∂/∂RGB. In every YCbCr matrix a luma step moves R, G and B alike, by 255/219 in limited range."""
    return np.asarray(grad.sum(axis=0) * np.float32(1.0 if full_range else 255 / 219))


def _draw_labels(distribution: Float, rng: np.random.Generator) -> Labels:
    """One label per pixel by inversion of the cumulative distribution (C, H, W)."""
    uniform = rng.random(distribution.shape[1:], dtype=np.float32) * distribution[-1]
    labels: NDArray[np.int64] = (distribution <= uniform).sum(axis=0, dtype=np.int64)
    return np.minimum(labels, len(distribution) - 1)


def _draw_signs(size: tuple[int, int], rng: np.random.Generator) -> Float:
    return rng.integers(0, 2, size).astype(np.float32) * 2 - 1

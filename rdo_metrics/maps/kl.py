"""Forward-only attribution (design §5.2b): two network runs, no gradient."""

from __future__ import annotations

import numpy as np

from encoder_bridge.errors import MetricInputError
from rdo_metrics.maps.base import MAPS, Float, MapContext, per_squared_error, smooth
from rdo_metrics.weights import block_mean


@MAPS.register("kl")
class KLMap:
    """w = G₂∗KL(f(x)‖f(x̂)) / (G₁∗e² + 1): how much the network's answer moved per unit of squared error.

    KL is the block's mean in nats, e² its mean squared luma error in 8-bit units, both edge-correct.

    Args:
        sigma: Gaussian of the numerator in 16-sample blocks; None is 2.
        error_sigma: Gaussian of the denominator.
    """

    needs_network = True
    needs_first_pass = True
    needs_gradient = False
    probe = 5
    tau = 0.15

    def __init__(self, sigma: float | None = None, error_sigma: float = 1.0) -> None:
        self.sigma = 2.0 if sigma is None else sigma
        self.error_sigma = error_sigma

    def weights(self, ctx: MapContext) -> Float:
        """Raw weights, see ``Map.weights``."""
        reconstruction, _ = ctx.reconstruction()
        divergence = kl_divergence(ctx.original_log_probs(), ctx.infer(reconstruction))
        moved = smooth(block_mean(divergence, ctx.block), self.sigma, ctx.block)
        return per_squared_error(moved, ctx.squared_error(), self.error_sigma, ctx.block)


def kl_divergence(log_p: Float, log_q: Float) -> Float:
    """KL(p‖q) = Σ p·(log p − log q) of every pixel: (C, H, W) log-probabilities → (H, W) float32 nats, ≥ 0.

    Lower means closer, 0 for equal distributions. log p = −∞ counts as 0·log 0 = 0.
    Raises MetricInputError on different shapes.
    """
    if log_p.shape != log_q.shape or log_p.ndim != 3:
        raise MetricInputError(f"log-probabilities {log_p.shape} and {log_q.shape}; expected the same (C, H, W)")
    total = np.zeros(log_p.shape[1:], dtype=np.float32)
    p, ratio = np.empty_like(total), np.empty_like(total)
    # Class by class with reused buffers: three planes stay in cache, which is twice as fast as whole-array arithmetic.
    for lp, lq in zip(log_p, log_q, strict=True):
        np.exp(lp, out=p)
        np.subtract(np.maximum(lp, _LOG_FLOOR), np.maximum(lq, _LOG_FLOOR), out=ratio)
        total += np.multiply(p, ratio, out=p)
    return np.maximum(total, 0, out=total)


_LOG_FLOOR = np.float32(-80)
"""Below exp's float32 range; keeps a network that answers exactly 0 from producing NaN."""

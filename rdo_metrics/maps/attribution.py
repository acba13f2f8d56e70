"""Attribution at the operating point (design §5.2): integrated gradients of the task loss over the coding error."""

from __future__ import annotations

import numpy as np

from encoder_bridge.errors import MetricInputError
from rdo_metrics.maps.base import MAPS, Float, MapContext, chw, per_squared_error, smooth
from rdo_metrics.weights import block_mean


@MAPS.register("attribution")
class AttributionMap:
    """w = max(G∗a, 0) / (G∗e² + 1), a the part of the loss that a block's coding error caused.

    Block means of a and e² are used, so that partial blocks at the edges count by the pixels they have.

    Args:
        sigma: Gaussian of both in 16-sample blocks; None is 1.
        steps: midpoints of the path integral.
    """

    needs_network = True
    needs_first_pass = True
    needs_gradient = True
    probe = 3
    tau = 0.3

    def __init__(self, sigma: float | None = None, steps: int = 4) -> None:
        self.sigma = 1.0 if sigma is None else sigma
        self.steps = steps

    def weights(self, ctx: MapContext) -> Float:
        """Raw weights, see ``Map.weights``."""
        caused = smooth(block_mean(attribution(ctx, self.steps), ctx.block), self.sigma, ctx.block)
        return per_squared_error(caused, ctx.squared_error(), self.sigma, ctx.block)


def attribution(ctx: MapContext, steps: int = 4) -> Float:
    """Integrated gradients (Sundararajan et al. 2017) from reconstruction to original: a = −(x−x̂)∘∫∂L/∂z(x̂+t(x−x̂))dt.

    L is the cross-entropy to the pseudo-ground truth in the network's RGB, summed over pixels; the path integral is a
    midpoint rule with ``steps`` points, one network run in memory at a time.

    Returns:
        (H, W) float32, summed over channels; positive where the error raised the loss. Sums to L(x̂) − L(x).

    Raises MetricInputError without a gradient, a reconstruction, or with steps < 1.
    """
    if ctx.loss_and_grad is None:
        raise MetricInputError("attribution needs gradients; expected a network with autograd (pip extra 'exact')")
    if steps < 1:
        raise MetricInputError(f"{steps} integration steps; expected at least 1")
    reconstruction, _ = ctx.reconstruction()
    end = chw(reconstruction)
    path = chw(ctx.original_rgb) - end
    labels = ctx.labels()[None]
    gradient = np.zeros_like(path)
    for step in range(steps):
        position = end + np.float32((step + 0.5) / steps) * path
        _, grad = ctx.loss_and_grad(position[None], labels)
        gradient += np.asarray(grad, dtype=np.float32)[0]
    return np.asarray(-np.einsum("chw,chw->hw", path, gradient) / np.float32(steps))

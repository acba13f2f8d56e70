"""The learned map (design §5.4): a small network that has seen what attribution says, of many pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from encoder_bridge.errors import MetricInputError
from rdo_metrics.maps.base import MAPS, Float, MapContext
from rdo_metrics.weights import repeat_blocks

_BLOCK = 16


class LearnedMap:
    """Weights as a map network gives them.

    Args:
        variant: what the network is given: "image" the original, "pass" the first pass as well, "head" the driving
            network's log-probabilities on the original.
        path: the network's file; None is the embedded one.
        sigma: accepted for uniformity; the network's labels were smoothed.
    """

    needs_gradient = False
    probe = 3
    tau = 0.3

    def __init__(self, variant: str = "image", path: Path | None = None, sigma: float | None = None) -> None:
        self.variant, self.path = variant, path
        self.needs_network = variant == "head"
        self.needs_first_pass = variant == "pass"
        self.reduction = 1 if variant == "head" else 2

    def weights(self, ctx: MapContext) -> Float:
        """Raw weights, see ``Map.weights``. MetricInputError without the map network."""
        if ctx.guide is None:
            raise MetricInputError("the learned map needs its network; expected one in the context")
        return np.asarray(repeat_blocks(self._asked(ctx), _BLOCK // ctx.block, ctx.grid), np.float32)

    def _asked(self, ctx: MapContext) -> Float:
        assert ctx.guide is not None
        if self.variant == "head":
            return ctx.guide(ctx.qp, ctx.original_log_probs())
        if self.variant == "pass":
            return ctx.guide(ctx.qp, ctx.original_rgb, ctx.reconstruction()[0])
        return ctx.guide(ctx.qp, ctx.original_rgb)


@MAPS.register("learned")
def learned(sigma: float | None = None) -> LearnedMap:
    """From the original alone: no first pass, no task network, a few milliseconds."""
    return LearnedMap("image", sigma=sigma)


@MAPS.register("learned-pass")
def learned_pass(sigma: float | None = None) -> LearnedMap:
    """From the original and a first pass."""
    return LearnedMap("pass", sigma=sigma)


@MAPS.register("learned-head")
def learned_head(sigma: float | None = None) -> LearnedMap:
    """From the driving network's answer to the original."""
    return LearnedMap("head", sigma=sigma)

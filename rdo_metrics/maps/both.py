"""Attribution and curvature together."""

from __future__ import annotations

import numpy as np

from rdo_metrics.maps.attribution import AttributionMap
from rdo_metrics.maps.base import MAPS, Float, MapContext
from rdo_metrics.maps.fisher import FisherMap
from rdo_metrics.weights import shrink_weights


@MAPS.register("both")
class BothMap:
    """w = a^α·f^(1−α), the geometric mean of the shrunk attribution a and the shrunk Fisher curvature f.

    Attribution knows which errors of this very encode hurt, but is noisy and blind where the first pass happened to do
    well; curvature is the prior of where errors would hurt. Both are first brought to mean 1 and off zero (§5.3), so
    neither can veto a block.

    Args:
        sigma: Gaussian of both maps in 16-sample blocks; None is each map's own.
        share: α in 0–1, the exponent of the attribution.
        tau: shrinkage of each part before they are combined.
    """

    needs_network = True
    needs_first_pass = True
    needs_gradient = True
    probe = 3
    tau = 0.3

    def __init__(self, sigma: float | None = None, share: float = 0.5, tau: float = 0.3) -> None:
        self._attribution = AttributionMap(sigma)
        self._fisher = FisherMap(sigma)
        self.share = share
        self.tau = tau

    def weights(self, ctx: MapContext) -> Float:
        """Raw weights, see ``Map.weights``."""
        caused = shrink_weights(self._attribution.weights(ctx), self.tau)
        curvature = shrink_weights(self._fisher.weights(ctx), self.tau)
        share = np.float32(self.share)
        return np.asarray(caused**share * curvature ** (1 - share), dtype=np.float32)

"""What is believed of rate and accuracy before anything was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from encoder_bridge.errors import ConfigError
from sweeps.target.curves import FloatArray, Point, Spread


@dataclass(frozen=True)
class Prior:
    """Mean surfaces as polynomials of third degree, and how far a clip may be from them.

    With x = (QP − 32)/10 and u = log2(scale) the terms are 1, x, u, x², xu, u², x³, x²u, xu², u³.

    Attributes:
        accuracy: accuracy metric → coefficients of its logit.
        rate: coefficients of log2(bits per luma sample of the input).
        accuracy_spread, rate_spread: see ``Spread``.
    """

    accuracy: Mapping[str, tuple[float, ...]]
    rate: tuple[float, ...]
    accuracy_spread: Spread
    rate_spread: Spread

    def expect(self, points: Sequence[Point], metric: str) -> tuple[FloatArray, FloatArray]:
        """(N,) logit of the accuracy and (N,) log2 of bits per sample at each point.

        Raises ConfigError for a metric that nothing was recorded of.
        """
        if metric not in self.accuracy:
            raise ConfigError(f"accuracy metric {metric!r}; expected one of {', '.join(self.accuracy)}")
        matrix = terms(points)
        return matrix @ np.array(self.accuracy[metric]), matrix @ np.array(self.rate)


def terms(points: Sequence[Point]) -> FloatArray:
    """(N, 10); surfaces go on straight beyond QP 12–52, where polynomials would turn, and level below scale 1/4."""
    asked = np.array([(p.qp - 32) / 10 for p in points])
    x, u = np.clip(asked, -2, 2), np.clip(np.log2([p.scale for p in points]), -2, 0)
    one, none = np.ones_like(x), np.zeros_like(x)
    terms = np.stack([one, x, u, x * x, x * u, u * u, x**3, x * x * u, x * u * u, u**3], axis=1)
    slopes = np.stack([none, one, none, 2 * x, u, none, 3 * x * x, 2 * x * u, u * u, none], axis=1)
    return np.asarray(terms + slopes * (asked - x)[:, None])


PRIOR = Prior(
    accuracy={
        "agreement": (3.316, -1.128, 0.983, -0.19, -0.107, 0.166, 0.036, -0.035, 0.019, 0.028),
        "miou": (1.097, -0.998, 0.844, -0.086, -0.148, 0.257, 0.026, 0.025, -0.01, 0.083),
    },
    rate=(-1.423, -1.669, 1.693, -0.178, -0.096, 0.107, 0.014, -0.019, 0.025, 0.007),
    accuracy_spread=Spread(
        level=0.4,
        qp=0.12,
        scale=0.2,
        both=0.12,
        local=0.15,
        each=0.06,
        own=0.05,
        mode=0.15,
        mode_scale=0.05,
        scale_length=1.0,
    ),
    rate_spread=Spread(
        level=1.2, qp=0.2, scale=0.2, both=0.1, local=0.2, each=0.03, own=0.01, mode=0.1, mode_scale=0.05
    ),
)
"""Means from a few training frames of CamVid (x265 slow, all-intra, the embedded network), as
``benchmarks/target_accuracy.py prior`` fits them; the spreads are wider than among those frames, for other videos,
networks and codecs, and were fitted to the same frames, to drives made of them (like those of ``--drives``) and to
made-up surfaces, not to the clips of the benchmark."""

_JPEG = replace(
    PRIOR,
    accuracy={
        "agreement": (2.81, -1.045, 0.784, -0.166, -0.086, -0.208, 0.007, -0.03, 0.001, -0.05),
        "miou": (0.749, -0.907, 0.557, -0.136, -0.067, -0.354, 0.005, -0.022, 0.01, -0.106),
    },
    rate=(-0.918, -1.163, 1.854, -0.054, -0.104, 0.21, 0.017, -0.049, 0.041, 0.027),
)
"""The same of JPEG: ``prior camvid/train --clips 4 --length 3 --step 40 --codec jpeg``."""
_PRIORS = {"jpeg": _JPEG}
_PREDICTED_OWN = 0.08
"""What a point has of its own where pictures are predicted from others: their errors drift, and accuracy jumps."""


def prior_of(codec: str, gop: str = "intra") -> Prior:
    """What is believed of a codec: its own prior, or the one of x265 for those that nothing was recorded of."""
    prior = _PRIORS.get(codec, PRIOR)
    if gop == "intra":
        return prior
    return replace(prior, accuracy_spread=replace(prior.accuracy_spread, own=_PREDICTED_OWN))

"""The search for the lowest rate at a wanted accuracy: which operating point to try next, and when to stop.

Constrained expected improvement (Gardner et al., Bayesian Optimization with Inequality Constraints, ICML 2014) over the
finite set of operating points: what a point is expected to save over the best so far, times the probability that its
accuracy lies between the target and the target plus the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from encoder_bridge.errors import ConfigError
from sweeps.target.curves import FloatArray, Point, Surface, logit
from sweeps.target.priors import PRIOR, Prior

_FOR_LANDING = 2
"""Probes at the end that look for any point on target where none at or above it was found yet."""
Mask = NDArray[np.bool_]
_HOPE = 0.02
"""Least probability to land on target for which a point is tried for what it might save."""


@dataclass(frozen=True)
class Probe:
    """A point that was tried.

    Attributes:
        point: where.
        bpp: bits per luma sample of the input, lower is better.
        accuracy: in 0–1, higher is better.
    """

    point: Point
    bpp: float
    accuracy: float


@dataclass(frozen=True)
class Goal:
    """What is wanted.

    Attributes:
        accuracy: target, in (0, 1).
        tolerance: accuracies up to the target plus this are on target.
        max_probes: most points tried.
        worth: stop where another probe is expected to save less than this share of the rate.
    """

    accuracy: float
    tolerance: float = 0.01
    max_probes: int = 8
    worth: float = 0.002

    def __post_init__(self) -> None:
        if not 0 < self.accuracy < 1:
            raise ConfigError(f"target accuracy {self.accuracy:g}; expected between 0 and 1, as 0.95")
        if not 0 < self.tolerance < 1:
            raise ConfigError(f"tolerance {self.tolerance:g}; expected between 0 and 1, as 0.01")
        if self.max_probes < 1:
            raise ConfigError(f"{self.max_probes} probes; expected at least 1")

    def reached(self, accuracy: float) -> bool:
        """Whether an accuracy is the target or above it."""
        return accuracy >= self.accuracy

    def on_target(self, accuracy: float) -> bool:
        """Whether an accuracy is in [target, target + tolerance]."""
        return self.accuracy <= accuracy <= self.accuracy + self.tolerance


@dataclass
class Search:
    """Asks for points, is told what they measured, and remembers.

    Args:
        points: every operating point there is.
        goal: what is wanted.
        metric: name of the accuracy in ``prior``.
        prior: what is believed beforehand.
        probes: what was tried, in order.

    Raises:
        ConfigError: no points, or a metric that nothing is known of.
    """

    points: Sequence[Point]
    goal: Goal
    metric: str = "agreement"
    prior: Prior = PRIOR
    probes: list[Probe] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.points:
            raise ConfigError("no operating points to choose from; expected at least one scale and one quality")
        self._place = {point: index for index, point in enumerate(self.points)}
        accuracy, rate = self.prior.expect(self.points, self.metric)
        self._accuracy = Surface(self.points, accuracy, self.prior.accuracy_spread)
        self._rate = Surface(self.points, rate, self.prior.rate_spread)

    def tell(self, probe: Probe) -> None:
        """Take in a measurement."""
        self.probes.append(probe)

    def ask(self, allowed: Callable[[Point], bool] | None = None) -> Point | None:
        """The point to try next, among those ``allowed``; None where nothing more is worth trying."""
        if len(self.probes) >= self.goal.max_probes:
            return None
        mask = self._open(allowed)
        if not mask.any():
            return None
        gain, hit = self._gain(allowed)
        best = self.best(allowed)
        reached = best is not None and self.goal.reached(best.accuracy)
        if hit[mask].max() < _HOPE:
            return self._nearest(mask, best)
        if not reached and len(self.probes) >= self.goal.max_probes - _FOR_LANDING:
            return self.points[int(np.argmax(np.where(mask, hit, -1.0)))]
        index = int(np.argmax(np.where(mask, gain, -1.0)))
        worth = not reached or gain[index] > -math.log2(1 - self.goal.worth)
        return self.points[index] if worth else None

    def best(self, allowed: Callable[[Point], bool] | None = None) -> Probe | None:
        """The cheapest probe at or above the target, else the nearest below; None without any."""
        probes = [p for p in self.probes if allowed is None or allowed(p.point)]
        above = [p for p in probes if self.goal.reached(p.accuracy)]
        if above:
            return min(above, key=lambda p: (p.bpp, -p.accuracy))
        return max(probes, key=lambda p: (p.accuracy, -p.bpp), default=None)

    def predicted_rate(self, allowed: Callable[[Point], bool]) -> float:
        """Bits per pixel that the target is expected to cost among ``allowed`` points; infinite where none reaches."""
        accuracy, _ = self._posterior(self._accuracy, "accuracy")
        rate, _ = self._posterior(self._rate, "bpp")
        reaches = self._allowed(allowed) & (accuracy >= float(logit(self.goal.accuracy)))
        return float(2 ** rate[reaches].min()) if reaches.any() else math.inf

    def _posterior(self, surface: Surface, quantity: str) -> tuple[FloatArray, FloatArray]:
        tried = [self._place[p.point] for p in self.probes]
        seen = np.array([getattr(p, quantity) for p in self.probes], dtype=np.float64)
        return surface.posterior(tried, list(np.log2(seen) if quantity == "bpp" else logit(seen)))

    def _gain(self, allowed: Callable[[Point], bool] | None) -> tuple[FloatArray, FloatArray]:
        """Expected saving in octaves of rate, and the probability to land on target, of every point."""
        accuracy, doubt = self._posterior(self._accuracy, "accuracy")
        rate, rate_doubt = self._posterior(self._rate, "bpp")
        low = float(logit(self.goal.accuracy))
        high = float(logit(min(self.goal.accuracy + self.goal.tolerance, 1.0)))
        hit = ndtr((high - accuracy) / doubt) - ndtr((low - accuracy) / doubt)
        best = self.best(allowed)
        if best is not None and self.goal.reached(best.accuracy):
            reference = math.log2(best.bpp)
        else:
            reaches = self._allowed(allowed) & (accuracy >= low)
            reference = 1.0 + float(rate[reaches].min() if reaches.any() else rate.max())
        z = (reference - rate) / rate_doubt
        saving = (reference - rate) * ndtr(z) + rate_doubt * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        return np.asarray(hit * saving), np.asarray(hit)

    def _nearest(self, mask: Mask, best: Probe | None) -> Point | None:
        """The point believed nearest to the target; None where none promises to be nearer than ``best``.

        Before a target is given up, the finest point of all is tried.
        """
        accuracy, _ = self._posterior(self._accuracy, "accuracy")
        if best is not None and self.goal.reached(best.accuracy):
            rate, _ = self._posterior(self._rate, "bpp")
            mask = mask & (rate < math.log2(best.bpp))
        elif best is not None:
            better = mask & (accuracy > float(logit(best.accuracy)))
            mask = better if better.any() else mask & self._finest()
        middle = float(logit(min(self.goal.accuracy + self.goal.tolerance / 2, 1.0)))
        nearest = int(np.argmin(np.where(mask, np.abs(accuracy - middle), np.inf)))
        return self.points[nearest] if mask.any() else None

    def _finest(self) -> Mask:
        finest = min((p.qp, -p.scale) for p in self.points)
        return np.array([(p.qp, -p.scale) == finest for p in self.points])

    def _allowed(self, allowed: Callable[[Point], bool] | None) -> Mask:
        return np.array([allowed is None or allowed(p) for p in self.points])

    def _open(self, allowed: Callable[[Point], bool] | None) -> Mask:
        mask = self._allowed(allowed)
        mask[[self._place[p.point] for p in self.probes]] = False
        return mask

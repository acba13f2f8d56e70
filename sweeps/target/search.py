"""The search for the lowest rate at a wanted accuracy: which operating point to try next, and when to stop.

Constrained expected improvement (Gardner et al., Bayesian Optimization with Inequality Constraints, ICML 2014) over the
finite set of operating points: what a point is expected to save over the best so far, where its accuracy is on target.
Among points on target it is the efficient one that is looked for, the one nearest the convex hull: accuracies of
neighbouring qualities jump, and the cheapest point that happens to be above a line is often a poor one, so what a point
has over the target, or lacks, is weighed with the slope of the hull.
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
_CREDIT = 0.8
"""Share of the hull's slope by which accuracy counts as rate: below 1, so that of two on the hull the cheaper wins."""
_MOST_CREDIT = 0.2
"""Octaves of rate that accuracy above the target is worth at most: nobody asked for more of it."""
_SURE = 0.9
"""Probability to reach the target at which the last probe is taken to reach it."""
_SLOPES = (1.0, 3.0)
"""Octaves of rate that one unit of the accuracy's logit may cost: few probes can mislead about it."""
_CELLS = 16
"""Pieces into which the accuracies on target are cut for the expectation over them."""


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
        shortfall: accuracies down to the target less this are on target; None for half the tolerance.
        worth: stop where another probe is expected to save less than this share of the rate.
    """

    accuracy: float
    tolerance: float = 0.01
    max_probes: int = 8
    shortfall: float | None = None
    worth: float = 0.002

    def __post_init__(self) -> None:
        if not 0 < self.accuracy < 1:
            raise ConfigError(f"target accuracy {self.accuracy:g}; expected between 0 and 1, as 0.95")
        if not 0 < self.tolerance < 1:
            raise ConfigError(f"tolerance {self.tolerance:g}; expected between 0 and 1, as 0.01")
        if not 0 <= (self.shortfall or 0) <= self.tolerance:
            raise ConfigError(f"shortfall {self.shortfall:g}; expected between 0 and the tolerance, {self.tolerance:g}")
        if self.max_probes < 1:
            raise ConfigError(f"{self.max_probes} probes; expected at least 1")

    @property
    def floor(self) -> float:
        """Least accuracy on target."""
        return self.accuracy - (self.tolerance / 2 if self.shortfall is None else self.shortfall)

    @property
    def ceiling(self) -> float:
        """Greatest accuracy on target."""
        return min(self.accuracy + self.tolerance, 1.0)

    def reached(self, accuracy: float) -> bool:
        """Whether an accuracy is on target or above it."""
        return accuracy >= self.floor

    def on_target(self, accuracy: float) -> bool:
        """Whether an accuracy is in [floor, ceiling]."""
        return self.floor <= accuracy <= self.ceiling


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
            near = best is not None and best.accuracy >= self.goal.accuracy - self.goal.tolerance
            last = len(self.probes) == self.goal.max_probes - 1
            return self._surest(mask) if last and not near else self.points[int(np.argmax(np.where(mask, hit, -1.0)))]
        index = int(np.argmax(np.where(mask, gain, -1.0)))
        worth = not reached or gain[index] > -math.log2(1 - self.goal.worth)
        return self.points[index] if worth else None

    def best(self, allowed: Callable[[Point], bool] | None = None) -> Probe | None:
        """The most efficient probe on target, else the cheapest above, else the nearest below; None without any.

        A probe that another one beats in both rate and accuracy is never taken.
        """
        probes = [p for p in self.probes if allowed is None or allowed(p.point)]
        front = [p for p in probes if not any(_beats(other, p) for other in probes)]
        landed = [p for p in front if self.goal.on_target(p.accuracy)]
        above = [p for p in front if self.goal.reached(p.accuracy)]
        if landed:
            slope = self._slope()
            return min(landed, key=lambda p: math.log2(p.bpp) - float(self._credit(p.accuracy, slope)))
        if above:
            return min(above, key=lambda p: (p.bpp, -p.accuracy))
        return max(front, key=lambda p: (p.accuracy, -p.bpp), default=None)

    def predicted_rate(self, allowed: Callable[[Point], bool]) -> float:
        """Bits per sample that the target is expected to cost among ``allowed`` points; infinite where none reaches."""
        accuracy, _ = self._posterior(self._accuracy, "accuracy")
        rate, _ = self._posterior(self._rate, "bpp")
        return float(2 ** _least(rate, self._allowed(allowed) & (accuracy >= float(logit(self.goal.floor)))))

    def _posterior(self, surface: Surface, quantity: str) -> tuple[FloatArray, FloatArray]:
        tried = [self._place[p.point] for p in self.probes]
        seen = np.array([getattr(p, quantity) for p in self.probes], dtype=np.float64)
        return surface.posterior(tried, list(np.log2(seen) if quantity == "bpp" else logit(seen)))

    def _gain(self, allowed: Callable[[Point], bool] | None) -> tuple[FloatArray, FloatArray]:
        """Expected saving in octaves of levelled rate, and the probability to land on target, of every point."""
        accuracy, doubt = self._posterior(self._accuracy, "accuracy")
        rate, rate_doubt = self._posterior(self._rate, "bpp")
        edges = np.linspace(self.goal.floor, self.goal.ceiling, _CELLS + 1)
        share = np.diff(ndtr((logit(edges) - accuracy[:, None]) / doubt[:, None]), axis=1)
        slope, best = self._slope(), self.best(allowed)
        levelled = rate[:, None] - self._credit((edges[1:] + edges[:-1]) / 2, slope)
        if best is not None and self.goal.on_target(best.accuracy):
            reference = math.log2(best.bpp) - float(self._credit(best.accuracy, slope))
        elif best is not None and self.goal.reached(best.accuracy):
            reference = math.log2(best.bpp)
        else:
            reaches = self._allowed(allowed) & (accuracy >= float(logit(self.goal.floor)))
            reference = 1.0 + min(_least(rate, reaches), float(rate.max()))
        z = (reference - levelled) / rate_doubt[:, None]
        saving = (reference - levelled) * ndtr(z) + rate_doubt[:, None] * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        return np.asarray((share * saving).sum(axis=1)), np.asarray(share.sum(axis=1))

    def _credit(self, accuracy: float | FloatArray, slope: float) -> FloatArray:
        """Octaves of rate that an accuracy is worth, over the target's."""
        return np.minimum(_CREDIT * slope * (logit(accuracy) - logit(self.goal.accuracy)), _MOST_CREDIT)

    def _slope(self) -> float:
        """Octaves of rate per unit of the accuracy's logit, along the cheapest points around the target."""
        accuracy, _ = self._posterior(self._accuracy, "accuracy")
        rate, _ = self._posterior(self._rate, "bpp")
        low, high = (float(logit(self.goal.accuracy + step)) for step in (-self.goal.tolerance, self.goal.tolerance))
        rise = _least(rate, accuracy >= high) - _least(rate, accuracy >= low)
        known = math.isfinite(rise) and high > low
        return float(np.clip(rise / (high - low), *_SLOPES)) if known else _SLOPES[0]

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
        middle = float(logit((self.goal.floor + self.goal.ceiling) / 2))
        nearest = int(np.argmin(np.where(mask, np.abs(accuracy - middle), np.inf)))
        return self.points[nearest] if mask.any() else None

    def _surest(self, mask: Mask) -> Point:
        """The cheapest point that is all but sure to reach the target, else the likeliest to."""
        accuracy, doubt = self._posterior(self._accuracy, "accuracy")
        rate, _ = self._posterior(self._rate, "bpp")
        chance = ndtr((accuracy - float(logit(self.goal.floor))) / doubt)
        sure = mask & (chance >= _SURE)
        cost = np.where(sure, rate, np.inf) if sure.any() else np.where(mask, -chance, np.inf)
        return self.points[int(np.argmin(cost))]

    def _finest(self) -> Mask:
        finest = min((p.qp, -p.scale) for p in self.points)
        return np.array([(p.qp, -p.scale) == finest for p in self.points])

    def _allowed(self, allowed: Callable[[Point], bool] | None) -> Mask:
        return np.array([allowed is None or allowed(p) for p in self.points])

    def _open(self, allowed: Callable[[Point], bool] | None) -> Mask:
        mask = self._allowed(allowed)
        mask[[self._place[p.point] for p in self.probes]] = False
        return mask


def _beats(one: Probe, other: Probe) -> bool:
    """Whether a probe is at least as good in rate and accuracy, and better in one."""
    as_good = one.bpp <= other.bpp and one.accuracy >= other.accuracy
    return as_good and (one.bpp < other.bpp or one.accuracy > other.accuracy)


def _least(rate: FloatArray, where: Mask) -> float:
    return float(rate[where].min()) if where.any() else math.inf

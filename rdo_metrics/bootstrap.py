"""Confidence intervals of BD-rates and of whatever else is computed from curves: the bootstrap over frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rdo_metrics.bd_rate import BDResult, bd_rate
from rdo_metrics.curve import Method, RDCurve
from rdo_metrics.resampling import Aggregate as Aggregate
from rdo_metrics.resampling import Estimate, FrameBootstrap, ResampledCurve, common_frames
from rdo_metrics.resampling import PointStats as PointStats


@dataclass(frozen=True)
class BDInterval(Estimate):
    """A BD-rate in percent with its bootstrap interval.

    Attributes:
        result: BD-rate of all frames, of which ``value`` is the number.
    """

    result: BDResult


def bootstrap_bd_rate(
    anchor: Sequence[PointStats],
    test: Sequence[PointStats],
    aggregate: Aggregate,
    *,
    method: Method,
    higher_better: bool = True,
    min_overlap: float = 0.5,
    saturating: bool = False,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.9,
    block: int = 1,
    max_undefined: float = 0.2,
) -> BDInterval:
    """BD-rate of test over anchor with a percentile interval over resampled frames.

    Args:
        anchor, test: per operating point, (bits (F,), statistics (F, …)); the same F frames everywhere.
        aggregate: as ``FrameBootstrap.curve``.
        method, higher_better, min_overlap, saturating: as ``bd_rate``.
        n, seed, level, block, max_undefined: as ``FrameBootstrap``.

    Raises CurveError where the BD-rate of all frames is undefined, or the inputs do not fit together.
    """

    def delta(a: RDCurve, t: RDCurve) -> BDResult:
        return bd_rate(a, t, method=method, min_overlap=min_overlap, saturating=saturating)

    settings = {"n": n, "seed": seed, "level": level, "block": block, "max_undefined": max_undefined}
    draws, curves = _drawn({"anchor": anchor, "test": test}, aggregate, higher_better, **settings)
    found = draws.estimate(lambda a, t: delta(a, t).value_percent, *curves)
    result = delta(*(curve.full for curve in curves))
    return BDInterval(**vars(found), result=result)


def bootstrap(
    statistic: Callable[..., float],
    arms: Sequence[Sequence[PointStats]],
    aggregate: Aggregate,
    *,
    higher_better: bool = True,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.9,
    block: int = 1,
    max_undefined: float = 0.2,
) -> Estimate:
    """Any number of curves with a percentile interval over resampled frames: BD-accuracy, BD of hulls, ratios, rates.

    Args:
        statistic: takes one ``RDCurve`` an arm, in order; raises CurveError where it is undefined.
        arms: per arm and operating point, (bits (F,), statistics (F, …)); the same F frames everywhere.
        aggregate, higher_better: as ``FrameBootstrap.curve``.
        n, seed, level, block, max_undefined: as ``FrameBootstrap``.

    Raises CurveError where the number of all frames is undefined, or the inputs do not fit together.
    """
    settings = {"n": n, "seed": seed, "level": level, "block": block, "max_undefined": max_undefined}
    named = {f"arm {i}": arm for i, arm in enumerate(arms)}
    draws, curves = _drawn(named, aggregate, higher_better, **settings)
    return draws.estimate(statistic, *curves)


def _drawn(
    arms: Mapping[str, Sequence[PointStats]], aggregate: Aggregate, higher_better: bool, **settings: Any
) -> tuple[FrameBootstrap, list[ResampledCurve]]:
    """Draws of the arms' frames, and the arms as curves over them."""
    draws = FrameBootstrap(common_frames(list(arms.values())), **settings)
    return draws, [draws.curve(arm, aggregate, higher_better=higher_better, label=name) for name, arm in arms.items()]

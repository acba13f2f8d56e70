"""Distortion over epochs: Eq. (1) of seed 001 and the shipped parameters of every codec (its Table III)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from encoder_bridge.errors import ConfigError
from encoder_bridge.registry import Registry

_TOLERANCE = 1e-9
_DIGITS = 9


@dataclass(frozen=True)
class ProgressiveSchedule:
    """f(e) = p∞ + Δp · ⟦(p0 − p∞)/Δp · exp(−s·e)⟧ (seed 001, Eq. 1).

    ⟦·⟧ cuts towards zero. With it the levels that occur are those of the paper's Table II (48 for JPEG, 176 for
    JPEG 2000, 11 for each video codec), and Table IV's epochs come out; rounding to nearest or downwards gives others.

    Attributes:
        p0, p_inf: first level, and the one that is approached.
        step: Δp, distance between levels; more than 0.
        speed: s of the exponential; more than 0.
        epochs: #e, length of a training.
    """

    p0: float
    p_inf: float
    step: float
    speed: float
    epochs: int

    def __post_init__(self) -> None:
        if not (self.step > 0 and math.isfinite(self.step)):
            raise ConfigError(f"step {self.step} between levels; expected more than 0")
        if not (self.speed > 0 and math.isfinite(self.speed)):
            raise ConfigError(f"speed s = {self.speed}; expected more than 0")
        if self.epochs < 1:
            raise ConfigError(f"{self.epochs} epochs; expected at least 1")
        if not (math.isfinite(self.p0) and math.isfinite(self.p_inf)) or self.p0 == self.p_inf:
            raise ConfigError(f"levels from {self.p0} to {self.p_inf}; expected two different numbers")

    def level(self, epoch: int) -> float:
        """f(e). Raises ConfigError for an epoch below 0."""
        if epoch < 0:
            raise ConfigError(f"epoch {epoch}; expected at least 0")
        steps = (self.p0 - self.p_inf) / self.step * math.exp(-self.speed * epoch)
        whole = round(steps)
        # A quotient that is a whole number on paper may lie just below it in floating point.
        if abs(steps - whole) > _TOLERANCE * max(1.0, abs(steps)):
            whole = math.trunc(steps)
        return round(self.p_inf + self.step * whole, _DIGITS)

    def __iter__(self) -> Iterator[float]:
        """f(0), f(1), … f(#e − 1)."""
        return (self.level(epoch) for epoch in range(self.epochs))

    @property
    def runs(self) -> tuple[tuple[float, int], ...]:
        """(level, epochs spent at it) in order; the learning rate is reset at the start of each."""
        return tuple((level, len(list(group))) for level, group in groupby(self))

    @property
    def levels(self) -> tuple[float, ...]:
        """Distinct levels, in the order they are reached."""
        return tuple(level for level, _ in self.runs)

    def epochs_through(self, last: float) -> int:
        """Epochs until f(e) leaves level ``last``. Raises ConfigError where it is never reached."""
        self.check_levels((last,))
        return sum(count for _, count in self.runs[: self.levels.index(last) + 1])

    def check_levels(self, wanted: tuple[float, ...]) -> None:
        """ConfigError unless every wanted level occurs."""
        absent = [level for level in wanted if level not in self.levels]
        if absent:
            known = ", ".join(f"{level:g}" for level in self.levels)
            raise ConfigError(f"level {absent[0]:g} is not reached in {self.epochs} epochs; expected some of {known}")


SCHEDULES: Registry[ProgressiveSchedule] = Registry("progressive_schedule")
"""Codec → schedule of its quality parameter. The first five are Table III of seed 001."""

SCHEDULES.register("jpeg")(ProgressiveSchedule(100, 1, 1, 0.05, 65))
SCHEDULES.register("jpeg2000")(ProgressiveSchedule(0, 500, 1, 0.015, 200))
SCHEDULES.register("jm")(ProgressiveSchedule(0, 50, 5, 0.04, 70))
SCHEDULES.register("x265")(ProgressiveSchedule(0, 50, 5, 0.04, 70))
SCHEDULES.register("vvenc")(ProgressiveSchedule(0, 60, 5, 0.025, 72))
# QP ranges as those of JM, x265 and VVenC: 0–51, 0–51 and 0–63.
SCHEDULES.register("x264")(ProgressiveSchedule(0, 50, 5, 0.04, 70))
SCHEDULES.register("hm")(ProgressiveSchedule(0, 50, 5, 0.04, 70))
SCHEDULES.register("vtm")(ProgressiveSchedule(0, 60, 5, 0.025, 72))

PAPER_CODECS = ("jpeg", "jpeg2000", "jm", "x265", "vvenc")
UNSCALED_CODECS = ("jpeg2000",)
"""Without block partitioning inside a tile, so that lower resolutions bring nothing (seed 001, §III-A)."""

RESOLUTION = ProgressiveSchedule(1.0, 0.25, 0.125, 0.04, 60)
"""The chain of downsampling factors δ. The paper gives its levels and neither s nor #e: s is the video codecs', and
the last level lasts 15 epochs, as long as theirs do."""
SCALES = RESOLUTION.levels

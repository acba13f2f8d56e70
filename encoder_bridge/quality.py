"""What ``--qp`` means to a codec: its own quality scale, where it lies on the QP scale of AVC, HEVC and VVC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from encoder_bridge.errors import ConfigError


def _same(value: float) -> float:
    return value


@dataclass(frozen=True)
class QualityScale:
    """A codec's own quality parameter, a whole number.

    An encoder with another scale than QP 0–51 has one as its class attribute ``quality``.

    Attributes:
        name: what the codec calls it.
        low, high: first and last value.
        finer: which end gives the better picture.
        default: of one encode.
        sweep: default operating points of a comparison.
        to_qp: the QP of about the same quantiser step; 6 QPs double the step.
        from_qp: the other way round.
    """

    name: str = "QP"
    low: int = 0
    high: int = 51
    finer: Literal["lower", "higher"] = "lower"
    default: int = 32
    sweep: tuple[int, ...] = (22, 27, 32, 37, 42, 47)
    to_qp: Callable[[float], float] = _same
    from_qp: Callable[[float], float] = _same

    def check(self, codec: str, value: int) -> None:
        """ConfigError for a value outside the scale."""
        if not self.low <= value <= self.high:
            raise ConfigError(f"{codec}: {self.name} {value} outside {self.low}–{self.high} ({self.finer} is finer)")

    def coarser(self, value: float, steps: float) -> int:
        """The value whose quantiser step is 2^(``steps``/6) times as large, within the scale."""
        return min(self.high, max(self.low, round(self.from_qp(self.to_qp(value) + steps))))

    def describe(self, value: float) -> str:
        """Name and value, as "QP 32"."""
        return f"{self.name} {value:g}"


QP_51 = QualityScale()
"""AVC and HEVC at 8 bit, and every encoder that does not say otherwise."""
QP_63 = QualityScale(high=63)
"""VVC."""

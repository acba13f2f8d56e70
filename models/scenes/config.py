"""What a procedural street clip is made of: size, length, rate and the seed everything else follows from."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from encoder_bridge.errors import ConfigError

MIN_SIDE = 32


@dataclass(frozen=True)
class SceneConfig:
    """One clip of the street scene.

    Attributes:
        width, height: samples, each at least 32; odd sizes are fine.
        frames: number of frames, at least 1.
        fps: frames per second, exact.
        seed: names the street, the light, the traffic and the noise; 0 or more.
    """

    width: int = 480
    height: int = 360
    frames: int = 30
    fps: Fraction = Fraction(30)
    seed: int = 0

    def __post_init__(self) -> None:
        check_size(self.width, self.height)
        if self.frames < 1:
            raise ConfigError(f"scene of {self.frames} frames; expected at least 1")
        if self.fps <= 0:
            raise ConfigError(f"scene at {self.fps} frames per second; expected a positive number")
        check_seed(self.seed)


def check_size(width: int, height: int) -> None:
    """Raise ConfigError unless both sides are at least 32 samples."""
    if width < MIN_SIDE or height < MIN_SIDE:
        raise ConfigError(f"scene size {width}x{height}; expected at least {MIN_SIDE}x{MIN_SIDE}")


def check_seed(seed: int) -> None:
    """Raise ConfigError unless the seed is 0 or more."""
    if seed < 0:
        raise ConfigError(f"scene seed {seed}; expected 0 or more")

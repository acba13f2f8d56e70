"""The light of a street: sun, sky and the camera's response to them, drawn once per seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.scenes.noise import stream

Vector = NDArray[np.float64]
_SKYLIGHT = np.array([0.94, 0.98, 1.04])
_SUNLIGHT = np.array([1.06, 1.0, 0.88])


@dataclass(frozen=True)
class Light:
    """Light and camera response.

    Attributes:
        sun: unit vector towards the sun.
        strength: sunlight on a surface that faces the sun, relative to the skylight's 1.
        ambient: factor of the skylight.
        haze: colour of far things.
        density: haze per metre.
        tint: (3,) white balance.
        gain, gamma: exposure and tone curve.
        blur: defocus in samples at a width of 480.
        sharpening: amount of the camera's own unsharp mask.
        saturation: 1 keeps colours, 0 is gray.
        noise: standard deviation of the sensor noise on 0-255.
        overcast: share of the sky under clouds, 0-1.
    """

    sun: Vector
    strength: float
    ambient: float
    haze: Vector
    density: float
    tint: Vector
    gain: float
    gamma: float
    blur: float
    sharpening: float
    saturation: float
    noise: float
    overcast: float

    def on(self, normal: Vector, lit: float = 1.0) -> Vector:
        """(..., 3) factor for surfaces with these normals (..., 3); ``lit`` is the share of direct sun on them."""
        direct = np.maximum(normal @ self.sun, 0.0) * (self.strength * lit)
        sky = self.ambient * (0.72 + 0.28 * normal[..., 1])
        factor: Vector = np.multiply.outer(sky, _SKYLIGHT) + np.multiply.outer(direct, _SUNLIGHT)
        return factor


def light_of(seed: int) -> Light:
    """Light of the street ``seed``: mostly bright afternoons, some dusk."""
    rng = stream(seed, 11)
    dusk = rng.random() < 0.25
    side = rng.choice([-1.0, 1.0])
    height = rng.uniform(0.25, 0.6)
    sun = np.array([side * rng.uniform(0.5, 1.0), height, rng.uniform(-0.8, 0.5)])
    overcast = float(rng.uniform(0.5, 1.0) if dusk else rng.beta(0.7, 1.4))
    strength = (1 - 0.85 * overcast) * rng.uniform(0.7, 1.7) * (0.15 if dusk else 1.0)
    haze = np.array([150.0, 158.0, 166.0]) * (0.55 if dusk else rng.uniform(0.9, 1.25))
    return Light(
        sun=sun / np.linalg.norm(sun),
        strength=float(strength),
        ambient=float(rng.uniform(0.42, 0.58) if dusk else rng.uniform(0.62, 0.95)),
        haze=haze,
        density=float(rng.uniform(0.001, 0.004)),
        tint=np.exp(rng.normal(0, 0.018, 3)) * ([0.97, 0.99, 1.03] if dusk else [1.0, 1.0, 1.0]),
        gain=float(rng.uniform(1.15, 1.6) if dusk else rng.uniform(1.2, 1.55)),
        gamma=float(rng.uniform(1.05, 1.4)),
        blur=float(rng.uniform(0.25, 0.6)),
        sharpening=float(rng.uniform(0.5, 1.6)),
        saturation=float(rng.uniform(0.5, 0.95)),
        noise=float(rng.uniform(1.0, 3.2)),
        overcast=overcast,
    )

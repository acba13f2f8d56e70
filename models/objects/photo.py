"""What light, lens and sensor do to a small rendered picture."""

from __future__ import annotations

import cv2
import numpy as np

from models.objects.types import Rgb
from models.scenes.noise import patch


def photograph(rng: np.random.Generator, picture: Rgb) -> Rgb:
    """(H, W, 3) uint8 RGB → the same under a random light, a little out of focus, with noise."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    slope = rng.normal(0, 0.16, 2)
    light = rng.uniform(0.62, 1.15) * (1 + slope[0] * y + slope[1] * x)
    if rng.random() < 0.3:
        light *= 1 - 0.3 * (patch(rng, height, width, first=4, octaves=3) > 0.6)
    lit = picture.astype(np.float32) * light[..., None].astype(np.float32) * rng.normal(1, 0.03, 3).astype(np.float32)
    soft = cv2.GaussianBlur(lit, (0, 0), float(rng.uniform(0.25, 0.6)))
    noise = rng.standard_normal((height, width, 3), dtype=np.float32) * np.float32(rng.uniform(1.0, 3.5))
    return np.asarray(np.clip(soft + noise + 0.5, 0, 255), np.uint8)

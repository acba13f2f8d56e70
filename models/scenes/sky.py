"""Sky: a gradient from the horizon up and drifting clouds."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.scenes.camera import Camera
from models.scenes.light import Light
from models.scenes.noise import padded, stream


def draw_sky(rgb: NDArray[np.uint8], camera: Camera, light: Light, seed: int, time: float) -> None:
    """Fill every row down to the horizon."""
    bottom = min(max(int(np.ceil(camera.horizon)) + 1, 1), camera.height)
    rng = stream(seed, 13)
    zenith = np.array([150.0, 188.0, 226.0]) * rng.uniform(0.85, 1.05)
    low = np.array([232.0, 240.0, 242.0]) * rng.uniform(0.95, 1.05)
    cloud = np.array([206.0, 210.0, 214.0]) if light.ambient < 0.59 else np.array([246.0, 247.0, 248.0])
    rows = np.arange(bottom, dtype=np.float32)[:, None] + np.float32(0.5)
    up = np.clip((np.float32(camera.horizon) - rows) / np.float32(camera.focal), 0, None)
    weight = np.clip(up * 1.7, 0, 1)[..., None]
    color = (1 - weight) * low.astype(np.float32) + weight * zenith.astype(np.float32)
    color = np.repeat(color, camera.width, axis=1)
    cover = _clouds(camera, bottom, up, (seed, time))
    thick = np.clip(cover * 0.8 + (light.overcast - 0.45) * 2.2, 0, 1)[..., None]
    shaded = cloud.astype(np.float32) * (1 - (0.05 + 0.2 * light.overcast) * np.clip(cover, -1, 1.5))[..., None]
    color += thick * (shaded - color)
    dim = 0.66 if light.ambient < 0.59 else 1.12
    rgb[:bottom] = np.clip(color * dim, 0, 255).astype(np.uint8)


def _clouds(camera: Camera, bottom: int, up: NDArray[np.float32], drift: tuple[int, float]) -> NDArray[np.float32]:
    """Noise on a flat layer of air seen from below."""
    seed, time = drift
    columns = (np.arange(camera.width, dtype=np.float32)[None] + 0.5 - camera.width / 2) / camera.focal
    height = 1 / (up + np.float32(0.16))
    offset = np.float32(seed % 97 * 31 + time * 1.5)
    column = np.mod((columns + np.float32(camera.yaw)) * height * 70 + offset, 512).astype(np.float32)
    row = np.mod(height * 60 + np.zeros_like(column), 512).astype(np.float32)
    source = padded(512, 8, 5, 40 + seed % 5)
    return np.asarray(cv2.remap(source, column, row, cv2.INTER_LINEAR), np.float32)[:bottom]

"""What lens and sensor do to the picture: tone, vignette, motion and focus blur, noise."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.scenes.light import Light
from models.scenes.noise import stream


def develop(rgb: NDArray[np.uint8], light: Light, seed: int, time: float) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 scene to (H, W, 3) uint8 photograph. The noise differs from frame to frame, named by the time."""
    height, width = rgb.shape[:2]
    mix = light.saturation * np.eye(3) + (1 - light.saturation) * np.array([[0.3, 0.59, 0.11]])
    toned = np.asarray(cv2.LUT(cv2.transform(rgb, mix), _tone(light)), np.uint8)
    image = _blur(toned, light, width, time)
    rng = stream(seed, 30, round(time * 90000))
    luma = rng.standard_normal((height, width), dtype=np.float32)
    chroma = np.float32(0.7 * light.noise) * rng.standard_normal(
        ((height + 1) // 2, (width + 1) // 2, 3), dtype=np.float32
    )
    grain = np.asarray(cv2.resize(chroma, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    grain += (luma * np.float32(light.noise))[..., None]
    image *= _vignette(width, height)
    image += grain
    image += np.float32(0.5)
    return np.clip(image, 0, 255, out=image).astype(np.uint8)


def _tone(light: Light) -> NDArray[np.uint8]:
    """(1, 256, 3) table: white balance, exposure, contrast."""
    level = np.arange(256, dtype=np.float64)[:, None] / 255 * light.tint * light.gain
    curve = np.clip(level, 0, 1.4) ** light.gamma
    shoulder = np.where(curve > 0.8, 0.8 + (curve - 0.8) * 0.8, curve)
    return np.clip(shoulder * 255 + 0.5, 0, 255).astype(np.uint8)[None]


def _blur(image: NDArray[np.uint8], light: Light, width: int, time: float) -> NDArray[np.float32]:
    """Focus as a Gaussian; motion as a short horizontal box that follows the camera's sway."""
    scale = width / 480
    soft = cv2.GaussianBlur(image, (0, 0), max(light.blur * scale, 0.2))
    side = 0.5 * abs(np.sin(0.9 * time + light.gamma * 9)) * min(scale, 1.0)
    soft = cv2.filter2D(soft, -1, np.array([[side / 2, 1 - side, side / 2]], np.float32))
    # dash cameras sharpen: a halo of about one sample
    wide = cv2.GaussianBlur(soft, (0, 0), 1.2 * max(scale, 0.5))
    sharp = cv2.addWeighted(soft, 1 + light.sharpening, wide, -light.sharpening, 0, dtype=cv2.CV_32F)
    return np.asarray(sharp, np.float32)


@lru_cache(maxsize=4)
def _vignette(width: int, height: int) -> NDArray[np.float32]:
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    shade: NDArray[np.float32] = 1 - np.float32(0.07) * (x * x + y * y)
    return np.repeat(shade[..., None], 3, axis=2)

"""Made pictures that several tests code."""

from __future__ import annotations

import numpy as np

from encoder_bridge.frames import Frame, VideoFormat


def moving(fmt: VideoFormat, count: int, noise: float = 3) -> list[Frame]:
    """Waves that move under noise of ``noise`` 8-bit levels: something to predict and something that cannot be."""
    rng, frames = np.random.default_rng(5), []
    for i in range(count):
        planes = []
        for height, width in fmt.plane_shapes:
            y, x = np.mgrid[:height, :width]
            wave = 120 + 70 * np.sin((x + 3 * i) / 7) * np.cos((y - i) / 5) + rng.normal(0, noise, (height, width))
            planes.append((wave.clip(16, 235) * (1 << fmt.bit_depth - 8)).astype(fmt.dtype))
        frames.append(Frame(tuple(planes), i, i / fmt.fps))
    return frames

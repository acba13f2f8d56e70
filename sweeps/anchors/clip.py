"""The clip that anchors are recorded on: rendered where it is needed, small enough for the slowest encoders."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from encoder_bridge.frames import FrameSource

if TYPE_CHECKING:
    from models.scenes import SceneSource

EMBEDDED = "embedded"
"""What stands for the clip in place of an input file's name."""
_SIZE = (352, 288)
_FRAMES = 9
_SEED = 7


def embedded_clip(frames: int | None = None) -> SceneSource:
    """A procedural street scene of 352x288, 9 frames unless told otherwise, with labels."""
    from models.scenes import SceneConfig, SceneSource

    return SceneSource(SceneConfig(*_SIZE, frames or _FRAMES, seed=_SEED))


def samples_digest(source: FrameSource) -> str:
    """SHA-256 hex digest of geometry and samples alone: rate and colour tags change no bit of what is predicted."""
    fmt = source.format
    total = hashlib.sha256(f"{fmt.width}x{fmt.height} {fmt.chroma} {fmt.bit_depth}".encode())
    for frame in source:
        for plane in frame.planes:
            total.update(np.ascontiguousarray(plane).tobytes())
    return total.hexdigest()

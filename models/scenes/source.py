"""The street scene as a video for the encoders: a frame source with labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.frames import Frame, Plane, VideoFormat
from models.scenes.config import SceneConfig
from models.scenes.render import render

_Shot = tuple[tuple[Plane, ...], NDArray[np.uint8]]
_BUDGET = 64 << 20
"""Bytes of frames and labels a source keeps."""


class SceneSource:
    """A procedural clip as 4:2:0, 8 bit, BT.709, limited range; walk through it as often as needed.

    Args:
        config: size, length, rate and seed.
    """

    def __init__(self, config: SceneConfig) -> None:
        self.config = config
        self._kept: dict[int, _Shot] = {}
        self._digest: str | None = None

    @property
    def format(self) -> VideoFormat:
        """Format of every frame; primaries and transfer are BT.709 (code point 1)."""
        return VideoFormat(self.config.width, self.config.height, fps=self.config.fps, primaries=1, transfer=1)

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return self.config.frames

    def __iter__(self) -> Iterator[Frame]:
        """Frames in display order, rendered as they are asked for; the planes are read-only."""
        for index in range(self.config.frames):
            yield Frame(self._shot(index)[0], index, index / self.config.fps)

    def labels(self) -> Iterator[NDArray[np.uint8]]:
        """(H, W) uint8 label ids 0-11 of each frame, read-only."""
        for index in range(self.config.frames):
            yield self._shot(index)[1]

    def _shot(self, index: int) -> _Shot:
        """Planes and labels of one frame; a short clip is kept, of a long one only what fits the budget."""
        if index in self._kept:
            return self._kept[index]
        from encoder_bridge.color import rgb_to_planes

        config = self.config
        rgb, labels = render(config.seed, float(index / config.fps), (config.width, config.height))
        shot = (tuple(rgb_to_planes(rgb, self.format)), labels)
        for array in (*shot[0], labels):
            array.setflags(write=False)
        if len(self._kept) * 2.5 * config.width * config.height < _BUDGET:
            self._kept[index] = shot
        return shot

    def digest(self) -> str:
        """SHA-256 hex digest over the format and all samples."""
        if self._digest is None:
            total = hashlib.sha256(repr(self.format).encode())
            for frame in self:
                for plane in frame.planes:
                    total.update(np.ascontiguousarray(plane).tobytes())
            self._digest = total.hexdigest()
        return self._digest

"""Where a video's shots begin, by libav's scene change detector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.filter
import av.video.format
import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ConfigError, DecodeError
from encoder_bridge.frames import Frame, FrameSource
from encoder_bridge.source_base import BaseSource
from encoder_bridge.transform import slice_source

DEFAULT_THRESHOLD = 8.0
"""Lower end of what libav recommends (8 to 14): a cut too many costs some probes, one too few costs rate."""
MIN_FRAMES = 8
"""A shorter part has too few frames to be worth a search of its own, and joins its neighbour."""
_WIDTH = 320
_HELD_BYTES = 512 << 20


@dataclass(frozen=True)
class Shot:
    """Frames ``start`` to ``start + count`` of a video, between two cuts."""

    start: int
    count: int


def find_shots(
    source: FrameSource,
    threshold: float = DEFAULT_THRESHOLD,
    least: int = MIN_FRAMES,
    advance: Callable[[int], None] | None = None,
) -> list[Shot]:
    """The shots of a video, in order, without gaps.

    A cut is where the mean absolute luma difference of two frames is large and differs as much from the one before
    (libav's ``scdet``): fast motion alone is none.

    Args:
        source: the video; it is walked through once.
        threshold: 0–100; least change of a cut.
        least: frames of the shortest shot.
        advance: called with 1 after each frame.

    Raises:
        ConfigError: threshold outside 0–100. DecodeError: no frames.
    """
    if not 0 <= threshold <= 100:
        raise ConfigError(f"shot threshold {threshold:g}; expected 0 to 100")
    cuts, count = [], 0
    for count, score in enumerate(change_scores(source), 1):
        if count > 1 and score >= threshold:
            cuts.append(count - 1)
        if advance is not None:
            advance(1)
    if not count:
        raise DecodeError("no frames to find shots in")
    return _shots(cuts, count, least)


def change_scores(source: FrameSource) -> Iterator[float]:
    """0–100 of each frame: how much more of the luma changed than between the frames before."""
    graph: av.filter.Graph | None = None
    for frame in source:
        picture = av.VideoFrame.from_ndarray(_small(frame.planes[0], source.format.bit_depth), format="gray")
        picture.pts = frame.index
        if graph is None:
            graph = _graph(picture.width, picture.height)
        graph.push(picture)
        yield float(graph.pull().metadata["lavfi.scd.score"])


class Memory:
    """Room for the frames of one shot: the last that was asked for, where it fits.

    Args:
        most: bytes.
    """

    def __init__(self, most: int = _HELD_BYTES) -> None:
        self.most = most
        self.owner: object = None
        self.frames: list[Frame] = []


class ShotSource(BaseSource):
    """The frames of a shot, timed from 0; a search walks through them many times, so they stay in memory.

    Args:
        source: the video.
        shot: which of its frames.
        memory: shared by all shots of a video.
    """

    def __init__(self, source: FrameSource, shot: Shot, memory: Memory) -> None:
        super().__init__(str(getattr(source, "name", "video")), source.format, shot.count)
        self._part, self._memory = slice_source(source, shot.start, shot.count), memory

    def __iter__(self) -> Iterator[Frame]:
        """Frames from the first."""
        memory, fmt = self._memory, self.format
        size = fmt.dtype.itemsize * sum(height * width for height, width in fmt.plane_shapes)
        if size * (self.frame_count or 0) > memory.most:
            return iter(self._part)
        if memory.owner is not self:
            memory.owner, memory.frames = self, list(self._part)
        return iter(memory.frames)


def _shots(cuts: list[int], total: int, least: int) -> list[Shot]:
    starts = [0]
    for cut in cuts:
        if cut - starts[-1] >= least and total - cut >= least:
            starts.append(cut)
    return [Shot(a, b - a) for a, b in zip(starts, [*starts[1:], total], strict=True)]


def _graph(width: int, height: int) -> av.filter.Graph:
    graph = av.filter.Graph()
    gray = av.video.format.VideoFormat("gray", width, height)
    source = graph.add_buffer(width=width, height=height, format=gray, time_base=Fraction(1))
    graph.link_nodes(source, graph.add("scdet", "threshold=0"), graph.add("buffersink"))
    graph.configure()
    return graph


def _small(luma: NDArray[Any], depth: int) -> NDArray[np.uint8]:
    """At most 320 samples wide, 8 bit: noise goes, what tells shots apart stays."""
    height, width = luma.shape
    size = min(_WIDTH, width), max(1, round(height * min(_WIDTH, width) / width))
    small: NDArray[Any] = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA))
    return np.ascontiguousarray(small >> (depth - 8), dtype=np.uint8)

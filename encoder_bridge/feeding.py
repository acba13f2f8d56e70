"""What a driver gives an encoder to read: the frames of a video, each announced before it can be asked about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from encoder_bridge.encoder import SideInfo
from encoder_bridge.frames import Frame, VideoFormat
from encoder_bridge.hosted import Publish
from encoder_bridge.padding import pad_frame, padded_format
from encoder_bridge.process import Buffer
from encoder_bridge.y4m import y4m_frame, y4m_header

Change = Callable[[SideInfo], SideInfo]
"""What an encoder makes of side information before it is published."""


def _same(side: SideInfo) -> SideInfo:
    return side


def plane_feed(
    frames: Iterable[tuple[Frame, SideInfo | None]], fmt: VideoFormat, publish: Publish, change: Change = _same
) -> Iterator[Buffer]:
    """Planes one after the other, without headers; odd sizes padded (see ``padding``)."""
    for buffers in _frames(frames, fmt, publish, change):
        yield from buffers[1:]


def y4m_feed(
    frames: Iterable[tuple[Frame, SideInfo | None]], fmt: VideoFormat, publish: Publish, change: Change = _same
) -> Iterator[Buffer]:
    """Y4M; odd sizes padded (see ``padding``)."""
    yield y4m_header(padded_format(fmt))
    for buffers in _frames(frames, fmt, publish, change):
        yield from buffers


def _frames(
    frames: Iterable[tuple[Frame, SideInfo | None]], fmt: VideoFormat, publish: Publish, change: Change
) -> Iterator[list[Buffer]]:
    coded = padded_format(fmt)
    for frame, side in frames:
        publish(frame.index, None if side is None else change(side))
        yield list(y4m_frame(frame if coded is fmt else pad_frame(frame, coded)))

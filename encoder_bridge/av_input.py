"""Opening a file with libav: the one place where its errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.video.stream import VideoStream

from encoder_bridge.errors import BridgeError, DecodeError

ELEMENTARY = (
    *("hevc", "h264", "vvc", "m4v", "mpegvideo", "obu", "cavsvideo", "h263", "avs2", "avs3", "evc"),
    *("mjpeg", "j2k_pipe"),
)
"""libav demuxers of bare streams: pictures without time stamps."""
_PICTURES = {
    (".mjpeg", b"\xff\xd8"): "mjpeg",
    (".mjpg", b"\xff\xd8"): "mjpeg",
    (".j2k", b"\xff\x4f"): "j2k_pipe",
    (".j2c", b"\xff\x4f"): "j2k_pipe",
}
"""Ends of names and first bytes of files that libav may take for a single picture."""
_TEXT_AS_VIDEO = ("ansi", "bintext", "xbin", "idf")


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Container and its first real video stream; every libav error inside the block becomes a DecodeError."""
    try:
        with av.open(str(path.absolute()), format=_demuxer(path)) as container:
            streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
            if not streams:
                raise DecodeError(f"{path}: no video stream in this {container.format.long_name} file")
            name = streams[0].codec_context.name
            if name in _TEXT_AS_VIDEO:
                raise DecodeError(f"{path}: is text, not video")
            yield container, streams[0]
    except av.error.FFmpegError as error:
        raise DecodeError(f"{path}: not readable as video: {_reason(error)}") from error
    except ValueError as error:
        if isinstance(error, BridgeError):
            raise
        raise DecodeError(f"{path}: not readable as video: {error}") from error


def _demuxer(path: Path) -> str | None:
    """The demuxer where libav's own choice would be another one."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return _PICTURES.get((path.suffix.lower(), file.read(2)))


def _reason(error: av.error.FFmpegError) -> str:
    return (error.strerror or str(error)).strip()

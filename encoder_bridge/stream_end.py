"""Tells whether a bare HEVC stream ends in the middle of a picture, which no length field says and libav hides."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import av
import av.error
import numpy as np

from encoder_bridge.av_input import open_video

_PADDING = b"\xaa" * 64
"""Neither a start code nor an emulation prevention byte, and unlike the zeros libav reads past the end."""

_START_CODE = b"\0\0\1"
_FIRST_NON_SLICE = 32
"""NAL unit types below this are slices (H.265, table 7-1)."""


def last_picture_is_cut(path: Path) -> bool:
    """Whether the last picture of a bare HEVC stream misses bytes.

    Arithmetic decoding of a whole slice never uses a bit after its end (H.265, 9.3.4.3.5), so bytes appended to the
    last picture change nothing. Where the slice is cut short, the decoder runs into them and the picture changes.
    A stream cut exactly between two pictures is not noticed.
    """
    last, headers = _last_packets(path, 1)
    if not last or not _ends_with_slice(last[0]):
        return False
    alone = _last_picture(last, headers)
    if alone is not None:
        return alone != _last_picture([last[0] + _PADDING], headers)
    group, headers = _last_packets(path, None)
    whole = _last_picture(group, headers)
    return whole is None or whole != _last_picture([*group[:-1], group[-1] + _PADDING], headers)


def _last_packets(path: Path, count: int | None) -> tuple[list[bytes], bytes | None]:
    """The last ``count`` packets, or all from the last key frame on; and the stream's parameter sets.

    One packet is nearly always enough: parsing does not depend on the samples of reference pictures, so the decoder
    may make them up. Only skipped leading pictures need their group.
    """
    packets: deque[bytes] = deque(maxlen=count)
    with open_video(path) as (container, stream):
        headers = stream.codec_context.extradata
        for packet in container.demux(stream):
            if packet.is_keyframe:
                packets.clear()
            if packet.size:
                packets.append(bytes(packet))
    return list(packets), headers


def _ends_with_slice(packet: bytes) -> bool:
    """A slice followed by another unit (an SEI message, end of sequence) is whole."""
    header = packet.rfind(_START_CODE) + len(_START_CODE)
    return header < len(packet) and (packet[header] >> 1) & 0x3F < _FIRST_NON_SLICE


def _last_picture(packets: list[bytes], headers: bytes | None) -> bytes | None:
    """Samples of the picture of the last packet; None where it cannot be decoded."""
    context = av.CodecContext.create("hevc", "r")
    context.extradata = headers
    context.thread_count = 1
    context.options = {"err_detect": "explode"}
    found = None
    try:
        for number, data in enumerate([*packets, None]):
            packet = None if data is None else av.Packet(data)
            if packet is not None:
                packet.pts = number
            for picture in context.decode(packet):
                if picture.pts == len(packets) - 1:
                    found = _samples(picture)
    except av.error.FFmpegError:
        return None
    return found


def _samples(picture: av.VideoFrame) -> bytes:
    """The shown samples of all planes; PyAV's own conversion does not know every pixel format."""
    size = 1 if picture.format.components[0].bits <= 8 else 2
    return b"".join(
        np.frombuffer(memoryview(plane), np.uint8, count=plane.height * plane.line_size)
        .reshape(plane.height, plane.line_size)[:, : plane.width * size]
        .tobytes()
        for plane in picture.planes
    )

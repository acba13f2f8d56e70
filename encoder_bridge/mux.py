"""Elementary streams into MP4 or Matroska, coded pictures untouched, with the source's time stamps and colour tags."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import IO

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from encoder_bridge.atomic import check_target, replacing
from encoder_bridge.av_input import open_video
from encoder_bridge.decode import coding_order
from encoder_bridge.errors import DecodeError, OutputError
from encoder_bridge.frames import MATRIX_CODES, VideoFormat
from encoder_bridge.parameter_sets import START_CODE, ParameterSets, parameter_sets

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
BARE = {
    ".hevc": "hevc",
    ".h265": "hevc",
    ".265": "hevc",
    ".264": "h264",
    ".h264": "h264",
    ".avc": "h264",
    ".266": "vvc",
    ".h266": "vvc",
    ".vvc": "vvc",
    ".mjpeg": "mjpeg",
    ".mjpg": "mjpeg",
    ".j2k": "jpeg2000",
    ".j2c": "jpeg2000",
}
_ENTRIES = {"h264": ("avc1", "avc3"), "hevc": ("hvc1", "hev1"), "vvc": ("vvc1", "vvi1")}
"""MP4 sample entries: with all parameter sets in them, which is played everywhere, and with others at the pictures."""
_SHAPELESS = ("mjpeg", "jpeg2000")
"""Streams of ours that say nothing of the sample aspect ratio."""
RANGE_CODES = {"limited": 1, "full": 2}
"""libav\'s numbers of ``VideoFormat.range``."""
_MAX_TIMESCALE = 1 << 31
_FALLBACK_TIMESCALE = 1_000_000


def check_output(output: Path, codec: str, sar: Fraction = Fraction(1)) -> None:
    """OutputError unless ``mux`` could write a stream of ``codec`` to ``output``; call it before a long encode.

    ``sar`` is the video's sample aspect ratio, which not every pair of standard and container can hold.
    """
    suffix = output.suffix.lower()
    if codec in _SHAPELESS and CONTAINERS.get(suffix) == "matroska":
        _refuse_lost_shape(Fraction(1), sar)
    if suffix not in CONTAINERS and BARE.get(suffix) != codec:
        known = [*CONTAINERS, *(name for name, kind in BARE.items() if kind == codec)]
        raise OutputError(f"{output}: unknown kind {suffix!r} for {codec}; expected {', '.join(known)}")
    check_target(output)


def mux(elementary: Path, output: Path, fmt: VideoFormat, pts: Sequence[Fraction]) -> None:
    """Put a bare stream into a container (``.mp4``, ``.mov``, ``.mkv``), or copy it byte by byte (``.hevc``, …).

    Args:
        elementary: HEVC, AVC or VVC byte stream.
        output: appears only when complete.
        fmt: colour tags, sample aspect ratio and nominal rate; written beside the stream's own.
        pts: presentation time of each picture in display order, seconds, strictly increasing. Matroska rounds to 1 ms.

    Raises:
        OutputError: unknown suffix, folder missing or read-only, disk full, or a kind libav cannot hold.
        DecodeError: damaged stream, or another number of pictures than time stamps.
    """
    elementary, output = Path(elementary), Path(output)
    with open_video(elementary) as (_, stream):
        codec = stream.codec_context.name
    check_output(output, codec)
    with replacing(output) as temporary:
        if output.suffix.lower() in BARE:
            shutil.copyfile(elementary, temporary)
            return
        _, order = coding_order(elementary)
        times = _Times(order, pts, fmt.fps, elementary)
        with temporary.open("wb+") as file:
            _write(elementary, output, file, fmt, times)
            file.flush()


class _Times:
    """Ticks of each packet, in coding order.

    The decoding time of packet k is the presentation time of shown picture k − d, with the smallest delay d that keeps
    dts <= pts; the first d packets get steps of one frame before the first picture. So dts rises strictly with any
    reordering and any frame timing.
    """

    def __init__(self, order: Sequence[int], pts: Sequence[Fraction], fps: Fraction, name: Path) -> None:
        if len(order) != len(pts):
            raise DecodeError(f"{name}: {len(order)} pictures for {len(pts)} time stamps; the stream is not complete")
        self.scale = _timescale(pts, fps)
        shown = [round(time * self.scale) for time in pts]
        if any(later <= earlier for earlier, later in pairwise(shown)):
            raise DecodeError(f"{name}: time stamps do not increase; expected each picture later than the one before")
        step = max(1, round(self.scale / fps))
        rank = {place: index for index, place in enumerate(order)}
        delay = max(place - index for place, index in rank.items())
        lead = [shown[0] - step * n for n in range(delay, 0, -1)]
        follow = [*(b - a for a, b in pairwise(shown)), step]
        self.pts = [shown[rank[k]] for k in range(len(order))]
        self.dts = (lead + shown)[: len(order)]
        self.duration = [follow[rank[k]] for k in range(len(order))]


def _timescale(pts: Sequence[Fraction], fps: Fraction) -> int:
    scale = math.lcm(fps.numerator, *{Fraction(time).denominator for time in pts})
    return scale if scale < _MAX_TIMESCALE else _FALLBACK_TIMESCALE


def _write(elementary: Path, output: Path, file: IO[bytes], fmt: VideoFormat, times: _Times) -> None:
    with open_video(elementary) as (source, stream):
        try:
            kind = CONTAINERS[output.suffix.lower()]
            with av.open(file, "w", format=kind, container_options=_options(kind, times)) as target:
                _copy(source, stream, target, fmt, times)
        except OutputError:
            raise
        except (av.error.FFmpegError, ValueError) as error:
            raise OutputError(f"{output}: {getattr(error, 'strerror', None) or error}") from error


def _options(kind: str, times: _Times) -> dict[str, str]:
    """An MP4's edit list counts in the movie's timescale: 1/1000 s unless told, which would round a late start."""
    return {"fflags": "+bitexact"} | ({} if kind == "matroska" else {"movie_timescale": str(times.scale)})


def _copy(
    source: InputContainer, stream: VideoStream, target: OutputContainer, fmt: VideoFormat, times: _Times
) -> None:
    copied = target.add_stream_from_template(stream, opaque=True)
    base = Fraction(1, times.scale)
    copied.time_base = base
    if target.format.name == "matroska":
        _refuse_lost_shape(stream.sample_aspect_ratio or Fraction(1), fmt.sar)
    _tag(copied, fmt)
    if stream.codec_context.name in _ENTRIES and target.format.name in ("mp4", "mov"):
        _enter_sets(copied, parameter_sets(Path(source.name), stream.codec_context.name))
    number = 0
    for packet in source.demux(stream):
        if packet.size == 0:
            continue
        packet.stream, packet.time_base = copied, base
        packet.pts, packet.dts, packet.duration = times.pts[number], times.dts[number], times.duration[number]
        target.mux(packet)
        number += 1


def _tag(stream: VideoStream, fmt: VideoFormat) -> None:
    context = stream.codec_context
    if context.colorspace in (0, 2, 3):
        context.colorspace = MATRIX_CODES[fmt.matrix]
    context.color_range = RANGE_CODES[fmt.range]
    context.color_primaries, context.color_trc = fmt.primaries, fmt.transfer
    context.sample_aspect_ratio = fmt.sar
    context.framerate = fmt.fps


def _enter_sets(copied: VideoStream, sets: ParameterSets) -> None:
    """The sample entry that says where the parameter sets are; joined shots have others than the first picture's.

    For hvc1 libav drops what stands at the pictures and keeps what the stream begins with.
    """
    apart, along = _ENTRIES[sets.codec]
    if not sets.constant and sets.compatible:
        copied.codec_context.extradata = b"".join(START_CODE + unit for unit in sets.all)
    copied.codec_tag = apart if sets.constant or sets.compatible else along


def _refuse_lost_shape(stated: Fraction, wanted: Fraction) -> None:
    """libav's Matroska writer takes the sample aspect ratio from the stream alone."""
    if stated != wanted:
        raise OutputError(f"Matroska cannot keep sample aspect ratio {wanted} (the stream says {stated}); use .mp4")

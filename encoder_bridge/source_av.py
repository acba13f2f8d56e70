"""Frames of anything libav reads: containers and elementary streams, by PyAV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.error
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.stream import VideoStream

from encoder_bridge.av_input import ELEMENTARY, open_video
from encoder_bridge.errors import DecodeError
from encoder_bridge.frames import Frame, VideoFormat
from encoder_bridge.pixel_layout import PixelLayout, layout_of, planes_of
from encoder_bridge.source_base import (
    DEFAULT_FPS,
    BaseSource,
    SourceOptions,
    check_sample_range,
    resolve_colour,
)
from encoder_bridge.stream_end import last_picture_is_cut
from encoder_bridge.truncation import cut_short

_PACKED_PICTURES = ("mpeg4", "msmpeg4v2", "msmpeg4v3")
"""Codecs whose packets need not be one picture each, so their number says nothing about completeness."""
_MAX_PLAUSIBLE_FPS = 1000
"""Bare streams of variable-rate encodes state their clock (90000) as their rate."""
_MATRICES = {1: "bt709", 5: "bt601", 6: "bt601", 9: "bt2020nc"}
_MATRIX_NAMES = {4: "fcc", 7: "smpte240m", 8: "ycgco", 10: "bt2020c", 14: "ictcp"}
_UNSTATED_MATRIX = (0, 2, 3)
_RANGES = {1: "limited", 2: "full"}
_UNTURNED = (1 << 16, 0, 0, 1 << 16)


@dataclass(frozen=True)
class _Timing:
    """What reading all packets without decoding tells."""

    count: int
    rate: Fraction | None
    variable: bool


class AvSource(BaseSource):
    """A video file read by libav. Opening reads all packets once (no decoding) for count, timing and damage."""

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self._path = path
        self._options = options
        fault = cut_short(path)
        if fault:
            raise DecodeError(f"{path}: {fault}; get the whole file")
        self._timing = _scan(path)
        first, self._layout, self._elementary, sar = _first_picture(path)
        if self._elementary and first.codec == "hevc" and last_picture_is_cut(path):
            raise DecodeError(f"{path}: its last picture misses bytes; the file is damaged or cut short")
        self._packed = first.codec in _PACKED_PICTURES
        fmt, notes = _format_of(path, first, self._layout, self._timing, sar, options)
        super().__init__(str(path), fmt, self._timing.count, [*notes, *_left_out(path)])

    def __iter__(self) -> Iterator[Frame]:
        """Frames in display order with the container's time stamps (elementary streams: index / fps).

        Raises:
            DecodeError: damaged data, a change of size or pixel format, or fewer pictures than the file holds.
        """
        index, last = 0, None
        for picture, pts in _pictures(self._path):
            where = f"{self.name}: frame {index}"
            self._check_geometry(picture, where)
            planes = planes_of(picture, self._layout, self.format)
            check_sample_range(planes, self.format, where)
            time = self._time(index, pts, last)
            if last is not None and time <= last:
                raise DecodeError(f"{where} at {float(time):.6g} s does not follow {float(last):.6g} s; set --fps")
            last = time
            yield Frame(planes, index, time)
            index += 1
        if index < self._timing.count and not self._packed:
            raise DecodeError(
                f"{self.name}: {index} of {self._timing.count} pictures could be decoded; "
                "the file is damaged, cut short, or begins between key frames"
            )

    def _time(self, index: int, pts: Fraction | None, last: Fraction | None) -> Fraction:
        if self._options.fps is not None or self._elementary:
            return index / self.format.fps
        if pts is None:
            return Fraction(0) if last is None else last + 1 / self.format.fps
        return pts

    def _check_geometry(self, picture: av.VideoFrame, where: str) -> None:
        fmt, layout = self.format, self._layout
        if (picture.width, picture.height, picture.format.name) != (fmt.width, fmt.height, layout.name):
            raise DecodeError(
                f"{where} is {picture.width}x{picture.height} {picture.format.name}; expected "
                f"{fmt.width}x{fmt.height} {layout.name} as in frame 0; split the file at the change"
            )


@dataclass(frozen=True)
class _First:
    """Facts of the first picture that outlive its container."""

    codec: str
    width: int
    height: int
    colorspace: int
    color_range: int
    primaries: int
    transfer: int
    interlaced: bool
    stream_rate: Fraction | None


def _pictures(path: Path) -> Iterator[tuple[av.VideoFrame, Fraction | None]]:
    with open_video(path) as (container, stream):
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
        index = 0
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise DecodeError(f"{path}: damaged data after frame {index - 1}; the file is damaged or cut short")
            for picture in _decoded(packet, f"{path}: damaged data after frame {index - 1}"):
                if picture.is_corrupt:
                    raise DecodeError(f"{path}: frame {index} is damaged; the file is damaged or cut short")
                base = picture.time_base
                yield picture, None if picture.pts is None or base is None else picture.pts * Fraction(base)
                index += 1


def _decoded(packet: av.Packet[VideoStream], fault: str) -> list[av.VideoFrame]:
    try:
        return packet.decode()
    except av.error.InvalidDataError as error:
        raise DecodeError(fault) from error


def _scan(path: Path) -> _Timing:
    with open_video(path) as (container, stream):
        base, stamps, count = Fraction(stream.time_base or 1), [], 0
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:
                continue
            if packet.is_corrupt:
                raise DecodeError(f"{path}: damaged data in packet {count}; the file is damaged or cut short")
            count += 1
            if packet.pts is not None:
                stamps.append(packet.pts)
        if count == 0:
            raise DecodeError(f"{path}: zero frames; expected at least one")
        rate = stream.guessed_rate if container.format.name not in ELEMENTARY else None
    return _timing_of(count, stamps if len(stamps) == count else [], base, rate)


def _timing_of(count: int, stamps: list[int], base: Fraction, rate: Fraction | None) -> _Timing:
    """Variable where a step differs from the nominal one by more than rounding (1.5 ticks) and by more than 5 %."""
    if len(stamps) < 2 or not rate:
        return _Timing(count, rate or None, False)
    steps = np.diff(np.sort(np.array(stamps, np.float64)))
    nominal = float(1 / (rate * base))
    if np.abs(steps - nominal).max() <= max(1.5, 0.05 * nominal):
        return _Timing(count, rate, False)
    mean = (len(stamps) - 1) / ((max(stamps) - min(stamps)) * base) if max(stamps) > min(stamps) else rate
    return _Timing(count, mean.limit_denominator(1001), True)


def _first_picture(path: Path) -> tuple[_First, PixelLayout, bool, Fraction]:
    with open_video(path) as (container, stream):
        elementary = container.format.name in ELEMENTARY
        stream_rate = stream.codec_context.framerate
        sar = stream.sample_aspect_ratio
        for picture in container.decode(stream):
            _refuse_turned(picture, path)
            layout = layout_of(picture.format.name, str(path))
            first = _First(
                codec=stream.codec_context.name,
                width=picture.width,
                height=picture.height,
                colorspace=int(picture.colorspace),
                color_range=int(picture.color_range),
                primaries=int(picture.color_primaries),
                transfer=int(picture.color_trc),
                interlaced=picture.interlaced_frame,
                stream_rate=Fraction(stream_rate) if stream_rate else None,
            )
            return first, layout, elementary, Fraction(sar) if sar else Fraction(1)
    raise DecodeError(f"{path}: no picture could be decoded; the file is damaged")


def _refuse_turned(picture: av.VideoFrame, path: Path) -> None:
    for data in cast(Iterable[SideData], picture.side_data):
        if data.type.name != "DISPLAYMATRIX":
            continue
        matrix = np.frombuffer(bytes(data), np.int32)
        if tuple(matrix[[0, 1, 3, 4]]) != _UNTURNED:
            mirrored = int(matrix[0]) * int(matrix[4]) - int(matrix[1]) * int(matrix[3]) < 0
            how = "mirrored" if mirrored else f"turned by {picture.rotation}°"
            raise DecodeError(
                f"{path}: its display matrix says the picture is shown {how}; turn the samples first: "
                f"ffmpeg -i {path} -c:v ffv1 turned.mkv"
            )


def _format_of(
    path: Path, first: _First, layout: PixelLayout, timing: _Timing, sar: Fraction, options: SourceOptions
) -> tuple[VideoFormat, list[str]]:
    if layout.kind == "rgb":
        chroma, depth = options.chroma or "420", options.bit_depth or 8
        matrix, range_ = options.matrix or "bt709", options.range or "limited"
        notes = [f"RGB ({layout.name}) converted to 4:{chroma[1]}:{chroma[2]} {depth} bit {matrix} {range_}"]
    else:
        chroma, depth = layout.chroma or "420", layout.bit_depth or 8
        matrix, range_, notes = resolve_colour(
            first.height, chroma, _stated_colour(path, first, layout, options), options
        )
    fps, timing_notes = _rate_of(first, timing, options)
    if first.interlaced:
        notes.append(
            "interlaced: each frame is coded as one progressive picture; to deinterlace first: "
            f"ffmpeg -i {path} -vf bwdif -c:v ffv1 progressive.mkv"
        )
    fmt = VideoFormat(
        width=first.width,
        height=first.height,
        chroma=chroma,
        bit_depth=depth,
        fps=fps,
        matrix=matrix,
        range=range_,
        primaries=first.primaries,
        transfer=first.transfer,
        sar=sar,
    )
    return fmt, notes + timing_notes


def _stated_colour(
    path: Path, first: _First, layout: PixelLayout, options: SourceOptions
) -> tuple[str | None, str | None]:
    matrix = _MATRICES.get(first.colorspace)
    if (
        matrix is None
        and first.colorspace not in _UNSTATED_MATRIX
        and options.matrix is None
        and layout.chroma != "400"
    ):
        named = _MATRIX_NAMES.get(first.colorspace, f"code {first.colorspace}")
        raise DecodeError(
            f"{path}: colour matrix {named}; expected bt601, bt709 or bt2020nc; "
            f"convert it first: ffmpeg -i {path} -vf scale=out_color_matrix=bt709 -c:v ffv1 converted.mkv"
        )
    range_ = "full" if layout.full_range else _RANGES.get(first.color_range)
    return matrix, range_


def _rate_of(first: _First, timing: _Timing, options: SourceOptions) -> tuple[Fraction, list[str]]:
    if options.fps is not None:
        return options.fps, []
    rate = timing.rate or first.stream_rate
    if rate is not None and rate > _MAX_PLAUSIBLE_FPS and not timing.rate:
        rate = None
    if rate is None:
        return DEFAULT_FPS, [f"frame rate not stated; {DEFAULT_FPS} assumed; set --fps"]
    if timing.variable:
        return rate, [f"variable frame rate (mean {float(rate):.4g}): kept through exact time stamps"]
    return rate, []


def _left_out(path: Path) -> list[str]:
    """A note where the file holds more than pictures."""
    with open_video(path) as (container, _):
        kinds = sorted({stream.type for stream in container.streams} & {"audio", "subtitle"})
    return [f"{' and '.join(kinds)} streams are not carried over; only the pictures are used"] if kinds else []

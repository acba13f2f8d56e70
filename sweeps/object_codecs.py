"""Pictures through codecs: what object metrics are trained and judged on. All-intra, 4:2:0, 8 bit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.color import planes_to_rgb, rgb_to_planes
from encoder_bridge.config import CodingConfig, RunOptions
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import ConfigError, EncoderError, ToolNotFoundError
from encoder_bridge.frames import Frame, VideoFormat

Rgb = NDArray[np.uint8]
Coding = Callable[[Rgb, int], Rgb]
"""(N, H, W, 3) uint8 RGB and a level → the decoded pictures."""

X265_PRESET = "fast"


@dataclass(frozen=True)
class PictureCodec:
    """A codec and the levels that are tried.

    Attributes:
        name: as tables show it.
        levels: QPs, quantisers or quality factors, from fine to coarse.
        code: carries out the coding.
    """

    name: str
    levels: tuple[int, ...]
    code: Coding


def video_format(pictures: Rgb) -> VideoFormat:
    """The format pictures are coded in: BT.709, limited range, 4:2:0. Raises ConfigError for odd sides."""
    height, width = pictures.shape[1:3]
    if height % 2 or width % 2:
        raise ConfigError(f"pictures of {width}x{height}; expected even sides")
    return VideoFormat(width, height)


def through_420(pictures: Rgb) -> Rgb:
    """What is left of RGB pictures in 4:2:0: the original that encoders are given."""
    fmt = video_format(pictures)
    return np.stack([planes_to_rgb(rgb_to_planes(p, fmt), fmt) for p in pictures])


def code_video(pictures: Rgb, config: CodingConfig) -> Rgb:
    """Pictures through one of the project's encoders, as the frames of one video, and back."""
    fmt = video_format(pictures)
    frames = ((Frame(rgb_to_planes(p, fmt), i, i / fmt.fps), None) for i, p in enumerate(pictures))
    encoder = ENCODERS.get(config.codec)()
    with tempfile.TemporaryDirectory(prefix="mrdo-") as folder:
        stream = encoder.encode(frames, fmt, config, RunOptions(), Path(folder) / f"stream{encoder.suffix}")
        decoded = decode_stream(stream.path)
        return np.stack([planes_to_rgb(f.planes, decoded.format) for f in decoded])


def code_x265(pictures: Rgb, level: int) -> Rgb:
    """HEVC at a fixed QP by the project's own encoder."""
    return code_video(pictures, CodingConfig(codec="x265", preset=X265_PRESET, qp=level))


def _by_opencv(suffix: str, parameter: str) -> Coding:
    def code(pictures: Rgb, level: int) -> Rgb:
        return np.stack([_one_by_opencv(p, suffix, [getattr(cv2, parameter), level]) for p in pictures])

    return code


def _one_by_opencv(picture: Rgb, suffix: str, parameters: list[int]) -> Rgb:
    try:
        done, data = cv2.imencode(suffix, picture[..., ::-1], parameters)
    except cv2.error as error:
        raise ToolNotFoundError(
            f"this OpenCV cannot write {suffix} ({error.err}); install opencv-python-headless"
        ) from error
    if not done:
        raise EncoderError([f"cv2.imencode {suffix}"], 1, "")
    decoded: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(decoded[..., ::-1])


def _by_libav(name: str, options: Callable[[int], dict[str, str]]) -> Coding:
    def code(pictures: Rgb, level: int) -> Rgb:
        fmt = video_format(pictures)
        encoder = _open_encoder(name, fmt, options(level))
        packets = []
        for index, picture in enumerate(pictures):
            packets += encoder.encode(_av_frame(rgb_to_planes(picture, fmt), index))
        packets += encoder.encode(None)
        return _decoded(encoder, packets, fmt)

    return code


def _open_encoder(name: str, fmt: VideoFormat, options: dict[str, str]) -> Any:
    import av

    try:
        context: Any = av.CodecContext.create(name, "w")
    except av.codec.codec.UnknownCodecError as error:
        raise ToolNotFoundError(f"PyAV's FFmpeg has no encoder {name}; install the av package from PyPI") from error
    context.width, context.height, context.pix_fmt = fmt.width, fmt.height, "yuv420p"
    context.time_base, context.framerate, context.gop_size = Fraction(1, 30), Fraction(30), 1
    context.options = {"threads": "1", **options}
    return context


def _av_frame(planes: tuple[NDArray[Any], ...], index: int) -> Any:
    import av

    frame = av.VideoFrame(planes[0].shape[1], planes[0].shape[0], "yuv420p")
    for target, plane in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.shape[0], target.line_size), np.uint8)
        rows[:, : plane.shape[1]] = plane
        target.update(rows.tobytes())
    frame.pts, frame.time_base = index, Fraction(1, 30)
    return frame


def _decoded(encoder: Any, packets: list[Any], fmt: VideoFormat) -> Rgb:
    import av

    decoder: Any = av.CodecContext.create(_DECODERS.get(encoder.name, encoder.name), "r")
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return np.stack([planes_to_rgb(_planes(frame), fmt) for frame in frames])


_DECODERS = {"libx264": "h264", "libvpx-vp9": "vp9", "libvpx": "vp8"}


def _planes(frame: Any) -> tuple[NDArray[np.uint8], ...]:
    return tuple(np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width].copy() for p in frame.planes)


def _quantiser(level: int) -> dict[str, str]:
    return {"qmin": str(level), "qmax": str(level)}


def _x264(level: int) -> dict[str, str]:
    return {"qp": str(level), "preset": "fast", "x264-params": "keyint=1:aq-mode=0:psy=0"}


CODECS: dict[str, PictureCodec] = {
    codec.name: codec
    for codec in (
        PictureCodec("x265", (22, 27, 32, 37, 41, 45, 48, 51), code_x265),
        PictureCodec("jpeg", (70, 40, 25, 15, 10, 6, 3), _by_opencv(".jpg", "IMWRITE_JPEG_QUALITY")),
        PictureCodec("mpeg4", (4, 8, 14, 20, 26, 31), _by_libav("mpeg4", _quantiser)),
        PictureCodec("h264", (24, 30, 36, 41, 45, 48, 51), _by_libav("libx264", _x264)),
        PictureCodec("webp", (60, 30, 15, 7, 3, 1), _by_opencv(".webp", "IMWRITE_WEBP_QUALITY")),
        PictureCodec("jpeg2000", (150, 90, 60, 42, 32, 25), _by_opencv(".jp2", "IMWRITE_JPEG2000_COMPRESSION_X1000")),
    )
}
"""Codecs by name."""

TRAINED = ("x265", "jpeg", "mpeg4")
"""Codecs whose pictures the metrics are trained on."""
HELD_OUT = ("h264", "webp", "jpeg2000")
"""Codecs that only judge."""

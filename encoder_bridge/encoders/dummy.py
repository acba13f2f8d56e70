"""A codec for tests: samples rounded to multiples of a step, then FFV1 in Matroska. Needs nothing but PyAV."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.atomic import replacing
from encoder_bridge.config import CodingConfig, RunOptions
from encoder_bridge.encoder import ENCODERS, Bitstream, BuildInfo, Judge, SideInfo
from encoder_bridge.encoders.pictures import PRESET, CodePicture, PictureEncoder, to_depth
from encoder_bridge.errors import EncoderError
from encoder_bridge.frames import Frame, Plane, VideoFormat
from encoder_bridge.mux import RANGE_CODES
from encoder_bridge.quality import QualityScale
from encoder_bridge.side import checked_side

_PIXELS = {"400": "gray", "420": "yuv420p", "422": "yuv422p", "444": "yuv444p"}


@ENCODERS.register("dummy")
class Dummy(PictureEncoder):
    """Uniform rounding of samples with the step of a QP, a QP map followed; every depth and chroma format."""

    name: ClassVar[str] = "dummy"
    codec: ClassVar[str] = "ffv1"
    suffix: ClassVar[str] = ".mkv"
    quality: ClassVar[QualityScale] = QualityScale(default=22, sweep=(10, 16, 22, 28, 34))
    presets: ClassVar[tuple[str, ...]] = (PRESET,)
    depths: ClassVar[tuple[int, ...]] = (8, 10)
    rdo: ClassVar[tuple[str, ...]] = ("psnr", "map")
    largest: ClassVar[int] = 32768
    hidden: ClassVar[bool] = True

    def build_info(self, config: CodingConfig) -> BuildInfo:
        """The libav inside PyAV."""
        return BuildInfo("dummy", f"PyAV {av.__version__}", "", True, 0, "", (8, 10))

    def coder(self, fmt: VideoFormat, config: CodingConfig) -> CodePicture:
        """Not used: FFV1 has a header that is not a picture's."""
        raise NotImplementedError

    def encode(
        self,
        frames: Iterable[tuple[Frame, SideInfo | None]],
        fmt: VideoFormat,
        config: CodingConfig,
        options: RunOptions,
        output: Path,
        judge: Judge | None = None,
    ) -> Bitstream:
        """See ``Encoder.encode``; ``judge`` hears nothing."""
        self.check(config, fmt)
        began, count = time.monotonic(), 0
        with replacing(output) as temporary:
            with av.open(
                str(temporary), "w", format="matroska", container_options={"fflags": "+bitexact"}
            ) as container:
                stream = _stream(container, fmt, config)
                for frame, side in frames:
                    planes = [to_depth(plane, fmt.bit_depth, config.bit_depth) for plane in frame.planes]
                    picture = _picture(_rounded(planes, config, None if config.neutral else side), stream.pix_fmt)
                    picture.pts, picture.time_base = count, 1 / fmt.fps
                    container.mux(stream.encode(picture))
                    count += 1
                container.mux(stream.encode(None))
            if not count:
                raise EncoderError([self.name], 0, "", reason="was given no frame")
            bits = 8 * temporary.stat().st_size
        return Bitstream(output, self.codec, bits, count, time.monotonic() - began)


def _stream(container: Any, fmt: VideoFormat, config: CodingConfig) -> Any:
    stream = container.add_stream("ffv1", rate=fmt.fps, options={"level": "3", "slicecrc": "1", "threads": "1"})
    stream.width, stream.height = fmt.width, fmt.height
    stream.pix_fmt = _PIXELS[fmt.chroma] + ("10le" if config.bit_depth == 10 else "")
    stream.codec_context.time_base = Fraction(1) / fmt.fps
    stream.codec_context.color_range = RANGE_CODES[fmt.range]
    return stream


def _rounded(planes: Sequence[Plane], config: CodingConfig, side: SideInfo | None) -> list[Plane]:
    """Each sample at the nearest multiple of its block's step."""
    assert config.qp is not None
    offset = None if side is None else checked_side(0, side).qp_offset
    top, result = (1 << config.bit_depth) - 1, []
    for plane in planes:
        qp = config.qp + (0.0 if offset is None else _spread(offset, planes[0].shape, plane.shape))
        step = np.maximum(1.0, 2.0 ** ((qp - 4) / 6)) * (1 << (config.bit_depth - 8))
        levels = np.rint(plane / step) * step
        result.append(np.clip(np.rint(levels), 0, top).astype(plane.dtype))
    return result


def _spread(offset: NDArray[Any], luma: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[Any]:
    """(H, W) of a plane from one value per 16×16 luma block."""
    rows, columns = (np.arange(n) * whole // n // 16 for n, whole in zip(shape, luma, strict=True))
    return np.asarray(offset[np.ix_(rows, columns)])


def _picture(planes: Sequence[Plane], pixels: str) -> av.VideoFrame:
    picture = av.VideoFrame(planes[0].shape[1], planes[0].shape[0], pixels)
    for target, plane in zip(picture.planes, planes, strict=True):
        data = np.ascontiguousarray(plane).view(np.uint8).reshape(plane.shape[0], -1)
        rows = np.zeros((target.height, target.line_size), np.uint8)
        rows[:, : data.shape[1]] = data
        target.update(rows.tobytes())
    return picture

"""JPEG: one baseline file a frame, the files one after the other, which is a Motion JPEG stream.

The plain pictures are libjpeg's own (through Pillow) with Huffman tables made for each. Samples are coded as they are,
without a colour conversion; limited range is stated in a comment that libav reads, the matrix cannot be stated: viewers
take BT.601. The machine-aware pictures (``rdo`` "map") have other quantisation tables and levels, see ``_Aware``.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.config import CodingConfig
from encoder_bridge.encoder import ENCODERS, BuildInfo, SideInfo
from encoder_bridge.encoders.pictures import CodePicture, PictureEncoder
from encoder_bridge.errors import ToolNotFoundError
from encoder_bridge.frames import CHROMA_SHIFTS, Plane, VideoFormat
from encoder_bridge.jpeg_coding import blocks, rdo, stream
from encoder_bridge.quality import QualityScale
from encoder_bridge.side import checked_side

_METHOD = 1
"""Of the machine-aware pictures; part of a run's key, so a change of it makes kept results stale."""
_FIRST_STEP = 16
"""Luma DC step at quality 50 (T.81, table K.1)."""
_SUBSAMPLING = {"420": "4:2:0", "422": "4:2:2", "444": "4:4:4"}
_LIMITED = b"CS=ITU601"


def quality_to_qp(quality: float) -> float:
    """The QP of AVC and HEVC whose step, 2^((QP − 4)/6), is the luma DC step at a libjpeg quality."""
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    return 4 + 6 * math.log2(max(_FIRST_STEP * percent / 100, 1 / 2))


def qp_to_quality(qp: float) -> float:
    """The libjpeg quality with the luma DC step of a QP."""
    percent = 2 ** ((qp - 4) / 6) * 100 / _FIRST_STEP
    return 5000 / percent if percent > 100 else (200 - percent) / 2


QUALITY = QualityScale(
    "quality", 1, 100, "higher", 50, (5, 10, 18, 30, 50, 75), to_qp=quality_to_qp, from_qp=qp_to_quality
)


@ENCODERS.register("jpeg")
class Jpeg(PictureEncoder):
    """Baseline JPEG, 4:0:0 to 4:4:4, 8 bit."""

    name: ClassVar[str] = "jpeg"
    codec: ClassVar[str] = "mjpeg"
    suffix: ClassVar[str] = ".mjpeg"
    quality: ClassVar[QualityScale] = QUALITY
    rdo: ClassVar[tuple[str, ...]] = ("psnr", "map")

    def build_info(self, config: CodingConfig) -> BuildInfo:
        """The libjpeg inside Pillow; nothing needs a hook."""
        from PIL import __version__, features

        version = features.version("jpg")
        if version is None:
            raise ToolNotFoundError("this Pillow has no JPEG; run: pip install --force-reinstall pillow")
        method = f"aware{_METHOD}" if config.rdo == "map" else ""
        return BuildInfo("jpeg", f"libjpeg {version} (Pillow {__version__})", "", True, 0, method, (8,))

    def coder(self, fmt: VideoFormat, config: CodingConfig) -> CodePicture:
        """libjpeg for pictures of which nothing is said, ``_Aware`` for the others."""
        assert config.qp is not None
        quality, aware = config.qp, _Aware(fmt, config.qp)

        def code(planes: tuple[Plane, ...], side: SideInfo | None) -> bytes:
            says = side is not None and (side.weight is not None or side.qp_offset is not None)
            if side is None or not says or _all_alike(checked_side(0, side)):
                return _by_libjpeg(planes, fmt, quality)
            return aware.code(planes, side)

        return code


def _all_alike(side: SideInfo) -> bool:
    """Whether no block is worth more than another."""
    return all(part is None or np.ptp(part) == 0 for part in (side.weight, side.qp_offset))


def _by_libjpeg(planes: Sequence[Plane], fmt: VideoFormat, quality: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    options: dict[str, Any] = {} if fmt.chroma == "400" else {"subsampling": _SUBSAMPLING[fmt.chroma]}
    picture = Image.fromarray(planes[0]) if fmt.chroma == "400" else Image.fromarray(_full_chroma(planes, fmt), "YCbCr")
    picture.save(file, "JPEG", quality=quality, optimize=True, comment=_comment(fmt), **options)
    return file.getvalue()


def _full_chroma(planes: Sequence[Plane], fmt: VideoFormat) -> NDArray[np.uint8]:
    """(H, W, 3): each chroma sample repeated; libjpeg's mean over the repeats is the sample again."""
    shift_x, shift_y = CHROMA_SHIFTS[fmt.chroma] or (0, 0)
    chroma = [plane.repeat(1 << shift_y, 0).repeat(1 << shift_x, 1) for plane in planes[1:]]
    return np.dstack([planes[0], *(plane[: fmt.height, : fmt.width] for plane in chroma)])


def _comment(fmt: VideoFormat) -> bytes:
    return _LIMITED if fmt.range == "limited" else b""


@lru_cache(maxsize=128)
def _libjpeg_tables(quality: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Luma and chroma quantisation tables of a libjpeg quality, (64,) in coding order."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("YCbCr", (16, 16)).save(file, "JPEG", quality=quality)
    tables: dict[int, list[int]] = getattr(Image.open(file), "quantization")  # noqa: B009 (not every picture has it)
    luma, chroma = (np.array(tables[n], np.float64)[stream.ZIGZAG] for n in (0, 1))
    return luma, chroma


@dataclass(frozen=True)
class _Aware:
    """Pictures whose blocks have a worth.

    JPEG has one table for all blocks of a component, so all get the finer steps that those need which matter, and the
    others are thinned out again by weighted rate-distortion optimised quantisation. All numbers are measured (CamVid,
    BD-rate of mIoU); in QP steps where not said otherwise.

    Attributes:
        FINER: by how much all steps are finer than libjpeg's.
        CHROMA_FINER: by how much those of chroma are finer in addition: a network looks at colours more than eyes do.
        TILT: exponent of libjpeg's steps in the unit of error; above 1 the fine detail goes first.
        RATE_WEIGHT: what a bit is worth in squared units of error, in a block of weight 1.
    """

    fmt: VideoFormat
    quality: int

    FINER: ClassVar[float] = 3.0
    CHROMA_FINER: ClassVar[float] = 9.0
    TILT: ClassVar[float] = 1.5
    RATE_WEIGHT: ClassVar[float] = 0.05

    def code(self, planes: Sequence[Plane], side: SideInfo) -> bytes:
        """One file."""
        shift_x, shift_y = CHROMA_SHIFTS[self.fmt.chroma] or (0, 0)
        worth = blocks.block_worth(side, (self.fmt.height, self.fmt.width))
        scales, tables = self._tables()
        components = []
        for number, plane in enumerate(planes):
            kind = min(number, 1)
            down, across = (1 << shift_y, 1 << shift_x) if number == 0 else (1, 1)
            grid = blocks.dct_blocks(plane, down, across)
            weight = blocks.fit_grid(worth, grid.shape[:2], *((1, 1) if number == 0 else (1 << shift_y, 1 << shift_x)))
            levels = rdo.optimised_levels(
                grid.reshape(-1, 64), tables[kind], scales[kind], weight.reshape(-1), self.RATE_WEIGHT
            )
            components.append(stream.Component(levels.reshape(grid.shape), across, down, kind))
        size = (self.fmt.height, self.fmt.width)
        return stream.jpeg_bytes(size, components, tables[: min(len(planes), 2)], _comment(self.fmt))

    def _tables(self) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
        """Units of error and quantisation tables, luma and chroma."""
        luma, chroma = _libjpeg_tables(self.quality)
        steps = [luma, chroma * 2 ** (-self.CHROMA_FINER / 6)]
        return [_tilted(step, self.TILT) for step in steps], [
            np.clip(np.rint(step * 2 ** (-self.FINER / 6)), 1, 255) for step in steps
        ]


def _tilted(steps: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Steps to a power, about as large as before where most levels are."""
    middle = float(np.exp(np.log(steps[:10]).mean()))
    return middle * (steps / middle) ** exponent

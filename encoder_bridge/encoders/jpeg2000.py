"""JPEG 2000: one codestream a frame, the codestreams one after the other.

OpenJPEG (through Pillow) codes each plane; the planes' packets then become the components of one codestream, which may
have any chroma format. The quality is the compression ratio of seed 001: bits of the samples over bits of the stream,
0 and 1 for lossless. OpenJPEG has a region of interest for whole components only, so no map can guide it.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from encoder_bridge.config import CodingConfig
from encoder_bridge.encoder import ENCODERS, BuildInfo, SideInfo
from encoder_bridge.encoders.pictures import CodePicture, PictureEncoder
from encoder_bridge.errors import ConfigError, ToolNotFoundError
from encoder_bridge.frames import CHROMA_SHIFTS, Plane, VideoFormat
from encoder_bridge.quality import QualityScale

_LEVELS = 5
_SOC, _SIZ, _COD, _QCD, _SOT, _SOD, _EOC = 0xFF4F, 0xFF51, 0xFF52, 0xFF5C, 0xFF90, 0xFF93, 0xFFD9
_CPRL = 4
"""Packets of one component after those of another (T.800, B.12.1.5)."""
_QP_OF_10 = 24.0
_CHROMA_COARSER = 3.0
"""Bits a luma sample gets for each of a chroma sample. OpenJPEG's own allocation over 4:4:4 components gives about as
many; with as many for each, luma loses 2.8 dB at a ratio of 10 (measured on CamVid)."""


def ratio_to_qp(ratio: float) -> float:
    """A QP with about the rate of a compression ratio: twice the ratio is 6 QPs, and 10:1 is taken as QP 24."""
    return _QP_OF_10 + 6 * math.log2(max(ratio, 1) / 10)


def qp_to_ratio(qp: float) -> float:
    """The compression ratio with about the rate of a QP."""
    return 10 * 2 ** ((qp - _QP_OF_10) / 6)


QUALITY = QualityScale(
    "compression ratio", 0, 500, "lower", 50, (10, 20, 40, 80, 160), to_qp=ratio_to_qp, from_qp=qp_to_ratio
)


@ENCODERS.register("jpeg2000")
class Jpeg2000(PictureEncoder):
    """JPEG 2000 part 1, one tile, one layer, 8 bit; libav takes a bare 4:4:4 codestream for RGB, so there is none."""

    name: ClassVar[str] = "jpeg2000"
    codec: ClassVar[str] = "jpeg2000"
    suffix: ClassVar[str] = ".j2k"
    quality: ClassVar[QualityScale] = QUALITY
    chromas: ClassVar[tuple[str, ...]] = ("400", "420", "422")

    def build_info(self, config: CodingConfig) -> BuildInfo:
        """The OpenJPEG inside Pillow."""
        from PIL import __version__, features

        version = features.version("jpg_2000")
        if version is None:
            raise ToolNotFoundError("this Pillow has no JPEG 2000; run: pip install --force-reinstall pillow")
        return BuildInfo("jpeg2000", f"OpenJPEG {version} (Pillow {__version__})", "", False, 0, "", (8,))

    def check(self, config: CodingConfig, fmt: VideoFormat) -> None:
        """As every encoder of pictures; no map, because there is nothing it could tell."""
        if config.rdo != "psnr":
            raise ConfigError(
                f"jpeg2000: --rdo {config.rdo}: OpenJPEG has no region of interest inside a component; "
                "expected --rdo psnr, or another codec"
            )
        super().check(config, fmt)

    def coder(self, fmt: VideoFormat, config: CodingConfig) -> CodePicture:
        """Planes by OpenJPEG, joined."""
        assert config.qp is not None
        ratio, shifts = config.qp, CHROMA_SHIFTS[fmt.chroma] or (0, 0)
        levels = min(_LEVELS, min(min(shape) for shape in fmt.plane_shapes).bit_length() - 1)

        def code(planes: tuple[Plane, ...], side: SideInfo | None) -> bytes:
            budgets = _budgets(ratio, planes, levels)
            coded = [_coded(plane, budget, levels) for plane, budget in zip(planes, budgets, strict=True)]
            return _joined([_Codestream.parse(data) for data in coded], shifts)

        return code


def _budgets(ratio: int, planes: Sequence[Plane], levels: int) -> list[float]:
    """Bytes of each plane's packets; together with the header they make ``ratio``. Infinite for lossless."""
    if ratio <= 1:
        return [math.inf] * len(planes)
    worth = [planes[0].size, *(plane.size / _CHROMA_COARSER for plane in planes[1:])]
    total = sum(plane.size for plane in planes) / ratio - _overhead(levels) - 3 * (len(planes) - 1)
    return [max(1.0, total * own / sum(worth)) for own in worth]


@lru_cache
def _overhead(levels: int) -> int:
    """Bytes of a codestream of one component that are not packets."""
    data = _coded(np.zeros((1 << levels, 1 << levels), np.uint8), math.inf, levels)
    return len(data) - len(_Codestream.parse(data).packets)


def _coded(plane: Plane, budget: float, levels: int) -> bytes:
    """A plane as a codestream of one component with ``budget`` bytes of packets, infinitely many for lossless."""
    from PIL import Image

    file, lossless = io.BytesIO(), math.isinf(budget)
    options: dict[str, Any] = {"irreversible": not lossless, "no_jp2": True, "num_resolutions": levels + 1}
    if not lossless:
        ratio = max(1.001, plane.size / (budget + _overhead(levels)))
        options |= {"quality_mode": "rates", "quality_layers": [ratio]}
    Image.fromarray(plane).save(file, "JPEG2000", **options)
    return file.getvalue()


@dataclass(frozen=True)
class _Codestream:
    """What is needed of a codestream with one tile-part: contents of its main header's segments, and its packets."""

    segments: dict[int, bytes]
    packets: bytes

    @staticmethod
    def parse(data: bytes) -> _Codestream:
        segments: dict[int, bytes] = {}
        for marker, content, end in _segments(data):
            segments[marker] = content
            if marker == _SOT:
                length = struct.unpack(">I", content[2:6])[0]
                start = end - 12
                assert data[end : end + 2] == struct.pack(">H", _SOD)
                return _Codestream(segments, data[end + 2 : start + length if length else -2])
        raise AssertionError("a codestream without a tile")


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, content and end of each marker segment."""
    place = 2
    while place < len(data):
        marker, length = struct.unpack(">HH", data[place : place + 4])
        yield marker, data[place + 4 : place + 2 + length], place + 2 + length
        place += 2 + length


def _joined(planes: Sequence[_Codestream], shifts: tuple[int, int]) -> bytes:
    """One codestream with the planes as components, chroma sampled at 2^``shifts``."""
    first = planes[0].segments
    size, style = bytearray(first[_SIZ]), bytearray(first[_COD])
    precision = size[36:37]
    step = bytes([1 << shifts[0], 1 << shifts[1]])
    size[34:] = struct.pack(">H", len(planes)) + precision + b"\1\1" + (precision + step) * (len(planes) - 1)
    style[1] = _CPRL
    assert all(plane.segments[_QCD] == first[_QCD] for plane in planes)
    packets = b"".join(plane.packets for plane in planes)
    tile = struct.pack(">HIBB", 0, 14 + len(packets), 0, 1)
    header = [_segment(_SIZ, bytes(size)), _segment(_COD, bytes(style)), _segment(_QCD, first[_QCD])]
    body = [_segment(_SOT, tile), struct.pack(">H", _SOD), packets, struct.pack(">H", _EOC)]
    return struct.pack(">H", _SOC) + b"".join(header + body)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">HH", marker, len(content) + 2) + content

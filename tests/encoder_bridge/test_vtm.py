"""VTM itself, where ``MRDO_VTM`` names one (an EncoderAppStatic with its cfg folder)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from encoder_bridge.config import CodingConfig, RunOptions
from encoder_bridge.decode import decode_stream, picture_bytes
from encoder_bridge.encoders.vtm import VTM
from encoder_bridge.frames import Frame, VideoFormat

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("MRDO_VTM"), reason="MRDO_VTM does not name a VTM encoder"),
]


def coded(planes, fmt: VideoFormat, config: CodingConfig, out: Path, count: int = 3):
    frames = [(Frame(planes(fmt, index), index, index / fmt.fps), None) for index in range(count)]
    return VTM().encode(iter(frames), fmt, config, RunOptions(), out)


@pytest.mark.parametrize(
    ("gop", "depth", "chroma"),
    [
        ("intra", 8, "420"),
        ("intra", 10, "420"),
        ("lowdelay", 8, "420"),
        ("randomaccess", 10, "420"),
        ("intra", 8, "400"),
    ],
)
def test_streams_decode_to_all_their_pictures(gop, depth, chroma, planes, tmp_path: Path):
    fmt = VideoFormat(64, 48, chroma=chroma, matrix="bt601", range="full")
    config = CodingConfig(codec="vtm", preset="ctc", gop=gop, qp=32, bit_depth=depth)
    stream = coded(planes, fmt, config, tmp_path / "a.266")
    decoded = decode_stream(tmp_path / "a.266")
    assert len(list(decoded)) == stream.frames == 3 and sum(picture_bytes(tmp_path / "a.266")) * 8 == stream.bits
    assert (decoded.format.width, decoded.format.height, decoded.format.bit_depth) == (64, 48, depth)
    assert (decoded.format.chroma, decoded.format.matrix, decoded.format.range) == (chroma, "bt601", "full")


def test_coarser_means_smaller(planes, tmp_path: Path):
    sizes = [
        coded(
            planes, VideoFormat(66, 50), CodingConfig(codec="vtm", preset="ctc", qp=qp), tmp_path / f"{qp}.266", 2
        ).bits
        for qp in (22, 32, 42, 63)
    ]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 4

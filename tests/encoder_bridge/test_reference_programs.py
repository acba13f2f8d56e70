"""HM and VTM themselves: HM named, on the PATH or built as `mrdo build hm` does; VTM where ``MRDO_VTM`` names one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.clips import moving

from encoder_bridge import toolchain
from encoder_bridge.config import CodingConfig, RunOptions
from encoder_bridge.decode import decode_stream, picture_bytes
from encoder_bridge.encoder import BuildInfo, Encoder
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import BuildError, ToolNotFoundError
from encoder_bridge.frames import VideoFormat

pytestmark = pytest.mark.slow


def find_hm() -> BuildInfo:
    """The HM that is here; else it is built, which takes about a minute."""
    try:
        return toolchain.find("hm")
    except ToolNotFoundError:
        pass
    try:
        return toolchain.build("hm")
    except BuildError as error:
        pytest.skip(f"HM is not here and cannot be built: {error}")


def find_vtm() -> BuildInfo:
    if not os.environ.get("MRDO_VTM"):
        pytest.skip("MRDO_VTM does not name a VTM encoder (an EncoderAppStatic with its cfg folder)")
    return toolchain.find("vtm")


@dataclass(frozen=True)
class Program:
    """A reference program, the suffix of its streams, its coarsest QP."""

    codec: str
    suffix: str
    coarsest: int
    build: BuildInfo

    def encode(self, fmt: VideoFormat, config: CodingConfig, out: Path, count: int):
        encoder: Encoder = ENCODERS.get(self.codec)()
        return encoder.encode(((frame, None) for frame in moving(fmt, count)), fmt, config, RunOptions(), out)


PROGRAMS: dict[str, tuple[str, int, Callable[[], BuildInfo]]] = {
    "hm": (".hevc", 51, find_hm),
    "vtm": (".266", 63, find_vtm),
}


@pytest.fixture(scope="module", params=list(PROGRAMS))
def program(request: pytest.FixtureRequest) -> Program:
    suffix, coarsest, find = PROGRAMS[request.param]
    return Program(request.param, suffix, coarsest, find())


def test_hm_is_the_version_of_the_recipe():
    hm = find_hm()
    assert hm.version == "18.0" and set(hm.depth) == {8, 10} and not hm.hooked
    config = CodingConfig(codec="hm", preset="ctc", gop="lowdelay", qp=32)
    assert ENCODERS.get("hm")().cfg_file(config, hm.path).name == "encoder_lowdelay_P_main.cfg"


@pytest.mark.parametrize(
    ("gop", "depth", "chroma"),
    [
        ("intra", 8, "420"),
        ("intra", 10, "420"),
        ("lowdelay", 8, "420"),
        ("randomaccess", 10, "420"),
        ("intra", 8, "400"),
        ("intra", 10, "444"),
        ("intra", 8, "422"),
    ],
)
def test_streams_decode_to_all_their_pictures(gop, depth, chroma, program: Program, tmp_path: Path):
    if program.codec == "vtm" and chroma in ("422", "444"):
        pytest.skip("FFmpeg's VVC decoder is checked with 4:2:0 and gray")
    fmt, path = VideoFormat(64, 48, chroma=chroma, matrix="bt601", range="full"), tmp_path / f"a{program.suffix}"
    config = CodingConfig(codec=program.codec, preset="ctc", gop=gop, qp=32, bit_depth=depth)
    stream = program.encode(fmt, config, path, 3)
    decoded = decode_stream(path)
    assert len(list(decoded)) == stream.frames == 3 and sum(picture_bytes(path)) * 8 == stream.bits
    assert (decoded.format.width, decoded.format.height, decoded.format.bit_depth) == (64, 48, depth)
    assert (decoded.format.chroma, decoded.format.matrix, decoded.format.range) == (chroma, "bt601", "full")


def test_coarser_means_smaller(program: Program, tmp_path: Path):
    configs = [CodingConfig(codec=program.codec, preset="ctc", qp=qp) for qp in (22, 32, 42, program.coarsest)]
    sizes = [program.encode(VideoFormat(66, 50), c, tmp_path / f"{c.qp}{program.suffix}", 2).bits for c in configs]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 4

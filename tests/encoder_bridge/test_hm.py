"""HM itself: named, on the PATH, or built from its source package as `mrdo build hm` does."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoder_bridge import toolchain
from encoder_bridge.config import CodingConfig, RunOptions
from encoder_bridge.decode import decode_stream, picture_bytes
from encoder_bridge.encoder import BuildInfo
from encoder_bridge.encoders.hm import HM
from encoder_bridge.errors import BuildError, ToolNotFoundError
from encoder_bridge.frames import Frame, VideoFormat

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def hm() -> BuildInfo:
    """The HM that is here; else it is built, which takes about a minute."""
    try:
        return toolchain.find("hm")
    except ToolNotFoundError:
        pass
    try:
        return toolchain.build("hm")
    except BuildError as error:
        pytest.skip(f"HM is not here and cannot be built: {error}")


def test_it_is_the_version_of_the_recipe(hm: BuildInfo):
    assert hm.version == "18.0" and set(hm.depth) == {8, 10} and not hm.hooked
    config = CodingConfig(codec="hm", preset="ctc", gop="lowdelay", qp=32)
    assert HM().cfg_file(config, hm.path).name == "encoder_lowdelay_P_main.cfg"


def coded(planes, fmt: VideoFormat, config: CodingConfig, out: Path, count: int = 3):
    frames = [(Frame(planes(fmt, index), index, index / fmt.fps), None) for index in range(count)]
    return HM().encode(iter(frames), fmt, config, RunOptions(), out)


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
def test_streams_decode_to_all_their_pictures(gop, depth, chroma, planes, tmp_path: Path):
    fmt = VideoFormat(64, 48, chroma=chroma, matrix="bt601", range="full")
    config = CodingConfig(codec="hm", preset="ctc", gop=gop, qp=32, bit_depth=depth)
    stream = coded(planes, fmt, config, tmp_path / "a.hevc")
    decoded = decode_stream(tmp_path / "a.hevc")
    assert len(list(decoded)) == stream.frames == 3 and sum(picture_bytes(tmp_path / "a.hevc")) * 8 == stream.bits
    assert (decoded.format.width, decoded.format.height, decoded.format.bit_depth) == (64, 48, depth)
    assert (decoded.format.chroma, decoded.format.matrix, decoded.format.range) == (chroma, "bt601", "full")


def test_coarser_means_smaller(planes, tmp_path: Path):
    sizes = [
        coded(
            planes, VideoFormat(66, 50), CodingConfig(codec="hm", preset="ctc", qp=qp), tmp_path / f"{qp}.hevc", 2
        ).bits
        for qp in (22, 32, 42, 51)
    ]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 4

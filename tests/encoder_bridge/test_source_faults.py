"""Every way an input can be wrong, or cut short."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from encoder_bridge.errors import ConfigError, DecodeError
from encoder_bridge.frames import Plane, VideoFormat
from encoder_bridge.sources import RawSpec, open_source
from encoder_bridge.y4m import y4m_header

Planes = Callable[[VideoFormat, int], tuple[Plane, ...]]
Writer = Callable[..., Path]


def test_missing_empty_and_text_files(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="no such file"):
        open_source(tmp_path / "missing.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(DecodeError, match="zero frames"):
        open_source(tmp_path / "empty.mp4")
    for suffix in ("mp4", "mkv", "hevc", "y4m", "txt"):
        path = tmp_path / f"text.{suffix}"
        path.write_text("this is text and not a video at all\n" * 200)
        with pytest.raises(DecodeError):
            open_source(path)


@pytest.mark.parametrize("faststart", [False, True])
@pytest.mark.parametrize("part", [0.3, 0.9, 0.995])
def test_cut_mp4(faststart: bool, part: float, write_coded: Writer, tmp_path: Path) -> None:
    options = {"movflags": "+faststart"} if faststart else {}
    path = write_coded("in.mp4", VideoFormat(64, 48), options=options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(DecodeError, match="cut short"):
        list(open_source(path))


@pytest.mark.parametrize("suffix", ["mkv", "avi"])
def test_cut_containers(suffix: str, write_coded: Writer) -> None:
    path = write_coded(f"in.{suffix}", VideoFormat(64, 48), options={"bf": "0"})
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DecodeError, match="cut short"):
        list(open_source(path))


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("missing", [5, 40])
def test_cut_elementary_stream(codec: str, missing: int, write_coded: Writer) -> None:
    name = "in.264" if codec == "libx264" else "in.hevc"
    path = write_coded(name, VideoFormat(64, 48), codec=codec, options={"g": "1", "bf": "0"})
    assert len(list(open_source(path))) == 8
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(DecodeError, match=r"damaged|cut short|pictures could be decoded"):
        list(open_source(path))


def test_damage_in_the_middle_is_not_hidden(write_coded: Writer) -> None:
    path = write_coded("in.mp4", VideoFormat(128, 96), options={"g": "4", "qp": "10"})
    data = bytearray(path.read_bytes())
    start = len(data) // 2
    data[start : start + 200] = bytes((7 * i + 3) % 251 for i in range(200))
    path.write_bytes(data)
    with pytest.raises(DecodeError):
        list(open_source(path))


def test_cut_y4m_is_found_when_opened(write_y4m: Writer) -> None:
    path = write_y4m(VideoFormat(32, 16))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DecodeError, match=r"frame 4 has 758 of 768 bytes; the file is cut short"):
        open_source(path)
    path.write_bytes(y4m_header(VideoFormat(32, 16)))
    with pytest.raises(DecodeError, match="zero frames"):
        open_source(path)


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (b"YUV4MPEG2 W0 H16 F30:1 C420\n", "field W'0'"),
        (b"YUV4MPEG2 H16 F30:1 C420\n", "field W''"),
        (b"YUV4MPEG2 W16 H16 F30 C420\n", "ratio '30'"),
        (b"YUV4MPEG2 W16 H16 F30:1 C420p12\n", "colour space C420p12"),
        (b"YUV4MPEG2 W16 H16 F30:1 C444alpha\n", "colour space C444alpha"),
        (b"YUV4MPEG2 W16 H16", "without an end"),
        (b"YUV4MPEG2 W16 H16 F30:1 C420\nFRAMF\n", "expected FRAME"),
    ],
)
def test_bad_y4m_headers(header: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "in.y4m").write_bytes(header)
    with pytest.raises(DecodeError, match=what):
        open_source(tmp_path / "in.y4m")


def test_raw_faults(tmp_path: Path) -> None:
    path = tmp_path / "in.yuv"
    path.write_bytes(bytes(1000))
    with pytest.raises(ConfigError, match="give --size"):
        open_source(path)
    with pytest.raises(DecodeError, match="1000 bytes are not a whole number of frames of 384 bytes"):
        open_source(path, raw=RawSpec(16, 16))
    path.write_bytes(np.full(384, 512 << 6, "<u2").tobytes())
    with pytest.raises(DecodeError, match="sample value 32768; expected 0–1023"):
        list(open_source(path, raw=RawSpec(16, 16, bit_depth=10)))
    (tmp_path / "in.mp4").write_bytes(bytes(384))
    with pytest.raises(ConfigError, match="leave it out"):
        open_source(tmp_path / "in.mp4", raw=RawSpec(16, 16))


def test_only_rgb_is_converted(write_y4m: Writer) -> None:
    with pytest.raises(ConfigError, match="only RGB is converted"):
        open_source(write_y4m(VideoFormat(32, 16)), chroma="444")
    with pytest.raises(ConfigError, match="colour matrix 'bt470'"):
        open_source(write_y4m(VideoFormat(32, 16)), matrix="bt470")

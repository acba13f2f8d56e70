"""Decoded streams written to files, and the cost of each picture."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from encoder_bridge.decode import check_video_target, coding_order, decode_stream, picture_bytes, write_video
from encoder_bridge.errors import DecodeError, OutputError
from encoder_bridge.frames import VideoFormat
from encoder_bridge.sources import RawSpec, open_source
from encoder_bridge.stream_end import last_picture_is_cut

Writer = Callable[..., Path]
B_PYRAMID = {"x265-params": "log-level=none:pools=1:bframes=4:b-adapt=0:keyint=12"}
LONG = tuple(Fraction(i, 30) for i in range(16))


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Writes past ``size`` fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _stream(write_coded: Writer, name: str = "in.hevc", fmt: VideoFormat | None = None) -> Path:
    return write_coded(name, fmt or VideoFormat(64, 48), pts=LONG, codec="libx265", options=B_PYRAMID)


@pytest.mark.parametrize(("chroma", "depth"), [("420", 8), ("420", 10), ("444", 8), ("422", 10), ("400", 8)])
def test_y4m_and_raw_hold_the_decoded_samples(chroma: str, depth: int, write_coded: Writer, tmp_path: Path) -> None:
    decoded = decode_stream(_stream(write_coded, fmt=VideoFormat(64, 48, chroma, depth)))
    assert write_video(decoded, tmp_path / "out.y4m") == 16
    assert write_video(decoded, tmp_path / "out.yuv") == 16
    again = open_source(tmp_path / "out.y4m", matrix=decoded.format.matrix)
    raw = open_source(tmp_path / "out.yuv", raw=RawSpec(64, 48, chroma, depth))
    for wanted, *others in zip(decoded, again, raw, strict=True):
        for other in others:
            assert all(np.array_equal(a, b) for a, b in zip(wanted.planes, other.planes, strict=True))
    assert again.format == decoded.format


def test_png_folder(write_coded: Writer, tmp_path: Path) -> None:
    decoded = decode_stream(_stream(write_coded))
    seen: list[int] = []
    assert write_video(decoded, tmp_path / "frames", seen.append) == 16 == sum(seen)
    assert sorted(p.name for p in (tmp_path / "frames").iterdir())[0] == "frame_000000.png"
    assert open_source(tmp_path / "frames").frame_count == 16
    with pytest.raises(OutputError, match="not empty"):
        write_video(decoded, tmp_path / "frames")


def test_display_order_and_bytes_with_b_pictures(write_coded: Writer) -> None:
    path = _stream(write_coded)
    sizes, order = coding_order(path)
    assert sorted(order) == list(range(16))
    assert order != sorted(order)  # there are B pictures
    assert picture_bytes(path) == [sizes[k] for k in order]
    assert sum(sizes) == path.stat().st_size
    assert picture_bytes(path)[0] > 10 * np.median(sizes)  # the intra picture is shown first


def test_streams_of_any_codec(write_coded: Writer) -> None:
    path = write_coded("in.264", VideoFormat(64, 48), pts=LONG, options={"bf": "3"})
    assert len(list(decode_stream(path))) == 16
    assert sum(picture_bytes(path)) == path.stat().st_size
    assert decode_stream(path, fps=Fraction(5), matrix="bt709", range="full").format.fps == 5


def test_faults(tmp_path: Path, write_coded: Writer) -> None:
    with pytest.raises(DecodeError, match="no such file"):
        decode_stream(tmp_path / "missing.hevc")
    decoded = decode_stream(_stream(write_coded))
    with pytest.raises(OutputError, match=r"expected \.y4m, \.yuv or a folder"):
        check_video_target(tmp_path / "out.avi")
    with pytest.raises(OutputError, match="does not exist"):
        write_video(decoded, tmp_path / "missing" / "out.y4m")


@pytest.mark.parametrize("name", ["out.y4m", "out.yuv", "out"])
def test_a_full_disk_leaves_nothing(name: str, write_coded: Writer, tmp_path: Path) -> None:
    decoded = decode_stream(_stream(write_coded))
    folder = tmp_path / "out_here"
    folder.mkdir()
    with file_size_limit(1500), pytest.raises(OutputError, match="too large"):
        write_video(decoded, folder / name)
    assert list(folder.iterdir()) == []


def test_an_interrupt_leaves_nothing(write_coded: Writer, tmp_path: Path) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "out_here"
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        write_video(decode_stream(_stream(write_coded)), folder / "out.y4m", interrupt)
    assert list(folder.iterdir()) == []


def test_a_cut_last_picture_is_noticed(write_coded: Writer, tmp_path: Path) -> None:
    path = _stream(write_coded)
    data = path.read_bytes()
    assert not last_picture_is_cut(path)
    last = data.rfind(b"\0\0\1")
    cut = tmp_path / "cut.hevc"
    for end in range(last + 8, len(data) - 2, max(1, (len(data) - last) // 12)):
        cut.write_bytes(data[:end])
        assert last_picture_is_cut(cut), end

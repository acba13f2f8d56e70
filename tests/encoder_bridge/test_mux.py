"""Containers keep every picture, every time stamp and every tag."""

from __future__ import annotations

import itertools
import os
import resource
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from encoder_bridge.decode import decode_stream
from encoder_bridge.errors import DecodeError, OutputError
from encoder_bridge.frames import VideoFormat
from encoder_bridge.mux import check_output, mux
from encoder_bridge.sources import open_source

Writer = Callable[..., Path]
COUNT = 16
TIMES = tuple(Fraction(i, 30) for i in range(COUNT))
FORMAT = VideoFormat(64, 48)
GOPS = {
    "intra": "keyint=1",
    "p": "bframes=0",
    "b-pyramid": "bframes=4:b-adapt=0:b-pyramid=1",
    "b8": "bframes=8:b-adapt=0",
    "open-gop": "bframes=3:keyint=8:min-keyint=8:open-gop=1:scenecut=0",
}
CLOCKS: dict[str, tuple[Fraction, Sequence[Fraction]]] = {
    "30": (Fraction(30), TIMES),
    "ntsc": (Fraction(30000, 1001), [Fraction(i * 1001, 30000) for i in range(COUNT)]),
    "variable": (Fraction(25), [Fraction(i * i + 3 * i, 120) for i in range(COUNT)]),
    "milliseconds": (Fraction(30), [Fraction(round(Fraction(i * 1000, 30)), 1000) for i in range(COUNT)]),
    "late": (Fraction(30), [Fraction(22, 15) + time for time in TIMES]),
}


def _hevc(write_coded: Writer, gop: str = "b-pyramid", **options: object) -> Path:
    params = f"log-level=none:pools=1:{GOPS[gop]}"
    return write_coded("in.hevc", FORMAT, pts=TIMES, codec="libx265", options={"x265-params": params}, **options)


def _same_samples(first: Path, second: Path) -> bool:
    pairs = zip(decode_stream(first), decode_stream(second), strict=True)
    return all(np.array_equal(a, b) for x, y in pairs for a, b in zip(x.planes, y.planes, strict=True))


def _packets(path: Path) -> list[tuple[int, int]]:
    with av.open(str(path)) as container:
        return [(p.dts, p.pts) for p in container.demux(video=0) if p.dts is not None and p.pts is not None and p.size]


@pytest.mark.parametrize("gop", GOPS)
def test_pictures_and_times_are_kept(gop: str, write_coded: Writer, tmp_path: Path) -> None:
    stream = _hevc(write_coded, gop)
    containers = (("mp4", 0), ("mov", 0), ("mkv", Fraction(1, 2000)))
    for (fps, times), (suffix, tolerance) in itertools.product(CLOCKS.values(), containers):
        output = tmp_path / f"out.{suffix}"
        mux(stream, output, replace(FORMAT, fps=fps), times)
        assert _same_samples(stream, output)
        found = [frame.pts for frame in open_source(output)]
        assert max(abs(a - b) for a, b in zip(found, times, strict=True)) <= tolerance
        stamps = _packets(output)
        assert all(dts <= pts for dts, pts in stamps)
        assert all(a[0] < b[0] for a, b in itertools.pairwise(stamps))


def test_coded_pictures_are_untouched(write_coded: Writer, tmp_path: Path) -> None:
    stream = _hevc(write_coded)
    mux(stream, tmp_path / "out.mp4", FORMAT, TIMES)
    units = [unit.rstrip(b"\0") for unit in stream.read_bytes().split(b"\0\0\1")[1:]]
    boxes = (tmp_path / "out.mp4").read_bytes()
    slices = [unit for unit in units if (unit[0] >> 1) & 0x3F < 32]
    assert len(slices) == COUNT
    assert all(len(unit).to_bytes(4, "big") + unit in boxes for unit in slices)


def _tag_of_joined(parts: Sequence[bytes], joined: Path, output: Path, count: int) -> str:
    """Join and mux; no picture may be lost or changed. The sample entry's name."""
    joined.write_bytes(b"".join(parts))
    mux(joined, output, FORMAT, [Fraction(i, 30) for i in range(count)])
    assert _same_samples(joined, output) and len(list(decode_stream(output))) == count
    with av.open(str(output)) as container:
        return str(container.streams.video[0].codec_tag)


@pytest.mark.parametrize(
    ("changed", "entry"),
    [
        ("aq-mode=2", "hvc1"),  # a PPS with an id of its own
        ("no-signhide=1", "hev1"),  # another PPS of the same id
        ("no-sao=1", "hev1"),  # another SPS
        ("bframes=3", "hvc1"),  # the same sets
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_joined_streams_keep_all_their_parameter_sets(
    suffix: str, changed: str, entry: str, write_coded: Writer, tmp_path: Path
) -> None:
    parts = []
    for more in ("aq-mode=0", changed):
        params = f"log-level=none:pools=1:bframes=3:b-adapt=0:qp=30:{more}"
        part = write_coded("part.hevc", FORMAT, pts=TIMES, codec="libx265", options={"x265-params": params})
        parts.append(part.read_bytes())
    tag = _tag_of_joined(parts, tmp_path / "joined.hevc", tmp_path / f"out.{suffix}", 2 * COUNT)
    assert suffix == "mkv" or tag == entry


@pytest.mark.parametrize(("qps", "entry"), [((20, 20), "avc1"), ((20, 40), "avc3")])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_joined_avc_says_where_its_parameter_sets_are(
    suffix: str, qps: tuple[int, int], entry: str, write_coded: Writer, tmp_path: Path
) -> None:
    parts = [write_coded("part.264", FORMAT, pts=TIMES, options={"qp": str(qp)}).read_bytes() for qp in qps]
    tag = _tag_of_joined(parts, tmp_path / "joined.264", tmp_path / f"out.{suffix}", 2 * COUNT)
    assert suffix == "mkv" or tag == entry


@pytest.mark.parametrize(
    ("encoders", "entry"), [(("vvenc-1.14.0", "vvenc-1.14.0"), "vvc1"), (("vvenc-1.14.0", "vtm-23.13"), "vvi1")]
)
def test_joined_vvc_says_where_its_parameter_sets_are(
    encoders: tuple[str, str], entry: str, repo_root: Path, tmp_path: Path
) -> None:
    parts = [min((repo_root / "sweeps" / "anchors" / f"{name}-intra").iterdir()) for name in encoders]
    joined, output = tmp_path / "joined.266", tmp_path / "out.mp4"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    count = len(list(decode_stream(joined)))
    mux(joined, output, open_source(joined).format, [Fraction(i, 30) for i in range(count)])
    assert _same_samples(joined, output)
    with av.open(str(output)) as container:
        assert container.streams.video[0].codec_tag == entry


def test_bare_output_is_a_copy(write_coded: Writer, tmp_path: Path) -> None:
    stream = _hevc(write_coded)
    mux(stream, tmp_path / "out.h265", FORMAT, TIMES)
    assert (tmp_path / "out.h265").read_bytes() == stream.read_bytes()


def test_tags_are_written(write_coded: Writer, tmp_path: Path) -> None:
    fmt = replace(FORMAT, matrix="bt2020nc", range="full", primaries=9, transfer=14, sar=Fraction(4, 3))
    mux(_hevc(write_coded), tmp_path / "out.mp4", fmt, TIMES)
    boxes = (tmp_path / "out.mp4").read_bytes()
    assert b"hvc1" in boxes
    assert b"colrnclx\0\x09\0\x0e\0\x09\x80" in boxes
    assert b"pasp\0\0\0\4\0\0\0\3" in boxes
    assert open_source(tmp_path / "out.mp4").format.sar == Fraction(4, 3)


def test_h264_goes_into_containers_too(write_coded: Writer, tmp_path: Path) -> None:
    stream = write_coded("in.264", FORMAT, pts=TIMES, options={"bf": "3"})
    for suffix in ("mp4", "mkv"):
        mux(stream, tmp_path / f"out.{suffix}", FORMAT, TIMES)
        assert _same_samples(stream, tmp_path / f"out.{suffix}")
        assert len(list(open_source(tmp_path / f"out.{suffix}"))) == COUNT


def test_output_is_the_same_every_time(write_coded: Writer, tmp_path: Path) -> None:
    stream = _hevc(write_coded)
    for suffix in ("mp4", "mkv"):
        for name in ("a", "b"):
            mux(stream, tmp_path / f"{name}.{suffix}", FORMAT, TIMES)
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_anamorphic_matroska_is_refused_where_it_would_be_lost(write_coded: Writer, tmp_path: Path) -> None:
    stream = _hevc(write_coded)
    with pytest.raises(OutputError, match=r"sample aspect ratio 4/3 .* use \.mp4"):
        mux(stream, tmp_path / "out.mkv", replace(FORMAT, sar=Fraction(4, 3)), TIMES)
    assert not (tmp_path / "out.mkv").exists()
    stated = _hevc(write_coded, tags={"sample_aspect_ratio": Fraction(4, 3)})
    mux(stated, tmp_path / "out.mkv", replace(FORMAT, sar=Fraction(4, 3)), TIMES)
    assert open_source(tmp_path / "out.mkv").format.sar == Fraction(4, 3)


@pytest.mark.parametrize("codec", ["mjpeg", "jpeg2000"])
def test_a_shape_that_would_be_lost_is_refused_before_the_encode(codec: str, tmp_path: Path) -> None:
    check_output(tmp_path / "out.mp4", codec, Fraction(4, 3))
    check_output(tmp_path / "out.mkv", codec)
    check_output(tmp_path / "out.mkv", "hevc", Fraction(4, 3))
    with pytest.raises(OutputError, match="cannot keep sample aspect ratio 4/3"):
        check_output(tmp_path / "out.mkv", codec, Fraction(4, 3))


def test_wrong_time_stamps(write_coded: Writer, tmp_path: Path) -> None:
    stream = _hevc(write_coded)
    with pytest.raises(DecodeError, match="16 pictures for 15 time stamps"):
        mux(stream, tmp_path / "out.mp4", FORMAT, TIMES[:-1])
    with pytest.raises(DecodeError, match="do not increase"):
        mux(stream, tmp_path / "out.mp4", FORMAT, [Fraction(0)] * COUNT)
    assert [p.name for p in tmp_path.iterdir()] == ["in.hevc"]


def test_output_faults(write_coded: Writer, tmp_path: Path) -> None:
    stream = _hevc(write_coded)
    with pytest.raises(OutputError, match=r"unknown kind '\.avi' for hevc; expected \.mp4, .*\.hevc"):
        mux(stream, tmp_path / "out.avi", FORMAT, TIMES)
    with pytest.raises(OutputError, match=r"unknown kind '\.264' for hevc"):
        check_output(tmp_path / "out.264", "hevc")
    with pytest.raises(OutputError, match="does not exist"):
        mux(stream, tmp_path / "missing" / "out.mp4", FORMAT, TIMES)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path / "folder.mp4", "hevc")
    check_output(tmp_path / "fine.mkv", "hevc")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    with pytest.raises(OutputError, match="not writable"):
        check_output(folder / "out.mp4", "hevc")


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "hevc"])
@pytest.mark.parametrize("size", [0, 900, 2500])
def test_a_full_disk_leaves_nothing_new(suffix: str, size: int, write_coded: Writer, tmp_path: Path) -> None:
    stream = _hevc(write_coded)
    folder = tmp_path / "out_here"
    folder.mkdir()
    (folder / f"out.{suffix}").write_bytes(b"what was here before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        with pytest.raises(OutputError):
            mux(stream, folder / f"out.{suffix}", FORMAT, TIMES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in folder.iterdir()] == [f"out.{suffix}"]
    assert (folder / f"out.{suffix}").read_bytes() == b"what was here before"

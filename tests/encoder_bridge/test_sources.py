"""Every kind of input and what it says about itself."""

from __future__ import annotations

import gc
import io
import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from encoder_bridge.decode import write_video
from encoder_bridge.errors import ConfigError, DecodeError
from encoder_bridge.frames import Plane, VideoFormat
from encoder_bridge.pixel_layout import layout_of, planes_of
from encoder_bridge.source_base import parse_fps, parse_pixel_format, parse_size
from encoder_bridge.sources import RawSpec, open_source

Planes = Callable[[VideoFormat, int], tuple[Plane, ...]]
Writer = Callable[..., Path]
ALL_FORMATS = list(itertools.product(("400", "420", "422", "444"), (8, 10)))
VFR = tuple(Fraction(n, 30) for n in (0, 1, 2, 5, 6, 10, 11, 12))


def _same(planes: tuple[Plane, ...], others: tuple[Plane, ...]) -> bool:
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(planes, others, strict=True))


@pytest.mark.parametrize(("chroma", "depth"), ALL_FORMATS)
@pytest.mark.parametrize("size", [(32, 16), (33, 17)])
def test_y4m_round_trip(chroma: str, depth: int, size: tuple[int, int], write_y4m: Writer, planes: Planes) -> None:
    fmt = VideoFormat(*size, chroma, depth, Fraction(30000, 1001), range="full", sar=Fraction(4, 3))
    source = open_source(write_y4m(fmt), matrix="bt709")
    assert source.format == fmt
    assert source.frame_count == 5
    assert source.notes == ()
    for _ in range(2):
        frames = list(source)
        assert [frame.pts for frame in frames] == [Fraction(1001 * i, 30000) for i in range(5)]
        assert all(_same(frame.planes, planes(fmt, frame.index)) for frame in frames)


@pytest.mark.parametrize(("chroma", "depth"), ALL_FORMATS)
@pytest.mark.parametrize("size", [(32, 16), (33, 17)])
def test_lossless_container_round_trip(
    chroma: str, depth: int, size: tuple[int, int], write_coded: Writer, planes: Planes
) -> None:
    fmt = VideoFormat(*size, chroma, depth)
    source = open_source(write_coded("in.mkv", fmt, codec="ffv1"))
    frames = list(source)
    assert (source.format.chroma, source.format.bit_depth) == (chroma, depth)
    assert (source.format.width, source.format.height) == size
    assert len(frames) == source.frame_count == 8
    assert all(_same(frame.planes, planes(fmt, frame.index)) for frame in frames)


@pytest.mark.parametrize(("chroma", "depth"), ALL_FORMATS)
def test_raw_round_trip(chroma: str, depth: int, tmp_path: Path, write_y4m: Writer, planes: Planes) -> None:
    fmt = VideoFormat(33, 17, chroma, depth)
    write_video(open_source(write_y4m(fmt)), tmp_path / "in.yuv")
    raw = RawSpec(33, 17, chroma, depth, Fraction(25), "bt601", "full")
    source = open_source(tmp_path / "in.yuv", raw=raw)
    assert source.format == VideoFormat(33, 17, chroma, depth, Fraction(25), "bt601", "full")
    assert all(_same(frame.planes, planes(fmt, frame.index)) for frame in source)
    assert source.frame_count == 5


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "avi", "ts", "264"])
def test_h264_everywhere(suffix: str, write_coded: Writer) -> None:
    source = open_source(write_coded(f"in.{suffix}", VideoFormat(64, 48), options={"bf": "0"}))
    frames = list(source)
    assert len(frames) == 8
    assert source.format.fps == 30
    steps = {float(b.pts - a.pts) for a, b in itertools.pairwise(frames)}
    assert all(abs(step - 1 / 30) < 0.0011 for step in steps)


def test_elementary_hevc_has_its_rate_from_the_stream(write_coded: Writer) -> None:
    source = open_source(write_coded("in.hevc", VideoFormat(64, 48, fps=Fraction(24)), codec="libx265"))
    assert source.format.fps == 24
    assert [frame.pts for frame in source] == [Fraction(i, 24) for i in range(8)]
    assert open_source(source.name, fps=Fraction(50)).format.fps == 50


def test_variable_rate_is_kept_and_noted(write_coded: Writer) -> None:
    source = open_source(write_coded("vfr.mp4", VideoFormat(64, 48), pts=VFR))
    assert [frame.pts for frame in source] == list(VFR)
    assert any("variable frame rate" in note for note in source.notes)
    assert source.format.fps == Fraction(7) / VFR[-1]
    constant = open_source(source.name, fps=Fraction(30))
    assert [frame.pts for frame in constant] == [Fraction(i, 30) for i in range(8)]
    assert not any("variable" in note for note in constant.notes)


def test_constant_rate_in_milliseconds_is_not_variable(write_coded: Writer) -> None:
    times = tuple(Fraction(i * 1001, 30000) for i in range(8))
    source = open_source(write_coded("ntsc.mkv", VideoFormat(64, 48, fps=Fraction(30000, 1001)), pts=times))
    assert source.format.fps == Fraction(30000, 1001)
    assert not any("variable" in note for note in source.notes)


def test_colour_tags_are_read(write_coded: Writer) -> None:
    tags = {"colorspace": 9, "color_range": 2, "color_primaries": 9, "color_trc": 14}
    fmt = open_source(write_coded("in.mp4", VideoFormat(64, 48), tags=tags)).format
    assert (fmt.matrix, fmt.range, fmt.primaries, fmt.transfer) == ("bt2020nc", "full", 9, 14)


@pytest.mark.parametrize(("height", "matrix"), [(718, "bt601"), (720, "bt709")])
def test_unstated_colour_is_assumed_aloud(height: int, matrix: str, write_y4m: Writer) -> None:
    path = write_y4m(VideoFormat(16, height), count=1)
    path.write_bytes(path.read_bytes().replace(b" XCOLORRANGE=LIMITED", b""))
    source = open_source(path)
    assert (source.format.matrix, source.format.range) == (matrix, "limited")
    assert f"colour matrix not stated; {matrix} assumed from {height} lines; set --matrix" in source.notes
    assert "colour range not stated; limited assumed; set --range" in source.notes
    stated = open_source(path, matrix="bt2020nc", range="full")
    assert (stated.format.matrix, stated.format.range, stated.notes) == ("bt2020nc", "full", ())


def test_yuvj_is_full_range(write_coded: Writer) -> None:
    path = write_coded("in.mov", VideoFormat(64, 48), codec="mjpeg", pixel_format="yuvj420p", tags={"color_range": 2})
    assert open_source(path).format.range == "full"


def test_rgb_video_is_converted_as_told(write_coded: Writer) -> None:
    path = write_coded("in.mkv", VideoFormat(32, 16), codec="ffv1", pixel_format="bgr0")
    source = open_source(path, chroma="444", bit_depth=10, matrix="bt2020nc", range="full")
    assert source.format == VideoFormat(32, 16, "444", 10, matrix="bt2020nc", range="full")
    assert any("converted to 4:4:4 10 bit bt2020nc full" in note for note in source.notes)
    assert len(list(source)) == 8
    assert open_source(path).format.chroma == "420"


@pytest.mark.parametrize(("pixel_format", "depth"), [("nv12", 8), ("nv16", 8), ("p010le", 10), ("p210le", 10)])
@pytest.mark.parametrize("size", [(32, 16), (33, 17)])
def test_interleaved_chroma_is_unpacked(pixel_format: str, depth: int, size: tuple[int, int]) -> None:
    layout = layout_of(pixel_format, "x")
    fmt = VideoFormat(*size, layout.chroma or "", depth)
    rng = np.random.default_rng(0)
    wanted = tuple(rng.integers(0, 1 << depth, shape).astype(fmt.dtype) for shape in fmt.plane_shapes)
    pairs = np.stack(wanted[1:], -1).reshape(wanted[1].shape[0], -1)
    picture = av.VideoFrame(*size, pixel_format)
    for target, samples in zip(picture.planes, (wanted[0], pairs), strict=True):
        rows = np.zeros((target.height, target.line_size), np.uint8)
        data = (samples << (6 if depth == 10 else 0)).astype(fmt.dtype).view(np.uint8)
        rows[:, : data.shape[1]] = data
        target.update(rows.tobytes())
    assert _same(planes_of(picture, layout, fmt), wanted)


@pytest.mark.parametrize("pixel_format", ["yuv420p12le", "yuva420p", "bgra", "yuv440p"])
def test_other_pixel_formats_name_the_command_that_converts(pixel_format: str, write_coded: Writer) -> None:
    path = write_coded("in.mkv", VideoFormat(32, 16), codec="ffv1", pixel_format=pixel_format)
    with pytest.raises(DecodeError, match=rf"pixel format {pixel_format}; .*ffmpeg -i .* -pix_fmt yuv420p"):
        open_source(path)


@pytest.mark.parametrize(("turned", "mirrored", "what"), [(90.0, False, "turned by -?90°"), (None, True, "mirrored")])
def test_display_matrix_is_refused(turned: float | None, mirrored: bool, what: str, write_coded: Writer) -> None:
    path = write_coded("in.mp4", VideoFormat(64, 48), turned=turned, mirrored=mirrored)
    with pytest.raises(DecodeError, match=f"{what}.*ffmpeg -i"):
        open_source(path)


def test_interlaced_is_noted(write_y4m: Writer) -> None:
    path = write_y4m(VideoFormat(32, 16))
    path.write_bytes(path.read_bytes().replace(b" Ip ", b" It "))
    assert any("interlaced" in note for note in open_source(path).notes)


# --- standard input -------------------------------------------------------------------------------------------------


def test_stdin_is_kept_on_disk_and_walked_twice(write_y4m: Writer, tmp_path: Path) -> None:
    path = write_y4m(VideoFormat(32, 16))
    spool = tmp_path / "spool"
    spool.mkdir()
    source = open_source("-", stdin=io.BytesIO(path.read_bytes()), workdir=spool)
    assert source.digest() == open_source(path).digest()
    assert len(list(source)) == len(list(source)) == 5
    assert len(list(spool.iterdir())) == 1
    del source
    gc.collect()
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"hello world, this is no video"])
def test_stdin_that_is_not_y4m(data: bytes) -> None:
    with pytest.raises(DecodeError, match="standard input: expected y4m"):
        open_source("-", stdin=io.BytesIO(data))


# --- words of the command line --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rate"),
    [("30", "30"), ("29.97", "30000/1001"), ("23.976", "24000/1001"), ("30000:1001", "30000/1001"), ("12.5", "25/2")],
)
def test_parse_fps(text: str, rate: str) -> None:
    assert parse_fps(text) == Fraction(rate)


@pytest.mark.parametrize("text", ["0", "-1", "x", "30/0", "nan", ""])
def test_parse_fps_refuses(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_fps(text)


def test_parse_size_and_pixel_format() -> None:
    assert parse_size("1920x1080") == (1920, 1080)
    assert [parse_pixel_format(t) for t in ("yuv420p", "gray10le", "yuv422p10le", "444")] == [
        ("420", 8),
        ("400", 10),
        ("422", 10),
        ("444", 8),
    ]
    for bad in ("1920", "0x5", "axb"):
        with pytest.raises(ConfigError):
            parse_size(bad)
    with pytest.raises(ConfigError):
        parse_pixel_format("yuv411p")


def test_sound_is_said_to_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=44100)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for _ in range(4):
            container.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), "fltp", "stereo")
        silence.sample_rate = 44100
        container.mux([*sound.encode(silence), *sound.encode(), *video.encode()])
    assert any("audio streams are not carried over" in note for note in open_source(path).notes)

"""Every kind of input, what it says about itself, and every way it can be wrong."""

from __future__ import annotations

import gc
import io
import itertools
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from encoder_bridge.decode import write_video
from encoder_bridge.errors import ConfigError, DecodeError
from encoder_bridge.frames import Plane, VideoFormat
from encoder_bridge.pixel_layout import layout_of, planes_of
from encoder_bridge.source_base import parse_fps, parse_pixel_format, parse_size
from encoder_bridge.source_images import natural_key
from encoder_bridge.sources import RawSpec, open_source
from encoder_bridge.transform import resize_source, resize_to, scaled_size, slice_source
from encoder_bridge.y4m import y4m_header

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


# --- images ---------------------------------------------------------------------------------------------------------


def _images(folder: Path, names: list[str], size: tuple[int, int] = (16, 12)) -> list[np.ndarray]:
    folder.mkdir(exist_ok=True)
    pictures = []
    for number, name in enumerate(names):
        picture = np.full((size[1], size[0], 3), (10 * number, 128, 255 - 10 * number), np.uint8)
        assert cv2.imwrite(str(folder / name), picture[..., ::-1])
        pictures.append(picture)
    return pictures


def test_images_come_in_natural_order(tmp_path: Path) -> None:
    _images(tmp_path / "f", ["a1.png", "a2.png", "a10.png"])
    (tmp_path / "f" / "notes.txt").write_text("not an image")
    source = open_source(tmp_path / "f", chroma="444", fps=Fraction(5))
    assert source.format == VideoFormat(16, 12, "444", fps=Fraction(5))
    reds = [int(frame.planes[2][0, 0]) for frame in source]
    assert reds == sorted(reds)
    assert [frame.pts for frame in source] == [Fraction(i, 5) for i in range(3)]
    by_glob = open_source(str(tmp_path / "f" / "a1*.png"), chroma="444", fps=Fraction(5))
    assert by_glob.frame_count == 2
    assert open_source(tmp_path / "f" / "a2.png").frame_count == 1


def test_image_defaults_are_420_bt709_limited_30(tmp_path: Path) -> None:
    _images(tmp_path / "f", ["1.png", "2.png"])
    source = open_source(tmp_path / "f")
    assert source.format == VideoFormat(16, 12, "420", 8, Fraction(30), "bt709", "limited")
    assert any("frame rate" in note for note in source.notes)


@pytest.mark.parametrize("name", ["1.png", "1.jpg", "1.tiff", "1.bmp"])
def test_image_kinds(name: str, tmp_path: Path) -> None:
    _images(tmp_path / "f", [name], (64, 48))
    luma = next(iter(open_source(tmp_path / "f"))).planes[0]
    assert luma.shape == (48, 64)
    assert np.ptp(luma.astype(int)) <= 2


def test_grey_and_opaque_alpha_images(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), np.full((8, 8), 128, np.uint8))
    cv2.imwrite(str(folder / "2.png"), np.full((8, 8, 4), (128, 128, 128, 255), np.uint8))
    first, second = open_source(folder)
    assert _same(first.planes, second.planes)


def test_bad_images(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DecodeError, match="folder without images"):
        open_source(empty)
    with pytest.raises(DecodeError, match="no image matches"):
        open_source(str(tmp_path / "*.png"))
    _images(tmp_path / "f", ["1.png"])
    _images(tmp_path / "f", ["2.png"], (18, 12))
    with pytest.raises(DecodeError, match=r"2\.png: 18x12; expected 16x12 as 1\.png"):
        list(open_source(tmp_path / "f"))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_cut_image_is_an_error(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"1.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(path), noise)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DecodeError, match="cut short"):
        open_source(path)


@pytest.mark.parametrize(
    ("picture", "what"),
    [(np.zeros((8, 8, 3), np.uint16), "uint16 samples"), (np.zeros((8, 8, 4), np.uint8), "transparency")],
)
def test_images_we_do_not_take(picture: np.ndarray, what: str, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), picture)
    with pytest.raises(DecodeError, match=what):
        open_source(tmp_path / "1.png")


def test_natural_key() -> None:
    assert sorted(["b", "a10", "a9", "a09b"], key=natural_key) == ["a9", "a09b", "a10", "b"]


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


# --- faults ---------------------------------------------------------------------------------------------------------


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


# --- slices, sizes, digests -----------------------------------------------------------------------------------------


def test_slice(write_y4m: Writer, planes: Planes) -> None:
    fmt = VideoFormat(32, 16)
    source = open_source(write_y4m(fmt))
    part = slice_source(source, 2, 2)
    frames = list(part)
    assert part.frame_count == 2
    assert [(f.index, f.pts) for f in frames] == [(0, Fraction(0)), (1, Fraction(1, 30))]
    assert _same(frames[0].planes, planes(fmt, 2))
    assert len(list(slice_source(source, 0, 99))) == 5
    with pytest.raises(DecodeError, match="zero frames from frame 7"):
        list(slice_source(source, 7))
    with pytest.raises(ConfigError):
        slice_source(source, -1)
    with pytest.raises(ConfigError):
        slice_source(source, 0, 0)


@pytest.mark.parametrize(
    ("chroma", "scale", "size"),
    [
        ("420", 0.5, (50, 26)),
        ("444", 0.5, (51, 26)),
        ("422", 0.75, (76, 38)),
        ("420", 0.001, (2, 2)),
        ("420", 1, (101, 51)),
    ],
)
def test_scaled_size(chroma: str, scale: float, size: tuple[int, int]) -> None:
    assert scaled_size(VideoFormat(101, 51, chroma), scale) == size


@pytest.mark.parametrize(("chroma", "depth"), ALL_FORMATS)
def test_resize_keeps_the_picture(chroma: str, depth: int, write_y4m: Writer) -> None:
    source = open_source(write_y4m(VideoFormat(64, 48, chroma, depth), count=1))
    small = resize_source(source, 0.5)
    assert (small.format.width, small.format.height, small.format.bit_depth) == (32, 24, depth)
    frame = next(iter(small))
    assert tuple(p.shape for p in frame.planes) == small.format.plane_shapes
    back = next(iter(resize_to(small, 64, 48))).planes[0].astype(float)
    assert np.abs(back - next(iter(source)).planes[0])[4:-4, 4:-4].mean() < 2.5 * (1 << (depth - 8))
    with pytest.raises(ConfigError):
        resize_source(source, 0)


def test_digest_names_format_and_samples(write_y4m: Writer, planes: Planes) -> None:
    path = write_y4m(VideoFormat(32, 16))
    digest = open_source(path).digest()
    assert digest == open_source(path).digest()
    assert digest != open_source(path, matrix="bt2020nc").digest()
    assert digest != slice_source(open_source(path), 0, 4).digest()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert digest != open_source(path).digest()


_PEAK = """
import resource, sys
from encoder_bridge.sources import open_source
before = None
for frame in open_source(sys.argv[1]):
    if frame.index == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, frame.index)
"""


@pytest.mark.parametrize("kind", ["y4m", "mkv"])
def test_memory_does_not_grow_with_length(kind: str, tmp_path: Path, write_coded: Writer) -> None:
    fmt, count = VideoFormat(640, 480), 150
    path = tmp_path / f"long.{kind}"
    if kind == "mkv":
        times = [Fraction(i, 30) for i in range(count)]
        write_coded(path.name, fmt, pts=times, options={"preset": "ultrafast"}, still=True)
    else:
        with path.open("wb") as file:
            file.write(y4m_header(fmt))
            for index in range(count):
                file.write(b"FRAME\n" + bytes([index]) * (640 * 480 * 3 // 2))
    command, root = [sys.executable, "-c", _PEAK, str(path)], Path(__file__).resolve().parents[2]
    growth, last = map(int, subprocess.run(command, capture_output=True, check=True, cwd=root).stdout.split())
    assert last == count - 1
    assert growth < 20_000  # kB; all frames together are 69 MB


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

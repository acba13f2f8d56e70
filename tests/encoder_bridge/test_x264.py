"""x264: what the driver asks for and refuses, that nothing said changes nothing, and that offsets arrive exactly."""

from __future__ import annotations

import dataclasses
import io
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.clips import moving

from encoder_bridge import patching, toolchain
from encoder_bridge.config import Candidate, CandidateConfig, CodingConfig, MapConfig, RunOptions
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoder import BuildInfo, SideInfo
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.encoders.x264 import PRESETS, X264
from encoder_bridge.errors import ConfigError, EncoderError, EncoderTimeout, PluginError, ToolNotFoundError
from encoder_bridge.frames import VideoFormat
from encoder_bridge.side import grouped
from encoder_bridge.tools.x264 import PLAIN

FORMAT = VideoFormat(176, 128, matrix="bt601")
CONFIG = CodingConfig(codec="x264", preset="fast", qp=30)
MAP = dataclasses.replace(CONFIG, rdo="map", map=MapConfig(group=16))
GOPS = ("intra", "lowdelay", "randomaccess")


@pytest.fixture
def stock(x264_hooked: BuildInfo) -> Path:
    """The same x264 without our hook."""
    path = Path(x264_hooked.path).resolve().with_name(PLAIN)
    if not path.is_file():
        pytest.skip(f"no {PLAIN} beside {x264_hooked.path}")
    return path


@pytest.fixture
def encode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, x264_hooked: BuildInfo):
    """(config, sides=None, binary=None, count=5, fmt=FORMAT, threads=None) -> stream; one SideInfo for all frames."""

    def run(
        config: CodingConfig,
        side: SideInfo | None = None,
        binary: Path | None = None,
        count: int = 5,
        fmt: VideoFormat = FORMAT,
        threads: int | None = None,
    ) -> bytes:
        monkeypatch.setenv("MRDO_X264_HOOKED", str(binary or x264_hooked.path))
        frames = [(frame, side) for frame in moving(fmt, count, noise=12)]
        options = RunOptions(threads=threads, timeout_s=60)
        stream = X264().encode(frames, fmt, config, options, tmp_path / "out.264")
        assert (stream.frames, stream.bits) == (count, 8 * stream.path.stat().st_size)
        return stream.path.read_bytes()

    return run


def block_qps(stream: bytes, fmt: VideoFormat = FORMAT) -> list[np.ndarray]:
    """QP of each macroblock as an independent decoder finds it, one array a picture."""
    pictures = []
    with av.open(io.BytesIO(stream), format="h264") as container:
        container.streams.video[0].codec_context.options = {"export_side_data": "venc_params"}
        for frame in container.decode(video=0):
            (data,) = (bytes(item) for item in frame.side_data if "ENC_PARAMS" in str(item.type))
            (count,), (start, size), (_, base) = (
                struct.unpack_from(form, data, at) for form, at in (("<I", 0), ("<QQ", 8), ("<ii", 24))
            )
            deltas = [struct.unpack_from("<i", data, start + size * i + 16)[0] for i in range(count)]
            pictures.append(base + np.array(deltas).reshape(-(-fmt.height // 16), -(-fmt.width // 16)))
    return pictures


def words(config: CodingConfig = CONFIG, fmt: VideoFormat = FORMAT) -> list[str]:
    return X264().command(config, fmt, RunOptions(), "x264")


def after(line: Sequence[str], option: str) -> str:
    return line[line.index(option) + 1]


def test_registered():
    assert ENCODERS.get("x264") is X264
    assert (X264.codec, X264.suffix, X264().ctu_size(CONFIG)) == ("h264", ".264", 16)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_fixed_qp_leaves_no_room_for_x264s_own(preset: str):
    line = words(dataclasses.replace(CONFIG, preset=preset))
    assert [after(line, o) for o in ("--crf", "--qcomp", "--aq-mode")] == ["30", "1", "1"]
    assert float(after(line, "--aq-strength")) < 1e-5 and {"--no-psy", "--no-mbtree"} < set(line)
    assert (after(line, "--subme") == "9") if preset in ("veryslow", "placebo") else ("--subme" not in line)


def test_ten_bit_qps_are_counted_from_the_same_zero():
    line = words(dataclasses.replace(CONFIG, bit_depth=10))
    assert [after(line, o) for o in ("--crf", "--qpmin", "--qpmax", "--output-depth")] == ["30", "12", "63", "10"]


def test_colour_is_told():
    line = words(fmt=VideoFormat(64, 48, matrix="bt709", range="full", primaries=9, transfer=16))
    assert [after(line, o) for o in ("--range", "--input-range", "--colormatrix")] == ["pc", "pc", "bt709"]
    assert (after(line, "--colorprim"), after(line, "--transfer")) == ("bt2020", "smpte2084")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"preset": "turbo"}, "x264: preset 'turbo'; expected one of ultrafast"),
        ({"qp": 0}, "x264: QP 0 outside 1–51"),
        ({"qp": 52}, "x264: QP 52 outside 1–51"),
        ({"qp": None, "crf": 60.0}, "x264: CRF 60.0 outside 1–51"),
        ({"qp": None, "bitrate": 0}, "bitrate 0 kbit/s"),
        ({"bit_depth": 12}, "bit depth 12; expected 8 or 10"),
        ({"extra": ("--no-mbtree",)}, "--no-mbtree: set by mrdo itself"),
        ({"extra": ("--qp=3",)}, "--qp=3: set by mrdo itself"),
        ({"rdo": "map", "map": MapConfig(weights=True)}, "x264 takes QP offsets only"),
        ({"rdo": "map", "map": MapConfig(weights=True, qp_map=False)}, "x264 takes QP offsets only"),
        ({"rdo": "ctu", "ctu": CandidateConfig((Candidate(),))}, "--rdo ctu; expected psnr or map"),
    ],
)
def test_refusals(changes: dict[str, object], says: str):
    with pytest.raises(ConfigError) as caught:
        X264().check(dataclasses.replace(CONFIG, **changes), FORMAT)
    assert says in str(caught.value)


@pytest.mark.parametrize("size", [(1, 1), (15, 64), (16400, 64)])
def test_sizes_it_does_not_take(size: tuple[int, int]):
    with pytest.raises(ConfigError, match="expected 16x16 to 16384x16384"):
        X264().check(CONFIG, VideoFormat(*size))


def test_a_group_takes_the_mean_of_its_blocks():
    offsets = np.arange(15, dtype=np.float32).reshape(3, 5)
    means = grouped(offsets, 32)
    assert means.tolist() == [[3, 3, 5, 5, 6.5], [3, 3, 5, 5, 6.5], [10.5, 10.5, 12.5, 12.5, 14]]
    assert grouped(offsets, 16) is offsets and means.dtype == np.float32


# ---- with the program ----


def test_the_build_says_what_it_is(x264_hooked: BuildInfo):
    assert (x264_hooked.name, x264_hooked.hooked, x264_hooked.abi, x264_hooked.depth) == ("x264", True, 1, (8, 10))
    name = f"x264-{x264_hooked.version}"
    assert x264_hooked.patch_hash == patching.patch_hash(name) == toolchain.current_patch(x264_hooked)
    assert patching.patch_texts(name) == {}, "not one line of x264 changes"


@pytest.mark.parametrize("gop", GOPS)
@pytest.mark.parametrize("preset", ["ultrafast", "medium", "veryslow"])
def test_nothing_said_is_plain_x264(preset: str, gop: str, encode, stock: Path):
    plain = dataclasses.replace(CONFIG, preset=preset, gop=gop)
    expected = encode(plain, binary=stock)
    assert len(expected) > 2000 and encode(plain) == expected
    assert encode(dataclasses.replace(plain, neutral=True)) == expected
    zeros = SideInfo(qp_offset=np.zeros((8, 11), np.float32))
    assert encode(dataclasses.replace(MAP, preset=preset, gop=gop), zeros) == expected


@pytest.mark.parametrize("rate", [{"crf": 30.0}, {"bitrate": 200}], ids=["crf", "bitrate"])
def test_nothing_said_is_plain_x264_in_other_rate_modes(rate: dict[str, float], encode, stock: Path):
    plain = dataclasses.replace(CONFIG, gop="randomaccess", qp=None, **rate)
    assert encode(dataclasses.replace(plain, neutral=True), count=12) == encode(plain, binary=stock, count=12)


@pytest.mark.parametrize("gop", GOPS)
@pytest.mark.parametrize("preset", ["ultrafast", "slow", "veryslow"])
def test_every_block_has_the_qp_asked_for(preset: str, gop: str, encode):
    for qps in block_qps(encode(dataclasses.replace(CONFIG, preset=preset, gop=gop))):
        assert (qps == 30).all()


@pytest.mark.parametrize("depth", [8, 10])
def test_every_block_has_its_offset(depth: int, encode):
    """x264 moves no block by one: offsets that differ by two or more arrive as they are."""
    rng = np.random.default_rng(1)
    offset = rng.choice([-8.0, -4.5, 0.0, 3.0, 6.4], size=(8, 11)).astype(np.float32)
    fmt = dataclasses.replace(FORMAT, bit_depth=depth)
    stream = encode(dataclasses.replace(MAP, bit_depth=depth, qp=24), SideInfo(qp_offset=offset), fmt=fmt)
    for qps in block_qps(stream):
        assert (qps - 6 * (depth - 8) - 24 == np.floor(offset + 0.5)).all()


def test_offsets_stop_at_the_largest_qp(encode):
    offset = np.full((8, 11), 20, np.float32)
    offset[:, :5] = -20
    for qps in block_qps(encode(dataclasses.replace(MAP, qp=40), SideInfo(qp_offset=offset))):
        assert (qps[:, :5] == 20).all() and qps.max() == 51


@pytest.mark.parametrize("gop", GOPS)
def test_offsets_move_error(gop: str, encode, tmp_path: Path):
    offset = np.full((8, 11), 4, np.float32)
    offset[:, :5] = -4
    encode(dataclasses.replace(MAP, gop=gop, map=MapConfig(group=32)), SideInfo(qp_offset=offset))
    pairs = zip(decode_stream(tmp_path / "out.264"), moving(FORMAT, 5, noise=12), strict=True)
    errors = np.array([(np.int32(out.planes[0]) - src.planes[0]) ** 2 for out, src in pairs]).mean(0)
    assert errors[:, :64].mean() < 0.55 * errors[:, 96:].mean()


def test_streams_do_not_depend_on_threads(encode):
    offset = SideInfo(qp_offset=np.linspace(-6, 6, 88, dtype=np.float32).reshape(8, 11))
    config = dataclasses.replace(MAP, gop="randomaccess")
    assert encode(config, offset, threads=1) == encode(config, offset, threads=4) == encode(config, offset)


@pytest.mark.parametrize(
    "fmt",
    [
        VideoFormat(16, 16),
        VideoFormat(33, 47),
        VideoFormat(64, 48, chroma="400"),
        VideoFormat(64, 48, chroma="422", bit_depth=10),
        VideoFormat(64, 48, chroma="444", range="full", matrix="bt709"),
        VideoFormat(64, 48, sar=Fraction(4, 3), primaries=9, transfer=16),
    ],
    ids=lambda fmt: f"{fmt.width}x{fmt.height}-{fmt.chroma}-{fmt.bit_depth}",
)
def test_formats_come_back(fmt: VideoFormat, encode, tmp_path: Path):
    rows, columns = -(-fmt.height // 16), -(-fmt.width // 16)
    side = SideInfo(qp_offset=np.full((rows, columns), -3, np.float32))
    encode(dataclasses.replace(MAP, qp=9, bit_depth=fmt.bit_depth), side, fmt=fmt, count=3)
    decoded = decode_stream(tmp_path / "out.264")
    found = decoded.format
    assert (found.bit_depth, found.range, found.sar) == (fmt.bit_depth, fmt.range, fmt.sar)
    if fmt.chroma != "400":  # libav shows 8-bit monochrome AVC as 4:2:0
        assert (found.chroma, found.matrix) == (fmt.chroma, fmt.matrix)
    for out, src in zip(decoded, moving(fmt, 3, noise=12), strict=True):
        for a, b in zip(out.planes, src.planes, strict=fmt.chroma != "400"):
            assert np.abs(a[: b.shape[0], : b.shape[1]].astype(int) - b).mean() < 1 << fmt.bit_depth - 8


def test_rate_falls_with_qp(encode):
    sizes = [len(encode(dataclasses.replace(CONFIG, qp=qp))) for qp in (1, 18, 26, 34, 42, 51)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 10 * sizes[-1]


# ---- what can go wrong ----


def test_side_information_it_has_no_place_for(encode, tmp_path: Path):
    with pytest.raises(PluginError, match="weights or a lambda scale, for which x264 has no place"):
        encode(MAP, SideInfo(weight=np.ones((16, 22), np.float32)))
    with pytest.raises(PluginError, match=r"QP map of 3x3 blocks for 176x128 samples; expected 11x8 blocks"):
        encode(MAP, SideInfo(qp_offset=np.ones((3, 3), np.float32)))
    assert [p.name for p in tmp_path.iterdir()] == []


def test_a_plain_x264_takes_no_map(encode, stock: Path):
    with pytest.raises(
        ToolNotFoundError, match=r"has no machine-rdo hook, needed for --rdo map; run: mrdo build x264$"
    ):
        encode(MAP, binary=stock)


def test_no_x264_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("MRDO_X264_HOOKED", "MRDO_X264"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MRDO_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolNotFoundError, match=r"run: mrdo build x264$"):
        X264().build_info(CONFIG)


def _script(path: Path, body: str) -> Path:
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "x264 0.164.3095" && exit\n{body}\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        ("cat >/dev/null; echo 'x264 [error]: malloc failed' >&2; exit 255", EncoderError, "malloc failed"),
        ("head -c 999 >/dev/null; kill -SEGV $$", EncoderError, "SIGSEGV"),
        ("exec sleep 60", EncoderTimeout, ""),
        ("cat >/dev/null", EncoderError, "wrote no stream"),
    ],
    ids=["status", "crash", "hang", "nothing"],
)
def test_a_failing_encoder(body: str, error: type[Exception], says: str, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MRDO_X264", str(_script(tmp_path / "x264", body)))
    monkeypatch.delenv("MRDO_X264_HOOKED", raising=False)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(error) as caught:
        frames = [(frame, None) for frame in moving(FORMAT, 5, noise=12)]
        X264().encode(frames, FORMAT, CONFIG, RunOptions(timeout_s=1.5), out / "a.264")
    assert says in str(caught.value) and list(out.iterdir()) == []

"""VVenC's driver: what it asks the program for, what it refuses, and, where MRDO_VVENC names one, what comes out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support.clips import moving

from encoder_bridge import toolchain
from encoder_bridge.config import Candidate, CandidateConfig, CodingConfig, MapConfig, RunOptions
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.encoders.vvenc import PRESETS, VVenC
from encoder_bridge.errors import ConfigError, EncoderError, EncoderTimeout, ToolNotFoundError
from encoder_bridge.frames import VideoFormat
from encoder_bridge.tools import TOOLS

FORMAT = VideoFormat(96, 64, matrix="bt601")
CONFIG = CodingConfig(codec="vvenc", preset="faster", qp=32)


def command(
    config: CodingConfig = CONFIG, fmt: VideoFormat = FORMAT, threads: int | None = 1, binary: str = "vvencapp"
):
    return VVenC().command(config, fmt, RunOptions(threads=threads), binary)


def settings(words: Sequence[str]) -> dict[str, str]:
    text = words[words.index("--additional") + 1]
    return dict(pair.split("=") for pair in text.split(":"))


def variant(**changes: object) -> CodingConfig:
    return dataclasses.replace(CONFIG, **changes)


@pytest.fixture
def binary(monkeypatch: pytest.MonkeyPatch) -> str:
    """VVenC without our hook, or with it where there is no other."""
    named = os.environ.get("MRDO_VVENC") or os.environ.get("MRDO_VVENC_HOOKED")
    if not named:
        pytest.skip("no VVenC: name vvencFFapp or vvencapp in MRDO_VVENC")
    return named


def encoded(tmp_path: Path, config: CodingConfig, fmt: VideoFormat, count: int, threads: int = 1):
    frames = moving(fmt, count)
    source = ((frame, None) for frame in frames)
    return frames, VVenC().encode(source, fmt, config, RunOptions(threads=threads), tmp_path / "out.266")


def test_one_command_line_serves_both_programs():
    plain, expert = command(binary="/x/vvencapp"), command(binary="/x/vvencFFapp")
    assert plain[1:] == [word.replace("-b", "-o") if word == "-b" else word for word in expert[1:]]
    assert (plain[plain.index("-o") + 1], expert[expert.index("-b") + 1]) == ("/dev/stdout", "/dev/stdout")
    assert plain[plain.index("-v") + 1] == "1", "only errors, on stderr: stdout is the stream's"


@pytest.mark.parametrize("gop", ["intra", "lowdelay", "randomaccess"])
def test_nothing_moves_bits_by_rules_of_its_own(gop: str):
    said = settings(command(variant(gop=gop)))
    assert {said[key] for key in ("PerceptQPA", "MCTF", "BIM", "IntraQPOffset", "GOPQPA", "STA", "LookAhead")} == {"0"}
    assert said["IntraPeriod"] == {"intra": "1", "lowdelay": "-1", "randomaccess": "32"}[gop]


def test_configurations_reach_the_program():
    words = command(variant(qp=None, bitrate=300, gop="randomaccess", bit_depth=10, preset="slow"))
    said = settings(words)
    assert (said["TargetBitrate"], said["Passes"], said["InternalBitDepth"]) == ("300k", "1", "10")
    assert "LookAhead" not in said and "-q" not in words and words[words.index("--preset") + 1] == "slow"
    assert command(threads=None)[command().index("-t") + 1] == "-1"
    assert command(threads=0)[command().index("-t") + 1] == "1", "no threads at all gives another stream"


def test_the_loop_filter_that_ffmpeg_gets_wrong_at_8_bit_is_off_there():
    assert [settings(command(variant(bit_depth=depth))).get("ALF") for depth in (8, 10)] == ["0", None]


def test_colour_is_told():
    fmt = dataclasses.replace(FORMAT, matrix="bt2020nc", range="full", primaries=9, transfer=16, sar=Fraction(4, 3))
    said = settings(command(fmt=fmt))
    keys = ("MatrixCoefficients", "ColourPrimaries", "TransferCharacteristics", "Range", "Sar")
    assert [said[key] for key in keys] == ["9", "9", "16", "full", "4x3"]


def test_the_users_options_come_after_ours():
    words = command(
        variant(extra=("--additional", "SAO=0 CTUSize=32", "--additional=DepQuant=0", "--profile", "main_10"))
    )
    assert words.count("--additional") == 1 and words[-2:] == ["--profile", "main_10"]
    assert list(settings(words))[-3:] == ["SAO", "CTUSize", "DepQuant"]


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (variant(), 64),
        (variant(preset="medium"), 128),
        (variant(preset="medium", extra=("--additional", "CTUSize=64")), 64),
        (variant(preset="fast", extra=("--CTUSize=32",)), 32),
        (variant(preset="fast", extra=("--CTUSize", "128")), 128),
    ],
)
def test_ctu_size(config: CodingConfig, size: int):
    assert VVenC().ctu_size(config) == size


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"preset": "ultrafast"}, "preset 'ultrafast'; expected one of faster, fast, medium, slow, slower"),
        ({"qp": 64}, "QP 64 outside 0–63"),
        ({"qp": None, "crf": 30.0}, "CRF 30, which VVenC does not have; expected --qp or --bitrate"),
        ({"qp": None, "bitrate": 0, "gop": "lowdelay"}, "bitrate 0 kbit/s"),
        ({"qp": None, "bitrate": 9}, "--bitrate with --gop intra"),
        ({"bit_depth": 12}, "bit depth 12; expected 8 or 10"),
        ({"extra": ("-q", "30")}, "--extra q: set by mrdo itself"),
        ({"extra": ("--additional", "IntraPeriod=2:SAO=0")}, "--extra intraperiod: set by mrdo itself"),
        ({"extra": ("--preset=slow",)}, "--extra preset: set by mrdo itself"),
        ({"rdo": "ctu", "ctu": CandidateConfig(splits=32)}, "judged splits down to 32"),
        ({"rdo": "ctu", "ctu": CandidateConfig((Candidate(), Candidate(min_cu=16)))}, "CUs of at least 16"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_what_vvenc_does_not_take_is_refused(changes: dict[str, object], says: str):
    with pytest.raises(ConfigError, match=r"vvenc: .*") as error:
        VVenC().check(variant(**changes), FORMAT)
    assert says in str(error.value)


@pytest.mark.parametrize("size", [(8, 64), (64, 15), (8194, 64), (64, 4322)])
def test_sizes_it_does_not_take(size: tuple[int, int]):
    with pytest.raises(ConfigError, match=f"frame size {size[0]}x{size[1]}; expected 16x16 to 8192x4320"):
        VVenC().check(CONFIG, VideoFormat(*size))


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (7680, 4320), (8192, 4320)])
def test_sizes_it_takes(size: tuple[int, int]):
    VVenC().check(CONFIG, VideoFormat(*size))


def test_without_a_program_the_message_says_how_one_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("MRDO_VVENC", "MRDO_VVENC_HOOKED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolNotFoundError, match=r"no VVenC that codes 8 bit; .*MRDO_VVENC.*patches/vvenc-1\.14\.0"):
        VVenC().build_info(CONFIG)
    with pytest.raises(ConfigError, match="no build for 'vvenc': mrdo builds no VVenC"):
        toolchain.build("vvenc")


@pytest.mark.parametrize("name", ["vvencapp", "vvencFFapp"])
def test_programs_are_told_apart_by_what_they_say(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / name
    program.write_text(f"#!/bin/sh\necho '{name} version 1.14.0'\n")
    program.chmod(0o755)
    monkeypatch.setenv("MRDO_VVENC", str(program))
    monkeypatch.delenv("MRDO_VVENC_HOOKED", raising=False)
    info = VVenC().build_info(CONFIG)
    assert (info.version, info.hooked, info.depth) == ("1.14.0", False, (8, 10))
    with pytest.raises(ToolNotFoundError, match=r"no machine-rdo hook, needed for --rdo map; .*patches/vvenc-1\.14\.0"):
        VVenC().build_info(variant(rdo="map", map=MapConfig()))
    text = f"{name} version 1.14.0 MRDO_HOOK abi=1 patch=0123456789abcdef depth=10\n"
    program.write_text(f"#!/bin/sh\necho '{text}'\n")
    info = VVenC().build_info(variant(rdo="map", map=MapConfig()))
    assert (info.version, info.hooked, info.abi, info.patch_hash) == ("1.14.0", True, 1, "0123456789abcdef")
    assert TOOLS.get("vvenc").programs[0] == "vvencFFapp" and "vvenc" in ENCODERS


def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    program = tmp_path / "vvencapp"
    program.write_text(f'#!/bin/sh\ncase "$1" in --version) echo "vvencapp version 1.14.0"; exit;; esac\n{body}\n')
    program.chmod(0o755)
    monkeypatch.setenv("MRDO_VVENC", str(program))
    monkeypatch.delenv("MRDO_VVENC_HOOKED", raising=False)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("cat > /dev/null; echo oh no >&2; exit 3", "oh no"),
        ("cat > /dev/null", "read 2 frames and wrote no stream"),
        ("kill -SEGV $$", "SIGSEGV"),
    ],
)
def test_a_failing_program_leaves_no_file(body: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake(tmp_path, monkeypatch, body)
    with pytest.raises(EncoderError, match=says):
        encoded(tmp_path, CONFIG, FORMAT, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["vvencapp"]


def test_a_hanging_program_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake(tmp_path, monkeypatch, "cat > /dev/null; sleep 60")
    source = ((frame, None) for frame in moving(FORMAT, 1))
    with pytest.raises(EncoderTimeout, match="made no progress"):
        VVenC().encode(source, FORMAT, CONFIG, RunOptions(timeout_s=1), tmp_path / "out.266")
    assert not (tmp_path / "out.266").exists()


@pytest.mark.parametrize("gop", ["intra", "lowdelay", "randomaccess"])
@pytest.mark.parametrize("depth", [8, 10])
def test_streams_decode_to_their_size_colour_and_pictures(gop: str, depth: int, tmp_path: Path, binary: str):
    fmt = dataclasses.replace(FORMAT, range="full", primaries=1, transfer=13)
    frames, stream = encoded(tmp_path, variant(gop=gop, bit_depth=depth, qp=22), fmt, 5)
    source = decode_stream(stream.path)
    got = source.format
    assert (got.width, got.height, got.bit_depth, got.matrix, got.range) == (96, 64, depth, "bt601", "full")
    assert (got.primaries, got.transfer) == (1, 13)
    pictures = list(source)
    assert stream.frames == len(pictures) == 5 and stream.bits == 8 * stream.path.stat().st_size
    for frame, picture in zip(frames, pictures, strict=True):
        error = frame.planes[0].astype(np.float64) - picture.planes[0] / (1 << depth - 8)
        assert np.mean(error**2) < 16


def test_gray(tmp_path: Path, binary: str):
    _, stream = encoded(tmp_path, CONFIG, dataclasses.replace(FORMAT, chroma="400"), 2)
    assert decode_stream(stream.path).format.chroma == "400"


@pytest.mark.parametrize("chroma", ["422", "444"])
def test_chroma_formats_it_does_not_take(chroma: str):
    with pytest.raises(ConfigError, match=f"chroma format {chroma}; expected 420 or 400"):
        VVenC().check(CONFIG, dataclasses.replace(FORMAT, chroma=chroma))


@pytest.mark.parametrize("size", [(16, 16), (33, 47), (98, 66)])
def test_odd_sizes_are_padded(size: tuple[int, int], tmp_path: Path, binary: str):
    fmt = VideoFormat(*size)
    _, stream = encoded(tmp_path, CONFIG, fmt, 2)
    got = decode_stream(stream.path).format
    assert (got.width, got.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)


@pytest.mark.parametrize("preset", PRESETS[:3])
def test_rate_falls_with_qp(preset: str, tmp_path: Path, binary: str):
    bits = [encoded(tmp_path, variant(preset=preset, qp=qp), FORMAT, 2)[1].bits for qp in (0, 22, 37, 51, 63)]
    assert bits == sorted(bits, reverse=True) and bits[0] > 4 * bits[-1]


def test_the_bitrate_is_met(tmp_path: Path, binary: str):
    fmt = VideoFormat(208, 144, fps=Fraction(25))
    rates = []
    for rate in (60, 240):
        _, stream = encoded(tmp_path, variant(qp=None, bitrate=rate, gop="randomaccess"), fmt, 50)
        rates.append(stream.bits / (50 / 25) / 1000)
    assert rates[0] < 0.6 * rates[1] and all(0.4 < got / rate < 2 for got, rate in zip(rates, (60, 240), strict=True))


@pytest.mark.parametrize("gop", ["intra", "lowdelay", "randomaccess"])
def test_threads_do_not_change_the_stream(gop: str, tmp_path: Path, binary: str):
    streams = set()
    for threads in (0, 1, 2, 4):
        encoded(tmp_path, variant(gop=gop, preset="fast"), VideoFormat(208, 144), 6, threads)
        streams.add((tmp_path / "out.266").read_bytes())
    assert len(streams) == 1


def test_an_unknown_option_ends_with_the_programs_own_words(tmp_path: Path, binary: str):
    with pytest.raises(EncoderError, match="NoSuchThing"):
        encoded(tmp_path, variant(extra=("--additional", "NoSuchThing=1")), FORMAT, 1)

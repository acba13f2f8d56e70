"""What every registered encoder owes, whichever it is: the same tests over all of them.

Encoders whose program is not here skip what needs it and say so; faults are shown with shell scripts in its place.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from encoder_bridge import toolchain
from encoder_bridge.config import CodingConfig, MapConfig, RunOptions
from encoder_bridge.decode import decode_stream, picture_bytes
from encoder_bridge.encoder import Bitstream, Encoder, SideInfo, codes_monochrome, default_preset_of, quality_of
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import ConfigError, EncoderError, EncoderTimeout, ToolNotFoundError
from encoder_bridge.frames import Frame, VideoFormat
from encoder_bridge.padding import crop_planes, padded_format
from encoder_bridge.tools import TOOLS
from encoder_bridge.transform import gray_source
from models.scenes import SceneConfig, SceneSource
from rdo_metrics.psnr import mean_psnr, sse

NAMES = ENCODERS.names()
PROGRAMS = [name for name in NAMES if name in TOOLS]
SIZE = (96, 80)
SIZES = [
    *((1, 1), (2, 2), (8, 8), (15, 9), (16, 16), (33, 17), (64, 64), (65, 67), (416, 240)),
    *((3840, 2160), (7680, 4320), (8192, 4352), (16384, 16384), (100_000, 100_000)),
]
CODED_SIZES = [size for size in SIZES if size[0] < 100]
SAYS = {
    "x265": "x265 [info]: HEVC encoder version 3.5\nx265 [info]: build info [Linux][GCC] 8bit",
    "x264": "x264 0.164.3095 baee400",
    "vvenc": "vvencapp version v1.14.0 [Linux][gcc][64 bit][SIMD=AVX2]",
    "jm": "JM-19.1 (FRExt)",
    "vtm": "VVCSoftware: VTM Encoder Version 23.4 [Linux][GCC][64 bit]",
    "hm": "HM software: Encoder Version [18.0] (including RExt)[Linux][GCC][64 bit]",
}


def config_of(name: str, **changes: object) -> CodingConfig:
    base = CodingConfig(codec=name, preset=default_preset_of(name), qp=quality_of(name).default)
    return dataclasses.replace(base, **changes)


@lru_cache(maxsize=1)
def scene() -> tuple[VideoFormat, tuple[Frame, ...]]:
    source = SceneSource(SceneConfig(192, 160, 3, seed=4))
    return source.format, tuple(source)


def clip(width: int = SIZE[0], height: int = SIZE[1], count: int = 3) -> tuple[VideoFormat, tuple[Frame, ...]]:
    """The corner of a scene, of any size up to 192x160."""
    whole, frames = scene()
    fmt = dataclasses.replace(whole, width=width, height=height)
    return fmt, tuple(dataclasses.replace(frame, planes=crop_planes(frame.planes, fmt)) for frame in frames[:count])


def finer_first(name: str, values: Iterable[int]) -> list[int]:
    return sorted(values, reverse=quality_of(name).finer == "higher")


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def here(name: str) -> Encoder:
    """The encoder, where it can run."""
    encoder = ENCODERS.get(name)()
    try:
        encoder.build_info(config_of(name))
    except ToolNotFoundError as error:
        pytest.skip(f"no {name}: {error}")
    return encoder


def encode(
    encoder: Encoder,
    config: CodingConfig,
    folder: Path,
    fmt: VideoFormat,
    frames: Iterable[Frame],
    side: SideInfo | None = None,
    **options: object,
) -> Bitstream:
    output = folder / f"out{encoder.suffix}"
    fed = ((frame, side) for frame in frames)
    return encoder.encode(fed, fmt, config, RunOptions(threads=1, **options), output)  # type: ignore[arg-type]


def test_the_quality_scale_is_one(name: str) -> None:
    scale = quality_of(name)
    assert scale.low < scale.high and scale.name
    assert all(scale.low <= value <= scale.high for value in (scale.default, *scale.sweep))
    qps = [scale.to_qp(value) for value in finer_first(name, scale.sweep)]
    assert qps == sorted(qps) and qps[0] > -60 and qps[-1] < 64
    for value in scale.sweep:
        assert scale.from_qp(scale.to_qp(value)) == pytest.approx(value)
        assert finer_first(name, (value, scale.coarser(value, 3))) == [value, scale.coarser(value, 3)]
    assert {scale.coarser(scale.default, 1000), scale.coarser(scale.default, -1000)} <= {scale.low, scale.high}


def test_qualities_outside_the_scale_are_refused_by_value(name: str) -> None:
    encoder, scale, fmt = ENCODERS.get(name)(), quality_of(name), VideoFormat(416, 240)
    for value in (scale.low, scale.high):
        encoder.check(config_of(name, qp=value), fmt)
    for value in (scale.low - 1, scale.high + 1, 1000):
        with pytest.raises(ConfigError, match=rf"{name}: .*{value} outside {scale.low}–{scale.high}"):
            encoder.check(config_of(name, qp=value), fmt)


def test_only_its_own_presets_are_taken(name: str) -> None:
    encoder = ENCODERS.get(name)()
    assert default_preset_of(name) in encoder.presets  # type: ignore[attr-defined]
    for preset in encoder.presets:  # type: ignore[attr-defined]
        encoder.check(config_of(name, preset=preset), VideoFormat(416, 240))
    with pytest.raises(ConfigError, match=rf"{name}.*preset 'wonderful'"):
        encoder.check(config_of(name, preset="wonderful"), VideoFormat(416, 240))


def accepts(encoder: Encoder, config: CodingConfig, fmt: VideoFormat) -> bool:
    try:
        encoder.check(config, fmt)
    except ConfigError as error:
        assert f"{fmt.width}x{fmt.height}" in str(error) and "expected" in str(error)
        return False
    return True


def test_each_size_is_taken_or_refused_by_name(name: str) -> None:
    encoder = ENCODERS.get(name)()
    taken = [size for size in SIZES if accepts(encoder, config_of(name), VideoFormat(*size))]
    assert (416, 240) in taken and (3840, 2160) in taken and (7680, 4320) in taken
    assert (100_000, 100_000) not in taken
    sides = [SIZES.index(size) for size in taken]
    assert sides == [*range(sides[0], sides[-1] + 1)]


@pytest.mark.parametrize("size", CODED_SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_what_it_takes_it_codes(name: str, here: Encoder, size: tuple[int, int], tmp_path: Path) -> None:
    fmt, frames = clip(*size, 2)
    if not accepts(here, config_of(name), fmt):
        pytest.skip(f"{name} refuses {size[0]}x{size[1]}, and says so")
    stream = encode(here, config_of(name), tmp_path, fmt, frames)
    decoded = decode_stream(stream.path)
    coded = padded_format(fmt)
    assert (decoded.format.width, decoded.format.height) in (size, (coded.width, coded.height))
    assert len(list(decoded)) == stream.frames == 2


def psnr(fmt: VideoFormat, frames: Iterable[Frame], path: Path) -> float:
    decoded = decode_stream(path)
    assert decoded.format.chroma == fmt.chroma and decoded.format.bit_depth == fmt.bit_depth
    pairs = [(a.planes[0], crop_planes(b.planes, fmt)[0]) for a, b in zip(frames, decoded, strict=True)]
    return mean_psnr(sum(sse(a, b) for a, b in pairs), sum(a.size for a, _ in pairs), fmt.bit_depth)


def test_coarser_is_smaller_and_worse(name: str, here: Encoder, tmp_path: Path) -> None:
    fmt, frames = clip(192, 160)
    bits, quality = [], []
    for value in finer_first(name, quality_of(name).sweep):
        stream = encode(here, config_of(name, qp=value), tmp_path, fmt, frames)
        bits.append(stream.bits)
        quality.append(psnr(fmt, frames, stream.path))
    assert bits == sorted(set(bits), reverse=True)
    assert quality == sorted(set(quality), reverse=True)
    assert quality[0] > 27 and quality[-1] > 14


def test_the_stream_is_what_the_record_says(name: str, here: Encoder, tmp_path: Path) -> None:
    fmt, frames = clip()
    stream = encode(here, config_of(name), tmp_path, fmt, frames)
    assert stream.path == tmp_path / f"out{here.suffix}" and stream.codec == here.codec
    assert stream.bits == 8 * stream.path.stat().st_size and stream.encode_s > 0
    sizes = picture_bytes(stream.path)
    assert len(sizes) == stream.frames == 3 and 0 < sum(sizes) <= stream.bits // 8
    assert [path.name for path in tmp_path.iterdir()] == [stream.path.name]
    first = stream.path.read_bytes()
    assert encode(here, config_of(name), tmp_path, fmt, frames).path.read_bytes() == first


def test_pictures_without_chroma(name: str, here: Encoder, tmp_path: Path) -> None:
    fmt, frames = clip()
    chroma = "400" if codes_monochrome(name) else "420"
    gray = gray_source(_Frames(fmt, frames), chroma)
    fine = finer_first(name, quality_of(name).sweep)[0]
    stream = encode(here, config_of(name, qp=fine, gray=True), tmp_path, gray.format, gray)
    assert decode_stream(stream.path).format.chroma == chroma
    assert psnr(gray.format, gray, stream.path) > 18


class _Frames:
    frame_count = 3

    def __init__(self, fmt: VideoFormat, frames: tuple[Frame, ...]) -> None:
        self.format, self._frames = fmt, frames

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames)

    def digest(self) -> str:
        return "contract"


def side_of(fmt: VideoFormat, left: float) -> SideInfo:
    """QP offsets of opposite sign in the two halves of a picture."""
    rows, columns = -(-fmt.height // 16), -(-fmt.width // 16)
    offsets = np.full((rows, columns), -left, np.float32)
    offsets[:, : columns // 2] = left
    return SideInfo(qp_offset=offsets)


def mapped(name: str) -> CodingConfig:
    return config_of(name, rdo="map", map=MapConfig(group=16))


@pytest.fixture
def aware(name: str, here: Encoder) -> Encoder:
    """The encoder, where it can be told something."""
    try:
        here.check(mapped(name), clip()[0])
        here.build_info(mapped(name))
    except ConfigError as error:
        pytest.skip(f"{name} takes no map, and says so: {error}")
    except ToolNotFoundError as error:
        pytest.skip(f"{name} without our hook: {error}")
    return here


def test_a_map_moves_quality_to_where_it_says(name: str, aware: Encoder, tmp_path: Path) -> None:
    fmt, frames = clip(192, 160)
    halves = []
    for left in (-5.0, 5.0):
        decoded = decode_stream(encode(aware, mapped(name), tmp_path, fmt, frames, side_of(fmt, left)).path)
        both = [(a.planes[0].astype(int) - b.planes[0]) ** 2 for a, b in zip(frames, decoded, strict=True)]
        halves.append((np.mean([e[:, :96] for e in both]), np.mean([e[:, 96:] for e in both])))
    assert halves[0][0] < 0.8 * halves[1][0] and halves[0][1] > 1.25 * halves[1][1]


def test_nothing_to_say_is_the_plain_stream(name: str, aware: Encoder, tmp_path: Path) -> None:
    fmt, frames = clip()
    plain = encode(aware, config_of(name), tmp_path, fmt, frames).path.read_bytes()
    assert encode(aware, config_of(name, neutral=True), tmp_path, fmt, frames).path.read_bytes() == plain
    assert encode(aware, mapped(name), tmp_path, fmt, frames, side_of(fmt, 5.0)).path.read_bytes() != plain
    ones = SideInfo(weight=np.ones((-(-fmt.height // 8), -(-fmt.width // 8)), np.float32))
    weighted = config_of(name, rdo="map", map=MapConfig(weights=True, qp_map=False))
    try:
        aware.check(weighted, fmt)
    except ConfigError:
        return
    assert encode(aware, weighted, tmp_path, fmt, frames, ones).path.read_bytes() == plain


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An encoder that is a program, with none to be found."""
    name = str(request.param)
    for variable in (f"MRDO_{name.upper()}", f"MRDO_{name.upper()}_HOOKED"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MRDO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    for word in ("cat", "seq", "sleep", "sh"):
        (tmp_path / "bin" / word).symlink_to(str(shutil.which(word)))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    configs = tmp_path / "cfg"
    configs.mkdir()
    monkeypatch.setenv(f"MRDO_{name.upper()}_CFG", str(configs))
    for file in getattr(getattr(ENCODERS.get(name), "reference", None), "cfg", {}).values():
        (configs / file).write_text("")
    return name


def fake(folder: Path, name: str, does: str, says: str | None = None) -> Path:
    """A program that tells a version as the real one would, and otherwise does what it is told."""
    path = folder / f"{name}-fake"
    words = " ".join(TOOLS.get(name).arguments)
    text = SAYS[name] if says is None else says
    path.write_text(f"#!/bin/sh\nif [ \"$*\" = '{words}' ]; then\ncat <<'MRDO'\n{text}\nMRDO\nexit 0\nfi\n{does}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def run_fake(
    name: str, does: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timeout_s: float = 20.0
) -> EncoderError:
    monkeypatch.setenv(f"MRDO_{name.upper()}", str(fake(tmp_path, name, does)))
    encoder, folder = ENCODERS.get(name)(), tmp_path / "out"
    folder.mkdir()
    fmt, frames = clip()
    many = (dataclasses.replace(frames[i % 3], index=i, pts=i / Fraction(30)) for i in range(24))
    with pytest.raises(EncoderError) as caught:
        encode(encoder, config_of(name), folder, fmt, many, timeout_s=timeout_s)
    assert list(folder.iterdir()) == []
    return caught.value


def test_a_missing_program_names_its_remedy(program: str) -> None:
    with pytest.raises(ToolNotFoundError) as caught:
        ENCODERS.get(program)().build_info(config_of(program))
    assert TOOLS.get(program).fix() in str(caught.value)


def test_a_wrong_path_is_named(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"MRDO_{program.upper()}", "/nowhere/at-all")
    wrong = f"^MRDO_{program.upper()}: cannot run /nowhere/at-all: No such file or directory; "
    with pytest.raises(ToolNotFoundError, match=wrong):
        ENCODERS.get(program)().build_info(config_of(program))


def test_another_program_is_recognised(program: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = fake(tmp_path, program, "exit 0", says="toaster version 9.9")
    monkeypatch.setenv(f"MRDO_{program.upper()}", str(other))
    with pytest.raises(ToolNotFoundError, match=rf"{other} does not look like .*toaster version 9\.9"):
        ENCODERS.get(program)().build_info(config_of(program))


def test_a_program_without_our_hook_is_told_apart(
    program: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(f"MRDO_{program.upper()}", str(fake(tmp_path, program, "exit 0")))
    assert not toolchain.find(program).hooked
    encoder = ENCODERS.get(program)()
    with pytest.raises((ToolNotFoundError, ConfigError), match=r"no machine-rdo hook|without our hook|--rdo map"):
        encoder.check(mapped(program), VideoFormat(416, 240))
        encoder.build_info(mapped(program))


def test_a_hang_is_ended(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = run_fake(program, "exec sleep 60", tmp_path, monkeypatch, timeout_s=1.0)
    assert isinstance(error, EncoderTimeout) and "no progress" in str(error)


def test_a_crash_tells_signal_and_last_words(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    does = "echo 'reading the scene' >&2; echo 'the scene is on fire' >&2; kill -SEGV $$"
    error = run_fake(program, does, tmp_path, monkeypatch)
    assert error.returncode == -11 and error.stderr_tail[-1] == "the scene is on fire"
    assert "SIGSEGV" in str(error) and "the scene is on fire" in str(error) and f"{program}-fake" in str(error)


def test_a_failure_tells_status_and_the_end_of_its_messages(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    does = 'for i in $(seq 1 200); do echo "line $i" >&2; done; exit 3'
    error = run_fake(program, does, tmp_path, monkeypatch)
    assert error.returncode == 3 and error.stderr_tail[-1] == "line 200" and "line 1" not in error.stderr_tail
    assert len(str(error)) < 2000 + len(" ".join(error.command))


def test_success_without_a_stream_is_none(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_fake(program, "cat > /dev/null; exit 0", tmp_path, monkeypatch).returncode == 0


@pytest.mark.parametrize("name", sorted({*NAMES} - {*PROGRAMS}))
def test_no_frames_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="no frame"):
        encode(ENCODERS.get(name)(), config_of(name), tmp_path, clip()[0], ())
    assert list(tmp_path.iterdir()) == []


def test_every_program_is_faked() -> None:
    assert set(SAYS) >= set(PROGRAMS) and os.name == "posix"

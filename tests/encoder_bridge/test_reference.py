"""HM and VTM behind their common driver: command lines, configuration files, and a program that misbehaves."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from encoder_bridge import toolchain
from encoder_bridge.config import CodingConfig, MapConfig, RunOptions
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.encoders.reference import ReferenceEncoder, level
from encoder_bridge.errors import ConfigError, EncoderError, EncoderTimeout, OutputError, ToolNotFoundError
from encoder_bridge.frames import Frame, VideoFormat

FMT = VideoFormat(64, 48)
BANNERS = {"vtm": "VVCSoftware: VTM Encoder Version 12.0 [Linux][GCC]", "hm": "HM software: Encoder Version [18.0] (x)"}
STAND_IN = """#!{python}
import sys, time, os
print({banner!r})
if len(sys.argv) == 1: sys.exit(1)
raw, stream = (sys.argv[sys.argv.index(name) + 1] for name in ("-i", "-b"))
count = int(open("frames.cfg").read().split(":")[1])
size = os.path.getsize(raw)
how = {how!r}
if how == "hangs": time.sleep(60)
if how == "crashes":
    print("Error: bad things", flush=True); os.abort()
if how == "fails": sys.exit("no such option")
for k in range(count): print("POC", k, flush=True)
data = b"x" * (size // 100)
if how != "stops": open(stream, "wb").write(data)
if how == "short": data += b"x"
if how not in ("stops", "quits"): print("Bytes written to file: %d (1 kbps)" % len(data))
"""


@pytest.fixture(params=["hm", "vtm"])
def codec(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def stand_in(codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """(how it behaves) -> path of a program that is called like the encoder."""
    encoder = encoder_of(codec)
    (tmp_path / "cfg").mkdir()
    for file in encoder.reference.cfg.values():
        (tmp_path / "cfg" / file).write_text("QP : 32\n")

    def make(how: str) -> Path:
        path = tmp_path / "bin" / "encoder"
        path.parent.mkdir(exist_ok=True)
        path.write_text(STAND_IN.format(python=sys.executable, banner=BANNERS[codec], how=how))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv(f"MRDO_{codec.upper()}", str(path))
        monkeypatch.delenv(f"MRDO_{codec.upper()}_CFG", raising=False)
        return path

    return make


def encoder_of(codec: str) -> ReferenceEncoder:
    encoder = ENCODERS.get(codec)()
    assert isinstance(encoder, ReferenceEncoder)
    return encoder


def config_of(codec: str, **changes: object) -> CodingConfig:
    return CodingConfig(**{"codec": codec, "preset": "ctc", "qp": 32, **changes})  # type: ignore[arg-type]


def moving(planes: Callable[..., tuple[object, ...]], fmt: VideoFormat, count: int) -> Iterator[tuple[Frame, None]]:
    for index in range(count):
        yield Frame(planes(fmt, index), index, index / fmt.fps), None  # type: ignore[arg-type]


def options_of(words: list[str]) -> dict[str, str]:
    return dict(word.lstrip("-").split("=", 1) for word in words if word.startswith("--"))


def test_a_finished_run_leaves_the_stream_and_no_frames(codec, stand_in, planes, tmp_path: Path):
    stand_in("works")
    (tmp_path / "work").mkdir()
    out = tmp_path / "out.bin"
    options = RunOptions(workdir=tmp_path / "work")
    done = encoder_of(codec).encode(moving(planes, FMT, 3), FMT, config_of(codec), options, out)
    assert done.frames == 3 and done.bits == 8 * out.stat().st_size == 8 * (3 * 64 * 48 * 3 // 2 // 100)
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ("crashes", EncoderError, "SIGABRT: .*Error: bad things"),
        ("fails", EncoderError, "status 1: .*no such option"),
        ("stops", EncoderError, "before its stream was finished: .*POC 1"),
        ("quits", EncoderError, "before its stream was finished"),
        ("short", OutputError, "disk full"),
        ("hangs", EncoderTimeout, "no progress"),
    ],
)
def test_a_program_that_fails_leaves_nothing(how, error, says, codec, stand_in, planes, tmp_path: Path):
    stand_in(how)
    out = tmp_path / "out"
    out.mkdir()
    options = RunOptions(timeout_s=1, workdir=tmp_path)
    with pytest.raises(error, match=says):
        encoder_of(codec).encode(moving(planes, FMT, 2), FMT, config_of(codec), options, out / "a.bin")
    assert list(out.iterdir()) == [] and not list(tmp_path.glob("mrdo-*"))


def test_command_says_everything_about_the_frames(codec, stand_in):
    binary = stand_in("works")
    fmt = VideoFormat(
        1280, 720, bit_depth=10, fps=Fraction(30000, 1001), matrix="bt709", range="full", sar=Fraction(4, 3)
    )
    encoder = encoder_of(codec)
    words = encoder.command(config_of(codec, qp=27, bit_depth=10), fmt, str(binary))
    said = options_of(words)
    assert (said["SourceWidth"], said["SourceHeight"], said["QP"]) == ("1280", "720", "27")
    assert (said["InputBitDepth"], said["InternalBitDepth"], said["InputChromaFormat"]) == ("10", "10", "420")
    assert (said["FrameRate"], said["Level"], said["TemporalSubsampleRatio"]) == ("30", "3.1", "1")
    assert (said["VideoFullRange"], said["MatrixCoefficients"], said["SarWidth"]) == ("1", "1", "4")
    assert words[1] == "-c" and Path(words[2]).name == encoder.reference.cfg["intra", 10]


def test_each_structure_has_its_configuration_file(codec, stand_in):
    binary = str(stand_in("works"))
    encoder = encoder_of(codec)
    files = {gop: encoder.cfg_file(config_of(codec, gop=gop), binary) for gop in ("intra", "lowdelay", "randomaccess")}
    assert len(set(files.values())) == 3 and all(gop.strip("delay")[:5] in str(path) for gop, path in files.items())
    command = encoder.command(config_of(codec, gop="randomaccess"), FMT, binary)
    assert options_of(command)["IntraPeriod"] == "32"


def test_build_changes_with_the_configuration_file(codec, stand_in, tmp_path: Path):
    stand_in("works")
    encoder, config = encoder_of(codec), config_of(codec)
    first = encoder.build_info(config)
    assert first.name == codec and first.version.split()[0] == {"vtm": "12.0", "hm": "18.0"}[codec] and not first.hooked
    (tmp_path / "cfg" / encoder.reference.cfg["intra", 8]).write_text("QP : 32\nSAO : 0\n")
    assert encoder.build_info(config).key() != first.key()


def test_missing_configuration_file_names_the_variable(codec, stand_in, tmp_path: Path, monkeypatch):
    stand_in("works")
    monkeypatch.setenv(f"MRDO_{codec.upper()}_CFG", str(tmp_path / "nowhere"))
    with pytest.raises(ToolNotFoundError, match=f"encoder_intra.*nowhere.*MRDO_{codec.upper()}_CFG"):
        encoder_of(codec).build_info(config_of(codec))


def test_missing_program_says_what_to_do(codec, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MRDO_CACHE", str(tmp_path))
    monkeypatch.delenv(f"MRDO_{codec.upper()}", raising=False)
    with pytest.raises(ToolNotFoundError, match={"hm": "mrdo build hm", "vtm": "MRDO_VTM"}[codec]):
        encoder_of(codec).build_info(config_of(codec))


def test_another_program_is_refused(codec, monkeypatch):
    monkeypatch.setenv(f"MRDO_{codec.upper()}", sys.executable)
    with pytest.raises(ToolNotFoundError, match="does not look like"):
        toolchain.find(codec)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"qp": 64}, "QP 64 outside 0–"),
        ({"qp": -1}, "QP -1 outside 0–"),
        ({"qp": None, "crf": 20.0}, "--qp"),
        ({"qp": None, "bitrate": 500}, "--qp"),
        ({"preset": "veryfast"}, "preset 'veryfast'"),
        ({"bit_depth": 12}, "bit depth 12"),
        ({"rdo": "map", "map": MapConfig()}, "--rdo map; .* expected --rdo psnr$"),
        ({"neutral": True}, "the neutral arm; .* expected --rdo psnr --no-neutral$"),
        ({"extra": ("--QP=20",)}, "set by mrdo itself"),
        ({"extra": ("-q", "20")}, "set by mrdo itself"),
    ],
)
def test_settings_that_are_refused(codec, changes, says):
    with pytest.raises(ConfigError, match=says):
        encoder_of(codec).check(config_of(codec, **changes), FMT)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (4, 400), (8200, 64), (64, 4322)])
def test_sizes_that_are_refused(codec, width, height):
    with pytest.raises(ConfigError, match=f"frame size {width}x{height}"):
        encoder_of(codec).check(config_of(codec), VideoFormat(width, height))


@pytest.mark.parametrize(
    ("fmt", "expected"),
    [
        (VideoFormat(176, 144), "2"),
        (VideoFormat(352, 288), "2"),
        (VideoFormat(480, 360), "2.1"),
        (VideoFormat(1920, 1080, fps=Fraction(30)), "4"),
        (VideoFormat(1920, 1080, fps=Fraction(60)), "4.1"),
        (VideoFormat(3840, 2160, fps=Fraction(60)), "5.1"),
        (VideoFormat(8192, 64), "5"),
        (VideoFormat(7680, 4320, fps=Fraction(300)), "6.2"),
    ],
)
def test_level_is_the_lowest_that_takes_size_and_rate(fmt, expected):
    assert level(fmt) == expected

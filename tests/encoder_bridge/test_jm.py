"""JM's driver: the configuration file, what is refused, faults; and, where MRDO_JM names one, what comes out."""

from __future__ import annotations

import dataclasses
import os
import re
import stat
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support.clips import moving

from encoder_bridge.config import Candidate, CandidateConfig, CodingConfig, MapConfig, RunOptions
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoder import SideInfo
from encoder_bridge.encoders.jm import JM, in_groups
from encoder_bridge.encoders.jm_config import CONFIG_KEYS, PRESETS, config_text, level, settings
from encoder_bridge.errors import ConfigError, EncoderError, EncoderTimeout, OutputError, ToolNotFoundError
from encoder_bridge.frames import VideoFormat

FORMAT = VideoFormat(96, 64, matrix="bt601", fps=Fraction(30000, 1001), range="full")
CONFIG = CodingConfig(codec="jm", preset="high", qp=32)
GOPS = ("intra", "lowdelay", "randomaccess")


def variant(**changes: object) -> CodingConfig:
    return dataclasses.replace(CONFIG, **changes)


def written(config: CodingConfig = CONFIG, fmt: VideoFormat = FORMAT, frames: int = 9) -> dict[str, str]:
    lines = config_text(config, fmt, frames, "in.yuv", "out.264").splitlines()
    return dict(line.split(" = ", 1) for line in lines)


def encode(config: CodingConfig, folder: Path, fmt: VideoFormat = FORMAT, count: int = 3, **options: object):
    fed = ((frame, None) for frame in moving(fmt, count))
    return JM().encode(fed, fmt, config, RunOptions(**options), folder / "out.264")


def test_every_line_is_a_parameter_and_its_value():
    text = config_text(CONFIG, FORMAT, 9, "in.yuv", "out.264")
    assert all(len(line.split()) == 3 for line in text.splitlines())
    assert len({line.split()[0].lower() for line in text.splitlines()}) == len(text.splitlines())
    assert (written()["InputFile"], written()["OutputFile"], written()["FramesToBeEncoded"]) == (
        '"in.yuv"',
        '"out.264"',
        "9",
    )


def test_what_the_driver_sets_is_in_every_file():
    never = {"bitrate", "inputfile2", "inputfile3", "changeqpi", "changeqpp", "changeqpb"}
    assert CONFIG_KEYS - never <= {name.lower() for name in written()}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_all_optimise_quantisation_and_rate_distortion(preset):
    found = written(variant(preset=preset))
    assert found["UseRDOQuant"] == "1" and found["RDOQ_QP_Num"] == "1"
    assert found["RDOptimization"] == "1"
    assert found["ProfileIDC"] == ("77" if preset == "main" else "100")
    assert found["Transform8x8Mode"] == ("0" if preset == "main" else "1")
    assert written(variant(preset="slow")) == written(variant(preset="high"))


@pytest.mark.parametrize(
    ("gop", "intra", "idr", "between"), [("intra", 1, 1, 0), ("lowdelay", 0, 0, 0), ("randomaccess", 0, 32, 7)]
)
def test_picture_structures(gop, intra, idr, between):
    found = settings(variant(gop=gop), FORMAT, 40, ("a", "b"))
    assert (found["IntraPeriod"], found["IDRPeriod"], found["NumberBFrames"]) == (intra, idr, between)
    assert (found["QPISlice"], found["QPPSlice"]) == (32, 32)


def test_colour_and_time_are_said():
    found = written(fmt=dataclasses.replace(FORMAT, sar=Fraction(4, 3)))
    assert (found["VUI_matrix_coefficients"], found["VUI_video_full_range_flag"]) == ("6", "1")
    assert (found["VUI_num_units_in_tick"], found["VUI_time_scale"]) == ("1001", "60000")
    assert (found["VUI_sar_width"], found["VUI_sar_height"]) == ("4", "3")


def test_depths_and_odd_sizes():
    found = written(variant(bit_depth=10), dataclasses.replace(FORMAT, width=97, height=63))
    assert (found["SourceWidth"], found["OutputWidth"], found["SourceHeight"]) == ("98", "98", "64")
    assert (found["SourceBitDepthLuma"], found["OutputBitDepthLuma"], found["SourceBitDepthRescale"]) == (
        "8",
        "10",
        "1",
    )
    assert found["ProfileIDC"] == "110"


def test_levels_grow_with_the_picture():
    sizes = ((96, 64), (352, 288), (720, 576), (1280, 720), (1920, 1080), (3840, 2160), (7680, 4320))
    levels = [level(VideoFormat(*size), 4) for size in sizes]
    assert levels == [10, 13, 31, 31, 40, 51, 60]
    assert level(VideoFormat(1920, 1080, fps=Fraction(60)), 4) == 42
    assert level(VideoFormat(1280, 720), 6) == 40


@pytest.mark.parametrize(
    ("config", "fmt", "says"),
    [
        (variant(qp=None, crf=23.0), FORMAT, "expected --qp"),
        (variant(qp=52), FORMAT, "QP 52 outside 0–51"),
        (variant(preset="turbo"), FORMAT, "preset 'turbo'; expected one of main, high-fast"),
        (CONFIG, dataclasses.replace(FORMAT, chroma="422"), "4:2:2; expected 4:2:0"),
        (variant(preset="main", bit_depth=10), FORMAT, "expected --preset high"),
        (variant(bit_depth=10), dataclasses.replace(FORMAT, chroma="400"), "expected 8 bit"),
        (CONFIG, VideoFormat(15, 64), "15x64; expected 16x16"),
        (CONFIG, VideoFormat(16384, 16384), "16384x16384"),
        (variant(extra=("--fast",)), FORMAT, "expected '-p Name=Value"),
        (variant(extra=("-p", "SearchRange=8", "SearchMode=3")), FORMAT, "one -p for each"),
        (variant(extra=("-p", "QPISlice=20")), FORMAT, "QPISlice: set by mrdo itself"),
        (variant(extra=("-p", "qpislice=20")), FORMAT, "set by mrdo itself"),
        (variant(neutral=True, extra=("-p", "SliceMode=1")), FORMAT, "SliceMode with --rdo"),
    ],
)
def test_what_is_refused(config, fmt, says):
    with pytest.raises(ConfigError, match=f"jm: .*{says}"):
        JM().check(config, fmt)


def test_candidates_of_a_coding_tree_are_refused():
    for changes in ({"splits": 16}, {"candidates": (Candidate(0.0, min_cu=16),)}, {"candidates": (Candidate(),) * 10}):
        wanted = CandidateConfig(metric="sse", **changes)
        with pytest.raises(ConfigError, match="jm: "):
            JM().check(variant(rdo="ctu", ctu=wanted), FORMAT)
    JM().check(variant(rdo="ctu", ctu=CandidateConfig()), FORMAT)


def test_other_parameters_pass():
    JM().check(variant(extra=("-p", "SearchRange=8", "-p", "ReconFile=x.yuv")), FORMAT)
    command = JM().command(variant(extra=("-p", "SearchRange=8")), "/opt/lencod")
    assert command == ["/opt/lencod", "-d", "encoder.cfg", "-p", "SearchRange=8"]


def test_groups_share_one_offset_and_weights_move_with_it():
    rng = np.random.default_rng(1)
    offset = rng.uniform(-4, 4, (3, 5)).astype(np.float32)
    weight = np.exp(rng.normal(0, 0.3, (6, 9))).astype(np.float32)
    moved = in_groups(SideInfo(weight, offset), 32)
    assert moved.qp_offset[0, 0] == moved.qp_offset[1, 1] == pytest.approx(offset[:2, :2].mean())
    assert moved.qp_offset[2, 4] == pytest.approx(offset[2, 4])
    spread = [np.kron(o, np.ones((2, 2)))[:6, :9] for o in (offset, moved.qp_offset)]
    full = weight * np.exp2(-spread[0] / 3)
    assert np.allclose(moved.weight * np.exp2(-spread[1] / 3), full, rtol=1e-5)
    assert in_groups(SideInfo(qp_offset=offset), 16).qp_offset is offset


def script(folder: Path, does: str) -> Path:
    """A program that tells JM's version and otherwise does as told."""
    path = folder / "lencod"
    path.write_text(f'#!/bin/sh\nif [ "$1" = -v ]; then echo JM-19.1; exit 0; fi\n{does}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """(shell text, **options) -> the error; nothing is left in the output's folder or in the work folder."""
    monkeypatch.delenv("MRDO_JM_HOOKED", raising=False)

    def run(does: str, kind: type[Exception] = EncoderError, **options: object) -> str:
        monkeypatch.setenv("MRDO_JM", str(script(tmp_path, does)))
        out, work = tmp_path / "out", tmp_path / "work"
        out.mkdir()
        work.mkdir()
        with pytest.raises(kind) as caught:
            encode(CONFIG, out, workdir=work, **options)
        assert list(out.iterdir()) == [] and list(work.iterdir()) == []
        return str(caught.value)

    return run


REPORT = "echo ' Total Frames:  3'; echo ' Total bits   : 80 (I 80)'"


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("echo wrong on stdout; echo and stderr >&2; exit 7", "exited with status 7: .*wrong on stdout"),
        ("echo boom; kill -SEGV $$", "SIGSEGV: boom"),
        (f"{REPORT}", "read 3 frames and wrote no stream"),
        ("echo x > stream.264; echo ' Total Frames:  2'", "coded 2 of 3 frames"),
        ("echo x > stream.264", "ended before its report"),
        (f"echo x > stream.264; {REPORT}", "reported 80 bits and wrote 16"),
        ("echo 'Parameter Name Bogus not recognized'; exit 0", "was told what it does not know: .*Bogus"),
    ],
)
def test_faults_are_told(does, says, faulty):
    assert re.search(says, faulty(does))


def test_a_silent_program_is_killed(faulty):
    assert "made no progress" in faulty("sleep 60", EncoderTimeout, timeout_s=1.0)


def test_lines_of_the_log_are_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.delenv("MRDO_JM_HOOKED", raising=False)
    does = f"for i in 1 2 3 4 5 6; do sleep 0.5; echo $i; done; head -c 10 /dev/zero > stream.264; {REPORT}"
    monkeypatch.setenv("MRDO_JM", str(script(tmp_path, does)))
    assert encode(CONFIG, tmp_path, timeout_s=2.0).bits == 80


def test_it_finds_its_input_and_configuration_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("MRDO_JM_HOOKED", raising=False)
    size = sum(height * width for height, width in FORMAT.plane_shapes) * 3
    does = f"[ $(wc -c < input.yuv) = {size} ] || exit 9; grep -q 'QPISlice = 32' $2 || exit 8; touch log.dat\n"
    monkeypatch.setenv("MRDO_JM", str(script(tmp_path, f"{does}cp encoder.cfg stream.264; {REPORT}")))
    made = encode(CONFIG, tmp_path)
    assert made.path.read_text() == config_text(CONFIG, FORMAT, 3, "input.yuv", "stream.264")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lencod", "out.264"]


def test_a_missing_work_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MRDO_JM", str(script(tmp_path, "exit 0")))
    with pytest.raises(OutputError, match=r"nowhere.*--workdir"):
        encode(CONFIG, tmp_path, workdir=tmp_path / "nowhere")


def test_a_map_needs_the_patched_program(tmp_path, monkeypatch):
    monkeypatch.delenv("MRDO_JM_HOOKED", raising=False)
    monkeypatch.setenv("MRDO_JM", str(script(tmp_path, "exit 0")))
    with pytest.raises(ToolNotFoundError, match=r"JM 19\.1 has no machine-rdo hook.*patches/jm-19\.1"):
        JM().build_info(variant(rdo="map", map=MapConfig()))


@pytest.fixture
def binary() -> str:
    named = os.environ.get("MRDO_JM") or os.environ.get("MRDO_JM_HOOKED")
    if not named:
        pytest.skip("no JM: name lencod in MRDO_JM")
    return named


@pytest.mark.parametrize(
    ("changes", "fmt"),
    [
        ({"gop": "intra", "preset": "main"}, {}),
        ({"gop": "lowdelay", "preset": "high"}, {"width": 97, "height": 51}),
        ({"gop": "randomaccess", "preset": "high-fast"}, {}),
        ({"gop": "randomaccess", "preset": "high", "bit_depth": 10}, {"bit_depth": 10}),
    ],
)
def test_streams_decode_to_jms_reconstruction(changes, fmt, binary, tmp_path):
    form, recon = dataclasses.replace(FORMAT, **fmt), tmp_path / "recon.yuv"
    made = encode(variant(**changes, extra=("-p", f"ReconFile={recon}")), tmp_path, form, count=10)
    decoded = list(decode_stream(made.path))
    assert made.frames == len(decoded) == 10 and made.bits == 8 * made.path.stat().st_size
    assert b"".join(plane.tobytes() for frame in decoded for plane in frame.planes) == recon.read_bytes()


def test_monochrome(binary, tmp_path):
    form, recon = dataclasses.replace(FORMAT, chroma="400"), tmp_path / "recon.yuv"
    made = encode(variant(extra=("-p", f"ReconFile={recon}")), tmp_path, form)
    luma = b"".join(frame.planes[0].tobytes() for frame in decode_stream(made.path))
    assert luma == recon.read_bytes()


def test_a_bad_parameter_is_told_with_jms_own_words(binary, tmp_path):
    with pytest.raises(EncoderError, match="SearchMode"):
        encode(variant(extra=("-p", "SearchMode=99")), tmp_path)
    with pytest.raises(EncoderError, match="'NoSuchThing' not recognized"):
        encode(variant(extra=("-p", "NoSuchThing=1")), tmp_path)

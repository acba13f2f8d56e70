"""Anchors as data: what is recorded, and how a comparison finds an anchor."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from encoder_bridge.config import CodingConfig
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoder import BuildInfo
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import ConfigError, StoreError, ToolNotFoundError
from encoder_bridge.frames import Frame, VideoFormat
from sweeps import anchors
from sweeps.anchors import RecordedAnchor, embedded_clip, recorded_anchors, resolve_anchors, samples_digest

FOLDER = Path(anchors.__file__).parent
RECORDED = recorded_anchors()


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No program in the environment, the cache or the PATH."""
    for name in ("VTM", "HM", "VVENC", "JM"):
        monkeypatch.delenv(f"MRDO_{name}", raising=False)
        monkeypatch.delenv(f"MRDO_{name}_HOOKED", raising=False)
    monkeypatch.setenv("MRDO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))


def like_tests(gop: str = "intra") -> list[CodingConfig]:
    return [CodingConfig(codec="x265", gop=gop, qp=qp) for qp in (32, 37, 42, 47)]


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("x265", "3.5+1-f0c1022b6", "x265-3.5"),
        ("vtm", "23.13 cfg 5647353c", "vtm-23.13"),
        ("jpeg2000", "OpenJPEG 2.5.4 (Pillow 13.0.0)", "jpeg2000-2.5.4"),
        ("dummy", "unknown", "dummy-unknown"),
    ],
)
def test_an_anchor_is_named_by_codec_and_version(name: str, said: str, expected: str):
    assert anchors.build_name({"name": name, "version": said}) == expected


def test_each_recorded_encoder_has_both_structures():
    recorded = {(a.name, a.gop) for a in RECORDED}
    assert {"hm-18.0", "vtm-12.0", "vtm-23.13"} <= {a.name for a in RECORDED}
    assert {"hm", "vtm", "jm", "vvenc"} == {a.codec for a in RECORDED}
    assert recorded == {(name, gop) for name, _ in recorded for gop in ("intra", "randomaccess")}


@pytest.mark.parametrize("anchor", RECORDED, ids=lambda a: f"{a.name}-{a.gop}")
def test_recorded_streams_are_what_their_file_says(anchor: RecordedAnchor, tmp_path: Path):
    assert [p.config.qp for p in anchor.points] == sorted({p.config.qp for p in anchor.points})
    bits = [point.bits for point in anchor.points]
    assert bits == sorted(bits, reverse=True) and len(bits) >= 4
    for point in anchor.points:
        path = tmp_path / f"stream{ENCODERS.get(anchor.codec).suffix}"
        path.write_bytes(point.stream())
        decoded = decode_stream(path)
        assert samples_digest(decoded) == point.decoded
        assert (decoded.format.width, decoded.format.height, point.frames) == anchor.size


@pytest.mark.parametrize("anchor", RECORDED, ids=lambda a: f"{a.name}-{a.gop}")
def test_recorded_commands_name_no_folder_of_a_machine(anchor: RecordedAnchor):
    for point in anchor.points:
        assert len(point.command) > 2
        assert not any("/" in word.removeprefix("/dev/") for word in point.command)


def test_recorded_points_belong_to_the_embedded_clip():
    clip = embedded_clip()
    assert {a.samples for a in RECORDED} == {samples_digest(clip)}
    assert {a.size for a in RECORDED} == {(clip.format.width, clip.format.height, clip.frame_count)}


@pytest.mark.parametrize("name", sorted({a.name for a in RECORDED}))
def test_a_recording_stands_in_for_a_program(nothing_installed: None, name: str):
    (anchor,) = resolve_anchors([name], like_tests(), embedded_clip())
    assert anchor.name == name and anchor.recorded and len(anchor.points) >= 4
    assert {config.gop for config in anchor.configs} == {"intra"}


def test_a_named_program_that_will_not_do_is_an_error(nothing_installed: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MRDO_HM", "gone/TAppEncoder")
    with pytest.raises(ToolNotFoundError, match="MRDO_HM: cannot run gone/TAppEncoder"):
        resolve_anchors(["hm"], like_tests(), embedded_clip())
    assert resolve_anchors(["hm-18.0"], like_tests(), embedded_clip())[0].recorded


def test_the_newest_of_several_versions_is_taken(nothing_installed: None, monkeypatch: pytest.MonkeyPatch):
    (one,) = [a for a in RECORDED if (a.codec, a.gop) == ("hm", "intra")]
    versions = [dataclasses.replace(one, name=f"hm-{version}") for version in ("9.1", "16.20", "16.3")]
    monkeypatch.setattr("sweeps.anchors.resolve.recorded_anchors", lambda: versions)
    assert resolve_anchors(["hm"], like_tests(), embedded_clip())[0].name == "hm-16.20"
    both = resolve_anchors(["hm-9.1", "hm", "hm-16.20"], like_tests(), embedded_clip())
    assert [anchor.name for anchor in both] == ["hm-9.1", "hm-16.20"]


def test_tags_and_rate_do_not_keep_a_recording_from_its_input(nothing_installed: None):
    class Retagged:
        format = VideoFormat(352, 288, matrix="bt601", fps=embedded_clip().format.fps / 2)
        frame_count = None

        def __iter__(self):  # type: ignore[no-untyped-def]
            return iter(embedded_clip())

        def digest(self) -> str:
            return "another"

    assert resolve_anchors(["hm"], like_tests(), Retagged())[0].recorded


@pytest.mark.parametrize(
    ("gop", "change"), [("lowdelay", lambda planes: planes), ("intra", lambda planes: (planes[0] ^ 1, *planes[1:]))]
)
def test_another_input_or_structure_is_refused_with_what_there_is(nothing_installed: None, gop, change):
    class Changed:
        format, frame_count = embedded_clip().format, 9

        def __iter__(self):  # type: ignore[no-untyped-def]
            return (Frame(change(f.planes), f.index, f.pts) for f in embedded_clip())

        def digest(self) -> str:
            return "another"

    with pytest.raises(
        ToolNotFoundError, match=r"mrdo build hm.*nothing is recorded for this input.*hm-18.0 intra at 352x288x9"
    ):
        resolve_anchors(["hm"], like_tests(gop), Changed())


@pytest.mark.parametrize(("name", "says"), [("x265", "another codec"), ("mpeg1", "unknown encoder")])
def test_names_that_are_no_anchor(name, says):
    with pytest.raises(ConfigError, match=says):
        resolve_anchors([name], like_tests(), embedded_clip())


def test_a_program_that_is_here_codes_at_the_tests_rate_points(monkeypatch: pytest.MonkeyPatch):
    build = BuildInfo("vtm", "23.13 cfg 0123abcd", "/x", False, 0, "", (8, 10))
    monkeypatch.setattr(ENCODERS.get("vtm"), "build_info", lambda self, config: build)
    (anchor,) = resolve_anchors(["vtm"], like_tests("lowdelay"), embedded_clip())
    assert anchor.name == "vtm-23.13" and not anchor.recorded
    assert [(c.codec, c.qp, c.gop, c.bit_depth) for c in anchor.configs] == [
        ("vtm", qp, "lowdelay", 10) for qp in (32, 37, 42, 47)
    ]
    with pytest.raises(ToolNotFoundError, match=r"vtm-11\.0: /x is vtm-23\.13"):
        resolve_anchors(["vtm-11.0"], like_tests(), embedded_clip())


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: {**data, "format": 99}, "format 99"),
        (lambda data: {k: v for k, v in data.items() if k != "points"}, "points"),
        (lambda data: {**data, "coding": {**data["coding"], "wings": 2}}, "wings"),
    ],
)
def test_a_damaged_recording_is_named(damage, says, tmp_path: Path):
    source = min(FOLDER.glob("*.json"))
    (tmp_path / source.name).write_text(json.dumps(damage(json.loads(source.read_text()))))
    with pytest.raises(StoreError, match=f"{source.name}.*{says}"):
        recorded_anchors(tmp_path)


def test_a_changed_stream_is_refused(tmp_path: Path):
    source = min(FOLDER.glob("*.json"))
    shutil.copy(source, tmp_path)
    shutil.copytree(FOLDER / source.stem, tmp_path / source.stem)
    (point, *_) = recorded_anchors(tmp_path)[0].points
    data = bytearray(point.stream())
    data[-1] ^= 1
    (tmp_path / source.stem / point.place.name).write_bytes(data)
    with pytest.raises(StoreError, match="not the stream that was recorded"):
        point.stream()


@pytest.mark.slow
def test_compare_with_recorded_anchors(tmp_path: Path, x265_hooked: BuildInfo):
    """The command with none of the anchors' programs here: their arms, and BD-rates of our arms over them."""
    anchors_asked = [word for name in ("vtm", "jm") for word in ("--anchor", name)]
    command = [sys.executable, "-m", "sweeps.cli", "compare", "embedded", "--json", "-o", str(tmp_path / "out")]
    hidden = {"MRDO_VTM": "", "MRDO_JM": "", "MRDO_JM_HOOKED": "", "MRDO_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [*command, "--preset", "ultrafast", "--qps", "32,37,42,47", *anchors_asked, "--no-neutral"],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, **hidden, "MRDO_X265_HOOKED": x265_hooked.path},
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    points = {(e["arm"], e["qp"]): e for e in events if e["event"] == "point"}
    assert {arm for arm, _ in points} == {"psnr", "map:learned", "vtm-23.13", "jm-19.1"}
    (recorded,) = [a for a in RECORDED if (a.name, a.gop) == ("vtm-23.13", "intra")]
    for point in recorded.points:
        event = points["vtm-23.13", point.config.qp]
        assert event["bits"] == point.bits and event["codec"] == "vtm"
        assert event["psnr"] == pytest.approx(point.psnr, abs=1e-3)
    rates = {(e["arm"], e["anchor"], e["network"], e["metric"]): e["value"] for e in events if e["event"] == "bd_rate"}
    assert rates["psnr", "vtm-23.13", "(psnr)", "psnr_y"] > 20
    assert rates["psnr", "jm-19.1", "(psnr)", "psnr_y"] < rates["psnr", "vtm-23.13", "(psnr)", "psnr_y"]
    assert np.isfinite(rates["map:learned", "vtm-23.13", "segmentation", "agreement"])

"""``mrdo encode --target-accuracy`` with the real encoder: two shots in, one stream out, nothing done twice."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from support.command import mrdo

from encoder_bridge.decode import write_video
from encoder_bridge.encoder import BuildInfo
from encoder_bridge.frames import Frame
from encoder_bridge.source_base import BaseSource
from models.scenes import SceneConfig, SceneSource

TARGET = 0.9
SHORTFALL = 0.005


class TwoShots(BaseSource):
    """Two scenes with a cut between them."""

    def __init__(self) -> None:
        self.parts = [SceneSource(SceneConfig(176, 128, 8, seed=seed)) for seed in (1, 3)]
        super().__init__("two shots", self.parts[0].format, 16)

    def __iter__(self) -> Iterator[Frame]:
        frames = (frame for part in self.parts for frame in part)
        return (replace(frame, index=i, pts=Fraction(i, 30)) for i, frame in enumerate(frames))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "two.y4m"
    write_video(TwoShots(), path)
    return path


def events(done: subprocess.CompletedProcess[str], kind: str) -> list[dict[str, Any]]:
    return [event for line in done.stdout.splitlines() if (event := json.loads(line))["event"] == kind]


def test_a_target_is_met_shot_by_shot_and_kept(clip: Path, tmp_path: Path, x265_hooked: BuildInfo) -> None:
    out = tmp_path / "out.mp4"
    args = ("encode", clip, "-o", out, "--preset", "ultrafast", "--target-accuracy", TARGET, "--threads", 1, "--json")
    search = (*args, "--scale", "0.5,1", "--rdo", "auto", "--matrix", "bt709")
    first = mrdo(*search)
    (result,) = events(first, "result")
    tried = events(first, "probe")
    assert result["probes"] == len(tried) <= 16 and result["accuracy"] >= TARGET - SHORTFALL
    assert [(shot["first_frame"], shot["frames"]) for shot in result["shots"]] == [(0, 8), (8, 8)]
    assert all(shot["accuracy"] >= TARGET - SHORTFALL for shot in result["shots"])
    assert len({shot["scale"] for shot in result["shots"]}) == 1
    for shot in result["shots"]:
        keys = "rdo", "scale", "qp", "bpp", "accuracy", "first_frame"
        assert tuple(shot[k] for k in keys) in {tuple(probe[k] for k in keys) for probe in tried}
    with av.open(str(out)) as container:
        pictures = list(container.decode(video=0))
    assert len(pictures) == 16
    assert pictures[0].width == round(176 * result["shots"][0]["scale"])

    scored = events(mrdo("score", clip, out, "--matrix", "bt709", "--json"), "result")
    assert scored, "mrdo score says something"
    bytes_of_first, streams = out.read_bytes(), sorted((tmp_path / "out.mp4.probes" / "streams").iterdir())
    stamps = [path.stat().st_mtime_ns for path in streams]
    again = mrdo(*search)
    assert events(again, "result")[0]["probes"] == result["probes"] and out.read_bytes() == bytes_of_first
    assert [path.stat().st_mtime_ns for path in streams] == stamps


def test_what_a_killed_search_left_is_cleared_and_a_search_that_cannot_begin_leaves_nothing(
    clip: Path, tmp_path: Path, x265_hooked: BuildInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MRDO_VTM", raising=False)
    out, probes = tmp_path / "out.mp4", tmp_path / "out.mp4.probes"
    search = ("encode", clip, "-o", out, "--preset", "ultrafast", "--no-shots", "--frames", 2, "--threads", 1)
    search = (*search, "--target-accuracy", TARGET, "--max-probes", 3, "--scale", 1)
    for impossible in (("--model", tmp_path / "none.onnx"), ("--codec", "vtm", "--rdo", "psnr", "--preset", "ctc")):
        mrdo(*search, *impossible, code=1)
        assert not any(tmp_path.iterdir()), impossible
    (probes / "streams").mkdir(parents=True)
    left, own = probes / "streams" / ".ab.hevc.0123456789ab.part.hevc", probes / "notes.txt"
    for path in (left, own):
        path.write_bytes(b"x")
    mrdo(*search, "--rdo", "psnr")
    assert out.exists() and own.exists() and not left.exists()


def test_out_of_reach_says_what_would_be_reached(clip: Path, tmp_path: Path, x265_hooked: BuildInfo) -> None:
    out = tmp_path / "out.mp4"
    args = ("--preset", "ultrafast", "--scale", 0.5, "--rdo", "psnr", "--no-shots", "--frames", 4, "--threads", 1)
    done = mrdo("encode", clip, "-o", out, "--target-accuracy", 0.999, *args, code=1)
    assert "target accuracy 0.999 not reached" in done.stderr and "expected a target of at most 0." in done.stderr
    assert not out.exists() and "Traceback" not in done.stderr


def test_auto_leaves_out_scales_too_small_to_code(clip: Path, tmp_path: Path, x265_hooked: BuildInfo) -> None:
    out = tmp_path / "out.hevc"
    args = ("--preset", "ultrafast", "--rdo", "psnr", "--no-shots", "--frames", 4, "--threads", 1, "--json")
    done = mrdo("encode", clip, "-o", out, "--target-accuracy", 0.9, "--scale", "auto", "--max-probes", 3, *args)
    assert "scales from 0.5 on are tried" in done.stderr
    assert all(probe["scale"] >= 0.5 for probe in events(done, "probe"))


def test_more_than_wanted_everywhere_takes_the_coarsest_and_says_so(
    clip: Path, tmp_path: Path, x265_hooked: BuildInfo
) -> None:
    out = tmp_path / "out.mp4"
    args = ("--preset", "ultrafast", "--rdo", "psnr", "--no-shots", "--frames", 4, "--threads", 1, "--json")
    (result,) = events(mrdo("encode", clip, "-o", out, "--target-accuracy", 0.05, *args), "result")
    assert result["outcome"] == ["above"] and result["shots"][0]["qp"] == 51

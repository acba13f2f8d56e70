"""AVC by x264 through the command line: a map's stream plays, and `mrdo compare` gives the table of any codec."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.command import mrdo

from encoder_bridge.decode import write_video
from encoder_bridge.encoder import BuildInfo
from models.scenes import SceneConfig, SceneSource

SIZE, COUNT = (112, 80), 4


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "scene.y4m"
    write_video(SceneSource(SceneConfig(*SIZE, COUNT, Fraction(25), seed=4)), path)
    return path


@pytest.mark.parametrize("gop", ["intra", "lowdelay", "randomaccess"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".264"])
def test_encode(suffix: str, gop: str, clip: Path, tmp_path: Path, x264_hooked: BuildInfo):
    out = tmp_path / f"out{suffix}"
    mrdo("encode", clip, "-o", out, "--codec", "x264", "--qp", 30, "--gop", gop, "--preset", "fast")
    with av.open(str(out)) as container:
        video = container.streams.video[0]
        pictures = list(container.decode(video))
        assert (video.codec_context.name, len(pictures), (video.width, video.height)) == ("h264", COUNT, SIZE)


def test_compare(clip: Path, tmp_path: Path, x264_hooked: BuildInfo):
    weights = np.random.default_rng(3).uniform(0.2, 3, (1, SIZE[1] // 16, SIZE[0] // 16)).astype(np.float32)
    np.save(tmp_path / "map.npy", weights)
    args = (
        "--codec",
        "x264",
        "--rdo",
        "map",
        "--map",
        tmp_path / "map.npy",
        "--qps",
        "22,28,34,40",
        "--preset",
        "fast",
    )
    done = mrdo("compare", clip, *args, "-o", tmp_path / "out", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    points = {(e["arm"].partition(":")[0], e["qp"]): e["bits"] for e in events if e["event"] == "point"}
    assert {arm for arm, _ in points} == {"psnr", "neutral", "map"} and len(points) == 12
    assert all(points["psnr", qp] == points["neutral", qp] != points["map", qp] for qp in (22, 28, 34, 40))
    assert all(points["psnr", low] > points["psnr", high] for low, high in ((22, 28), (28, 34), (34, 40)))


def test_a_missing_program_names_the_command_that_brings_it(clip: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MRDO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MRDO_X264", raising=False)
    monkeypatch.delenv("MRDO_X264_HOOKED", raising=False)
    done = mrdo("encode", clip, "-o", tmp_path / "a.mp4", "--codec", "x264", code=1)
    assert done.stderr.strip().endswith("run: mrdo build x264") and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--weights",), "x264 takes QP offsets only"),
        (("--rdo", "ctu", "--metric", "sse"), "expected psnr or map"),
        (("--qp", 0), "QP 0 outside 1–51"),
    ],
    ids=["weights", "candidates", "lossless"],
)
def test_what_x264_cannot_do_is_said_before_anything_runs(args: tuple[object, ...], says: str, clip: Path, tmp_path):
    done = mrdo("encode", clip, "-o", tmp_path / "a.mp4", "--codec", "x264", *args, code=2)
    assert says in done.stderr and not (tmp_path / "a.mp4").exists()

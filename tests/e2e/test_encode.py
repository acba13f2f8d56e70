"""The main job on real input: a video in, a standard stream out that an independent decoder plays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.command import mrdo

from encoder_bridge.decode import write_video
from encoder_bridge.encoder import BuildInfo
from encoder_bridge.frames import VideoFormat
from models.scenes import SceneConfig, SceneSource

SIZE = (176, 128)
COUNT = 6


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "scene.y4m"
    write_video(SceneSource(SceneConfig(*SIZE, COUNT, Fraction(25), seed=4)), path)
    return path


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".hevc"])
@pytest.mark.parametrize("gop", ["intra", "lowdelay", "randomaccess"])
def test_containers_and_structures(suffix: str, gop: str, clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    out = tmp_path / f"out{suffix}"
    done = mrdo("encode", clip, "-o", out, "--qp", 32, "--gop", gop, "--preset", "fast", "--matrix", "bt709", "--json")
    result = next(e for e in events(done.stdout) if e["event"] == "result")
    assert result["frames"] == COUNT
    with av.open(str(out)) as container:
        video = container.streams.video[0]
        assert video.codec_context.name == "hevc"
        decoded = list(container.decode(video))
        assert len(decoded) == COUNT and (decoded[0].width, decoded[0].height) == SIZE
        assert decoded[0].colorspace == av.video.reformatter.Colorspace.ITU709
        if suffix != ".hevc":
            assert [float(f.time) for f in decoded] == pytest.approx([i / 25 for i in range(COUNT)], abs=1e-3)


def test_the_map_changes_the_stream_and_bits_go_where_the_network_looks(clip: Path, tmp_path: Path, x265_hooked):
    plain, aware = tmp_path / "plain.hevc", tmp_path / "aware.hevc"
    mrdo("encode", clip, "-o", plain, "--qp", 37, "--rdo", "psnr", "--preset", "fast")
    mrdo("encode", clip, "-o", aware, "--qp", 37, "--map", "kl", "--preset", "fast")
    assert plain.read_bytes() != aware.read_bytes()
    assert len(pictures(aware)) == COUNT


def test_a_flat_map_is_the_plain_encoder(clip: Path, tmp_path: Path, x265_hooked):
    width, height = SIZE
    np.save(tmp_path / "flat.npy", np.ones((1, -(-height // 16), -(-width // 16)), np.float32))
    for gop in ("intra", "lowdelay"):
        common = ("--qp", 32, "--gop", gop, "--preset", "fast")
        mrdo("encode", clip, "-o", tmp_path / "plain.hevc", "--rdo", "psnr", *common)
        mrdo("encode", clip, "-o", tmp_path / "flat.hevc", "--map", tmp_path / "flat.npy", "--weights", *common)
        assert (tmp_path / "plain.hevc").read_bytes() == (tmp_path / "flat.hevc").read_bytes()


@pytest.mark.parametrize("preset", ["ultrafast", "slow"])
def test_b_pyramids_at_every_preset(preset: str, clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    mrdo("encode", clip, "-o", tmp_path / "a.mp4", "--gop", "randomaccess", "--preset", preset, "--map-interval", 3)
    assert len(pictures(tmp_path / "a.mp4")) == COUNT


@pytest.mark.parametrize("rate", [("--crf", 30), ("--bitrate", 300)])
def test_rate_modes_take_a_map(rate: tuple[str, int], clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    mrdo("encode", clip, "-o", tmp_path / "a.mp4", *rate, "--gop", "lowdelay", "--preset", "fast")
    mrdo("encode", clip, "-o", tmp_path / "b.mp4", *rate, "--gop", "lowdelay", "--preset", "fast", "--rdo", "psnr")
    assert len(pictures(tmp_path / "a.mp4")) == COUNT
    assert (tmp_path / "a.mp4").read_bytes() != (tmp_path / "b.mp4").read_bytes()


def test_half_resolution(clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    mrdo("encode", clip, "-o", tmp_path / "half.mp4", "--scale", 0.5, "--preset", "fast")
    with av.open(str(tmp_path / "half.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (88, 64)
    done = mrdo("score", clip, tmp_path / "half.mp4", "--json")
    (result,) = (e for e in events(done.stdout) if e["event"] == "result")
    assert 0.2 < result["scores"]["segmentation"]["agreement"] < 1


@pytest.mark.parametrize("rdo", ["psnr", "map"])
def test_odd_sizes(rdo: str, tmp_path: Path, x265_hooked: BuildInfo):
    write_video(SceneSource(SceneConfig(113, 75, 3, seed=4)), tmp_path / "odd.y4m")
    mrdo("encode", tmp_path / "odd.y4m", "-o", tmp_path / "odd.mp4", "--qp", 5, "--rdo", rdo, "--preset", "fast")
    done = mrdo("score", tmp_path / "odd.y4m", tmp_path / "odd.mp4", "--json")
    (result,) = (e for e in events(done.stdout) if e["event"] == "result")
    assert result["psnr"]["y"] > 50


@pytest.mark.parametrize("chroma", ["400", "422", "444"])
def test_other_chroma_formats_at_ten_bit(chroma: str, tmp_path: Path, x265_hooked_10: BuildInfo):
    fmt = VideoFormat(96, 64, chroma=chroma, bit_depth=10)
    rng = np.random.default_rng(1)
    planes = [
        np.kron(rng.integers(64, 900, (h // 8, w // 8)), np.ones((8, 8))).astype("<u2") for h, w in fmt.plane_shapes
    ]
    (tmp_path / "in.yuv").write_bytes(b"".join(p.tobytes() for p in planes) * 3)
    name = {"400": "gray10le", "422": "yuv422p10le", "444": "yuv444p10le"}[chroma]
    raw = ("--size", "96x64", "--format", name, "--fps", "25", "--matrix", "bt709", "--range", "limited")
    mrdo("encode", tmp_path / "in.yuv", *raw, "-o", tmp_path / "out.mkv", "--qp", 4, "--preset", "fast")
    with av.open(str(tmp_path / "out.mkv")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 3 and frames[0].format.name == name
    luma = np.frombuffer(bytes(frames[0].planes[0]), "<u2").reshape(64, -1)[:, :96]
    assert np.abs(luma.astype(int) - planes[0]).mean() < 4


def test_a_picture_too_small_for_the_encoder(clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    done = mrdo("encode", clip, "-o", tmp_path / "tiny.mp4", "--scale", 0.3, code=2)
    assert "64x64" in done.stderr and list(tmp_path.iterdir()) == []


def test_score_of_a_video_against_itself_is_perfect(clip: Path):
    (result,) = (e for e in events(mrdo("score", clip, clip, "--json").stdout) if e["event"] == "result")
    assert result["scores"]["segmentation"]["agreement"] == 1.0
    assert result["scores"]["segmentation"]["miou_pseudo"] == 1.0
    assert result["psnr"]["y"] is None  # infinite


def test_y4m_on_standard_input(clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    mrdo("encode", "-", "-o", tmp_path / "pipe.hevc", "--preset", "fast", stdin=clip.open("rb"))
    mrdo("encode", clip, "-o", tmp_path / "file.hevc", "--preset", "fast")
    assert (tmp_path / "pipe.hevc").read_bytes() == (tmp_path / "file.hevc").read_bytes()


@pytest.mark.slow
def test_a_killed_comparison_goes_on_where_it_was(clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    folder = tmp_path / "out"
    args = ("compare", clip, "--qps", "27,32,37,42", "--preset", "fast", "-o", folder, "--bootstrap", 50, "--json")
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeps.cli", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    store, deadline = folder / "results.jsonl", time.monotonic() + 240
    while time.monotonic() < deadline and (not store.exists() or store.read_bytes().count(b"\n") < 4):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = {r["key"]: r["created"] for r in map(json.loads, store.read_text().splitlines()[:4])}
    done = mrdo(*args)
    records = [json.loads(line) for line in store.read_text().splitlines()]
    assert len(records) == len({r["key"] for r in records}) == 12
    assert {k: v for k, v in ((r["key"], r["created"]) for r in records) if k in before} == before
    kinds = [e["event"] for e in events(done.stdout)]
    assert kinds.count("point") == 12 and kinds.count("bd_rate") >= 3 and "error" not in kinds
    again = mrdo(*args)
    assert [e for e in events(again.stdout) if e["event"] == "bd_rate"] == [
        e for e in events(done.stdout) if e["event"] == "bd_rate"
    ]
    assert len(store.read_text().splitlines()) == 12

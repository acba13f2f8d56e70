"""Candidates through the whole chain: encoder, hook, plugin, host, metric, and the pictures of what was decided."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import cv2
import pytest
from support.command import mrdo

from encoder_bridge.decode import write_video
from encoder_bridge.encoder import BuildInfo
from models.scenes import SceneConfig, SceneSource

SIZE = (176, 128)
COUNT = 3
FAST = ("--qp", 37, "--preset", "fast", "--matrix", "bt601")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "scene.y4m"
    write_video(SceneSource(SceneConfig(*SIZE, COUNT, Fraction(25), seed=4)), path)
    return path


def encoded(clip: Path, out: Path, *args: object) -> bytes:
    mrdo("encode", clip, "-o", out, *FAST, *args)
    return out.read_bytes()


def result(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    return next(e for e in map(json.loads, done.stdout.splitlines()) if e["event"] == "result")


def frame_count(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize("gop", ["intra", "lowdelay"])
def test_squared_error_inside_and_outside_the_encoder_agree(
    gop: str, clip: Path, tmp_path: Path, x265_hooked: BuildInfo
):
    more = ("--rdo", "ctu", "--gop", gop, "--candidates", "0,-2,0x0.7,+3@16")
    inside = encoded(clip, tmp_path / "a.hevc", *more, "--metric-inside")
    outside = encoded(clip, tmp_path / "b.hevc", *more, "--metric", "sse")
    plain = encoded(clip, tmp_path / "c.hevc", "--rdo", "psnr", "--gop", gop)
    assert inside == outside != plain
    assert frame_count(tmp_path / "b.hevc") == COUNT


def test_one_candidate_is_the_plain_encoder(clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    one = encoded(clip, tmp_path / "a.hevc", "--rdo", "ctu", "--candidates", "0", "--metric", "ssim")
    assert one == encoded(clip, tmp_path / "b.hevc", "--rdo", "psnr")


def test_a_network_judges_and_threads_do_not_matter(clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    more = ("--rdo", "map+ctu", "--candidates", "0,0x0.7")
    one = encoded(clip, tmp_path / "a.hevc", *more, "--threads", 1)
    assert one == encoded(clip, tmp_path / "b.hevc", *more, "--threads", 3)
    assert one != encoded(clip, tmp_path / "c.hevc", "--rdo", "map")
    assert one != encoded(clip, tmp_path / "d.hevc", *more, "--metric", "sse")


def test_judged_splits_change_the_stream(clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    more = ("--rdo", "ctu", "--metric", "ssim", "--metric-share", 0.8, "--candidates", "0,+2")
    assert encoded(clip, tmp_path / "a.hevc", *more) != encoded(clip, tmp_path / "b.hevc", *more, "--splits", 16)


@pytest.mark.parametrize("extra", [("--scale", 0.6), ("--extra=--ctu 32",), ("--crf", 30)])
def test_other_geometry_and_rates(extra: tuple[object, ...], clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    if extra[0] == "--crf":
        base = [word for word in FAST if word not in ("--qp", 37)]
        mrdo("encode", clip, "-o", tmp_path / "a.hevc", *base, "--rdo", "ctu", "--metric", "ssim", *extra)
    else:
        encoded(clip, tmp_path / "a.hevc", "--rdo", "ctu", "--metric", "ssim", *extra)
    assert frame_count(tmp_path / "a.hevc") == COUNT


def test_odd_sizes(tmp_path: Path, x265_hooked: BuildInfo):
    write_video(SceneSource(SceneConfig(113, 75, 2, seed=4)), tmp_path / "odd.y4m")
    more = ("--rdo", "map+ctu", "--metric", "ms-ssim", "--inspect", tmp_path / "see")
    encoded(tmp_path / "odd.y4m", tmp_path / "odd.mp4", *more)
    assert frame_count(tmp_path / "odd.mp4") == 2 and len(list((tmp_path / "see").iterdir())) == 3


def test_eight_bit_pictures_coded_at_ten(clip: Path, tmp_path: Path, x265_hooked_10: BuildInfo):
    more = ("--rdo", "ctu", "--bit-depth", 10, "--candidates", "0,0x0.8")
    inside = encoded(clip, tmp_path / "a.hevc", *more, "--metric-inside")
    assert inside == encoded(clip, tmp_path / "b.hevc", *more, "--metric", "sse")


@pytest.mark.parametrize(("rdo", "known"), [("map", False), ("map+ctu", True)])
def test_inspect_shows_every_frame(rdo: str, known: bool, clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    more = ("--metric", "sse", "--candidates", "0,0x0.6,0x1.6") if known else ()
    see, out = tmp_path / "see", tmp_path / "a.hevc"
    for _ in range(2):
        done = mrdo("encode", clip, "-o", out, *FAST, "--rdo", rdo, *more, "--inspect", see, "--json")
    told = result(done)
    assert told["inspect"] == str(see) and bool(told["judging"]) == known
    names = [f"frame_{i:06d}.png" for i in range(COUNT)]
    assert sorted(p.name for p in see.iterdir()) == [*names, "frames.json"]
    assert all(cv2.imread(str(see / name)).shape[1] > 900 for name in names)
    numbers = json.loads((see / "frames.json").read_text())
    assert numbers["candidates"] == (["0", "0x0.6", "0x1.6"] if known else [])
    assert [f["index"] for f in numbers["frames"]] == [*range(COUNT)]
    # Parameter sets are in the file, but in no frame.
    assert 0 <= told["bits"] - sum(f["bits"] for f in numbers["frames"]) < 0.2 * told["bits"]
    for frame in numbers["frames"]:
        assert len(frame["ctu_qp"]) == 2 and len(frame["ctu_qp"][0]) == 3
        assert 0 < frame["loss"] < 5 and min(map(min, frame["ctu_bits"])) > 0
        assert (frame["ctu_candidate"] is not None) == known
    if known:
        assert len({c for f in numbers["frames"] for row in f["ctu_candidate"] for c in row}) > 1
        assert told["judging"]["choices"] == COUNT * 6


def test_what_is_refused_is_refused_before_anything_is_coded(clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    out = tmp_path / "a.hevc"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "holiday.jpg").touch()
    for args, code, text in (
        (("--rdo", "psnr", "--inspect", tmp_path / "see"), 2, "--inspect with --rdo psnr"),
        (("--rdo", "map", "--inspect", tmp_path / "full"), 1, "holiday.jpg"),
        (("--rdo", "ctu", "--metric", "nose"), 2, "unknown candidate metric"),
        (("--rdo", "ctu", "--metric", tmp_path / "no.onnx"), 1, "no such file"),
        (("--rdo", "ctu", "--candidates", "0,99"), 2, "-51 to 51"),
        (("--candidates", "0"), 2, "--candidates with --rdo map"),
    ):
        done = mrdo("encode", clip, "-o", out, *FAST, *args, code=code)
        assert text in done.stderr and "Traceback" not in done.stderr and not out.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["full"]


def test_a_full_disk_leaves_no_half_inspection(clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    disk = tmp_path / "full"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        done = mrdo("encode", clip, "-o", tmp_path / "a.hevc", *FAST, "--inspect", disk / "see", code=1)
        assert "OutputError" in done.stderr and "No space left" in done.stderr
        assert [*disk.iterdir()] == [] and frame_count(tmp_path / "a.hevc") == COUNT
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_compare_with_controls(clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    args = ("compare", clip, "--qps", "27,32,37,42", "--preset", "fast", "--matrix", "bt601", "-o", tmp_path / "out")
    more = ("--rdo", "map+ctu", "--metric", "ssim", "--controls", "--bootstrap", 20, "--json")
    events = [json.loads(line) for line in mrdo(*args, *more).stdout.splitlines()]
    points = [e for e in events if e["event"] == "point"]
    arms = ["psnr", "neutral", "map:learned+ctu:sse inside", "map:learned", "map:learned+ctu:ssim"]
    assert [p["arm"] for p in points[:5]] == arms and len(points) == 20
    assert all((p["judge_s"] > 0) == (p["arm"] == arms[4]) for p in points)
    assert {e["arm"] for e in events if e["event"] == "bd_rate"} == set(arms[1:])
    again = [json.loads(line) for line in mrdo(*args, *more).stdout.splitlines()]
    assert [p["key"] for p in points] == [e["key"] for e in again if e["event"] == "point"]

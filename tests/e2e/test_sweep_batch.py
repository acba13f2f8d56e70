"""The batch encoder: ``mrdo sweep`` with one configuration over a folder of videos."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command import Mrdo

from encoder_bridge.encoder import BuildInfo
from models.scenes import SceneConfig, SceneSource
from sweeps.store import ResultStore


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    from encoder_bridge.decode import write_video

    folder = tmp_path / "videos"
    for number, name in enumerate(("a.y4m", "sub/deep/b.y4m", "sub/c.y4m")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(SceneSource(SceneConfig(128, 96, 2, seed=number)), folder / name)
    return folder


JPEG = ("--codec", "jpeg", "--qp", 40, "--rdo", "psnr")


def test_the_tree_is_mirrored_and_files_are_those_of_encode(mrdo: Mrdo, videos: Path, tmp_path: Path) -> None:
    code, told, errors = mrdo("sweep", videos, "-o", tmp_path / "out", *JPEG, "--json")
    assert code == 0, errors
    assert json.loads(told.splitlines()[-1])["done"] == 3
    made = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.mkv"))
    assert made == ["a.mkv", "sub/c.mkv", "sub/deep/b.mkv"]
    assert mrdo("encode", videos / "sub" / "c.y4m", *JPEG, "-o", tmp_path / "c.mkv")[0] == 0
    assert (tmp_path / "c.mkv").read_bytes() == (tmp_path / "out" / "sub" / "c.mkv").read_bytes()
    others = {path.name for path in (tmp_path / "out").iterdir()} - {"a.mkv", "sub"}
    assert others == {"results.jsonl", ".results.jsonl.lock", "sweep.json"}


def test_x265_with_a_map(mrdo: Mrdo, videos: Path, tmp_path: Path, x265_hooked: BuildInfo) -> None:
    words = ("--codec", "x265", "--preset", "ultrafast", "--qp", 32, "--rdo", "map")
    code, _, errors = mrdo("sweep", videos, "-o", tmp_path / "out", *words, "--workers", 2)
    assert code == 0, errors
    assert mrdo("encode", videos / "a.y4m", *words, "-o", tmp_path / "a.mp4")[0] == 0
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "out" / "a.mp4").read_bytes()
    assert not list((tmp_path / "out").rglob(".*.part*")) and not (tmp_path / "out" / ".work").exists()
    records = list(ResultStore(tmp_path / "out"))
    assert {record.stream for record in records} == {"a.mp4", "sub/c.mp4", "sub/deep/b.mp4"}
    assert all(record.config["rdo"] == "map" and record.encode_s > 0 for record in records)


def test_only_what_is_missing_or_changed_is_coded_again(mrdo: Mrdo, videos: Path, tmp_path: Path) -> None:
    words = ("sweep", videos, "-o", tmp_path / "out", *JPEG, "--json")
    assert mrdo(*words)[0] == 0
    assert json.loads(mrdo(*words)[1].splitlines()[-1])["had"] == 3
    (tmp_path / "out" / "a.mkv").unlink()
    (videos / "sub" / "c.y4m").write_bytes((videos / "a.y4m").read_bytes())
    before = (tmp_path / "out" / "sub" / "deep" / "b.mkv").stat().st_mtime_ns
    result = json.loads(mrdo(*words)[1].splitlines()[-1])
    assert (result["had"], result["done"]) == (1, 2) and (tmp_path / "out" / "a.mkv").is_file()
    assert (tmp_path / "out" / "sub" / "deep" / "b.mkv").stat().st_mtime_ns == before


def test_one_bad_video_fails_alone_and_is_listed(mrdo: Mrdo, videos: Path, tmp_path: Path) -> None:
    (videos / "sub" / "bad.y4m").write_bytes((videos / "a.y4m").read_bytes()[:-999])
    (videos / "empty.mp4").write_bytes(b"")
    code, told, errors = mrdo("sweep", videos, "-o", tmp_path / "out", *JPEG, "--json")
    assert code == 1 and json.loads(told.splitlines()[-1])["done"] == 3
    assert "failed: sub/bad.y4m" in errors and "failed: empty.mp4" in errors
    assert f"mrdo encode {videos / 'sub' / 'bad.y4m'} --codec jpeg" in errors
    assert not (tmp_path / "out" / "sub" / "bad.mkv").exists()


def test_results_among_the_inputs_are_no_inputs(mrdo: Mrdo, videos: Path) -> None:
    words = ("sweep", videos, "-o", videos / "coded", *JPEG, "--json")
    assert mrdo(*words)[0] == 0
    result = json.loads(mrdo(*words)[1].splitlines()[-1])
    assert (result["planned"], result["had"]) == (3, 3)


def test_what_a_batch_cannot_do(mrdo: Mrdo, videos: Path, tmp_path: Path) -> None:
    for words, said in (
        (("--labels", videos), "which is not scored"),
        (("--suffix", ".264"), "--suffix '.264' for jpeg"),
        (("--gop", "lowdelay"), "gop 'lowdelay'"),
    ):
        code, _, errors = mrdo("sweep", videos / "a.y4m", "-o", tmp_path / "out", *JPEG, *words)
        assert code != 0 and said in errors, errors

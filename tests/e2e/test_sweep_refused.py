"""``mrdo sweep`` that cannot begin leaves the place as it found it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import Mrdo

from encoder_bridge.decode import write_video
from models.scenes import SceneConfig, SceneSource
from sweeps.records import RunRecord
from sweeps.store import ResultStore

SWEEP = ("--codec", "dummy", "--qps", "10,20")
BATCH = ("--codec", "x265", "--qp", 32)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refused")
    write_video(SceneSource(SceneConfig(128, 96, 2, seed=0)), folder / "a.y4m")
    (folder / "bad.onnx").write_bytes(b"no network")
    return folder / "a.y4m"


@pytest.mark.parametrize("workers", [(), ("--workers", 1)], ids=["here", "worker"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--codec", "jm", "--qps", "32,37"), "no JM that codes"),
        ((*SWEEP, "--model", "{folder}/bad.onnx"), "bad.onnx"),
        ((*SWEEP, "{folder}", "--labels", "{folder}"), "for a folder of videos"),
        (("--codec", "jpeg", "--qps", "20,30", "--gop", "lowdelay"), "gop 'lowdelay'"),
        ((*SWEEP, "--abort-above", "many"), "expected a number of failures"),
        (("--codec", "jm", "--qp", 32), "no JM that codes"),
        ((*BATCH, "--rdo", "map", "--model", "{folder}/bad.onnx"), "bad.onnx"),
        ((*BATCH, "--suffix", ".264"), "--suffix"),
        ((*BATCH, "--abort-above", "many"), "expected a number of failures"),
    ],
)
def test_it_leaves_nothing(
    words: tuple[object, ...],
    said: str,
    workers: tuple[object, ...],
    mrdo: Mrdo,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MRDO_JM", raising=False)
    args = [str(word).format(folder=clip.parent) for word in words]
    code, _, errors = mrdo("sweep", clip, *args, *workers, "-o", tmp_path / "new" / "out")
    assert code != 0 and said in errors, errors
    assert list(tmp_path.iterdir()) == []


def test_a_bad_network_is_refused_before_inputs_are_walked(mrdo: Mrdo, clip: Path, tmp_path: Path) -> None:
    code, _, errors = mrdo("sweep", clip, *SWEEP, "--model", clip.parent / "bad.onnx", "-o", tmp_path / "out")
    assert code == 1 and errors.startswith("error: ")


def test_what_was_there_stays(mrdo: Mrdo, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "inputs.json").write_text("{}")
    (tmp_path / "labels").mkdir()
    words = ("sweep", clip, "--codec", "jpeg", "--qps", "20,30")
    assert mrdo(*words, "--gop", "lowdelay", "-o", tmp_path)[0] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inputs.json", "labels"]
    assert mrdo(*words, "-o", tmp_path)[0] == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert mrdo(*words, "--gop", "lowdelay", "-o", tmp_path)[0] == 2
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_store_that_another_process_has_taken_is_left_to_it(mrdo: Mrdo, clip: Path, tmp_path: Path) -> None:
    with ResultStore(tmp_path / "out") as store:
        assert mrdo("sweep", clip, *SWEEP, "-o", tmp_path / "out")[0] == 1
        store.append(RunRecord(key="theirs"))
    assert "theirs" in ResultStore(tmp_path / "out")

"""Inputs of a plan: which files are meant, what is taken of them, when they count as changed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from encoder_bridge.errors import ConfigError, DecodeError
from sweeps.driving.ledger import Ledger, know
from sweeps.plan import InputFile, find_inputs
from sweeps.plan.inputs import input_block


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for kind in ("", "labels"):
        (folder / kind).mkdir(exist_ok=True)
    for number in range(7):
        cv2.imwrite(str(folder / f"f{number}.png"), np.full((16, 24, 3), 10 * number, np.uint8))
        cv2.imwrite(str(folder / "labels" / f"f{number}.png"), np.full((16, 24), number, np.uint8))
    return folder


def first_samples(file: InputFile) -> list[int]:
    return [int(frame.planes[0][0, 0]) for frame in file.open()]


def test_every_takes_pictures_and_their_labels_alike(images: Path) -> None:
    (whole,) = input_block({"path": str(images)}).find()
    (part,) = input_block({"path": str(images), "every": 3, "labels": str(images / "labels")}).find()
    assert first_samples(part) == first_samples(whole)[::3]
    source = part.open()
    labels = part.open_labels(source)
    assert source.frame_count == 3 and labels is not None
    assert [int(label[0, 0]) for label in labels] == [0, 3, 6]


def test_every_of_a_video_keeps_its_time(tmp_path: Path) -> None:
    from encoder_bridge.decode import write_video
    from models.scenes import SceneConfig, SceneSource

    write_video(SceneSource(SceneConfig(64, 48, 5, seed=1)), tmp_path / "a.y4m")
    (whole,) = input_block({"path": str(tmp_path / "a.y4m")}).find()
    (part,) = input_block({"path": str(tmp_path / "a.y4m"), "every": 2, "frames": 2}).find()
    all_frames, frames = list(whole.open()), list(part.open())
    assert [f.index for f in frames] == [0, 1] and [f.pts for f in frames] == [f.pts for f in all_frames[:3:2]]
    assert all(np.array_equal(a.planes[0], b.planes[0]) for a, b in zip(frames, all_frames[::2], strict=False))
    assert part.open().format.fps == whole.open().format.fps / 2


def test_each_image_is_an_input_with_its_own_label(images: Path) -> None:
    block = input_block({"path": str(images), "each": True, "every": 2, "labels": str(images / "labels")})
    files = find_inputs([block])
    assert [file.name for file in files] == ["f0.png", "f2.png", "f4.png", "f6.png"]
    labels = files[2].open_labels(files[2].open())
    assert labels is not None and [int(label[0, 0]) for label in labels] == [4]


def test_a_folder_of_videos_is_searched_and_hidden_files_are_not(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.mkv", "deep/er/c.y4m", ".hidden/d.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [file.name for file in find_inputs([input_block({"path": str(tmp_path)})])] == [
        "a.mkv",
        "b.mp4",
        "deep/er/c.y4m",
    ]
    with pytest.raises(ConfigError, match=r"labels .* for a folder of videos"):
        find_inputs([input_block({"path": str(tmp_path), "labels": "x"})])


def test_two_inputs_of_one_name_are_told_apart_and_one_named_twice_is_one(tmp_path: Path) -> None:
    blocks = [input_block({"path": str(tmp_path / place / "a.mp4")}) for place in ("x", "y", "x")]
    files = find_inputs(blocks)
    assert len(files) == 2 and len({file.name for file in files}) == 2
    with pytest.raises(ConfigError, match="no input"):
        find_inputs([])


def test_a_signature_changes_with_the_files_and_what_is_taken(images: Path) -> None:
    (file,) = input_block({"path": str(images)}).find()
    before = file.signature()
    assert before == file.signature()
    (other,) = input_block({"path": str(images), "every": 2}).find()
    assert other.signature() != before
    os.utime(images / "f3.png", (1, 1))
    assert file.signature() != before
    with pytest.raises(DecodeError, match="No such file"):
        InputFile("absent.mp4", "a").signature()


def test_the_ledger_gives_back_what_was_known(images: Path, tmp_path: Path) -> None:
    (file,) = input_block({"path": str(images), "every": 2, "labels": str(images / "labels")}).find()
    ledger = Ledger(tmp_path)
    ledger.add("s", know(file))
    ledger.save()
    known, source = Ledger(tmp_path).known(file, "s"), file.open()
    assert (known.digest, known.format, known.frames) == (source.digest(), source.format, 4)
    labels = file.open_labels(source)
    assert labels is not None and known.labels == labels.digest()
    assert pickle.loads(pickle.dumps(known)) == known


def test_labels_of_another_number_of_frames(images: Path) -> None:
    (images / "labels" / "f6.png").unlink()
    (file,) = input_block({"path": str(images), "labels": str(images / "labels")}).find()
    with pytest.raises(ConfigError, match="6 label images for 7 frames"):
        file.open_labels(file.open())

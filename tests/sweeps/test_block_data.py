"""Coded pictures and what a network makes of them; correlations of metrics on blocks of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from encoder_bridge.config import RunOptions
from encoder_bridge.console import Reporter
from encoder_bridge.encoder import BuildInfo
from encoder_bridge.errors import ConfigError
from models import default_model_path, judge_model_path
from models.scenes import render_frame
from models.task_model import TaskModel
from sweeps.block_data import CodedStills, Coding, Maker, Stills, codings, sampled, training_arrays
from sweeps.block_evaluation import Speed, evaluate, psnr_of, ssim_of, table

WAYS = [*codings((32, 47), "ultrafast", map_qps=(40,), jpeg=(5,))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small scenes as pictures and labels, void among them."""
    place = tmp_path_factory.mktemp("stills")
    for name in ("images", "labels"):
        (place / name).mkdir()
    for index in range(4):
        picture, labels = render_frame(500 + index, 192, 144)
        labels[:10] = 11
        cv2.imwrite(str(place / "images" / f"p{index}.png"), picture[..., ::-1])
        cv2.imwrite(str(place / "labels" / f"p{index}.png"), labels)
    return place


def maker(network: Path | None = None) -> Maker:
    return Maker(TaskModel(network or default_model_path(), threads=1), RunOptions(threads=1), Reporter())


@pytest.fixture(scope="module")
def made(folder: Path, x265_hooked: BuildInfo, tmp_path_factory: pytest.TempPathFactory) -> CodedStills:
    place = tmp_path_factory.mktemp("made")
    return maker().make(Stills.of(folder / "images", folder / "labels"), WAYS, place / "all")


def test_every_picture_is_coded_in_every_way_and_labelled(made: CodedStills, folder: Path):
    assert made.originals.shape == (4, 144, 192, 3) and made.known.shape == (4, 144, 192)
    for known, labels in zip(made.known, Stills.of(folder / "images", folder / "labels").labels or (), strict=True):
        np.testing.assert_array_equal(known, labels != 11)
    assert not made.known[:, :10].any() and made.known.mean() > 0.5
    errors = []
    for index in range(len(WAYS)):
        assert made.coded(index).shape == made.originals.shape and made.labels(index).shape == (4, 144, 192)
        errors.append(np.square(made.coded(index).astype(float) - made.originals).mean())
    assert 0 < errors[0] < errors[2] < errors[1]
    assert 0.2 < made.agreement < 1


def test_labels_are_the_networks(made: CodedStills):
    network = TaskModel(default_model_path(), threads=1)
    np.testing.assert_array_equal(made.labels(3)[2], network.labels(np.asarray(made.coded(3)[2]))[0])
    np.testing.assert_array_equal(made.original_labels[1], network.labels(np.asarray(made.originals[1]))[0])


def test_what_is_there_is_not_made_again(made: CodedStills, folder: Path):
    before = {p: p.stat().st_mtime_ns for p in made.folder.glob("*.npy")}
    stills = Stills.of(folder / "images", folder / "labels")
    (made.folder / "jpeg-5-labels.npy").unlink()
    again = maker().make(stills, WAYS, made.folder)
    after = {p: p.stat().st_mtime_ns for p in made.folder.glob("*.npy")}
    assert {p.name for p in before if before[p] != after[p]} == {"jpeg-5.npy", "jpeg-5-labels.npy"}
    assert again.agreement == made.agreement


def test_a_folder_belongs_to_one_network_and_its_pictures(made: CodedStills, folder: Path):
    with pytest.raises(ConfigError, match="another network's labels"):
        maker(judge_model_path()).make(Stills.of(folder / "images", folder / "labels"), WAYS, made.folder)
    with pytest.raises(ConfigError, match="holds other pictures"):
        maker().make(Stills.of(folder / "images", folder / "labels", 2), WAYS, made.folder)


def test_a_share_gives_each_picture_some_ways(folder: Path, x265_hooked: BuildInfo, tmp_path: Path):
    part = maker().make(Stills.of(folder / "images", None), [WAYS[0], WAYS[3]], tmp_path / "part", share=2)
    assert sorted((p, c) for p, c, _ in part.items()) == [(0, 0), (1, 1), (2, 0), (3, 1)]
    for picture, coding, place in part.items():
        error = np.square(part.coded(coding)[place].astype(float) - part.originals).mean(axis=(1, 2, 3))
        assert error.argmin() == picture
    assert part.known.all()
    with pytest.raises(ConfigError, match="every 2th way"):
        sampled(part, 32, 1)
    arrays = training_arrays([part], 5)
    assert arrays["source"].tolist() == [0, 2, 1, 3] and arrays["coded"].shape == (4, 144, 192, 3)
    assert arrays["blocks"].shape == (15, 4)


def test_several_folders_become_one_set(made: CodedStills):
    arrays = training_arrays([made, made], 6, seed=1)
    assert len(arrays["originals"]) == 8 and len(arrays["coded"]) == 32
    assert arrays["source"].max() == 7 and arrays["source"][16:].min() == 4
    for item, x, y, side in arrays["blocks"]:
        assert arrays["known"][arrays["source"][item], y : y + side, x : x + side].all()


def test_correlations_tell_an_oracle_from_guesses(made: CodedStills):
    def oracle(pair):
        (coding, picture) = next(
            (c, p)
            for c in range(len(WAYS))
            for p in range(4)
            if np.array_equal(pair[0], made.originals[p]) and np.array_equal(pair[1], made.coded(c)[p])
        )
        changed = made.labels(coding)[picture] != made.original_labels[picture]
        return lambda block: float(changed[block.place].mean())

    measures = {"oracle": oracle, "PSNR": psnr_of, "SSIM": ssim_of}
    rows = evaluate(made, measures, count=80, sides=(32, 64))
    found = {(r.side, r.metric): r.found for r in rows}
    assert found[32, "oracle"].srocc == pytest.approx(1) and found[64, "oracle"].plcc == pytest.approx(1)
    assert all(0 <= found[side, name].srocc < 0.95 for side in (32, 64) for name in ("PSNR", "SSIM"))
    assert table(rows).count("\n") == 7 and "| 64×64 | SSIM |" in table(rows)


def test_blocks_of_equal_pictures_have_the_best_values(made: CodedStills):
    block = sampled(made, 32, 1)[0]
    same = np.asarray(made.originals[0]), np.asarray(made.originals[0])
    assert psnr_of(same)(block) == 100 and ssim_of(same)(block) == pytest.approx(1)


def test_names_of_codings_differ():
    assert len({w.name for w in WAYS}) == len(WAYS) == 4
    assert Coding("jpeg", 5, "").name == "jpeg-5" and WAYS[0].name == "x265-32-ultrafast"


def test_pictures_that_are_not_there_are_an_error(tmp_path: Path, folder: Path):
    with pytest.raises(ConfigError, match="no pictures"):
        Stills.of(tmp_path, None)
    (tmp_path / "labels").mkdir()
    cv2.imwrite(str(tmp_path / "labels" / "a.png"), np.zeros((4, 4), np.uint8))
    with pytest.raises(ConfigError, match="1 label images for 4 pictures"):
        Stills.of(folder / "images", tmp_path / "labels")


def test_speed_is_a_ratio_of_times():
    assert Speed(metric=4.0, network=14.0).ratio == 3.5

"""`mrdo train quality` and `mrdo metrics predict`, from pictures to predictions; real encoders, short trainings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from encoder_bridge.errors import ConfigError
from encoder_bridge.shell import run_cli
from rdo_metrics.dct_ratio import DctRatio
from sweeps.cli import cli
from sweeps.quality_data import LEVELS, QualityMaker, from_folder, generated, ways
from sweeps.quality_training import QualityRequest, fidelity

pytest.importorskip("torch")
pytest.importorskip("onnx")


def layer(rgb: np.ndarray) -> list[np.ndarray]:
    return [rgb.transpose(0, 3, 1, 2).astype(np.float32)]


def folder_of(path: Path, count: int, size: tuple[int, int] = (225, 241)) -> Path:
    path.mkdir(parents=True)
    rng = np.random.default_rng(3)
    for index in range(count):
        small = rng.integers(0, 256, (8, 9, 3)).astype(np.uint8)
        picture = cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)
        picture = np.clip(picture + rng.normal(0, 25, picture.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(path / f"{index}.png"), picture)
    return path


def test_every_codec_has_its_levels_and_others_are_refused():
    assert [w.config.crf for w in ways(["x264"])] == [23, 29, 35, 41, 47]
    assert len({w.name for w in ways(list(LEVELS))}) == 15
    assert {w.config.gop for w in ways(["x265"], "intra")} == {"intra"}
    for wrong in (["vp8"], []):
        with pytest.raises(ConfigError, match="expected x264, x265, jpeg"):
            ways(wrong)


def test_pictures_are_coded_once_and_coarser_levels_lose_more(tmp_path: Path):
    clips = from_folder(folder_of(tmp_path / "in", 3))
    done: list[int] = []
    maker = QualityMaker(tmp_path / "made", DctRatio(layer), ["jpeg"])
    found = maker.make(clips, done.append)
    assert len(found.pictures) == 15 and found.pictures[0].shape == (224, 240, 3) and done == [1]
    means = [found.targets[found.ways == w.name].mean() for w in ways(["jpeg"])]
    assert means[0] < means[-1] and min(means) > 1
    written = {p: p.stat().st_mtime_ns for p in (tmp_path / "made").iterdir()}
    again = maker.make(clips, done.append)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "made").iterdir()} == written
    assert (again.targets == found.targets).all()


def test_a_share_codes_every_clip_in_some_ways_and_all_ways_in_some_clip(tmp_path: Path):
    clips = [c for i in range(3) for c in from_folder(folder_of(tmp_path / f"{i}", 1))]
    renamed = [type(c)(f"c{i}", c.read, c.gop, c.keep) for i, c in enumerate(clips)]
    found = QualityMaker(tmp_path / "made", DctRatio(layer), ["jpeg"], share=3).make(renamed, lambda _: None)
    assert len(found.pictures) == 5 and set(found.ways) == {w.name for w in ways(["jpeg"])}


def test_video_goes_through_real_encoders(tmp_path: Path, x264_hooked, x265_hooked):
    (clip,) = generated(5, 1, 5)
    found = QualityMaker(tmp_path, DctRatio(layer), ["x264", "x265"]).make([clip], lambda _: None)
    assert len(found.pictures) == 2 * len(ways(["x264", "x265"])) and found.pictures[0].shape == (256, 320, 3)
    for codec in ("x264", "x265"):
        means = [found.targets[found.ways == w.name].mean() for w in ways([codec])]
        assert means == sorted(means)


def test_pictures_of_other_sizes_and_empty_folders_are_refused(tmp_path: Path):
    folder = folder_of(tmp_path / "in", 2)
    cv2.imwrite(str(folder / "9.png"), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(ConfigError, match=r"9\.png: another size"):
        from_folder(folder)[0].read()
    with pytest.raises(ConfigError, match="no pictures"):
        from_folder(tmp_path / "absent")


def test_fidelity_of_a_perfect_a_shifted_and_a_constant_prediction():
    wanted = np.array([1.0, 1.5, 1.2, 2.0])
    perfect, shifted, constant = (fidelity(p, wanted) for p in (wanted, wanted + 0.5, np.full(4, 1.425)))
    assert (perfect.lcc, perfect.srocc, perfect.krcc, perfect.mse) == pytest.approx((1, 1, 1, 0))
    assert (shifted.lcc, shifted.mse, shifted.mae, shifted.count) == pytest.approx((1, 0.25, 0.5, 4))
    assert np.isnan(constant.srocc) and constant.mse == pytest.approx(wanted.var())


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_commands_train_resume_and_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data, out = folder_of(tmp_path / "in", 10), tmp_path / "out"
    command = ["train", "quality", "--data", str(data), "-o", str(out), "--codec", "jpeg", "--width", "0.05"]
    command += ["--batch", "4", "--steps", "6", "--share", "1", "--threads", "1", "--json"]
    assert run_cli(cli, [*command, "--minutes", "0"]) == 0
    assert events(capsys)[-1]["steps"] == 0
    assert run_cli(cli, [*command, "--resume"]) == 0
    (result,) = (e for e in events(capsys) if e["event"] == "result")
    assert result["steps"] == 6 and result["pictures"] == 40 and result["held_out"]["count"] == 10
    assert json.loads((out / "results.json").read_text())["network"] == result["network"]
    predict = ["metrics", "predict", str(data), "--network", result["network"], "--window", "5", "--json"]
    assert run_cli(cli, predict) == 0
    found = events(capsys)
    values = [e["quality"] for e in found if e["event"] == "frame"]
    assert len(values) == 10 and found[-1]["quality"] == pytest.approx(np.mean(values))
    assert found[-1]["windows"] == pytest.approx([np.mean(values[:5]), np.mean(values[5:])])
    assert run_cli(cli, [*command, "--form", "log"]) == 2
    assert "begun with form ratio, now log" in events(capsys)[-1]["message"]


def test_settings_that_name_another_network_or_data_are_told_apart():
    assert QualityRequest(Path("o")).made_of() != QualityRequest(Path("o"), features=Path("x.onnx")).made_of()
    assert QualityRequest(Path("o")).made_of() == QualityRequest(Path("p"), steps=5, width=1.0).made_of()

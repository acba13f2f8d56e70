"""`mrdo train map` from pictures to a stream that its network guided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from encoder_bridge.decode import decode_stream
from encoder_bridge.errors import ConfigError
from models.map_model import MapModel
from models.scenes import render_frame
from sweeps.cli import cli
from sweeps.map_data import LabelPlan
from sweeps.map_training import MapRequest


def arguments(folder: Path, **more: object) -> list[str]:
    options = {"scenes": 2, "steps": 3, "batch": 2, **more}
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return ["train", "map", "--data", str(folder), "-o", str(folder / "out"), *flags]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    import cv2

    (tmp_path / "train").mkdir()
    cv2.imwrite(str(tmp_path / "train" / "a.png"), render_frame(1, 320, 200)[0][..., ::-1])
    return tmp_path


@pytest.mark.slow
def test_from_pictures_to_a_guided_stream(pictures: Path, x265_hooked):
    pytest.importorskip("onnx2torch")
    pytest.importorskip("efficientnet_lite_pytorch")
    first = CliRunner().invoke(cli, arguments(pictures), catch_exceptions=False)
    assert first.exit_code == 0, first.output
    files = {p.name: p.stat().st_mtime_ns for p in (pictures / "out" / "labels").iterdir()}
    assert sorted(name.split("_")[0] for name in files) == ["plain"] * 4 + ["scenes"] + ["varied"] * 3
    network = pictures / "out" / "image" / "map.onnx"
    content = network.read_bytes()
    again = CliRunner().invoke(cli, arguments(pictures), catch_exceptions=False)
    assert again.exit_code == 0 and network.read_bytes() == content
    assert {p.name: p.stat().st_mtime_ns for p in (pictures / "out" / "labels").iterdir()} == files
    streams = []
    for rdo in (["--rdo", "psnr"], ["--map", str(network)]):
        stream = pictures / f"{len(streams)}.hevc"
        encode = ["encode", str(pictures / "train"), "-o", str(stream), "--qp", "34", "--preset", "ultrafast", *rdo]
        assert CliRunner().invoke(cli, encode, catch_exceptions=False).exit_code == 0
        assert len(list(decode_stream(stream))) == 1
        streams.append(stream.read_bytes())
    assert streams[0] != streams[1]
    weights = MapModel(network).of_pictures(34, np.zeros((100, 160, 3), np.uint8))
    assert weights.shape == (13, 20)


@pytest.mark.slow
def test_labels_add_up_to_what_the_error_cost(x265_hooked, tmp_path: Path, monkeypatch):
    """Integrated gradients are complete: Σ attribution is the loss on the coded picture minus that on the original."""
    pytest.importorskip("onnx2torch")
    from encoder_bridge.config import RunOptions
    from models import default_model_path
    from models.gradient import GradientModel
    from sweeps.map_data import LabelRequest, label_pictures

    scene = render_frame(3, 160, 128)[0][None]
    losses = []
    real = GradientModel.loss_and_grad

    def recorded(self, rgb, labels):
        loss, grad = real(self, rgb, labels)
        losses.append(float(loss[0]))
        return loss, grad

    monkeypatch.setattr(GradientModel, "loss_and_grad", recorded)
    (path,) = label_pictures(LabelRequest("one", scene, (40,), default_model_path()), tmp_path, RunOptions(), int)
    with np.load(path) as labels:
        assert labels["attribution"].shape == (1, 8, 10) and labels["statistics"].shape == (1, 8, 8, 10)
        total = labels["attribution"].sum() * 256
    # The loss was seen on the way from the coded picture to the original, at 1/6, 3/6 and 5/6 of it.
    assert 0.5 * (losses[0] - losses[-1]) < total < 4 * losses[0]


def test_what_is_labelled_is_what_was_announced():
    paths = tuple(Path(f"{i}.png") for i in range(5))
    plan = LabelPlan(paths, 7, (Path("a.onnx"), Path("b.onnx")), qps=(20, 30, 40))
    assert plan.total == 5 * (3 + 2 + 1) + 7
    assert LabelPlan((), 7, (Path("a.onnx"),)).total == 7


def test_no_pictures_and_no_scenes_is_an_error(tmp_path: Path):
    names = MapRequest.__dataclass_fields__
    given = dict.fromkeys(names) | {"data": tmp_path, "out": tmp_path, "networks": (), "scenes": 0, "seed": 0}
    with pytest.raises(ConfigError, match="no images"):
        MapRequest.of(given).plan()
    result = CliRunner().invoke(cli, ["train", "map", "--data", str(tmp_path / "none"), "-o", "x", "--scenes", "0"])
    assert result.exit_code != 0


def test_torch_is_asked_for_by_name(tmp_path: Path, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "torch" else real(name, *a))
    result = CliRunner().invoke(cli, arguments(tmp_path))
    assert result.exit_code == 1
    assert "machine-rdo[exact,train]" in str(result.exception) + result.output

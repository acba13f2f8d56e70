"""Judges from configurations: which networks they take, and what names their answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder_bridge.config import CandidateConfig, CodingConfig, MapConfig
from encoder_bridge.errors import ConfigError, ModelError
from models import default_model_path, judge_model_path
from models.task_model import TaskModel
from sweeps.judges import JudgeMaker, needs_driver
from sweeps.session import asks_driver


def config(metric: str, **more: object) -> CandidateConfig:
    return CandidateConfig(metric=metric, **more)  # type: ignore[arg-type]


def fixed(path: Path, side: int = 64) -> Path:
    """The default network with an input of one size."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(default_model_path()))
    for dim, value in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 3, side, side), strict=True):
        dim.dim_value = value
    onnx.save(model, str(path))
    return path


def test_a_metric_gets_what_it_needs_and_no_more():
    maker = JudgeMaker(TaskModel(default_model_path()))
    task = maker.networks(config("task"))
    assert task.log_probs is not None and (task.features, task.blocks, task.signed_grad) == (None, None, None)
    assert task.local is None
    assert maker.networks(config("ssim")).log_probs is None


def test_local_answers_come_from_the_driver_where_they_are_asked_for():
    pytest.importorskip("onnx")
    maker = JudgeMaker(TaskModel(default_model_path()))
    networks = maker.networks(config("task-iou"))
    assert networks.local is not None and networks.local.stride == 32
    assert maker.networks(config("task-local")).local is networks.local
    assert maker.networks(config("task")).local is None


def test_metrics_are_made_for_the_context_that_is_asked_for():
    maker = JudgeMaker(TaskModel(default_model_path()))
    assert maker.metric(config("task", context=48)).context == 48
    assert maker.metric(config("task", context=16)).context == 16
    assert maker.metric(config("task", context=16)) is maker.metric(config("task", context=16))


def test_first_stages_of_the_driver_are_features():
    pytest.importorskip("onnx")
    networks = JudgeMaker(TaskModel(default_model_path())).networks(config("features"))
    assert networks.features is not None
    maps = networks.features(np.zeros((2, 64, 96, 3), np.uint8))
    assert all(m.shape[0] == 2 and m.ndim == 4 for m in maps)


def test_a_network_metric_without_a_network():
    with pytest.raises(ConfigError, match="metric 'task' needs a network; give --model"):
        JudgeMaker(None).prepare(config("task"))
    JudgeMaker(None).prepare(config("ssim"))
    JudgeMaker(None).prepare(config("sse", internal=True))


def test_a_network_of_one_size_cannot_see_windows(tmp_path: Path):
    path = fixed(tmp_path / "fixed.onnx")
    with pytest.raises(ModelError, match=r"fixed at 64x64.*free height and width"):
        JudgeMaker(TaskModel(path)).prepare(config("task"))
    with pytest.raises(ModelError, match="fixed at 64x64"):
        JudgeMaker(None).prepare(config(str(path)))


def test_who_needs_the_driver():
    assert needs_driver(config("task")) and needs_driver(config("features"))
    for spec in (config("ssim"), config("sse", internal=True), config("cut.onnx")):
        assert not needs_driver(spec)
    assert asks_driver(CodingConfig(qp=30, rdo="map", map=MapConfig()))
    assert not asks_driver(CodingConfig(qp=30, rdo="map", map=MapConfig("w.npy")))
    assert asks_driver(CodingConfig(qp=30, rdo="map+ctu", map=MapConfig("w.npy"), ctu=config("task")))
    assert not asks_driver(CodingConfig(qp=30, rdo="ctu", ctu=config("sse")))


def test_answers_are_named_by_network_and_file(tmp_path: Path):
    one, other = JudgeMaker(TaskModel(default_model_path())), JudgeMaker(TaskModel(judge_model_path()))
    assert one.identity(config("task")) != other.identity(config("task"))
    assert one.identity(config("ssim")) == other.identity(config("ssim"))
    path = tmp_path / "m.onnx"
    names = []
    for content in (default_model_path(), judge_model_path()):
        path.write_bytes(content.read_bytes())
        names.append(JudgeMaker(None).identity(config(str(path))))
    assert len({*names, one.identity(config("ssim"))}) == 3


def test_only_a_metric_that_looks_around_needs_a_first_pass():
    maker = JudgeMaker(None)
    assert maker.needs_base(config("ssim")) and maker.needs_base(config("task"))
    assert not maker.needs_base(config("sse")) and not maker.needs_base(config("sse", internal=True))


def test_where_the_encoder_judges_there_is_no_judge():
    coding = CodingConfig(qp=30, rdo="ctu", ctu=config("sse", internal=True))
    from models.scenes import SceneConfig, SceneSource

    fmt = SceneSource(SceneConfig(64, 64, 1)).format
    assert JudgeMaker(None).judge(coding, fmt) is None
    assert JudgeMaker(None).judge(CodingConfig(qp=30, rdo="ctu", ctu=config("sse")), fmt) is not None

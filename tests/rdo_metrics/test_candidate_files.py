"""``--metric FILE.onnx``: what kind of metric a file is, and what it judges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoder_bridge.errors import MetricInputError, ModelError
from models import default_model_path
from models.cut import cut_network
from models.features import open_metric_network
from models.task_model import TaskModel
from rdo_metrics.candidates import make_candidate_metric
from rdo_metrics.candidates.base import Networks, Rect
from rdo_metrics.candidates.calibration import calibrate

onnx = pytest.importorskip("onnx")

STATED = {"layout": "NCHW", "color": "RGB", "range": "0..255", "mean": "0,0,0", "std": "1,1,1"}


def difference(path: Path, inputs: int) -> Path:
    """Mean squared difference of the first two inputs (of the first and itself where there is one)."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    names = [f"image{i}" for i in range(inputs)]
    nodes = [
        helper.make_node("Sub", [names[0], names[min(1, inputs - 1)]], ["d"]),
        helper.make_node("Mul", ["d", "d"], ["s"]),
        helper.make_node("ReduceMean", ["s"], ["loss"], axes=[1, 2, 3], keepdims=0),
    ]
    images = [helper.make_tensor_value_info(n, kind, ["N", 3, "H", "W"]) for n in names]
    graph = helper.make_graph(nodes, "g", images, [helper.make_tensor_value_info("loss", kind, ["N"])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {f"mrdo.{k}": v for k, v in STATED.items()})
    onnx.save(model, str(path))
    return path


def test_a_file_of_two_images_is_a_block_metric(toy, tmp_path: Path):
    path = difference(tmp_path / "block.onnx", 2)
    metric = make_candidate_metric(str(path))
    assert metric.needs == ("blocks",)
    choice = toy.choice(toy.frame(networks=Networks(blocks=open_metric_network(path))))
    (values,) = metric.distortions([choice])
    squares = (choice.windows_rgb().astype(np.float64) - choice.original_rgb()) ** 2
    np.testing.assert_allclose(values, squares.mean(axis=(1, 2, 3)), rtol=1e-4)
    assert calibrate(metric, choice.frame) > 0


def test_a_file_of_one_image_is_compared_by_its_feature_maps(toy, tmp_path: Path):
    path = tmp_path / "stem.onnx"
    path.write_bytes(cut_network(default_model_path()))
    metric = make_candidate_metric(str(path))
    assert metric.needs == ("features",) and metric.context == make_candidate_metric("features").context
    choice = toy.choice(toy.frame(networks=Networks(features=open_metric_network(path, threads=1))))
    (values,) = metric.distortions([choice])
    assert values[0] == 0 and (np.diff(values) > 0).all()
    bare = replace(choice, frame=replace(choice.frame, cache={}))
    np.testing.assert_array_equal(make_candidate_metric("features").distortions([bare])[0], values)


def test_files_that_are_no_metric_are_refused(tmp_path: Path):
    with pytest.raises(MetricInputError, match="3 inputs"):
        make_candidate_metric(str(difference(tmp_path / "three.onnx", 3)))
    with pytest.raises(ModelError, match="no such file"):
        make_candidate_metric(str(tmp_path / "absent.onnx"))
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError, match="not a network"):
        make_candidate_metric(str(tmp_path / "text.onnx"))


@pytest.mark.parametrize("name", ["task", "task-kl", "task-kl-window"])
def test_the_embedded_network_judges_a_batch_as_it_does_each_alone(toy, name: str):
    # Threads decide which choices are judged together; were the answer to depend on it, so would the stream.
    frame = toy.frame(192, 256, networks=Networks(log_probs=TaskModel(default_model_path(), threads=2).log_probs))
    rects = [Rect(x, y, 64, 64) for y in (64,) for x in (64, 128)]
    batch = [toy.choice(frame, rect, noises=(2, 5, 9), lossy=True) for rect in rects]
    metric = make_candidate_metric(name)
    for choice, values in zip(batch, metric.distortions(batch), strict=True):
        np.testing.assert_array_equal(values, metric.distortions([choice])[0])
    alpha = calibrate(metric, frame)
    assert 0 < alpha < 1e12

"""GradientModel against finite differences and against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx2torch")

import onnx
from onnx import TensorProto, helper, numpy_helper

from encoder_bridge.errors import DeviceError, ModelError
from models import default_model_path, judge_model_path
from models.gradient import GradientModel
from models.metadata import ModelOptions
from models.onnx_graph import fold_initializers
from models.task_model import TaskModel

META = {"layout": "NCHW", "color": "BGR", "range": "0..1", "mean": "0.4,0.5,0.6", "std": "0.2,0.25,0.5"}


def two_layers(path: Path, meta: dict, half: bool = False) -> Path:
    """3×3 convolution, sigmoid, strided 3×3 convolution to five classes: smooth, so finite differences are sharp."""
    rng = np.random.default_rng(3)
    weights = {
        "a": (rng.standard_normal((6, 3, 3, 3)) * 0.2).astype(np.float32),
        "b": (rng.standard_normal((5, 6, 3, 3)) * 0.4).astype(np.float32),
    }
    nodes = [helper.make_node("Cast", [f"{k}16"], [k], to=TensorProto.FLOAT) for k in weights] if half else []
    nodes += [
        helper.make_node("Conv", ["image", "a"], ["p"], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["p"], ["q"]),
        helper.make_node("Conv", ["q", "b"], ["logits"], pads=[1, 1, 1, 1], strides=[2, 2]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 5, "h", "w"])
    stored = {f"{k}16": v.astype(np.float16) for k, v in weights.items()} if half else weights
    tensors = [numpy_helper.from_array(v, k) for k, v in stored.items()]
    graph = helper.make_graph(nodes, "g", [image], [logits], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {f"mrdo.{k}": v for k, v in meta.items()})
    onnx.save(model, str(path))
    return path


def inputs(height: int = 12, width: int = 15, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    rgb = rng.uniform(0, 255, (count, 3, height, width)).astype(np.float32)
    return rgb, rng.integers(0, 5, (count, height, width))


def slope(function, x: np.ndarray, direction: np.ndarray, step: float) -> np.ndarray:  # type: ignore[no-untyped-def]
    return (function(x + step * direction) - function(x - step * direction)) / (2 * step)


def test_gradient_agrees_with_finite_differences(tmp_path: Path) -> None:
    model = GradientModel(two_layers(tmp_path / "m.onnx", META))
    rgb, labels = inputs()
    loss, grad = model.loss_and_grad(rgb, labels)
    assert loss.shape == (2,) and (loss > 0).all()
    assert grad.shape == rgb.shape and grad.dtype == np.float32
    rng = np.random.default_rng(5)
    for _ in range(4):
        direction = rng.standard_normal(rgb.shape).astype(np.float32)
        measured = slope(lambda x: model.loss_and_grad(x, labels)[0], rgb, direction, 0.5)
        np.testing.assert_allclose((grad * direction).sum((1, 2, 3)), measured, rtol=2e-2, atol=2e-2)


def test_loss_is_the_sum_of_onnx_runtimes_log_probabilities(tmp_path: Path) -> None:
    path = two_layers(tmp_path / "m.onnx", META)
    rgb, labels = inputs(12, 16)
    whole = np.round(rgb)
    log_p = TaskModel(path).log_probs(whole.transpose(0, 2, 3, 1).astype(np.uint8))
    wanted = -np.take_along_axis(log_p, labels[:, None], 1).sum((1, 2, 3))
    np.testing.assert_allclose(GradientModel(path).loss_and_grad(whole, labels)[0], wanted, rtol=1e-4)


def test_ignored_pixels_count_for_nothing(tmp_path: Path) -> None:
    model = GradientModel(two_layers(tmp_path / "m.onnx", META))
    rgb, labels = inputs()
    loss, grad = model.loss_and_grad(rgb, np.full_like(labels, 255))
    assert (loss == 0).all() and (grad == 0).all()


def test_signed_gradient_is_linear_in_the_signs(tmp_path: Path) -> None:
    model = GradientModel(two_layers(tmp_path / "m.onnx", META))
    rgb, labels = inputs()
    ones = np.ones(labels.shape, np.float32)
    plain = model.logp_signed_grad(rgb, labels, ones)
    np.testing.assert_allclose(plain, -model.loss_and_grad(rgb, labels)[1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.logp_signed_grad(rgb, labels, -ones), -plain, rtol=1e-4, atol=1e-6)
    signs = np.where(np.random.default_rng(2).random(labels.shape) < 0.5, -1, 1)
    assert not np.allclose(model.logp_signed_grad(rgb, labels, signs), plain)


def test_pictures_of_a_batch_do_not_mix(tmp_path: Path) -> None:
    model = GradientModel(two_layers(tmp_path / "m.onnx", META))
    rgb, labels = inputs()
    _, together = model.loss_and_grad(rgb, labels)
    _, alone = model.loss_and_grad(rgb[1:], labels[1:])
    np.testing.assert_allclose(together[1:], alone, rtol=1e-4, atol=1e-6)


def test_half_precision_weights_behind_casts_are_folded(tmp_path: Path) -> None:
    path = two_layers(tmp_path / "h.onnx", META, half=True)
    rgb, _ = inputs(12, 16, 1)
    whole = np.round(rgb)
    runtime = TaskModel(path).logits(whole.transpose(0, 2, 3, 1).astype(np.uint8))
    np.testing.assert_allclose(GradientModel(path).logits(whole), runtime, atol=1e-4)
    folded = fold_initializers(onnx.load(str(path)))
    assert {n.op_type for n in folded.graph.node} == {"Conv", "Sigmoid"}
    assert {t.name for t in folded.graph.initializer} == {"a", "b"}


def test_torch_module(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 5, 3, padding=1, stride=2)
    options = ModelOptions(color="RGB", range="0..1", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    model = GradientModel.from_torch(network, options)
    rgb, labels = inputs()
    with torch.no_grad():
        x = (torch.from_numpy(rgb) / 255 - 0.5) / 0.25
        wanted = torch.nn.functional.interpolate(network(x), size=rgb.shape[2:], mode="bilinear").numpy()
    np.testing.assert_allclose(model.logits(rgb), wanted, atol=1e-5)
    assert model.loss_and_grad(rgb, labels)[1].shape == rgb.shape


def test_refusals(tmp_path: Path) -> None:
    path = two_layers(tmp_path / "m.onnx", META)
    model = GradientModel(path)
    rgb, labels = inputs()
    with pytest.raises(ModelError, match="labels of shape"):
        model.loss_and_grad(rgb, labels[:, :5])
    with pytest.raises(ModelError, match=r"labels 0..11; expected 0..4"):
        model.loss_and_grad(rgb, np.where(labels == 4, 11, labels))
    with pytest.raises(ModelError, match="float32"):
        model.loss_and_grad(rgb.astype(np.float64), labels)
    with pytest.raises(ModelError, match="signs"):
        model.logp_signed_grad(rgb, labels, np.ones((1, 1, 1)))
    with pytest.raises(ModelError, match="--input-range"):
        GradientModel(two_layers(tmp_path / "n.onnx", {"layout": "NCHW"}))
    with pytest.raises(ModelError, match="no network file"):
        GradientModel(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(ModelError, match=r"text\.onnx"):
        GradientModel(tmp_path / "text.onnx")
    with pytest.raises(DeviceError, match="tpu"):
        GradientModel(path, device="tpu")


@pytest.mark.slow
@pytest.mark.parametrize("path", [default_model_path(), judge_model_path()])
@pytest.mark.parametrize("size", [(352, 480), (121, 75)])
def test_shipped_networks_differentiate_as_onnx_runtime_computes(path: Path, size: tuple[int, int]) -> None:
    from models.scenes import render_frame

    scene, labels = render_frame(4, 480, 352)
    scene, labels = np.ascontiguousarray(scene[: size[0], : size[1]]), labels[: size[0], : size[1]]
    labels = np.where(labels > 10, 255, labels)
    rgb = np.ascontiguousarray(scene.transpose(2, 0, 1)[None], np.float32)
    model = GradientModel(path)
    runtime = TaskModel(path, threads=2)
    np.testing.assert_allclose(model.logits(rgb), runtime.logits(scene), atol=1e-3)
    loss, grad = model.loss_and_grad(rgb, labels[None])
    direction = (grad / np.abs(grad).max()).astype(np.float32)
    measured = slope(lambda x: model.loss_and_grad(x, labels[None])[0], rgb, direction, 0.02)
    np.testing.assert_allclose((grad * direction).sum(dtype=np.float64), measured[0], rtol=0.05)
    assert loss[0] > 0

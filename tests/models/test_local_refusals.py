"""Networks and machines on which local answers cannot be had: each is told clearly."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from encoder_bridge.errors import DeviceError, ModelError, ToolNotFoundError
from models import default_model_path
from models.local import LocalModel


def small(path: Path, nodes, weights=(), inputs=("N", 3, "H", "W"), kind=onnx.TensorProto.FLOAT, rank=4) -> Path:
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, list(inputs))
    out = helper.make_tensor_value_info("out", kind, ["N", 2, "h", "w"][:rank])
    stored = [onnx.numpy_helper.from_array(v, k) for k, v in weights]
    graph = helper.make_graph(nodes, "g", [image], [out], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    stated = {"color": "RGB", "range": "0..1", "mean": "0,0,0", "std": "1,1,1"}
    helper.set_model_props(model, {f"mrdo.{key}": value for key, value in stated.items()})
    onnx.save(model, str(path))
    return path


def test_a_network_that_looks_everywhere_at_once_is_refused(tmp_path):
    nodes = [helper.make_node("InstanceNormalization", ["image", "s", "b"], ["n"]),
             helper.make_node("Conv", ["n", "w"], ["out"])]  # fmt: skip
    ones = np.ones(3, np.float32)
    path = small(tmp_path / "n.onnx", nodes, [("s", ones), ("b", ones), ("w", np.ones((2, 3, 1, 1), np.float32))])
    with pytest.raises(ModelError, match=r"cannot be run on windows.*InstanceNormalization"):
        LocalModel(path)


def test_convolutions_without_padding_are_refused(tmp_path):
    node = helper.make_node("Conv", ["image", "w"], ["out"])
    path = small(tmp_path / "n.onnx", [node], [("w", np.ones((2, 3, 3, 3), np.float32))])
    with pytest.raises(ModelError, match=r"cannot be run on windows.*Conv"):
        LocalModel(path)


def test_an_input_of_one_size_is_refused(tmp_path):
    node = helper.make_node("Conv", ["image", "w"], ["out"])
    path = small(tmp_path / "n.onnx", [node], [("w", np.ones((2, 3, 1, 1), np.float32))], (1, 3, 64, 64))
    with pytest.raises(ModelError, match="fixed at 1 pictures of 64x64"):
        LocalModel(path)


def test_a_label_map_is_refused(tmp_path):
    node = helper.make_node("ArgMax", ["image"], ["out"], axis=1, keepdims=0)
    with pytest.raises(ModelError, match="label map"):
        LocalModel(small(tmp_path / "n.onnx", [node], kind=onnx.TensorProto.INT64, rank=3))


def test_files_that_are_no_networks(tmp_path):
    with pytest.raises(ModelError, match="no network file"):
        LocalModel(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ModelError, match="not a network"):
        LocalModel(tmp_path / "text.onnx")


def test_a_device_that_is_not_here():
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(DeviceError, match="cuda"):
        LocalModel(default_model_path(), device="cuda")


def test_without_onnx_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ToolNotFoundError, match=r"machine-rdo\[exact\]"):
        LocalModel(default_model_path())

"""The first convolution of a network: found, cut off and equal to what the whole network computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder_bridge.errors import ModelError
from models import default_model_path
from models.cut import cut_network, first_layer, list_layers
from models.features import first_layer_model

onnx = pytest.importorskip("onnx")


def test_the_embedded_backbone_begins_with_its_stem():
    name = first_layer(default_model_path())
    layer = next(layer for layer in list_layers(default_model_path()) if layer.name == name)
    assert (layer.op, layer.stride) == ("Conv", 2)
    model = first_layer_model(default_model_path(), threads=1)
    assert model.layers == (name,)
    picture = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
    assert model(picture)[0].shape == (1, layer.channels, 32, 48)


def test_it_is_the_convolution_before_any_rectifier():
    picture = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
    (maps,) = first_layer_model(default_model_path(), threads=1)(picture)
    assert maps.min() < 0 < maps.max()


def test_a_named_layer_and_a_cut_file_are_taken_as_they_are(tmp_path: Path):
    layers = list_layers(default_model_path())
    other = layers[5].name
    assert first_layer_model(default_model_path(), other, threads=1).layers == (other,)
    (tmp_path / "cut.onnx").write_bytes(cut_network(default_model_path(), (other,)))
    assert first_layer_model(tmp_path / "cut.onnx", threads=1).layers == (other,)


def test_a_network_without_a_convolution_is_refused(tmp_path: Path):
    from onnx import TensorProto, helper

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 32])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 3, 32, 32])
    graph = helper.make_graph([helper.make_node("Relu", ["image"], ["answer"])], "g", [image], [answer])
    path = tmp_path / "relu.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    with pytest.raises(ModelError, match="no convolution"):
        first_layer(path)

"""Cutting networks at layers, running the cut, and block metrics: small ONNX files made here, and the embedded one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from encoder_bridge.errors import ConfigError, DeviceError, ModelError, ToolNotFoundError
from models import default_model_path, judge_model_path
from models.block_model import BlockModel
from models.cli import export
from models.cut import CUT, cut_network, first_stages, list_layers
from models.features import FeatureModel, open_metric_network
from models.metadata import ModelOptions

STATED = {"layout": "NCHW", "color": "RGB", "range": "0..255", "mean": "0,0,0", "std": "1,1,1", "classes": "a,b"}
RNG = np.random.default_rng(3)
WEIGHTS = {
    "w1": RNG.standard_normal((6, 3, 3, 3)).astype(np.float32) / 100,
    "w2": RNG.standard_normal((6, 6, 3, 3)).astype(np.float32) / 8,
    "w3": RNG.standard_normal((8, 6, 3, 3)).astype(np.float32) / 8,
    "w4": RNG.standard_normal((2, 8, 3, 3)).astype(np.float32) / 8,
}
PADS = [1, 1, 1, 1]


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def save(path: Path, nodes, inputs, outputs, weights, meta) -> Path:
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(v, k) for k, v in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {f"mrdo.{k}": v for k, v in meta.items()})
    onnx.save(model, str(path))
    return path


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Stride 2, 2 (ReLU), 4 (ReLU), 8, then global pooling and a second head that a cut must leave out."""
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], strides=[2, 2], pads=PADS),
        helper.make_node("Conv", ["c1", "w2"], ["c2"], pads=PADS),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3"], ["c3"], strides=[2, 2], pads=PADS),
        helper.make_node("Relu", ["c3"], ["r3"]),
        helper.make_node("Conv", ["r3", "w4"], ["logits"], strides=[2, 2], pads=PADS),
        helper.make_node("GlobalAveragePool", ["r3"], ["pooled"]),
    ]
    outputs = [value("logits", ["N", 2, "h", "w"]), value("pooled", ["N", 8, 1, 1])]
    return save(tmp_path / "net.onnx", nodes, [value("image", ["N", 3, "H", "W"])], outputs, WEIGHTS, STATED)


def pictures(count=2, height=32, width=48, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def reference(path: Path, names, rgb):
    """What the reference implementation of ONNX finds inside the whole network."""
    model = onnx.load(str(path))
    model.graph.output.extend(value(n, None) for n in names if n not in {o.name for o in model.graph.output})
    return ReferenceEvaluator(model).run(list(names), {"image": rgb.transpose(0, 3, 1, 2).astype(np.float32)})


def test_layers_are_listed_with_stride_and_channels(network: Path):
    found = [(f.name, f.op, f.stride, f.channels) for f in list_layers(network)]
    assert found == [
        ("c1", "Conv", 2, 6), ("c2", "Conv", 2, 6), ("r2", "Relu", 2, 6),
        ("c3", "Conv", 4, 8), ("r3", "Relu", 4, 8), ("logits", "Conv", 8, 2),
    ]  # fmt: skip


def test_the_first_stages_are_what_the_next_stride_reads(network: Path):
    assert first_stages(network) == ("r2", "r3")


def test_features_are_those_of_the_reference_implementation(network: Path):
    model, rgb = FeatureModel(network, threads=1), pictures()
    assert model.layers == ("r2", "r3")
    for ours, theirs in zip(model(rgb), reference(network, ("r2", "r3"), rgb), strict=True):
        assert ours.dtype == np.float32 and ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("path", [default_model_path(), judge_model_path()], ids=["segmentation", "judge"])
def test_a_cut_gives_exactly_the_inner_tensors_of_the_whole(path: Path, tmp_path: Path):
    names = first_stages(path)
    whole = onnx.load(str(path))
    whole.graph.output.extend(value(name, None) for name in names)
    onnx.save(whole, str(tmp_path / "whole.onnx"))
    rgb = pictures(2, 96, 64)
    tensor = rgb.transpose(0, 3, 1, 2).astype(np.float32)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tmp_path / "whole.onnx"), providers=["CPUExecutionProvider"])
    wanted = session.run(list(names), {session.get_inputs()[0].name: tensor})
    for ours, theirs in zip(FeatureModel(path)(rgb), wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_batch_gives_what_its_pictures_give_alone():
    model, rgb = FeatureModel(default_model_path(), threads=2), pictures(5, 64, 64)
    together = model(rgb)
    for index in range(5):
        for whole, alone in zip(together, model(rgb[index : index + 1]), strict=True):
            np.testing.assert_array_equal(whole[index], alone[0])


def test_layers_come_in_the_order_asked_for(network: Path):
    rgb = pictures()
    assert [m.shape[1:] for m in FeatureModel(network, ["r3", "c1"])(rgb)] == [(8, 8, 12), (6, 16, 24)]


def test_a_cut_drops_what_it_does_not_need_and_keeps_what_is_said_of_the_input(network: Path):
    cut = onnx.load_from_string(cut_network(network, ["r2"]))
    onnx.checker.check_model(cut, full_check=True)
    assert [n.output[0] for n in cut.graph.node] == ["c1", "c2", "r2"]
    assert sorted(t.name for t in cut.graph.initializer) == ["w1", "w2"]
    said = {p.key: p.value for p in cut.metadata_props}
    assert said == {
        "mrdo.layout": "NCHW", "mrdo.color": "RGB", "mrdo.range": "0..255", "mrdo.mean": "0,0,0",
        "mrdo.std": "1,1,1", "mrdo.task": "features", CUT: "r2",
    }  # fmt: skip


def test_what_options_say_is_written_into_the_cut(tmp_path: Path, network: Path):
    model = onnx.load(str(network))
    del model.metadata_props[:]
    onnx.save(model, str(network))
    with pytest.raises(ModelError, match="--mean"):
        cut_network(network)
    options = ModelOptions(color="BGR", range="0..1", mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 1))
    part = tmp_path / "part.onnx"
    part.write_bytes(cut_network(network, ["c1"], options))
    rgb = pictures()
    ours = FeatureModel(part)
    assert ours.spec.mean == (0.1, 0.2, 0.3) and ours.layers == ("c1",)
    np.testing.assert_array_equal(ours(rgb)[0], FeatureModel(network, ["c1"], options=options)(rgb)[0])


def test_a_cut_file_is_run_as_it_is(tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch):
    part = tmp_path / "part.onnx"
    part.write_bytes(cut_network(network, ["r3"]))
    # Without the onnx package, as in the base install.
    monkeypatch.setitem(sys.modules, "onnx", None)
    rgb = pictures()
    np.testing.assert_array_equal(FeatureModel(part)(rgb)[0], open_metric_network(part)(rgb)[0])
    with pytest.raises(ToolNotFoundError, match="machine-rdo"):
        FeatureModel(network)


def test_a_fixed_batch_is_filled_up(tmp_path: Path):
    node = helper.make_node("Conv", ["image", "w1"], ["c1"], strides=[2, 2], pads=PADS)
    shapes = [value("image", [4, 3, "H", "W"])], [value("c1", [4, 6, "h", "w"])]
    path = save(tmp_path / "four.onnx", [node], *shapes, {"w1": WEIGHTS["w1"]}, STATED)
    rgb = pictures(6)
    (found,) = FeatureModel(path, ())(rgb)
    assert found.shape == (6, 6, 16, 24)
    np.testing.assert_allclose(found[5], reference(path, ["c1"], rgb)[0][5], rtol=1e-4, atol=1e-4)


def test_files_that_do_not_suit_are_refused(tmp_path: Path, network: Path):
    with pytest.raises(ModelError, match="nope"):
        cut_network(network, ["nope"])
    with pytest.raises(ModelError, match="no network file"):
        list_layers(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError):
        list_layers(tmp_path / "text.onnx")
    with pytest.raises(ModelError):
        open_metric_network(tmp_path / "text.onnx")
    with pytest.raises(DeviceError):
        FeatureModel(network, device="cuda")
    flat = helper.make_node("Flatten", ["image"], ["flat"])
    path = save(tmp_path / "f.onnx", [flat], [value("image", [1, 3, 8, 8])], [value("flat", [1, 192])], {}, STATED)
    with pytest.raises(ModelError, match="no feature map"):
        FeatureModel(path, ())
    with pytest.raises(ModelError, match="--layer"):
        first_stages(path)


def test_answers_that_are_not_numbers_are_refused(tmp_path: Path):
    node = helper.make_node("Log", ["image"], ["out"])
    shapes = [value("image", ["N", 3, "H", "W"])], [value("out", ["N", 3, "H", "W"])]
    path = save(tmp_path / "log.onnx", [node], *shapes, {}, STATED)
    with pytest.raises(ModelError, match="NaN or infinity"):
        FeatureModel(path, ())(np.zeros((1, 8, 8, 3), np.uint8))


def block_file(path: Path, names=("original", "coded"), shape=("N", 1)) -> Path:
    """mean(original − 2·coded): asymmetric, so that a swap shows."""
    nodes = [
        helper.make_node("Mul", [names[1], "two"], ["twice"]),
        helper.make_node("Sub", [names[0], "twice"], ["difference"]),
        helper.make_node("ReduceMean", ["difference"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["mean", "shape"], ["loss"]),
    ]
    weights = {"two": np.float32(2), "shape": np.array([-1, *shape[1:]], np.int64)}
    inputs = [value(name, ["N", 3, "H", "W"]) for name in (("original", "coded") if "original" in names else names)]
    return save(path, nodes, inputs, [value("loss", list(shape))], weights, STATED | {"range": "0..1"})


@pytest.mark.parametrize("shape", [("N",), ("N", 1), ("N", 1, 1, 1)])
def test_a_block_metric_gives_one_number_for_each_pair(tmp_path: Path, shape):
    model = open_metric_network(block_file(tmp_path / "b.onnx", shape=shape))
    assert isinstance(model, BlockModel)
    a, b = pictures(3), pictures(3, seed=1)
    wanted = (a / 255 - 2 * (b / 255)).mean(axis=(1, 2, 3))
    found = model(a, b)
    assert found.dtype == np.float64 and found.shape == (3,)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_original_goes_to_the_input_of_that_name(tmp_path: Path):
    model = onnx.load(str(block_file(tmp_path / "b.onnx")))
    inputs = list(model.graph.input)[::-1]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    onnx.save(model, str(tmp_path / "swapped.onnx"))
    a, b = pictures(2), pictures(2, seed=1)
    np.testing.assert_array_equal(BlockModel(tmp_path / "swapped.onnx")(a, b), BlockModel(tmp_path / "b.onnx")(a, b))


def test_a_block_metric_that_answers_otherwise_is_refused(tmp_path: Path, network: Path):
    with pytest.raises(ModelError, match="two images"):
        BlockModel(network)
    model = BlockModel(block_file(tmp_path / "b.onnx"))
    with pytest.raises(ModelError, match="reconstructions"):
        model(pictures(2), pictures(3))


def run_export(*arguments: object):
    return CliRunner().invoke(export, [str(a) for a in arguments])


def test_export_writes_a_cut_that_the_metric_reads(tmp_path: Path, network: Path):
    out = tmp_path / "stem.onnx"
    done = run_export(network, "--layer", "r2", "-o", out, "--json")
    assert done.exit_code == 0, done.output
    assert '"layers":["r2"]' in done.stdout
    rgb = pictures()
    np.testing.assert_array_equal(open_metric_network(out)(rgb)[0], FeatureModel(network, ["r2"])(rgb)[0])
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx", "stem.onnx"] or len(list(tmp_path.iterdir())) == 2


def test_export_lists_layers_and_marks_the_default(network: Path):
    done = run_export(network, "--list")
    marked = [line.split()[-1] for line in done.stdout.splitlines()[1:] if line.startswith("*")]
    assert marked == ["r2", "r3"]


def test_export_refuses_to_overwrite_the_network(network: Path):
    before = network.read_bytes()
    done = run_export(network, "-o", network)
    assert isinstance(done.exception, ConfigError) and network.read_bytes() == before
    assert run_export(network).exit_code == 2

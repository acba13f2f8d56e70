"""TaskModel on small ONNX files made here: what it accepts, what it answers, and how it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from encoder_bridge.errors import DeviceError, ModelError
from models import default_model_path, judge_model_path, robust_model_path
from models.metadata import InputSpec, ModelOptions, logits_layout
from models.task_model import TaskModel

STATED = {"layout": "NCHW", "color": "RGB", "range": "0..255", "mean": "0,0,0", "std": "1,1,1"}
MATRIX = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0]], np.float32)


def save(path: Path, nodes: list[onnx.NodeProto], inputs: list, outputs: list, weights: dict, meta: dict) -> Path:
    tensors = [numpy_helper.from_array(v, k) for k, v in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {f"mrdo.{k}": v for k, v in meta.items()})
    onnx.save(model, str(path))
    return path


def value(name: str, shape: list, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def linear(path: Path, meta: dict, shape: list | None = None, stride: int = 1) -> Path:
    """1×1 convolution: logits are MATRIX·(input channels), at a resolution of 1/stride."""
    node = helper.make_node("Conv", ["image", "w"], ["logits"], strides=[stride, stride])
    dims = shape or ["N", 3, "H", "W"]
    fixed = all(isinstance(d, int) for d in dims[2:])
    size = [-(-d // stride) for d in dims[2:]] if fixed else ["h", "w"]
    weight = MATRIX[:, :, None, None]
    return save(path, [node], [value("image", dims)], [value("logits", [dims[0], 4, *size])], {"w": weight}, meta)


def picture(height: int = 24, width: int = 32, count: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def expected(rgb: np.ndarray) -> np.ndarray:
    return np.einsum("kc,nhwc->nkhw", MATRIX, rgb.astype(np.float32))


def test_logits_are_the_networks_own(tmp_path: Path) -> None:
    model = TaskModel(linear(tmp_path / "m.onnx", STATED | {"classes": "a,b,c,d"}), threads=1)
    rgb = picture(count=2)
    np.testing.assert_allclose(model.logits(rgb), expected(rgb), atol=1e-3)
    assert model.logits(rgb).dtype == np.float32
    assert model.classes == ("a", "b", "c", "d")
    assert model.name == "m"
    np.testing.assert_array_equal(model.logits(rgb[0]), model.logits(rgb)[:1])


def test_labels_and_log_probs_agree_with_logits(tmp_path: Path) -> None:
    model = TaskModel(linear(tmp_path / "m.onnx", STATED))
    rgb = picture()
    np.testing.assert_array_equal(model.labels(rgb), expected(rgb).argmax(1))
    log_p = model.log_probs(rgb)
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1, atol=1e-5)
    assert (log_p <= 0).all()
    np.testing.assert_array_equal(log_p.argmax(1), model.labels(rgb))


def test_normalisation_colour_and_range_are_applied(tmp_path: Path) -> None:
    meta = STATED | {"color": "BGR", "range": "0..1", "mean": "0.4,0.5,0.6", "std": "0.2,0.25,0.5"}
    rgb = picture()
    bgr = rgb[..., ::-1].astype(np.float32) / 255
    wanted = np.einsum("kc,nhwc->nkhw", MATRIX, (bgr - [0.4, 0.5, 0.6]) / [0.2, 0.25, 0.5])
    np.testing.assert_allclose(TaskModel(linear(tmp_path / "m.onnx", meta)).logits(rgb), wanted, atol=1e-4)


def test_flags_override_metadata_and_change_the_digest(tmp_path: Path) -> None:
    path = linear(tmp_path / "m.onnx", STATED)
    plain, bgr = TaskModel(path), TaskModel(path, options=ModelOptions(color="BGR"))
    rgb = picture()
    np.testing.assert_allclose(bgr.logits(rgb), plain.logits(rgb[..., ::-1].copy()), atol=1e-3)
    assert plain.digest() != bgr.digest()
    assert plain.digest() == TaskModel(path).digest()
    assert len(plain.digest()) == 64


def test_digest_follows_the_file(tmp_path: Path) -> None:
    first = TaskModel(linear(tmp_path / "a.onnx", STATED)).digest()
    assert first != TaskModel(linear(tmp_path / "b.onnx", STATED | {"classes": "a,b,c,d"})).digest()


def test_low_resolution_logits_come_back_at_full_size(tmp_path: Path) -> None:
    model = TaskModel(linear(tmp_path / "m.onnx", STATED, stride=4))
    flat = np.full((1, 33, 50, 3), (10, 200, 60), np.uint8)
    assert model.logits(flat).shape == (1, 4, 33, 50)
    np.testing.assert_allclose(model.logits(flat), expected(flat), atol=1e-3)


@pytest.mark.parametrize("shape", [[1, 3, 16, 20], [2, 3, "H", "W"], [1, 3, "H", "W"]])
def test_fixed_batch_and_size_are_served(tmp_path: Path, shape: list) -> None:
    model = TaskModel(linear(tmp_path / "m.onnx", STATED, shape=shape))
    flat = np.concatenate([np.full((1, 24, 32, 3), v, np.uint8) for v in (10, 120, 250)])
    np.testing.assert_allclose(model.logits(flat), expected(flat), atol=1e-2)


def test_nhwc_network(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["image", "w"], ["logits"])
    ends = [value("image", ["N", "H", "W", 3])], [value("logits", ["N", "H", "W", 4])]
    meta = {k: v for k, v in STATED.items() if k != "layout"}
    path = save(tmp_path / "m.onnx", [node], *ends, {"w": MATRIX.T.copy()}, meta)
    rgb = picture(count=2)
    np.testing.assert_allclose(TaskModel(path).logits(rgb), expected(rgb), atol=1e-3)


def mixed(path: Path, planes: list, meta: dict | None = None) -> Path:
    """NHWC image in, NCHW logits out, the file's output shape being (N, *planes)."""
    nodes = [
        helper.make_node("MatMul", ["image", "w"], ["scores"]),
        helper.make_node("Transpose", ["scores"], ["logits"], perm=[0, 3, 1, 2]),
    ]
    ends = [value("image", ["N", "H", "W", 3])], [value("logits", ["N", *planes])]
    return save(path, nodes, *ends, {"w": MATRIX.T.copy()}, STATED | {"layout": "NHWC"} | (meta or {}))


@pytest.mark.parametrize(
    ("planes", "meta", "size"),
    [
        ([4, "h", "w"], {}, (24, 32)),
        ([4, 24, 32], {}, (24, 32)),
        (["a", "b", "c"], {"classes": "a,b,c,d"}, (24, 32)),
        ([4, "h", "w"], {"classes": "a,b,c,d"}, (24, 4)),
        (["a", "b", "c"], {"output_layout": "NCHW"}, (4, 4)),
        ([4, "h", "w"], {}, (4, 4)),
        ([4, 3, 8], {}, (3, 8)),
    ],
)
def test_nhwc_input_with_nchw_logits(tmp_path: Path, planes: list, meta: dict, size: tuple[int, int]) -> None:
    model = TaskModel(mixed(tmp_path / "m.onnx", planes, meta))
    rgb = picture(*size, count=2)
    np.testing.assert_allclose(model.logits(rgb), expected(rgb), atol=1e-3)


def test_nchw_input_with_nhwc_logits_and_gradient_agree(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["scores"]),
        helper.make_node("Transpose", ["scores"], ["logits"], perm=[0, 2, 3, 1]),
    ]
    ends = [value("image", ["N", 3, "H", "W"])], [value("logits", ["N", "H", "W", 4])]
    path = save(tmp_path / "m.onnx", nodes, *ends, {"w": MATRIX[:, :, None, None]}, STATED)
    rgb = picture(count=2)
    np.testing.assert_allclose(TaskModel(path).logits(rgb), expected(rgb), atol=1e-3)
    pytest.importorskip("onnx2torch")
    from models.gradient import GradientModel

    planar = rgb.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(GradientModel(path).logits(planar.astype(np.float32)), expected(rgb), atol=1e-3)


def test_stated_output_layout_wins_and_is_checked(tmp_path: Path) -> None:
    path = mixed(tmp_path / "m.onnx", [4, "h", "w"], {"output_layout": "NHWC"})
    assert TaskModel(path).logits(picture()).shape == (1, 32, 24, 32)
    with pytest.raises(ModelError, match="output_layout 'CNHW'"):
        TaskModel(mixed(tmp_path / "n.onnx", [4, "h", "w"], {"output_layout": "CNHW"}))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_padded_logits_of_fixed_size_have_their_channels_where_it_is_smallest(layout: str) -> None:
    spec = InputSpec(layout, "RGB", "0..255", (0, 0, 0), (1, 1, 1))
    assert logits_layout(spec, ["N", 4, 32, 64], (1, 4, 32, 64), (24, 60)) == "NCHW"
    assert logits_layout(spec, ["N", 32, 64, 4], (1, 32, 64, 4), (24, 60)) == "NHWC"
    assert logits_layout(spec, ["N", "a", "b", "c"], (1, 4, 4, 4), (16, 16)) == layout


def test_more_classes_than_pixels_per_side_keep_the_inputs_layout(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    node = helper.make_node("MatMul", ["image", "w"], ["logits"])
    ends = [value("image", ["N", 16, 40, 3])], [value("logits", ["N", 16, 40, 50])]
    path = save(tmp_path / "m.onnx", [node], *ends, {"w": weight}, STATED | {"layout": "NHWC"})
    rgb = picture(16, 40)
    wanted = np.einsum("ck,nhwc->nkhw", weight, rgb.astype(np.float32))
    np.testing.assert_allclose(TaskModel(path).logits(rgb), wanted, atol=1e-2)


@pytest.mark.parametrize(("kernel", "side"), [([24, 32], 1), ([80, 80], "s")])
def test_one_answer_for_the_whole_picture_is_no_segmentation(tmp_path: Path, kernel: list, side: int | str) -> None:
    pool = helper.make_node("AveragePool", ["image"], ["logits"], kernel_shape=kernel, strides=kernel)
    ends = [value("image", ["N", 3, "H", "W"])], [value("logits", ["N", 3, side, side])]
    model = TaskModel(save(tmp_path / "m.onnx", [pool], *ends, {}, STATED))
    with pytest.raises(ModelError, match=r"m\.onnx.*one answer for the whole picture"):
        model.labels(picture(24, 32) if side == 1 else picture(160, 160))


@pytest.mark.parametrize("count", [255, 256, 300])
def test_labels_hold_at_most_255_classes(tmp_path: Path, count: int) -> None:
    weight, bias = np.zeros((count, 3, 1, 1), np.float32), np.arange(count, dtype=np.float32)
    node = helper.make_node("Conv", ["image", "w", "b"], ["logits"])
    ends = [value("image", ["N", 3, "H", "W"])], [value("logits", ["N", count, "H", "W"])]
    model = TaskModel(save(tmp_path / "m.onnx", [node], *ends, {"w": weight, "b": bias}, STATED))
    if count == 255:
        assert (model.labels(picture()) == 254).all()
        return
    with pytest.raises(ModelError, match=f"{count} classes; expected at most 255"):
        model.labels(picture())


def test_label_maps_beyond_8_bits_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceSum", ["image", "axis"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["map"], to=TensorProto.INT64),
    ]
    ends = [value("image", ["N", 3, "H", "W"])], [value("map", ["N", "H", "W"], TensorProto.INT64)]
    model = TaskModel(save(tmp_path / "m.onnx", nodes, *ends, {"axis": np.array([1])}, STATED))
    assert (model.labels(np.full((4, 6, 3), 85, np.uint8)) == 255).all()
    with pytest.raises(ModelError, match=r"labels 258\.\.258"):
        model.labels(np.full((4, 6, 3), 86, np.uint8))


@pytest.mark.parametrize("level", [0, 9])
def test_logits_that_are_not_finite_are_refused(tmp_path: Path, level: int) -> None:
    node = helper.make_node("Log", ["image"], ["logits"])
    ends = [value("image", ["N", 3, "H", "W"])], [value("logits", ["N", 3, "H", "W"])]
    model = TaskModel(save(tmp_path / "m.onnx", [node], *ends, {}, STATED | {"mean": "9,9,9"}))
    assert model.logits(np.full((4, 6, 3), 90, np.uint8)).shape == (1, 3, 4, 6)
    with pytest.raises(ModelError, match=r"m\.onnx: gives NaN"):
        model.labels(np.full((4, 6, 3), level, np.uint8))


def test_label_map_network_gives_labels_but_no_logits(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["scores"], strides=[2, 2]),
        helper.make_node("ArgMax", ["scores"], ["map"], axis=1, keepdims=0),
    ]
    ends = [value("image", ["N", 3, "H", "W"])], [value("map", ["N", "h", "w"], TensorProto.INT64)]
    path = save(tmp_path / "m.onnx", nodes, *ends, {"w": MATRIX[:, :, None, None]}, STATED)
    model = TaskModel(path)
    rgb = picture()
    labels = model.labels(rgb)
    assert labels.shape == (1, 24, 32)
    np.testing.assert_array_equal(labels[:, ::2, ::2], expected(rgb)[:, :, ::2, ::2].argmax(1))
    with pytest.raises(ModelError, match="label map"):
        model.logits(rgb)


def test_unstated_normalisation_is_asked_for_not_guessed(tmp_path: Path) -> None:
    path = linear(tmp_path / "m.onnx", {})
    with pytest.raises(ModelError, match=r"--color-order --input-range --mean --std"):
        TaskModel(path)
    stated = ModelOptions(color="RGB", range="0..255", mean=(0, 0, 0), std=(1, 1, 1))
    assert TaskModel(path, options=stated).logits(picture()).shape == (1, 4, 24, 32)


@pytest.mark.parametrize(
    ("key", "wrong"),
    [("range", "0..2"), ("color", "YUV"), ("mean", "1,2"), ("std", "1,0,1"), ("std", "a,b,c"), ("layout", "CHWN")],
)
def test_wrong_metadata_names_key_and_value(tmp_path: Path, key: str, wrong: str) -> None:
    with pytest.raises(ModelError, match=key) as caught:
        TaskModel(linear(tmp_path / "m.onnx", STATED | {key: wrong}))
    assert wrong in str(caught.value)


def test_classification_network_is_named_as_such(tmp_path: Path) -> None:
    nodes = [helper.make_node("GlobalAveragePool", ["image"], ["p"]), helper.make_node("Flatten", ["p"], ["scores"])]
    ends = [value("image", ["N", 3, "H", "W"])], [value("scores", ["N", 3])]
    with pytest.raises(ModelError, match="classification"):
        TaskModel(save(tmp_path / "m.onnx", nodes, *ends, {}, STATED))


def test_wrong_number_of_class_names(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="4 logit planes for 2 class names"):
        TaskModel(linear(tmp_path / "m.onnx", STATED | {"classes": "a,b"})).logits(picture())


def test_wrong_input_channels(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["image"], ["logits"])
    ends = [value("image", ["N", 5, "H", "W"])], [value("logits", ["N", 5, "H", "W"])]
    with pytest.raises(ModelError, match="5 input channels"):
        TaskModel(save(tmp_path / "m.onnx", [node], *ends, {}, STATED))


def test_uint8_input_is_fed_as_it_is_and_never_normalised(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Neg", ["x"], ["logits"]),
    ]
    dims = ["N", 3, "H", "W"]
    ends = [value("image", dims, TensorProto.UINT8)], [value("logits", dims)]
    rgb = picture()
    model = TaskModel(save(tmp_path / "m.onnx", nodes, *ends, {}, STATED))
    np.testing.assert_array_equal(model.logits(rgb), -rgb.transpose(0, 3, 1, 2).astype(np.float32))
    with pytest.raises(ModelError, match="uint8 input"):
        TaskModel(save(tmp_path / "n.onnx", nodes, *ends, {}, STATED | {"mean": "1,2,3"}))


def test_output_is_chosen_by_name(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["image"], ["first"]), helper.make_node("Neg", ["image"], ["second"])]
    dims = ["N", 3, "H", "W"]
    ends = [value("image", dims)], [value("first", dims), value("second", dims)]
    path = save(tmp_path / "m.onnx", nodes, *ends, {}, STATED)
    rgb = picture()
    chosen = TaskModel(path, options=ModelOptions(output="second"))
    np.testing.assert_array_equal(chosen.logits(rgb), -TaskModel(path).logits(rgb))
    with pytest.raises(ModelError, match="first, second"):
        TaskModel(path, options=ModelOptions(output="third"))


@pytest.mark.parametrize("content", [b"", b"not a network", bytes(range(256)) * 40])
def test_a_file_that_is_no_network(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.onnx") as caught:
        TaskModel(path)
    assert "\n" not in str(caught.value)


def test_truncated_network(tmp_path: Path) -> None:
    path = linear(tmp_path / "m.onnx", STATED)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ModelError):
        TaskModel(path)


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no network file .*nothing\.onnx"):
        TaskModel(tmp_path / "nothing.onnx")


def test_cuda_is_never_replaced_by_cpu(tmp_path: Path) -> None:
    path = linear(tmp_path / "m.onnx", STATED)
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has the CUDA provider")
    with pytest.raises(DeviceError, match="CUDAExecutionProvider"):
        TaskModel(path, device="cuda")
    with pytest.raises(DeviceError, match="tpu"):
        TaskModel(path, device="tpu")


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 4, 3), np.uint8)]
)
def test_pictures_of_the_wrong_kind(tmp_path: Path, wrong: np.ndarray) -> None:
    with pytest.raises(ModelError, match="uint8 RGB"):
        TaskModel(linear(tmp_path / "m.onnx", STATED)).logits(wrong)


def test_a_network_that_fails_at_run_time_names_the_shape(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["image", "bias"], ["logits"])
    ends = [value("image", ["N", 3, "H", "W"])], [value("logits", ["N", 3, "H", "W"])]
    path = save(tmp_path / "m.onnx", [node], *ends, {"bias": np.zeros((1, 3, 7, 9), np.float32)}, STATED)
    with pytest.raises(ModelError, match=r"\(1, 3, 24, 32\)"):
        TaskModel(path).logits(picture())


@pytest.mark.parametrize("path", [default_model_path(), judge_model_path(), robust_model_path()])
@pytest.mark.parametrize("size", [(360, 480), (333, 251), (64, 48)])
def test_shipped_networks_take_any_size(path: Path, size: tuple[int, int]) -> None:
    model = TaskModel(path, threads=2)
    assert model.logits(picture(*size)).shape == (1, 11, *size)
    assert model.classes[0] == "Sky" and len(model.classes) == 11


def test_shipped_driver_is_small_and_of_another_architecture_than_the_judge() -> None:
    assert default_model_path().stat().st_size <= 8_000_000
    archs = [
        onnxruntime.InferenceSession(str(p), providers=["CPUExecutionProvider"]).get_modelmeta().custom_metadata_map
        for p in (default_model_path(), judge_model_path())
    ]
    assert archs[0]["mrdo.arch"] != archs[1]["mrdo.arch"]


@pytest.mark.slow
def test_shipped_driver_reaches_its_accuracy_on_camvid_val(camvid: Path) -> None:
    from models.train.data import load_folder_pair
    from models.train.evaluate import confusion_matrix, scores_of

    model = TaskModel(default_model_path(), threads=2)
    samples = load_folder_pair(camvid / "val", camvid / "valannot", 11)
    confusion = sum(
        confusion_matrix(model.labels(image)[0], label, 11)
        for image, label in zip(samples.images, samples.labels, strict=True)
    )
    assert scores_of(np.asarray(confusion), model.classes).miou >= 0.62


def test_error_messages_are_single_lines(tmp_path: Path) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: TaskModel(linear(tmp_path / "a.onnx", {})),
        lambda: TaskModel(tmp_path / "absent.onnx"),
        lambda: TaskModel(linear(tmp_path / "b.onnx", STATED), device="cuda"),
    ]
    for attempt in attempts:
        with pytest.raises((ModelError, DeviceError)) as caught:
            attempt()
        assert "\n" not in str(caught.value)

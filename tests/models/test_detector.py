"""Detectors in ONNX: order, sizes and refusals, on a file built by hand whose boxes follow the picture's size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder_bridge.errors import DeviceError, ModelError
from models.detector import DetectorModel
from models.metadata import ModelOptions

onnx = pytest.importorskip("onnx")

STATED = ModelOptions(layout="NCHW", color="RGB", range="0..255", mean=(0, 0, 0), std=(1, 1, 1), classes=("a", "b"))
SCORES = [0.25, 0.75]


def build(path: Path, size: tuple[Any, Any] = ("H", "W"), batch: Any = 1, **changes: Any) -> Path:
    """Two boxes: the whole picture with the picture's mean as its score's place, and its upper left quarter."""
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, array: Any) -> Any:
        return numpy_helper.from_array(np.asarray(array), name)

    stored = [
        constant("wanted", np.array([3, 2, 3, 2], np.int64)),
        constant("shares", changes.get("shares", np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5]], np.float32))),
        constant("given_labels", changes.get("labels", np.array([0, 1], np.int64))),
        constant("given_scores", changes.get("scores", np.array(SCORES, np.float32))),
    ]
    kinds = {"labels": TensorProto.INT64 if stored[2].data_type == TensorProto.INT64 else TensorProto.FLOAT}
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Gather", ["shape", "wanted"], ["sides"]),
        helper.make_node("Cast", ["sides"], ["lengths"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["shares", "lengths"], ["boxes"]),
        helper.make_node("Identity", ["given_labels"], ["labels"]),
        helper.make_node("Identity", ["given_scores"], [changes.get("name", "scores")]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, *size])
    outputs = [
        helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), None)
        for name in ("boxes", "labels", changes.get("name", "scores"))
    ]
    graph = helper.make_graph(nodes, "detector", [image], outputs, stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def pictures(count: int, height: int, width: int) -> np.ndarray:
    return np.zeros((count, height, width, 3), np.uint8)


def test_detections_come_best_first_in_pixels_of_each_picture(tmp_path: Path) -> None:
    model = DetectorModel(build(tmp_path / "d.onnx"), options=STATED)
    assert model.classes == ("a", "b") and model.name == "d"
    found = model.detect(pictures(3, 40, 60))
    assert len(found) == 3 and len(found[0]) == 2
    np.testing.assert_array_equal(found[2].boxes, [[0, 0, 30, 20], [0, 0, 60, 40]])
    np.testing.assert_array_equal(found[2].labels, [1, 0])
    np.testing.assert_array_equal(found[2].scores, np.array([0.75, 0.25], np.float32))
    assert (found[0].boxes.dtype, found[0].labels.dtype, found[0].scores.dtype) == (np.float32, np.int64, np.float32)
    (single,) = model.detect(pictures(1, 10, 20)[0])
    np.testing.assert_array_equal(single.boxes[1], [0, 0, 20, 10])


def test_boxes_of_a_fixed_size_come_back_to_the_picture(tmp_path: Path) -> None:
    model = DetectorModel(build(tmp_path / "d.onnx", size=(32, 64)), options=STATED)
    assert model.spec.size == (32, 64)
    (found,) = model.detect(pictures(1, 50, 90))
    np.testing.assert_allclose(found.boxes, [[0, 0, 45, 25], [0, 0, 90, 50]])


def test_digest_depends_on_file_and_options(tmp_path: Path) -> None:
    path = build(tmp_path / "d.onnx")
    one, other = DetectorModel(path, options=STATED), DetectorModel(path, options=ModelOptions(**{
        **STATED.as_dict(), "color": "BGR"}))  # fmt: skip
    assert one.digest() != other.digest() and len(one.digest()) == 64
    assert one.digest() == DetectorModel(path, options=STATED).digest()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": np.array([0.5], np.float32)}, r"boxes \(2, 4\), labels \(2,\), scores \(1,\); expected \(D, 4\)"),
        ({"labels": np.array([0, 1], np.float32)}, "expected integer labels"),
        ({"scores": np.array([0.5, np.nan], np.float32)}, "not finite"),
    ],
)
def test_answers_that_are_no_detections_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    model = DetectorModel(build(tmp_path / "d.onnx", **changes), options=STATED)
    with pytest.raises(ModelError, match=message):
        model.detect(pictures(1, 16, 16))


def test_files_that_are_no_detectors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a detector has boxes, labels and scores"):
        DetectorModel(build(tmp_path / "a.onnx", name="confidence"), options=STATED)
    with pytest.raises(ModelError, match="takes 4 pictures at once"):
        DetectorModel(build(tmp_path / "b.onnx", batch=4), options=STATED)
    with pytest.raises(ModelError, match="does not state its input color, range, mean, std"):
        DetectorModel(build(tmp_path / "c.onnx"))
    with pytest.raises(ModelError, match="no network file"):
        DetectorModel(tmp_path / "none.onnx")
    with pytest.raises(DeviceError, match="expected cpu or cuda"):
        DetectorModel(tmp_path / "c.onnx", device="tpu")
    model = DetectorModel(tmp_path / "c.onnx", options=STATED)
    with pytest.raises(ModelError, match="uint8 RGB"):
        model.detect(np.zeros((1, 8, 8, 3), np.float32))  # type: ignore[arg-type]

"""Task networks of the object metrics: decoding, training, export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder_bridge.errors import ConfigError, ModelError
from models.objects.faces import face_pictures
from models.objects.plates import ALPHABET, plate_pictures
from models.objects.tasks import CentrePoints, Detector, Embedder, Reader, decode, likeliest_text
from models.objects.types import ObjectSet

torch = pytest.importorskip("torch")

from models.train import objects  # noqa: E402
from models.train.full_reference import normalised  # noqa: E402
from models.train.trainer import LoopOptions  # noqa: E402

SHORT = objects.TaskTraining(steps=2, batch=4)


def squares(count: int = 8, side: int = 64) -> ObjectSet:
    """Bright squares (class 0) and bars (class 1) on grey."""
    rng = np.random.default_rng(1)
    images = np.full((count, side, side, 3), 80, np.uint8)
    boxes, labels = [], []
    for image in images:
        kind, x, y = int(rng.integers(2)), int(rng.integers(4, 28)), int(rng.integers(4, 28))
        wide, tall = ((24, 24), (32, 12))[kind]
        image[y : y + tall, x : x + wide] = rng.integers(160, 255, 3)
        boxes.append((x, y, x + wide, y + tall))
        labels.append(kind)
    names = ("square", "bar")
    return ObjectSet(images, np.arange(count), np.array(boxes, np.float32), np.array(labels), names=names)


def test_a_peak_becomes_its_box():
    heat, sides = np.zeros((2, 8, 8), np.float32), np.zeros((4, 8, 8), np.float32)
    heat[1, 3, 5], heat[1, 3, 4], heat[0, 0, 0] = 0.9, 0.8, 0.2
    sides[:, 3, 5] = (6, 4, 2, 10)
    found = decode(heat, sides, 4.0, 0.3)
    assert found.labels.tolist() == [1]
    assert found.boxes[0].tolist() == [16.0, 10.0, 24.0, 24.0]
    assert found.scores[0] == pytest.approx(0.9)


def test_nothing_above_the_score_is_nothing_found():
    found = decode(np.full((1, 4, 4), 0.1, np.float32), np.ones((4, 4, 4), np.float32), 4.0, 0.3)
    assert found.boxes.shape == (0, 4)


def test_positions_without_a_character_are_left_out():
    characters = np.eye(4)[[[0, 1, 1, 0, 2, 3], [0, 0, 0, 0, 0, 0]]]
    assert likeliest_text(characters, "abc") == ["aabc", ""]


def test_the_detectors_target_is_found_again_by_decoding():
    data = squares(1)
    heat, sides, weight = objects._detector_target(data, 0, False, 2)
    found = decode(heat, sides, 4.0, 0.9)
    assert found.labels.tolist() == data.labels.tolist()
    assert np.abs(found.boxes - data.boxes).max() < 1e-4
    assert weight.sum() == pytest.approx(1.0, abs=1e-5)


def test_a_mirrored_target_is_the_mirrored_box():
    data = squares(1)
    heat, sides, _ = objects._detector_target(data, 0, True, 2)
    box = decode(heat, sides, 4.0, 0.9).boxes[0]
    assert box[[2, 0]] == pytest.approx(64 - data.boxes[0, [0, 2]], abs=1e-4)


@pytest.mark.slow
def test_a_detector_learns_to_find_squares(tmp_path: Path):
    data = squares(64)
    training = objects.TaskTraining(steps=60, batch=8, lr=3e-3)
    network = objects.train_detector(data, training, LoopOptions(tmp_path / "run"))
    path = tmp_path / "network.onnx"
    objects.export_task(network, path, "detection", (64, 64), {"classes": "square,bar"})
    found = Detector(path)(data.images)
    best = [f.boxes[0] for f in found if len(f.boxes)]
    assert len(best) >= 56
    error = [np.abs(f.boxes[0] - b).max() for f, b in zip(found, data.boxes, strict=True) if len(f.boxes)]
    assert np.median(error) < 6


def test_onnx_and_torch_agree_at_any_size(tmp_path: Path):
    network = objects.train_detector(squares(), SHORT, LoopOptions(tmp_path / "run"))
    path = tmp_path / "network.onnx"
    objects.export_task(network, path, "detection", (64, 64), {})
    pictures = np.random.default_rng(0).integers(0, 255, (2, 96, 128, 3), dtype=np.uint8)
    with torch.no_grad():
        heat, sides = network(torch.from_numpy(normalised(pictures)[0]))
    made = CentrePoints(path)._run(pictures)
    assert np.abs(made[0] - torch.sigmoid(heat).numpy()).max() < 1e-4
    assert np.abs(made[1] - sides.numpy()).max() < 1e-3


def test_reader_and_embedder_travel_through_onnx(tmp_path: Path):
    plates, faces = plate_pictures(1, 6), face_pictures(1, 3, 2)
    reader = objects.train_reader(plates, ALPHABET, SHORT, LoopOptions(tmp_path / "a"))
    objects.export_task(reader, tmp_path / "a.onnx", "plate", (64, 64), {"alphabet": ALPHABET})
    texts = Reader(tmp_path / "a.onnx")(plates.images)
    with torch.no_grad():
        characters = reader(torch.from_numpy(normalised(plates.images)[0])).numpy()
    assert characters.shape == (6, 7, len(ALPHABET) + 1)
    assert texts == likeliest_text(characters, ALPHABET)

    embedder = objects.train_embedder(faces, SHORT, LoopOptions(tmp_path / "b"))
    objects.export_task(embedder, tmp_path / "b.onnx", "face", (64, 64), {})
    vectors = Embedder(tmp_path / "b.onnx")(faces.images)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    with torch.no_grad():
        direct = embedder(torch.from_numpy(normalised(faces.images)[0])).numpy()
    assert np.abs(vectors - direct).max() < 1e-4


def test_a_network_of_another_task_is_refused(tmp_path: Path):
    embedder = objects.train_embedder(face_pictures(1, 2, 2), SHORT, LoopOptions(tmp_path / "b"))
    objects.export_task(embedder, tmp_path / "b.onnx", "face", (64, 64), {})
    with pytest.raises(ModelError, match="expected task 'detection'"):
        Detector(tmp_path / "b.onnx")
    with pytest.raises(ModelError, match="expected task 'plate'"):
        Reader(tmp_path / "b.onnx")


def test_what_cannot_be_learned_is_refused(tmp_path: Path):
    plates, options = plate_pictures(1, 4), LoopOptions(tmp_path)
    with pytest.raises(ConfigError, match="expected characters of XYZ"):
        objects.train_reader(plates, "XYZ", SHORT, options)
    with pytest.raises(ConfigError, match="identity"):
        objects.train_embedder(plates, SHORT, options)
    nothing = ObjectSet(plates.images, np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    with pytest.raises(ConfigError, match="no boxes"):
        objects.train_detector(nothing, SHORT, options)


def test_pairs_are_drawn_from_every_task_alike():
    pictures = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8)
    sources = [
        objects.CodedObjects(pictures, pictures + 10, np.arange(4), np.full(4, v, np.float32)) for v in (0.0, 0.5, 1.0)
    ]
    mixed = objects.Mixed(sources)
    originals, coded, targets = mixed.draw(np.random.default_rng(0), 10)
    assert len(mixed) == 12 and originals.shape == coded.shape == (10, 16, 16, 3)
    assert (coded == originals + 10).all()
    assert np.unique(targets, return_counts=True)[1].min() >= 3
    again = mixed.draw(np.random.default_rng(0), 10)
    assert (again[0] == originals).all()


def test_any_detector_of_boxes_labels_and_scores_serves(tmp_path: Path):
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto
    parts = {
        "boxes": np.float32([[1, 2, 30, 40], [0, 0, 5, 5]]),
        "labels": np.int64([1, 0]),
        "scores": np.float32([0.9, 0.1]),
    }
    nodes = [helper.make_node("Constant", [], [n], value=onnx.numpy_helper.from_array(a)) for n, a in parts.items()]
    outputs = [helper.make_tensor_value_info(n, kind.INT64 if n == "labels" else kind.FLOAT, None) for n in parts]
    image = helper.make_tensor_value_info("image", kind.FLOAT, [1, 3, None, None])
    model = helper.make_model(
        helper.make_graph(nodes, "fixed", [image], outputs), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    stated = {"mrdo.task": "detection", "mrdo.color": "RGB", "mrdo.range": "0..255", "mrdo.mean": "0,0,0"}
    helper.set_model_props(model, {**stated, "mrdo.std": "1,1,1", "mrdo.classes": "tree,car"})
    onnx.save(model, tmp_path / "fixed.onnx")
    detector = Detector(tmp_path / "fixed.onnx")
    found = detector(np.zeros((2, 48, 64, 3), np.uint8))
    assert detector.classes == ("tree", "car")
    assert [f.boxes.tolist() for f in found] == [[[1, 2, 30, 40]]] * 2


def test_a_metric_on_features_of_several_levels_is_the_same_in_onnx(tmp_path: Path):
    pytest.importorskip("efficientnet_lite_pytorch")
    from models.block_model import BlockModel
    from models.train.full_reference import FullReferenceConfig, export_full_reference, predict

    pictures = plate_pictures(1, 6).images
    pairs = objects.CodedObjects(pictures, pictures[::-1].copy(), np.arange(6), np.linspace(0, 1, 6).astype(np.float32))
    config = FullReferenceConfig("lite0-levels", 64, steps=2, batch=4)
    network = objects.train_metric(config, [pairs], LoopOptions(tmp_path / "run"))
    export_full_reference(network, tmp_path / "metric.onnx", {})
    expected = predict(network, pictures, pictures[::-1].copy())[:, 0]
    assert np.abs(BlockModel(tmp_path / "metric.onnx")(pictures, pictures[::-1].copy()) - expected).max() < 1e-4

"""AP over windows beside metrics of the same frames, from pictures on disk to `mrdo metrics detection`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from encoder_bridge.errors import ConfigError, MetricInputError
from encoder_bridge.shell import run_cli
from models.detector import Detections
from rdo_metrics.objects import OBJECT_MEASURES, Matching, Objects
from sweeps.boxes import read_boxes
from sweeps.cli import cli
from sweeps.detection_quality import (
    Watched,
    above,
    correlations,
    correlations_of,
    frame_metrics,
    joined,
    luma_psnr,
    luma_ssim,
    watch,
    windows,
)

pytest.importorskip("pycocotools")

SIZE = (96, 64)
BOX = np.array([[16.0, 16.0, 48.0, 40.0]], np.float32)


def frames(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 8, 12, 3)).repeat(8, 1).repeat(8, 2).astype(np.uint8)


def noisy(pictures: np.ndarray, amplitude: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 1, pictures.shape) * amplitude
    return np.clip(pictures + noise, 0, 255).astype(np.uint8)


def layer(rgb: np.ndarray) -> list[np.ndarray]:
    return [rgb.transpose(0, 3, 1, 2).astype(np.float32)]


def finder(limit: float):
    """Finds ``BOX``, off by more the rougher the picture."""

    def detect(rgb: np.ndarray) -> list[Detections]:
        rough = float(np.abs(np.diff(rgb[0].astype(float), axis=1)).mean())
        shift = np.array([rough / limit, 0, rough / limit, 0], np.float32)
        return [Detections(BOX + shift, np.zeros(1, np.int64), np.ones(1, np.float32))]

    return detect


def test_windows_of_worse_video_have_less_ap_and_metrics_say_so():
    originals, truth = frames(6), [Objects(BOX, np.zeros(1, np.int64))] * 6
    parts = []
    for amplitude in (2.0, 20.0, 60.0):
        seen = watch(originals, noisy(originals, amplitude), finder(8.0), frame_metrics({"": layer}))
        parts.append(windows(Matching(truth, seen.found), seen, 3))
    found = joined(parts)
    assert found.ap.shape == (6,) and found.ap[0] > found.ap[2] > found.ap[4]
    assert set(found.values) == {"PSNR", "SSIM", "DCT ratio", "DCT log"}
    assert all(c.srocc > 0.9 and c.count == 6 for c in correlations(found).values())
    with pytest.raises(MetricInputError, match="1 different"):
        correlations(found, "ap50")


def test_what_was_seen_survives_a_file(tmp_path: Path):
    nothing = Objects(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
    one = Objects(BOX, np.array([2]), np.array([0.5]))
    seen = Watched((nothing, one, nothing), {"PSNR": np.array([30.0, 31.0, 32.0])})
    seen.save(tmp_path / "seen.npz")
    again = Watched.load(tmp_path / "seen.npz")
    assert [len(f) for f in again.found] == [0, 1, 0] and again.found[1].labels.tolist() == [2]
    assert (again.found[1].boxes == BOX).all() and again.values["PSNR"].tolist() == [30.0, 31.0, 32.0]
    assert [len(f) for f in above(again.found, 0.6)] == [0, 0, 0]


def test_videos_of_different_lengths_are_refused():
    with pytest.raises(MetricInputError, match="differ in length after 3 frames"):
        watch(frames(4), frames(3), finder(1.0), frame_metrics({}))


def test_psnr_and_ssim_of_equal_and_flat_pictures():
    picture = frames(1)[0]
    assert (luma_psnr(picture, picture), luma_ssim(picture, picture)) == (100.0, pytest.approx(1.0))
    grey = np.full_like(picture, 100)
    assert luma_psnr(grey, grey + 5) == pytest.approx(20 * np.log10(255 / 5), abs=1e-3)


def test_too_few_windows_give_no_correlation():
    originals = frames(2)
    seen = watch(originals, originals, finder(8.0), frame_metrics({}))
    truth = [Objects(BOX, np.zeros(1, np.int64))] * 2
    assert correlations_of([None]) == {} == correlations_of([windows(Matching(truth, seen.found), seen, 1)])


def coco(path: Path, count: int, **changes: Any) -> Path:
    content = {
        "images": [{"id": 10 - k} for k in range(count)],
        "categories": [{"id": 7, "name": "Car"}, {"id": 8, "name": "tree"}],
        "annotations": [
            {"id": 1, "image_id": 10, "category_id": 7, "bbox": [1, 2, 3, 4]},
            {"id": 2, "image_id": 10, "category_id": 8, "bbox": [0, 0, 9, 9]},
            {"id": 3, "image_id": 9, "category_id": 7, "bbox": [5, 5, 2, 2], "iscrowd": 1},
        ],
    }
    path.write_text(json.dumps({**content, **changes}))
    return path


def test_boxes_are_read_in_the_order_of_image_ids(tmp_path: Path):
    found = read_boxes(coco(tmp_path / "a.json", 3), 3, ("person", "car"))
    assert [len(f) for f in found] == [0, 1, 1]
    assert found[2].boxes.tolist() == [[1, 2, 4, 6]] and found[2].labels.tolist() == [1]
    assert found[1].ignored is not None and found[1].ignored.tolist() == [True]
    assert read_boxes(coco(tmp_path / "a.json", 3), 3, ())[2].labels.tolist() == [7, 8]


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"images": []}, "0 images for 3 frames"), ({"categories": [{"id": 7, "name": "dog"}]}, "detector knows car"),
     ({"annotations": 5}, "no list 'annotations'")],
)  # fmt: skip
def test_other_annotation_files_are_refused(tmp_path: Path, changes: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        read_boxes(coco(tmp_path / "a.json", 3, **changes), 3, ("car",))
    (tmp_path / "b.json").write_text("[")
    with pytest.raises(ConfigError, match="COCO annotation file"):
        read_boxes(tmp_path / "b.json", 3, ("car",))


def detector_file(path: Path) -> Path:
    """An ONNX detector that always finds the upper left quarter."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    stored = [
        numpy_helper.from_array(np.array([3, 2, 3, 2], np.int64), "wanted"),
        numpy_helper.from_array(np.array([[0, 0, 0.5, 0.5]], np.float32), "shares"),
        numpy_helper.from_array(np.array([0], np.int64), "given_labels"),
        numpy_helper.from_array(np.array([0.9], np.float32), "given_scores"),
    ]
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Gather", ["shape", "wanted"], ["sides"]),
        helper.make_node("Cast", ["sides"], ["lengths"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["shares", "lengths"], ["boxes"]),
        helper.make_node("Identity", ["given_labels"], ["labels"]),
        helper.make_node("Identity", ["given_scores"], ["scores"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "H", "W"])
    kinds = {"boxes": TensorProto.FLOAT, "labels": TensorProto.INT64, "scores": TensorProto.FLOAT}
    outputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "d", [image], outputs, stored),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    said = {"task": "detection", "layout": "NCHW", "color": "RGB", "range": "0..255", "mean": "0,0,0", "std": "1,1,1"}
    helper.set_model_props(model, {f"mrdo.{k}": v for k, v in {**said, "classes": "car"}.items()})
    onnx.save(model, str(path))
    return path


def video(folder: Path, pictures: np.ndarray) -> Path:
    folder.mkdir()
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{index:03d}.png"), picture[..., ::-1])
    return folder


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_command_scores_each_video_and_correlates(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    originals = frames(4)
    videos = [video(tmp_path / n, noisy(originals, a)) for n, a in (("o", 0.0), ("a", 5.0), ("b", 50.0))]
    # True boxes: the detector's in the first two frames, elsewhere in the others.
    rows = [{"id": k, "image_id": k, "category_id": 1, "bbox": [0, 0, 48, 32] if k < 2 else [60, 40, 20, 20]}
            for k in range(4)]  # fmt: skip
    coco(tmp_path / "t.json", 0, images=[{"id": k} for k in range(4)], annotations=rows,
         categories=[{"id": 1, "name": "car"}])  # fmt: skip
    detector = detector_file(tmp_path / "d.onnx")
    command = ["metrics", "detection", *map(str, videos), "--detector", str(detector), "--window", "2", "--json"]
    assert run_cli(cli, [*command, "--boxes", str(tmp_path / "t.json")]) == 0
    found = events(capsys)
    rows = {Path(e["video"]).name: e for e in found if e["event"] == "video"}
    assert rows["a"]["Object IoU"] == pytest.approx(0.5) and rows["a"]["Delta Object IoU"] == 0.0
    assert rows["a"]["AP"] == pytest.approx(rows["b"]["AP"]) and 0 < rows["a"]["AP"] < 1
    assert rows["a"]["PSNR"] > rows["b"]["PSNR"] and rows["a"]["DCT log"] < rows["b"]["DCT log"]
    metrics = {e["metric"] for e in found if e["event"] == "correlation"}
    assert metrics == {"PSNR", "SSIM", "DCT ratio", "DCT log"}
    assert found[-1] == {"event": "result", "videos": 2, "windows": 4}
    # Without true boxes those found in INPUT stand for them.
    assert run_cli(cli, command) == 0
    assert [e["AP"] for e in events(capsys) if e["event"] == "video"] == [pytest.approx(1.0)] * 2


def test_the_list_of_metrics_has_the_measures_of_objects(capsys: pytest.CaptureFixture[str]):
    assert run_cli(cli, ["metrics", "list", "--json"]) == 0
    rows = {e["name"]: e for e in events(capsys) if e.get("family") == "object"}
    assert set(rows) == set(OBJECT_MEASURES) and rows["ap"]["range"] == [0, 1] and rows["ap"]["higher_is_better"]
    assert rows["delta-object-iou"]["task"] == "detection" and not rows["delta-object-iou"]["higher_is_better"]

"""Object metrics end to end: codecs, losses, scores, and the chain of ``mrdo train objects``."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from encoder_bridge.encoder import BuildInfo
from encoder_bridge.errors import ConfigError
from models.objects.faces import face_pictures
from models.objects.plates import plate_pictures
from models.objects.types import ObjectSet
from sweeps.commands.train_objects import command
from sweeps.object_codecs import CODECS, HELD_OUT, TRAINED, through_420
from sweeps.object_data import CodedCrops, _same_classes, code_objects, load_objects, quantiles, save_objects
from sweeps.object_plan import ObjectRequest
from sweeps.object_scores import Scored, rank_correlation, score
from sweeps.object_training import run_objects

IMAGE_CODECS = ("jpeg", "mpeg4", "h264", "webp", "jpeg2000")


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.square(a.astype(float) - b).mean())


@pytest.mark.parametrize("name", IMAGE_CODECS)
def test_a_codec_gives_its_pictures_back_worse_the_coarser(name: str):
    pictures = through_420(plate_pictures(1, 3).images)
    codec = CODECS[name]
    coded = [codec.code(pictures, level) for level in (codec.levels[0], codec.levels[-1])]
    assert all(c.shape == pictures.shape and c.dtype == np.uint8 for c in coded)
    errors = [error(c, pictures) for c in coded]
    assert errors[0] < 150 and errors[0] < errors[1]
    # Each picture is itself, not its neighbour.
    assert error(coded[0][1], pictures[1]) < error(coded[0][1], pictures[0])


def test_x265_codes_pictures_as_well(x265_hooked: BuildInfo):
    pictures = through_420(face_pictures(1, 2, 1).images)
    fine, coarse = (CODECS["x265"].code(pictures, qp) for qp in (22, 51))
    assert error(fine, pictures) < 40 < error(coarse, pictures)


def test_held_out_codecs_are_held_out():
    assert not set(TRAINED) & set(HELD_OUT)
    assert {*TRAINED, *HELD_OUT} == set(CODECS)


def test_odd_sides_are_refused():
    with pytest.raises(ConfigError, match="even"):
        through_420(np.zeros((1, 9, 8, 3), np.uint8))


class Brightness:
    """A task whose loss is the change of each object's mean."""

    def __init__(self, data: ObjectSet) -> None:
        self._data = data

    def __call__(self, pictures: np.ndarray, coded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        before = self._data.images[pictures].mean(axis=(1, 2, 3))
        return pictures, np.abs(coded.mean(axis=(1, 2, 3)) - before)

    def accuracy(self) -> dict[str, float]:
        return {}


def coded_plates(count: int = 24, each: int = 4, codecs: tuple[str, ...] = ("jpeg", "webp")) -> CodedCrops:
    plates = plate_pictures(1, count)
    return code_objects(plates, Brightness(plates), codecs, each)


def test_crops_lie_beside_their_originals_and_losses():
    crops = coded_plates(6, 3)
    assert len(crops.coded) == 18 and np.bincount(crops.index).tolist() == [3] * 6
    originals = crops.originals[crops.index].astype(float)
    change = np.abs(crops.coded.mean(axis=(1, 2, 3)) - originals.mean(axis=(1, 2, 3)))
    assert crops.loss == pytest.approx(change)
    assert set(crops.codec) == {"jpeg", "webp"}
    point = (crops.codec == "jpeg") & (crops.level == CODECS["jpeg"].levels[-1])
    assert point.any()


def test_classes_are_matched_by_name():
    assert _same_classes(("dog", "Car", "cat"), ("cat", "car")).tolist() == [-1, 1, 0]
    assert _same_classes(("dog",), ("cat",)) is None
    assert _same_classes((), ("cat",)) is None


def test_an_unknown_codec_is_refused():
    plates = plate_pictures(1, 2)
    with pytest.raises(ConfigError, match="'vhs'"):
        code_objects(plates, Brightness(plates), ["vhs"], 1)


def test_crops_and_sets_survive_a_file(tmp_path: Path):
    crops, plates = coded_plates(3, 2), plate_pictures(1, 3)
    crops.save(tmp_path / "crops.npz")
    again = CodedCrops.load(tmp_path / "crops.npz")
    assert (again.coded == crops.coded).all() and again.codec.tolist() == crops.codec.tolist()
    save_objects(plates, tmp_path / "set.npz")
    assert load_objects(tmp_path / "set.npz").texts == plates.texts


def test_quantiles_keep_the_order_and_fill_the_scale():
    losses = np.array([0.0, 0.0, 0.2, 0.9])
    assert quantiles(losses, losses).tolist() == [0.25, 0.25, 0.625, 0.875]
    assert quantiles(np.array([-1.0, 2.0]), losses).tolist() == [0.0, 1.0]


def test_rank_correlation_of_what_has_no_order_is_none():
    values = np.arange(20.0)
    assert rank_correlation(values, values**3) == pytest.approx(1.0)
    assert rank_correlation(values, np.ones(20)) is None
    assert rank_correlation(values[:5], values[:5]) is None


def test_baselines_predict_a_loss_that_follows_quality():
    pytest.importorskip("piq")
    pytest.importorskip("efficientnet_lite_pytorch")
    crops = coded_plates(24, 5)
    squared = np.square(crops.originals[crops.index].astype(float) - crops.coded).mean(axis=(1, 2, 3))
    crops = CodedCrops(crops.originals, crops.coded, crops.index, squared, crops.codec, crops.level)
    found = {s.metric: s for s in score(crops, {}, ["jpeg"], ["webp"])}
    assert set(found) == {"PSNR", "SSIM", "VIF", "features"}
    assert found["PSNR"].known == pytest.approx(1.0)
    assert all(isinstance(s, Scored) and s.known is not None and s.known > 0.5 for s in found.values())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tasks": ("cooking",)}, "cooking"),
        ({"data": Path("x")}, "belong together"),
        ({"data": Path("x"), "fmt": "coco"}, "one task"),
        ({"side": 96}, "embedder"),
        ({"network": Path("x")}, "one task"),
        ({"network": Path("x"), "tasks": ("face",)}, "no such file"),
    ],
)
def test_requests_that_make_no_sense_are_refused(changes: dict, expected: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=expected):
        ObjectRequest(tmp_path, **changes)


TINY = ("--pictures", "0.01", "--task-steps", "4", "--metric-steps", "3", "--threads", "2")


def run(arguments: list[str]) -> list[dict]:
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_the_chain_of_faces_and_plates(tmp_path: Path, x265_hooked: BuildInfo):
    pytest.importorskip("piq")
    pytest.importorskip("rapidfuzz")
    from encoder_bridge.console import Reporter

    request = ObjectRequest(tmp_path, ("face", "plate"), pictures=0.02, task_steps=4, metric_steps=3, threads=2)
    results = run_objects(request, Reporter(json=True))
    assert results is not None and set(results) == {"face", "plate"}
    names = [s["metric"] for s in results["face"]["scores"]]
    assert names == ["PSNR", "SSIM", "VIF", "features", "specific", "general"]
    assert {p.name for p in (tmp_path / "face").iterdir()} >= {"network.onnx", "metric.onnx", "crops_test.npz"}
    assert (tmp_path / "general" / "metric.onnx").is_file()
    made = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.onnx")}
    again = run_objects(request, Reporter(json=True))
    assert again is not None and again["face"]["scores"] == results["face"]["scores"]
    assert made == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.onnx")}


@pytest.mark.slow
def test_the_command_stops_in_time_goes_on_and_knows_its_settings(tmp_path: Path, x265_hooked: BuildInfo):
    pytest.importorskip("piq")
    pytest.importorskip("rapidfuzz")
    first = ["--task", "plate", "-o", str(tmp_path / "o"), "--json", *TINY]
    stopped = run([*first, "--minutes", "0.0001"])
    assert stopped[-1]["event"] == "result" and stopped[-1]["finished"] is False
    events = run(first)
    assert events[-1]["finished"] is True
    scores = [e for e in events if e["event"] == "score"]
    assert {e["metric"] for e in scores} == {"PSNR", "SSIM", "VIF", "features", "specific"}
    with pytest.raises(ConfigError, match="seed"):
        run([*first, "--seed", "5"])


def coco_of_tiles(folder: Path, count: int) -> None:
    """Chequered tiles on grey, as a COCO set."""
    rng = np.random.default_rng(4)
    (folder / "annotations").mkdir(parents=True)
    (folder / "val2017").mkdir()
    images, boxes = [], []
    for i in range(count):
        picture = np.clip(rng.normal(110, 12, (96, 128, 3)), 0, 255).astype(np.uint8)
        x, y, wide = (int(v) for v in rng.integers((4, 4, 24), (80, 50, 40)))
        tile = np.indices((wide, wide)).sum(axis=0) // 6 % 2 * 180 + 40
        picture[y : y + wide, x : x + wide] = tile[..., None]
        assert cv2.imwrite(str(folder / "val2017" / f"{i}.png"), picture)
        images.append({"id": i, "file_name": f"{i}.png"})
        boxes.append({"image_id": i, "bbox": [x, y, wide, wide], "category_id": 1})
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "tile"}]}
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(content))


@pytest.mark.slow
def test_the_chain_of_detection_on_a_coco_folder(tmp_path: Path, x265_hooked: BuildInfo):
    pytest.importorskip("piq")
    pytest.importorskip("rapidfuzz")
    coco_of_tiles(tmp_path / "coco", 60)
    given = ["--task", "detection", "--data", str(tmp_path / "coco"), "--format", "coco", "-o", str(tmp_path / "o")]
    events = run([*given, "--json", "--task-steps", "90", "--metric-steps", "3", "--threads", "2"])
    assert events[-1]["finished"] is True
    results = json.loads((tmp_path / "o" / "results.json").read_text())["detection"]
    assert results["accuracy"]["found"] > 0.5
    with np.load(tmp_path / "o" / "detection" / "crops_train.npz") as crops:
        # Coarse coding costs the detector more than fine coding does.
        fine, coarse = (crops["loss"][(crops["codec"] == "x265") & (crops["level"] == qp)] for qp in (22, 51))
    assert coarse.mean() > fine.mean()

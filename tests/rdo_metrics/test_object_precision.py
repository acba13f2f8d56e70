"""AP against torchmetrics and against a plain implementation, and the rules for pictures without objects."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from encoder_bridge.errors import MetricInputError, ToolNotFoundError
from rdo_metrics.objects import (
    OBJECT_MEASURES,
    Matching,
    Objects,
    average_precision,
    box_iou,
    pseudo_truth,
    window_precision,
)

pytest.importorskip("pycocotools")

BOX = np.array([[0.0, 0.0, 10.0, 10.0]])
NOTHING = np.zeros((0, 4))
ONE = np.array([1])


def found(boxes: np.ndarray, labels: object = None, scores: object = None) -> Objects:
    count = len(boxes)
    return Objects(
        boxes,
        np.zeros(count, np.int64) if labels is None else np.asarray(labels, np.int64),
        np.linspace(0.9, 0.5, count) if scores is None else np.asarray(scores, np.float64),
    )


def true(boxes: np.ndarray, labels: object = None, ignored: object = None) -> Objects:
    return Objects(
        boxes,
        np.zeros(len(boxes), np.int64) if labels is None else np.asarray(labels, np.int64),
        None,
        None if ignored is None else np.asarray(ignored, bool),
    )


def random_pictures(seed: int, count: int, classes: int) -> tuple[list[Objects], list[Objects]]:
    """Boxes of all sizes; detections near them, twice, missing or elsewhere; some pictures without either."""
    rng = np.random.default_rng(seed)
    truth, detections = [], []
    for _ in range(count):
        boxes = _boxes(rng, int(rng.integers(0, 7)))
        labels = rng.integers(0, classes, len(boxes))
        near = np.repeat(boxes, rng.integers(0, 3, len(boxes)), axis=0)
        near = near + rng.normal(0, 4, near.shape)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        stray = _boxes(rng, int(rng.integers(0, 3)))
        given = np.concatenate([near, stray])
        guess = rng.choice(labels, len(given)) if len(labels) else rng.integers(0, classes, len(given))
        truth.append(true(boxes, labels))
        detections.append(found(given, guess, rng.random(len(given))))
    return truth, detections


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    low = rng.uniform(0, 200, (count, 2))
    return np.concatenate([low, low + rng.uniform(4, 150, (count, 2))], axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_ap_is_that_of_torchmetrics(seed: int):
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("torchmetrics.detection")
    truth, detections = random_pictures(seed, 25, 4)
    # Its own thresholds are float32, so that a recall of exactly 0.29 falls on the other side; COCO's are float64.
    thresholds = {
        "iou_thresholds": np.linspace(0.5, 0.95, 10).tolist(),
        "rec_thresholds": np.linspace(0, 1, 101).tolist(),
    }
    metric = library.MeanAveragePrecision(iou_type="bbox", class_metrics=True, **thresholds)
    metric.update(
        [{"boxes": torch.tensor(d.boxes), "scores": torch.tensor(d.scores), "labels": torch.tensor(d.labels)}
         for d in detections],
        [{"boxes": torch.tensor(t.boxes), "labels": torch.tensor(t.labels)} for t in truth],
    )  # fmt: skip
    expected, ours = metric.compute(), average_precision(truth, detections)
    assert 0.02 < ours.ap < 0.98
    for name, value in {"map": ours.ap, "map_50": ours.ap50, "map_75": ours.ap75, "mar_100": ours.recall}.items():
        assert value == pytest.approx(float(expected[name]), abs=1e-7), name
    assert list(ours.per_class.values()) == pytest.approx(expected["map_per_class"].tolist(), abs=1e-7)
    assert list(ours.per_class) == expected["classes"].tolist()


def plain_ap(truth: list[Objects], detections: list[Objects], label: int, threshold: float) -> float:
    """Greedy matching best first, precision made monotone, mean at 101 recalls."""
    rows = [(s, i, k) for i, d in enumerate(detections) for k, s in enumerate(d.scores) if d.labels[k] == label]
    total = sum(int((t.labels == label).sum()) for t in truth)
    taken = [np.zeros(len(t), bool) for t in truth]
    hits = []
    for _, i, k in sorted(rows, key=lambda row: -row[0]):
        iou = box_iou(detections[i].boxes[k : k + 1], truth[i].boxes)[0] if len(truth[i]) else np.zeros(0)
        iou = np.where((truth[i].labels == label) & ~taken[i], iou, -1)
        best = int(iou.argmax()) if iou.size else -1
        hit = best >= 0 and iou[best] >= threshold
        if hit:
            taken[i][best] = True
        hits.append(hit)
    right = np.cumsum(hits)
    recall, precision = right / total, right / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return float(np.mean([precision[p] if p < len(precision) else 0.0 for p in places]))


def test_ap_is_that_of_a_plain_implementation():
    truth, detections = random_pictures(7, 30, 2)
    ours = average_precision(truth, detections)
    for label in (0, 1):
        each = [plain_ap(truth, detections, label, t) for t in np.arange(0.5, 0.951, 0.05)]
        assert ours.per_class[label] == pytest.approx(np.mean(each), abs=1e-9)
        assert ours.per_class50[label] == pytest.approx(each[0], abs=1e-9)


def test_perfect_and_missing_detections():
    truth = [true(BOX), true(NOTHING)]
    perfect = average_precision(truth, [found(BOX), found(NOTHING)])
    assert (perfect.ap, perfect.ap50, perfect.recall) == pytest.approx((1.0, 1.0, 1.0)) and perfect.objects == 1
    assert average_precision(truth, [found(NOTHING), found(NOTHING)]).ap == 0.0


def test_detections_in_a_picture_without_objects_are_false_ones():
    truth = [true(BOX), true(NOTHING)]
    sure = [found(BOX, None, [0.5]), found(BOX, None, [0.9])]
    assert average_precision(truth, sure).ap == pytest.approx(0.5)
    # Pictures without either change nothing.
    empty = average_precision([*truth, true(NOTHING)], [*sure, found(NOTHING)])
    assert empty.ap == pytest.approx(0.5)


def test_classes_without_objects_are_left_out_and_no_objects_are_no_number():
    detections = [found(np.concatenate([BOX, BOX + 50]), [3, 8], [0.5, 0.9])]
    ours = average_precision([true(BOX, [3])], detections)
    assert ours.ap == pytest.approx(1.0) and list(ours.per_class) == [3]
    nothing = average_precision([true(NOTHING)], detections)
    assert np.isnan([nothing.ap, nothing.ap50, nothing.ap75, nothing.recall]).all() and nothing.objects == 0


def test_ignored_objects_are_neither_missed_nor_wrong_when_found():
    two = np.concatenate([BOX, BOX + 50])
    truth = [true(two, None, [False, True])]
    assert average_precision(truth, [found(BOX)]).ap == pytest.approx(1.0)
    assert average_precision(truth, [found(two, None, [0.5, 0.9])]).ap == pytest.approx(1.0)
    assert np.isnan(average_precision([true(BOX, None, [True])], [found(BOX)]).ap)


def test_windows_do_not_overlap_and_leave_out_the_rest():
    truth = [true(BOX)] * 7
    detections = [found(BOX)] * 3 + [found(NOTHING)] * 4
    assert [p.ap for p in window_precision(truth, detections, 3)] == pytest.approx([1.0, 0.0])
    assert [p.objects for p in window_precision(truth, detections, 2)] == [2, 2, 2]
    with pytest.raises(MetricInputError, match="windows of 8 frames in a video of 7"):
        window_precision(truth, detections, 8)


def test_a_part_of_a_matching_is_that_part_alone():
    truth, detections = random_pictures(11, 20, 3)
    matching = Matching(truth, detections)
    for part in (slice(0, 5), slice(7, 20, 2), slice(None)):
        assert matching.precision(part) == average_precision(truth[part], detections[part])
    assert np.isnan(matching.precision(slice(0, 0)).ap)


def test_pseudo_truth_is_what_is_surely_found():
    detections = [found(np.concatenate([BOX, BOX + 50]), [0, 1], [0.9, 0.2])]
    (pseudo,) = pseudo_truth(detections)
    assert pseudo.labels.tolist() == [0] and pseudo.scores is None
    assert average_precision([pseudo], detections).ap == pytest.approx(1.0)


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]):
    average_precision([true(BOX)], [found(BOX)])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: average_precision([true(BOX)], []),
        lambda: average_precision([true(BOX)], [true(BOX)]),
        lambda: Objects(BOX, np.array([0, 1])),
        lambda: Objects(BOX, np.array([-1])),
        lambda: Objects(BOX, np.array([0.5])),
        lambda: Objects(BOX, ONE, np.array([np.nan])),
        lambda: Objects(BOX[:, ::-1], ONE),
    ],
)
def test_what_is_no_picture_of_objects_is_refused(wrong):
    with pytest.raises(MetricInputError):
        wrong()


def test_without_pycocotools_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(ToolNotFoundError, match=r"machine-rdo\[objects\]"):
        average_precision([true(BOX)], [found(BOX)])


def test_registered_measures_know_best_and_direction():
    pytest.importorskip("rapidfuzz")
    faces = np.random.default_rng(2).standard_normal((4, 8))
    same = {
        "detection": ([true(BOX)], [found(BOX)], [found(BOX)]),
        "face": (faces, faces),
        "plate": (["AB12", "X"], ["AB12", "X"]),
    }
    worse = {
        "detection": ([true(BOX)], [found(BOX)], [found(BOX + np.array([6, 0, 6, 0]))]),
        "face": (faces, faces[::-1]),
        "plate": (["AB12", "X"], ["AC12", ""]),
    }
    assert {"ap", "ap50", "object-iou", "delta-object-iou", "cosine-similarity", "jaro"} == set(OBJECT_MEASURES)
    for name in OBJECT_MEASURES:
        measure = OBJECT_MEASURES.get(name)
        best, bad = measure.compute(*same[measure.task]), measure.compute(*worse[measure.task])
        assert best == pytest.approx(0.0 if name == "delta-object-iou" else 1.0)
        assert bad < best if measure.higher_better else bad > best
        assert measure.low <= bad <= measure.high and measure.description


def test_means_over_a_video_leave_out_ignored_objects_and_are_nan_without_any():
    iou = OBJECT_MEASURES.get("object-iou").compute
    two = np.concatenate([BOX, BOX + 50])
    truth, seen = [true(two, None, [False, True]), true(NOTHING)], [found(BOX), found(BOX)]
    assert iou(truth, seen, seen) == 1.0
    assert np.isnan(iou([true(NOTHING)], [found(BOX)], [found(BOX)]))
    with pytest.raises(MetricInputError, match="as many"):
        iou(truth, seen, seen[:1])

"""The judge: what it shows a metric, what it answers, what it remembers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from encoder_bridge.color import planes_to_rgb
from encoder_bridge.config import CandidateConfig
from encoder_bridge.errors import MetricInputError, PluginError
from encoder_bridge.frames import Frame, VideoFormat
from encoder_bridge.host import FrameRecord
from encoder_bridge.wire import ABOVE, LEFT, ChoiceCall, FrameCall, FrameResult, Trial
from models import default_model_path
from models.local import LocalModel
from models.scenes import SceneConfig, SceneSource
from models.task_model import TaskModel
from rdo_metrics.candidates import make_candidate_metric
from rdo_metrics.candidates.base import CandidateFrame, CandidateMetric, Choice, Networks, Rect
from rdo_metrics.candidates.sse import SseMetric
from rdo_metrics.candidates.windows import crop
from sweeps.candidates import CandidateJudge, Listener

SOURCE = SceneSource(SceneConfig(176, 128, 2, Fraction(25), seed=4))
FMT = SOURCE.format
FRAMES = list(SOURCE)
Planes = tuple[np.ndarray, ...]


class Watching(SseMetric):
    """Squared error that remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[Choice] = []

    def distortions(self, batch: Sequence[Choice]) -> list[np.ndarray]:
        self.seen += batch
        return super().distortions(batch)


def coarse(planes: Planes, step: int) -> Planes:
    return tuple((plane // step * step + step // 2).astype(plane.dtype) for plane in planes)


def call(rect: Rect, poc: int = 0, neighbours: int = 0, steps: Sequence[int] = (8, 2, 24), **more: float) -> ChoiceCall:
    """The rectangle coded with several step sizes: finer is dearer."""
    original = crop(FRAMES[poc].planes, rect)
    trials = []
    for index, step in enumerate(steps):
        planes = coarse(original, step)
        error = sum(int(((a.astype(int) - b) ** 2).sum()) for a, b in zip(original, planes, strict=True))
        trials.append(Trial(index, 1000 / step, float(error), planes, rate_cost=60000.0 / step))
    frame = FrameCall(poc, "I", 32, 100.0, True)
    return ChoiceCall(
        poc, rect.x, rect.y, rect.width, rect.height, tuple(trials), 0, neighbours, 100.0, 64, frame, **more
    )  # fmt: skip


def judge(metric: CandidateMetric | None = None, name: str = "sse", networks: Networks | None = None, **config: object):
    made = CandidateJudge(
        metric or make_candidate_metric(name),
        CandidateConfig(metric=name, **{"context": 16, **config}),  # type: ignore[arg-type]
        networks or Networks(),
        FMT,
    )
    for frame in FRAMES:
        made.open(frame.index, frame.planes, coarse(frame.planes, 16))
    return made


def cells(columns: int = 3, rows: int = 2) -> list[Rect]:
    return [Rect(64 * x, 64 * y, min(64, 176 - 64 * x), 64) for y in range(rows) for x in range(columns)]


def test_sse_through_the_host_is_the_encoders_own():
    asked = [call(rect) for rect in cells()]
    for question, answer in zip(asked, judge().judge(asked), strict=True):
        assert answer == [trial.sse for trial in question.trials]


def test_alpha_and_the_maps_lambda_leave_the_control_alone():
    asked = dataclasses.replace(call(cells()[0]), lambda_=25.0)
    assert judge(share=0.3).judge([asked])[0] == [trial.sse for trial in asked.trials]


def test_the_winner_is_what_neighbours_see():
    metric = Watching()
    made = judge(metric)
    first, second = call(cells()[0]), call(cells()[1], neighbours=LEFT)
    (distortion,) = made.judge([first])
    costs = [d + trial.rate_cost for d, trial in zip(distortion, first.trials, strict=True)]
    best = int(np.argmin(costs))
    made.judge([second])
    shown = metric.seen[-1]
    assert shown.window == Rect(48, 0, 96, 96)
    left = shown.context[0][:64, :16]
    assert np.array_equal(left, first.trials[best].planes[0][:, 48:])
    assert np.array_equal(shown.context[0][:, 80:], coarse(FRAMES[0].planes, 16)[0][:96, 128:144])
    assert costs[best] < min(costs[:best] + costs[best + 1 :])


def test_the_first_of_equals_wins():
    metric = Watching()
    made = judge(metric)
    rect = cells()[0]
    grey, white = (tuple(np.full_like(p, v) for p in crop(FRAMES[0].planes, rect)) for v in (100, 200))
    fine = call(rect).trials[1]
    tied = [Trial(k, 1, 0.0, planes, 0.0) for k, planes in enumerate((grey, white))]
    errors = judge().judge([dataclasses.replace(call(rect), trials=(*tied, fine))])[0]
    # Rate costs that level the first two exactly, in the arithmetic of the sum.
    top = max(errors[:2])
    levelled = [dataclasses.replace(t, rate_cost=top - e) for t, e in zip(tied, errors[:2], strict=True)]
    made.judge([dataclasses.replace(call(rect), trials=tuple(levelled))])
    made.judge([call(cells()[1], neighbours=LEFT)])
    assert (metric.seen[-1].context[0][:64, :16] == 100).all()


def test_answers_depend_neither_on_order_nor_on_company():
    """Two rows in wavefront order: what is not a neighbour may come before or after."""
    top, bottom = cells()[:3], cells()[3:]
    mask = {0: 0, 1: LEFT, 2: LEFT}
    row0 = [call(rect, neighbours=mask[i]) for i, rect in enumerate(top)]
    row1 = [call(rect, neighbours=mask[i] | ABOVE) for i, rect in enumerate(bottom)]
    other = [call(rect, poc=1) for rect in cells()]
    first, second = Watching(), Watching()
    one = judge(first)
    apart = [one.judge([c])[0] for c in (*row0, *row1)]
    two = judge(second)
    batches = [[row0[0], other[3]], [row0[1], row1[0], other[0]], [row0[2], row1[1]], [row1[2], other[1]]]
    answers = {id(c): a for batch in batches for c, a in zip(batch, two.judge(batch), strict=True)}
    assert [answers[id(c)] for c in (*row0, *row1)] == apart
    seen = {(c.frame.index, c.rect): c.context for c in second.seen}
    for choice in first.seen:
        for a, b in zip(choice.context, seen[0, choice.rect], strict=True):
            assert np.array_equal(a, b)


def test_split_decisions_are_judged_in_the_ctus_window_and_pasted():
    metric = Watching()
    made = judge(metric)
    made.judge([call(Rect(0, 0, 32, 32), steps=(2, 40))])
    made.judge([call(Rect(32, 0, 32, 32), steps=(40, 2))])
    shown = metric.seen[-1]
    assert shown.window == Rect(0, 0, 96, 96) and shown.place == Rect(32, 0, 32, 32)
    assert np.array_equal(shown.context[0][:32, :32], coarse(FRAMES[0].planes, 2)[0][:32, :32])


def test_a_guard_keeps_what_is_far_off():
    asked = call(cells()[1])
    free, guarded = judge().judge([asked])[0], judge(guard=1.5).judge([asked])[0]
    least = min(free)
    assert [b for a, b in zip(free, guarded, strict=True) if a <= 1.5 * least] == [a for a in free if a <= 1.5 * least]
    assert all(b > 1e20 and np.isfinite(b) for a, b in zip(free, guarded, strict=True) if a > 1.5 * least)


def test_the_task_metric_pulls_towards_what_the_network_wants():
    driver = TaskModel(default_model_path())
    networks = Networks(log_probs=driver.log_probs)
    asked = call(cells()[4], steps=(2, 64))
    fine, rough = judge(name="task", networks=networks, context=32).judge([asked])[0]
    squared = [trial.sse for trial in asked.trials]
    half = judge(name="task", networks=networks, context=32, share=0.5).judge([asked])[0]
    alone = judge(name="task", networks=networks, context=32, share=1.0).judge([asked])[0]
    assert rough > fine and rough / fine > 1
    np.testing.assert_allclose(half, (np.array(alone) + squared) / 2, rtol=1e-9)
    held = dataclasses.replace(asked, lambda_=50.0)
    halved = judge(name="task", networks=networks, context=32, share=1.0).judge([held])[0]
    assert halved[1] == pytest.approx(alone[1] / 2, rel=1e-9)


@pytest.mark.parametrize("name", ["task-local", "task-iou", "task-flip"])
def test_local_answers_see_windows_in_units_of_the_networks_stride(name: str):
    driver, local = TaskModel(default_model_path(), threads=1), LocalModel(default_model_path(), threads=1)
    networks = Networks(log_probs=driver.log_probs, local=local)
    made = judge(name=name, networks=networks, context=32)
    choices = [made._choice(call(rect), made._open[0]) for rect in cells()]
    for choice in choices:
        assert choice.window.x % 32 == choice.window.y % 32 == 0
        assert (choice.window.width, choice.window.height) in ((128, 128), (112, 128))
    asked = call(cells()[4], steps=(2, 64))
    fine, rough = made.judge([asked])[0]
    assert 0 < fine < rough
    # The answer is that to the whole picture with the trial in it.
    planes = [plane.copy() for plane in made._open[0].frame.base]
    for plane, samples in zip(crop(tuple(planes), cells()[4]), asked.trials[1].planes, strict=True):
        plane[...] = samples
    rgb = planes_to_rgb(tuple(planes), FMT)
    padded = np.pad(rgb, ((0, 0), (0, -FMT.width % 32), (0, 0)), mode="edge")
    whole = driver.logits(padded)[0, :, 48:128, 48:144]
    (choice,) = [c for c in choices if c.rect == cells()[4]]
    (seen,) = local.logits([(made._open[0].frame.cache["local"][0][1], (32, 0, 128, 128),
                             rgb[None, :128, 32:160], (48, 48, 96, 80))])  # fmt: skip
    assert np.abs(seen[0] - whole).mean() < 0.3


def test_without_a_coded_base_calibration_supposes_the_encodes_qp():
    def alpha(qp: float | None, base: bool) -> float:
        made = CandidateJudge(make_candidate_metric("ssim"), CandidateConfig(metric="ssim"), Networks(), FMT, qp=qp)
        made.open(0, FRAMES[0].planes, coarse(FRAMES[0].planes, 16) if base else None)
        return made._open[0].alpha

    assert alpha(22, True) == alpha(42, True)
    assert alpha(22, False) != alpha(42, False) and alpha(None, False) == alpha(32, False)


class Bad(SseMetric):
    def __init__(self, answer: object) -> None:
        self.answer = answer

    def distortions(self, batch: Sequence[Choice]) -> list[np.ndarray]:
        return self.answer  # type: ignore[return-value]


@pytest.mark.parametrize("answer", [[], [np.ones(2)], [np.array([1.0, np.nan, 2.0])], [np.array([1.0, -1.0, 2.0])]])
def test_unusable_answers_are_errors(answer: object):
    with pytest.raises(MetricInputError):
        judge(Bad(answer)).judge([call(cells()[0])])


def test_a_frame_is_forgotten_when_it_is_done():
    heard: list[FrameRecord] = []
    made = CandidateJudge(SseMetric(), CandidateConfig(metric="sse"), Networks(), FMT, on_frame=heard.append)
    made.open(0, FRAMES[0].planes, None)
    made.judge([call(cells()[0])])
    record = FrameRecord(FrameCall(0, "I", 32, 1.0, True), FrameResult(0, "I", 100, 32), 0.0)
    made.frame_done(record)
    assert heard == [record]
    with pytest.raises(PluginError, match="frame 0"):
        made.judge([call(cells()[0])])


def test_a_listener_judges_nothing():
    heard: list[FrameRecord] = []
    listener = Listener(heard.append)
    with pytest.raises(PluginError, match="no candidates"):
        listener.judge([call(cells()[0])])


def test_ten_bit_windows_become_rgb():
    fmt = VideoFormat(64, 64, bit_depth=10)
    planes = tuple(np.full(shape, 512, np.uint16) for shape in fmt.plane_shapes)
    frame = Frame(planes, 0, Fraction(0))
    made = CandidateJudge(Watching(), CandidateConfig(metric="sse"), Networks(), fmt)
    made.open(0, frame.planes, None)
    trial = Trial(0, 1.0, 0.0, planes, 0.0)
    metric = made._metric
    assert isinstance(metric, Watching)
    made.judge([ChoiceCall(0, 0, 0, 64, 64, (trial,))])
    assert np.array_equal(metric.seen[0].windows_rgb()[0], planes_to_rgb(planes, fmt))


class Harmed(SseMetric):
    """Squared error that holds a few samples for damaged."""

    def __init__(self, rect: Rect) -> None:
        self.rect = rect

    def damage(self, frame: CandidateFrame) -> np.ndarray:
        lost = np.zeros(frame.size, bool)
        lost[self.rect.luma] = True
        return lost


def test_ctus_that_a_coarser_base_does_not_harm_are_not_judged():
    # +3 is the first of the default candidates; damage counts up to 16 samples beside a CTU, from 0.2 % of the area on
    beside = judge(Harmed(Rect(64 - 10, 20, 8, 8)))
    assert beside.mask(0, 64).tolist() == [[0b111, 0b111, 1], [1, 1, 1]]
    assert judge(Harmed(Rect(64 - 10, 20, 4, 4))).mask(0, 64).tolist() == [[1, 1, 1], [1, 1, 1]]
    assert judge(Harmed(Rect(64 - 10, 20, 8, 8)), judge_all=True).mask(0, 64) is None
    assert judge().mask(0, 64) is None


def test_told_labels_are_the_ones_it_would_find_itself():
    driver, local = TaskModel(default_model_path(), threads=1), LocalModel(default_model_path(), threads=1)
    networks = Networks(log_probs=driver.log_probs, local=local)
    found, told = (judge(name="task-flip", networks=networks, context=0) for _ in range(2))
    rgb = planes_to_rgb(FRAMES[0].planes, FMT)
    told.open(0, FRAMES[0].planes, coarse(FRAMES[0].planes, 16), driver.labels(rgb)[0])
    asked = call(cells()[4], steps=(2, 64))
    assert told.wants_labels and told.judge([asked]) == found.judge([asked])

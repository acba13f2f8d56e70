"""Task losses with the whole picture in view, against sums by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encoder_bridge.errors import MetricInputError
from rdo_metrics.candidates.base import Networks, Rect
from rdo_metrics.candidates.calibration import calibrate
from rdo_metrics.candidates.local import (
    RARE,
    TaskFlipMetric,
    TaskIouMetric,
    TaskLocalMetric,
    base_state,
    class_weights,
)
from rdo_metrics.candidates.task import original_log_probs, pseudo_ground_truth
from rdo_metrics.candidates.windows import crop


def pictures(choice):
    """(K, C, H, W) answers to the whole base with each trial, and the known surroundings, in their place."""
    whole = []
    for window in choice.windows():
        planes = tuple(plane.copy() for plane in choice.frame.base)
        for target, samples in zip(crop(planes, choice.window), window, strict=True):
            target[...] = samples
        whole.append(choice.frame.to_rgb(planes))
    return choice.frame.networks.log_probs(np.stack(whole))


@pytest.fixture
def choice(toy):
    # Surroundings as in the base, so that the chroma at the window's edges is the base's.
    return toy.choice(toy.frame(), noises=(1, 4, 12), lossy=True, margin=32)


@pytest.mark.parametrize("margin", [0, 16])
def test_cross_entropy_is_that_of_the_whole_picture(choice, margin):
    part = choice.rect.dilated(margin, choice.frame.size).luma
    labels = pseudo_ground_truth(choice.frame)[part]
    wanted = [-np.take_along_axis(q[:, *part], labels[None], 0).sum() for q in pictures(choice)]
    np.testing.assert_allclose(TaskLocalMetric(margin).distortions([choice])[0], wanted, rtol=1e-4)


def test_flips_are_counted_and_weighted_by_both_classes(choice):
    part = choice.rect.dilated(16, choice.frame.size).luma
    truth = pseudo_ground_truth(choice.frame)
    shares = np.bincount(truth.ravel(), minlength=4) / truth.size
    weights = 1 / np.maximum(shares, RARE)
    weights /= (shares * weights).sum()
    found = pictures(choice).argmax(axis=1)[:, *part]
    wrong = found != truth[part]
    flips = TaskFlipMetric().distortions([choice])[0]
    assert flips.tolist() == wrong.sum(axis=(1, 2)).tolist() and flips[0] < flips[2]
    wanted = (wrong * (weights[truth[part]] + 0.7 * weights[found])).sum(axis=(1, 2))
    np.testing.assert_allclose(TaskIouMetric().distortions([choice])[0], wanted)


def test_the_picture_is_the_loss_of_the_whole_base(toy):
    frame = toy.frame()
    answer = frame.networks.log_probs(frame.to_rgb(frame.base)[None])[0]
    truth = pseudo_ground_truth(frame)
    assert TaskFlipMetric().picture(frame) == (answer.argmax(axis=0) != truth).sum() > 0
    exact = (np.exp(original_log_probs(frame)) * (original_log_probs(frame) - answer)).sum()
    assert TaskLocalMetric().picture(frame) == pytest.approx(exact, rel=1e-3)


def test_class_weights_have_a_mean_of_one_and_a_limit():
    labels = np.repeat(np.arange(3), (900, 99, 1)).reshape(10, 100)
    weights = class_weights(labels, 4)
    shares = np.array([0.9, 0.099, 0.001, 0])
    assert (weights * shares).sum() == pytest.approx(1)
    assert weights[2] == weights[3] and weights[1] / weights[0] == pytest.approx(900 / 99)
    assert weights[2] / weights[0] == pytest.approx(0.9 / RARE)
    blended = class_weights(labels, 4, [0.25] * 4)
    assert blended[3] / blended[0] == pytest.approx((0.9 + 0.25) / 0.25)
    with pytest.raises(MetricInputError, match="prior of 2 classes; expected 4"):
        class_weights(labels, 4, [0.5, 0.5])


def test_calibrating_with_a_stand_in_leaves_the_base_alone(toy):
    bare = toy.frame(base_noise=0)
    metric = TaskFlipMetric()
    assert calibrate(metric, bare, qp=40) > 0
    np.testing.assert_array_equal(base_state(bare).log_probs, original_log_probs(bare))
    assert base_state(bare) is base_state(bare)


def test_a_network_that_answers_another_part_is_refused(toy, choice):
    class Wrong:
        stride = 16

        def begin(self, rgb):
            return None

        def logits(self, items):
            return [np.zeros((3, 4, 5, 5), np.float32) for _ in items]

    frame = replace(choice.frame, networks=Networks(log_probs=toy.log_probs, local=Wrong()), cache={})
    with pytest.raises(MetricInputError, match=r"expected \(3, C, 96, 96\)"):
        TaskFlipMetric().distortions([replace(choice, frame=frame)])


def test_only_trust_in_the_chroma_of_the_window_is_limited(toy):
    """Two samples at edges inside the picture are the base's; at the picture's own edges all are the window's."""
    seen = []

    class Watching:
        stride = 16

        def begin(self, rgb):
            return None

        def logits(self, items):
            seen.extend(items)
            return [np.zeros((4, 4, part[3], part[2]), np.float32) for *_, part in items]

    frame = toy.frame(networks=Networks(log_probs=toy.log_probs, local=Watching()))
    for rect in (Rect(64, 64, 64, 64), Rect(0, 64, 64, 64), Rect(128, 128, 64, 22)):
        TaskFlipMetric().distortions([toy.choice(frame, rect)])
    assert [window for _, window, *_ in seen] == [(34, 34, 124, 116), (0, 34, 94, 116), (98, 98, 100, 52)]
    assert [part for *_, part in seen] == [(48, 48, 96, 96), (0, 48, 80, 96), (112, 112, 86, 38)]

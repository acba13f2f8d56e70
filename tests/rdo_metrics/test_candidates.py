"""Candidate metrics: laws for every registered one, windows, calibration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encoder_bridge.errors import ConfigError, MetricInputError
from encoder_bridge.frames import VideoFormat
from rdo_metrics.candidates import CANDIDATE_METRICS, BlockMetric, make_candidate_metric
from rdo_metrics.candidates.base import Choice, Networks, Rect
from rdo_metrics.candidates.calibration import NEVER, calibrate, combine, hybrid, stand_in
from rdo_metrics.candidates.sse import squared_error
from rdo_metrics.candidates.windows import crop, pasted, pasted_rgb, tiles, window_of

NOT_ZERO_AT_IDENTITY = {"task", "task-local"}
LOCAL = {"task-local", "task-iou", "task-flip", "learned"}
"""They look 16 samples around the rectangle, and do not trust the chroma at the edges of a window."""


@pytest.fixture(params=[*CANDIDATE_METRICS.names(), "block"])
def metric(request):
    return BlockMetric(context=8) if request.param == "block" else CANDIDATE_METRICS.get(request.param)()


def named(metric):
    return next((n for n in CANDIDATE_METRICS if isinstance(metric, CANDIDATE_METRICS.get(n))), "block")


def close(a, b, tolerance=1e-4):
    """Equal up to rounding of the largest."""
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(np.max(np.abs(b)), 1e-9))


# ---------------------------------------------------------------- laws


@pytest.mark.parametrize("margin", [0, 16, 32])
def test_identity_is_least_and_more_noise_is_worse(toy, metric, margin):
    (values,) = metric.distortions([toy.choice(toy.frame(), margin=margin)])
    assert values.dtype == np.float64
    assert np.isfinite(values).all() and (values >= 0).all()
    assert (np.diff(values) > 0).all(), values
    if named(metric) not in NOT_ZERO_AT_IDENTITY and (named(metric) not in LOCAL or margin > 16):
        # At the window's edge the chroma of the window and of the whole picture are interpolated differently.
        assert values[0] <= (1e-2 if named(metric) == "task-kl" and margin == 0 else 1e-6) * values[-1]


def test_a_batch_judges_each_choice_as_if_alone(toy, metric):
    frames = [toy.frame(seed=0), toy.frame(seed=3)]
    batch = [
        toy.choice(frames[0], lossy=True),
        toy.choice(frames[1], noises=(4, 1)),
        toy.choice(frames[0], Rect(128, 128, 64, 22), noises=(3,)),
        toy.choice(frames[1], Rect(0, 0, 16, 16), noises=(9, 2, 5)),
    ]
    together = metric.distortions(batch)
    for choice, values in zip(batch, together, strict=True):
        alone = metric.distortions([replace(choice, frame=replace(choice.frame, cache={}))])[0]
        np.testing.assert_array_equal(values, alone)
        assert values.shape == (len(choice.trials),)


def test_more_bits_a_sample_change_nothing_but_the_unit_of_squared_error(toy, metric):
    shallow, deep = (toy.choice(toy.frame(depth=depth)) for depth in (8, 10))
    assert deep.trials[0][0].dtype == np.uint16
    close(metric.distortions([deep])[0], metric.distortions([shallow])[0] * (16 if named(metric) == "sse" else 1))
    close(metric.picture(deep.frame), metric.picture(shallow.frame) * (16 if named(metric) == "sse" else 1))


@pytest.mark.parametrize("chroma", ["400", "422", "444"])
def test_every_chroma_format_is_judged(toy, metric, chroma):
    (values,) = metric.distortions([toy.choice(toy.frame(chroma=chroma))])
    assert (np.diff(values) > 0).all(), values


@pytest.mark.parametrize("rect", [Rect(64, 0, 16, 16), Rect(192, 128, 6, 22), Rect(192, 144, 6, 6), Rect(0, 0, 8, 8)])
def test_small_rectangles_and_those_at_the_edge_are_judged(toy, metric, rect):
    (values,) = metric.distortions([toy.choice(toy.frame(), rect, noises=(0, 12, 40))])
    # Of a few pixels some may gain in certainty.
    assert (np.diff(values[::2] if named(metric) in LOCAL else values) > 0).all(), values


def test_answers_do_not_depend_on_the_order_of_trials(toy, metric):
    choice = toy.choice(toy.frame(), lossy=True)
    backwards = replace(choice, trials=choice.trials[::-1], sse=choice.sse[::-1])
    np.testing.assert_array_equal(metric.distortions([backwards])[0], metric.distortions([choice])[0][::-1])


def test_picture_is_what_its_rectangles_sum_to(toy, metric):
    frame = toy.frame()
    if named(metric) in LOCAL:
        # Otherwise a pixel counts for each rectangle that it is near to.
        metric.margin = 0
    batch = []
    for rect in tiles(frame.size):
        window = rect.dilated(32, frame.size)
        trials = (crop(frame.base, rect),)
        batch.append(Choice(frame, rect, window, crop(frame.base, window), trials, np.ones(1), np.zeros(1)))
    # The task loss is calibrated by the part of it that coding caused, which is the divergence.
    judge = make_candidate_metric("task-kl") if named(metric) in NOT_ZERO_AT_IDENTITY else metric
    total = sum(values[0] for values in judge.distortions(batch))
    # Features and block windows are made of windows instead of the whole picture.
    tolerances = {"features": 0.05, "dct-ratio": 0.05, "ms-ssim": 0.12, "block": 2.5, "learned": 0.01}
    tolerance = tolerances.get(named(metric), 1e-5)
    assert metric.picture(frame) == pytest.approx(total, rel=tolerance)


def test_picture_of_a_perfect_base_is_zero(toy, metric):
    assert metric.picture(toy.frame(base_noise=0)) == pytest.approx(0, abs=1e-3)


def test_a_metric_names_what_it_needs_and_says_when_it_is_absent(toy, metric):
    frame = toy.frame(networks=Networks())
    for name in metric.needs:
        assert getattr(toy.networks, name) is not None
    if metric.needs:
        with pytest.raises(MetricInputError, match=r"needs a network"):
            metric.distortions([toy.choice(frame)])


def test_unknown_metrics_are_refused():
    with pytest.raises(ConfigError, match="task"):
        make_candidate_metric("vmaf")


@pytest.mark.parametrize("chroma", ["400", "420", "422", "444"])
@pytest.mark.parametrize("place", [Rect(32, 32, 64, 64), Rect(0, 0, 16, 16), Rect(112, 96, 15, 31), Rect(64, 2, 8, 64)])
def test_converting_only_what_changed_equals_converting_it_all(toy, chroma, place):
    fmt = VideoFormat(127, 127, chroma=chroma)
    frame = toy.frame(127, 127, chroma=chroma)
    context = toy.scene(fmt, 4)
    trials = [toy.noisy(crop(toy.scene(fmt, 5), place), n) for n in (0, 9, 30)]
    wanted = np.stack([frame.to_rgb(w) for w in pasted(context, place, trials)])
    np.testing.assert_array_equal(pasted_rgb(frame.to_rgb, context, place, trials), wanted)


def test_pasting_copies_and_puts_each_plane_where_it_belongs(toy):
    context = toy.scene(VideoFormat(64, 64))
    trial = tuple(np.full_like(p, 7) for p in crop(context, Rect(16, 32, 32, 16)))
    before = [p.copy() for p in context]
    (window,) = pasted(context, Rect(16, 32, 32, 16), [trial])
    assert (window[0] == 7).sum() == 512 and (window[1] == 7).sum() == 128
    assert (window[0][32:48, 16:48] == 7).all() and (window[2][16:24, 8:24] == 7).all()
    assert all((a == b).all() for a, b in zip(before, context, strict=True))
    with pytest.raises(MetricInputError, match="expected"):
        pasted(context, Rect(16, 16, 16, 16), [trial])


@pytest.mark.parametrize("size", [(352, 480), (150, 198), (100, 1000), (40, 50)])
@pytest.mark.parametrize("context", [0, 15, 32])
def test_windows_of_a_picture_have_one_size_and_hold_their_tile(size, context):
    windows = [(tile, window_of(tile, context, size)) for tile in tiles(size)]
    assert len({(w.height, w.width) for _, w in windows}) == 1
    for tile, window in windows:
        inner = tile.within(window)
        assert inner.x >= 0 and inner.y >= 0 and window.x % 2 == window.y % 2 == 0
        assert inner.x + tile.width <= window.width and inner.y + tile.height <= window.height
        assert window.x >= 0 and window.x + window.width <= size[1]


def test_a_context_that_is_asked_for_is_the_metrics():
    assert make_candidate_metric("task", 8).context == 8
    assert make_candidate_metric("task").context == 32
    assert make_candidate_metric("sse").context == 0


def test_alpha_makes_the_metric_as_large_as_the_squared_error(toy, metric):
    frame = toy.frame()
    alpha = calibrate(metric, frame)
    assert alpha * metric.picture(frame) == pytest.approx(squared_error(frame.original, frame.base))


def test_alpha_of_sse_is_one(toy):
    assert calibrate(make_candidate_metric("sse"), toy.frame()) == 1.0


def test_alpha_without_a_first_pass_comes_from_a_stand_in(toy, metric):
    bare = toy.frame(base_noise=0)
    coded = stand_in(bare.original, 32)
    assert squared_error(bare.original, coded) > 0
    assert calibrate(metric, bare) == pytest.approx(calibrate(metric, replace(bare, base=coded, cache={})))


def test_stand_in_errs_as_a_quantiser_of_that_step_does(toy):
    for depth in (8, 10):
        frame = toy.frame(200, 200, depth=depth)
        errors = [squared_error(frame.original, stand_in(frame.original, qp, depth)) for qp in (22, 32, 42)]
        assert errors[0] < errors[1] < errors[2]
        mean = errors[0] / sum(p.size for p in frame.original) / 16 ** (depth - 8 and 1)
        assert mean < (2 ** ((22 - 4) / 6)) ** 2
    shapes = [p.shape for p in frame.original]
    assert [p.shape for p in stand_in(frame.original, 30, 10)] == shapes


def test_alpha_is_zero_where_nothing_is_distorted(toy, metric):
    flat = toy.frame(base_noise=0)
    planes = tuple(np.zeros_like(p) for p in flat.original)
    assert calibrate(metric, replace(flat, original=planes, base=planes, cache={})) == 0


def test_a_metric_that_answers_nonsense_is_named(toy):
    class Broken:
        needs = ()
        context = 0

        def distortions(self, batch):
            return [np.array([1.0, np.nan, 2.0, 3.0]) for _ in batch]

        def picture(self, frame):
            return float("nan")

    with pytest.raises(MetricInputError, match="Broken gave nan"):
        calibrate(Broken(), toy.frame())
    with pytest.raises(MetricInputError, match="nan"):
        hybrid(Broken(), [toy.choice(toy.frame())], [1.0])


def test_hybrid_adds_the_metric_at_the_frames_lambda_to_the_squared_error(toy):
    choice = replace(toy.choice(toy.frame()), lambda_ratio=0.25)
    values = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(combine(choice, values, 8.0), values + choice.sse / 2)
    np.testing.assert_allclose(combine(choice, values, 8.0, share=1), 2 * values)
    np.testing.assert_allclose(combine(choice, values, 8.0, share=0), choice.sse)
    np.testing.assert_array_equal(combine(choice, values, 0.0, share=1), choice.sse)
    plain = replace(choice, lambda_ratio=1.0)
    (both,) = hybrid(make_candidate_metric("sse"), [plain], [1.0])
    np.testing.assert_array_equal(both, plain.sse)


def test_the_guard_bars_what_costs_too_much_squared_error(toy):
    choice = toy.choice(toy.frame(), noises=(2, 6, 18))
    cost = combine(choice, np.array([9.0, 1.0, 0.0]), 1e9, guard=choice.sse[1] / choice.sse[0] * 1.01)
    assert cost[2] == NEVER and np.isfinite(cost).all() and cost.argmin() == 1
    strict = combine(choice, np.array([9.0, 1.0, 0.0]), 1e9, guard=1)
    assert strict.argmin() == 0 and (strict[1:] == NEVER).all()
    assert np.float32(NEVER) < np.finfo(np.float32).max

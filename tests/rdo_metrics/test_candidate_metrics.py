"""Single candidate metrics against definitions, closed forms and other implementations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.fft import dctn

from encoder_bridge.errors import MetricInputError
from rdo_metrics.candidates import make_candidate_metric
from rdo_metrics.candidates.base import CandidateFrame, Choice, Networks, Rect
from rdo_metrics.candidates.features import positions, stride
from rdo_metrics.candidates.fisher import FisherMetric
from rdo_metrics.candidates.ssim import SCALE_WEIGHTS, SsimMetric, _pyramid_maps, scale_weights, ssim_maps
from rdo_metrics.candidates.task import TaskMetric
from rdo_metrics.candidates.windows import crop, tiles


def test_sse_is_the_exact_sum_the_encoder_makes(toy):
    frame = toy.frame()
    choice = toy.choice(frame, noises=(1, 3))
    by_hand = [
        sum(
            int(((a.astype(np.int64) - b) ** 2).sum())
            for a, b in zip(crop(frame.original, choice.rect), t, strict=True)
        )
        for t in choice.trials
    ]
    values = make_candidate_metric("sse").distortions([choice])[0]
    assert values.tolist() == by_hand == choice.sse.tolist()


def test_sse_golden_numbers_at_the_ends_of_the_range():
    black, white = (tuple(np.full(s, v, np.uint16) for s in ((64, 64), (32, 32), (32, 32))) for v in (0, 1023))
    frame = CandidateFrame(black, black, lambda p: np.zeros((*p[0].shape, 3), np.uint8), 10)
    rect = Rect(0, 0, 64, 64)
    choice = Choice(frame, rect, rect, black, (white, black), np.zeros(2), np.zeros(2))
    assert make_candidate_metric("sse").distortions([choice])[0].tolist() == [1023**2 * (4096 + 2 * 1024), 0.0]


def test_ssim_agrees_with_piq(toy):
    piq = pytest.importorskip("piq")
    torch = pytest.importorskip("torch")
    frame = toy.frame(192, 196)
    a, b = (p[0].astype(np.float32) for p in (frame.original, frame.base))
    x, y = (torch.from_numpy(v)[None, None] for v in (a, b))
    theirs = float(piq.ssim(x, y, data_range=255.0))
    assert float(ssim_maps(a, b)[0][5:-5, 5:-5].mean()) == pytest.approx(theirs, abs=1e-5)
    flat = float(piq.multi_scale_ssim(x, y, data_range=255.0, scale_weights=torch.tensor(scale_weights(a.shape))))
    ours = 1 - make_candidate_metric("ms-ssim").picture(frame) / a.size
    # Theirs leaves out the borders, and takes one mean of the picture where ours has one of each CTU.
    assert ours == pytest.approx(flat, abs=5e-3)


def test_ms_ssim_of_valid_samples_agrees_with_piq_exactly(toy):
    piq = pytest.importorskip("piq")
    torch = pytest.importorskip("torch")
    frame = toy.frame(193, 196)
    a, b = (p[0].astype(np.float32) for p in (frame.original, frame.base))
    maps = _pyramid_maps(a, b, 5)
    ours = np.prod([float(m[5:-5, 5:-5].mean()) ** w for m, w in zip(maps, SCALE_WEIGHTS, strict=True)])
    x, y = (torch.from_numpy(v)[None, None] for v in (a, b))
    theirs = float(piq.multi_scale_ssim(x, y, data_range=255.0, scale_weights=torch.tensor(SCALE_WEIGHTS)))
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_ssim_looks_beyond_the_rectangle_but_counts_it_alone(toy):
    frame = toy.frame()
    choice = toy.choice(frame, noises=(5,), lossy=True)
    original, window = choice.original_window()[0], choice.windows()[0][0]
    whole = 1 - ssim_maps(original.astype(np.float32), window.astype(np.float32))[0]
    assert SsimMetric().distortions([choice])[0][0] == pytest.approx(float(whole[choice.place.luma].sum()), rel=1e-5)


def test_as_many_scales_as_fit():
    assert [len(scale_weights((s, 400))) for s in (8, 16, 22, 64, 88, 128, 2000)] == [1, 1, 2, 3, 4, 4, 4]
    assert sum(scale_weights((64, 64))) == pytest.approx(1)


def test_features_are_compared_at_the_positions_of_the_rectangle(toy):
    frame = toy.frame()
    choice = toy.choice(frame, noises=(7,))
    here = toy.features(choice.original_rgb()[None])
    there = toy.features(choice.windows_rgb())
    whole = toy.features(frame.to_rgb(frame.original)[None])
    wanted = 0.0
    for step, f, g, all_of_it in zip((2, 4), here, there, whole, strict=True):
        part = np.s_[:, :, 32 // step : 96 // step, 32 // step : 96 // step]
        wanted += step**2 * ((f - g)[part] ** 2).mean(axis=1).sum() / (all_of_it**2).mean()
    assert make_candidate_metric("features").distortions([choice])[0][0] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("size", [(128, 128), (150, 198), (90, 62), (131, 77)])
@pytest.mark.parametrize("step", [1, 2, 4, 8])
def test_tiles_share_out_the_positions_of_a_feature_map(size, step):
    grid = tuple(-(-side // step) for side in size)
    assert stride(size[0], grid[0]) == step
    hits = np.zeros(grid, int)
    for tile in tiles(size):
        hits[positions(tile, size, grid)] += 1
    assert (hits[: size[0] // step, : size[1] // step] == 1).all()
    assert hits.min() >= 1


def test_dct_ratio_is_the_log_of_equation_21(toy):
    frame = toy.frame(128, 128)
    choice = toy.choice(frame, noises=(8,), margin=32)
    f, g = (toy.features(x)[0] for x in (choice.original_rgb()[None], choice.windows_rgb()))
    spectra = [np.abs(dctn(m[0][:, 16:48, 16:48], axes=(1, 2), norm="ortho")) for m in (f, g)]
    whole = toy.features(frame.to_rgb(frame.original)[None])[0][0]
    total, count = np.zeros(5), 0
    for y in range(0, 64, 32):
        for x in range(0, 64, 32):
            part = np.abs(dctn(whole[:, y : y + 32, x : x + 32], axes=(1, 2), norm="ortho"))
            part[:, 0, 0] = 0
            total, count = total + part.sum(axis=(1, 2)), count + 32 * 32
    floor = (0.1 * total / count)[:, None, None]
    wanted = np.abs(np.log((spectra[0] + floor) / (spectra[1] + floor))).mean() * 64 * 64
    assert make_candidate_metric("dct-ratio").distortions([choice])[0][0] == pytest.approx(wanted, rel=1e-3)


def test_dct_ratio_is_finite_where_features_vanish(toy):
    def dead(rgb):
        return [toy.features(rgb)[0] * np.array([1, 0, 1, 1, 0], np.float32)[None, :, None, None]]

    flat = toy.frame(networks=Networks(features=dead))
    values = make_candidate_metric("dct-ratio").distortions([toy.choice(flat)])[0]
    assert np.isfinite(values).all() and (np.diff(values) > 0).all()
    nothing = toy.frame(networks=Networks(features=lambda rgb: [np.zeros_like(toy.features(rgb)[0])]))
    assert make_candidate_metric("dct-ratio").distortions([toy.choice(nothing)])[0].tolist() == [0, 0, 0, 0]


def test_fisher_is_half_the_error_squared_times_curvature(toy):
    frame = toy.frame()
    metric = FisherMetric(draws=3, cell=1)
    choice = toy.choice(frame, noises=(0,))
    moved = tuple(p.copy() for p in choice.trials[0])
    moved[0][10, 20] += 3
    (value,) = metric.distortions([replace(choice, trials=(moved,))])[0]
    curvature = metric._diagonal(frame)[64 + 10, 64 + 20]
    assert value == pytest.approx(0.5 * curvature * 9, rel=1e-5)
    assert curvature > 0


def test_fisher_predicts_the_divergence_of_small_errors(toy):
    frame = toy.frame(base_noise=1)
    exact = make_candidate_metric("task-kl").picture(replace(frame, base=(frame.base[0], *frame.original[1:])))
    assert FisherMetric(draws=24).picture(frame) == pytest.approx(exact, rel=0.35)


def test_task_loss_is_the_cross_entropy_inside_the_rectangle(toy):
    frame = toy.frame()
    choice = toy.choice(frame, noises=(9,), lossy=True)
    answer = toy.log_probs(choice.windows_rgb())[0]
    labels = toy.log_probs(frame.to_rgb(frame.original)[None])[0].argmax(axis=0)[choice.rect.luma]
    wanted = -np.take_along_axis(answer[:, 32:96, 32:96], labels[None], axis=0).sum()
    assert TaskMetric().distortions([choice])[0][0] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", ["task", "task-kl", "task-kl-window"])
def test_logits_are_normalised_where_they_are_looked_at(toy, name):
    bare = replace(toy.networks, logits=lambda rgb: toy.log_probs(rgb) - 7)
    metric = make_candidate_metric(name)
    wanted, found = (metric.distortions([toy.choice(toy.frame(networks=n))])[0] for n in (toy.networks, bare))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)


def test_task_margin_counts_the_surroundings_within_the_window(toy):
    choice = toy.choice(toy.frame(), noises=(3,))
    inner, wider, all_of_it = (TaskMetric(margin=m).distortions([choice])[0][0] for m in (0, 8, 1000))
    assert inner < wider < all_of_it
    labels = choice.frame.once("labels", lambda: None)[choice.window.luma]
    answer = toy.log_probs(choice.windows_rgb())[0]
    assert all_of_it == pytest.approx(-np.take_along_axis(answer, labels[None], axis=0).sum(), rel=1e-5)


def test_the_network_runs_once_a_window_size_and_once_a_frame(toy):
    shapes = []

    def counting(rgb):
        shapes.append(rgb.shape)
        return toy.log_probs(rgb)

    frame = toy.frame(256, 256, networks=Networks(log_probs=counting))
    batch = [toy.choice(frame, Rect(64, y, 64, 64), noises=(1, 2, 3)) for y in (64, 128)]
    metric = TaskMetric()
    metric.distortions(batch)
    metric.distortions(batch)
    assert sorted(shapes) == [(1, 256, 256, 3), (6, 128, 128, 3), (6, 128, 128, 3)]


def test_network_answers_of_the_wrong_shape_are_refused(toy):
    frame = toy.frame(
        networks=Networks(log_probs=lambda x: toy.log_probs(x)[:, :, ::2], features=lambda x: [x[..., 0]])
    )
    for name in ("task", "features"):
        with pytest.raises(MetricInputError, match=r"shape|maps"):
            make_candidate_metric(name).distortions([toy.choice(frame)])

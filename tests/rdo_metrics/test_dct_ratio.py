"""The DCT ratio against a literal reading of seed 003, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn
from scipy.ndimage import correlate as filtered
from scipy.ndimage import gaussian_filter

from encoder_bridge.errors import ConfigError, MetricInputError
from rdo_metrics.dct_ratio import DctRatio, log_ratio, spectrum, window_means

FILTERS = np.random.default_rng(3).standard_normal((3, 3, 3, 3))


def layer(rgb):
    """Three filters of 3×3 over the three colours, zero padding, stride 2."""
    x = np.pad(rgb.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2]
    return [np.einsum("nhwcij,kcij->nkhw", windows, FILTERS).astype(np.float32)]


def grey(rgb):
    """The green plane itself."""
    return [rgb[..., 1][:, None].astype(np.float32)]


def pictures(seed=0, size=(24, 32)):
    rng = np.random.default_rng(seed)
    smooth = rng.integers(0, 256, (2, 6, 8, 3)).repeat(size[0] // 6, axis=1).repeat(size[1] // 8, axis=2)
    return np.clip(smooth + rng.integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8)


def blurred(rgb, sigma):
    return np.rint(gaussian_filter(rgb.astype(np.float64), (0, sigma, sigma, 0))).astype(np.uint8)


def quantised(rgb, step):
    return np.clip(np.round(rgb / step) * step, 0, 255).astype(np.uint8)


def test_it_is_the_mean_ratio_of_dct_magnitudes():
    original, coded = pictures()[0], quantised(pictures()[0], 40)
    expected = []
    for before, after in zip(layer(original[None])[0][0], layer(coded[None])[0][0], strict=True):
        o, c = np.abs(dctn(before, norm="ortho")), np.abs(dctn(after, norm="ortho"))
        floor = 0.1 * (o.sum() - o[0, 0]) / (o.size - 1)
        expected.append(((o + floor) / (c + floor)).mean())
    assert DctRatio(layer)(original, coded)[0] == pytest.approx(np.mean(expected), rel=1e-5)


def test_with_a_vanishing_share_it_is_the_published_ratio():
    original, coded = pictures()[0], pictures(1)[0]
    ratios = [
        (np.abs(dctn(o, norm="ortho")) / np.abs(dctn(c, norm="ortho"))).mean()
        for o, c in zip(layer(original[None])[0][0], layer(coded[None])[0][0], strict=True)
    ]
    assert DctRatio(layer, share=1e-9)(original, coded)[0] == pytest.approx(np.mean(ratios), rel=1e-3)


@pytest.mark.parametrize("form", ["ratio", "log"])
@pytest.mark.parametrize("transform", ["dct", "fourier"])
def test_equal_pictures_lose_nothing_and_coarser_ones_more(form: str, transform: str):
    metric, originals = DctRatio(layer, form, transform), pictures()
    assert metric(originals, originals).tolist() == [1.0 if form == "ratio" else 0.0] * 2
    levels = [metric(originals, blurred(originals, sigma)).mean() for sigma in (0.5, 1.0, 2.0)]
    assert 0 < levels[0] < levels[1] < levels[2]


def test_flat_pictures_divide_by_nothing_and_stay_finite():
    """The published ratio has a pole wherever coding left no frequency."""
    original = pictures()[0]
    flat = np.full_like(original, 128)
    for form in ("ratio", "log"):
        values = [DctRatio(layer, form)(a, b)[0] for a, b in ((original, flat), (flat, original), (flat, flat))]
        assert np.isfinite(values).all()
    assert DctRatio(grey)(original, flat)[0] > 3
    assert DctRatio(grey)(flat, flat)[0] == 1.0


def test_a_mirrored_picture_cancels_the_filter():
    """Equations 15 to 21: over the periodic extension F(B ⊗ h) = F(B)·H*, so one linear filter drops out of E."""
    kernel = np.array([[0.0, 0.1, 0.0], [0.1, 1.0, 0.1], [0.0, 0.1, 0.0]])

    def softened(rgb):
        return [filtered(rgb[0, ..., 1].astype(np.float64), kernel, mode="wrap")[None, None].astype(np.float32)]

    original, coded = pictures()[0], pictures(4)[0]
    values = [DctRatio(f, transform="fourier", share=1e-9)(original, coded)[0] for f in (softened, grey)]
    assert values[0] == pytest.approx(values[1], rel=1e-2)


def test_pictures_are_judged_alone():
    originals, coded = pictures(), quantised(pictures(), 30)
    metric = DctRatio(layer)
    together = metric(originals, coded)
    assert together.dtype == np.float64 and together.shape == (2,)
    assert together.tolist() == [metric(originals[i], coded[i])[0] for i in range(2)]


def test_the_log_form_counts_halves_and_doubles_alike():
    spectra = np.full((1, 2, 2), 8.0, np.float32)
    floor = np.full((1, 1, 1), 1e-6, np.float32)
    assert log_ratio(spectra, spectra / 2, floor) == pytest.approx(log_ratio(spectra, spectra * 2, floor), rel=1e-5)
    assert spectrum(np.ones((1, 4, 4), np.float32))[0, 0, 0] == pytest.approx(4.0)


def test_windows_are_means_without_the_rest():
    assert window_means(np.arange(7.0), 3).tolist() == [1.0, 4.0]
    assert window_means([2.0, 4.0], 1).tolist() == [2.0, 4.0]
    for frames in (0, 8):
        with pytest.raises(MetricInputError, match=f"windows of {frames} frames"):
            window_means(np.arange(7.0), frames)


def test_refusals():
    original = pictures()
    with pytest.raises(MetricInputError, match="expected the same"):
        DctRatio(layer)(original, original[:, :-2])
    with pytest.raises(MetricInputError, match="feature maps"):
        DctRatio(lambda rgb: [rgb[0]])(original, original)
    for settings in ({"form": "sum"}, {"transform": "wavelet"}, {"share": 0.0}):
        with pytest.raises(ConfigError, match="DCT ratio with"):
            DctRatio(layer, **settings)

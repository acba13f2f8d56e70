"""Laws of every registered image quality metric, and equality with the library it stands on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from encoder_bridge.errors import ConfigError, DeviceError, EncoderError, MetricInputError, ToolNotFoundError
from rdo_metrics.iqa import IQA_METRICS, IqaMetric, make_iqa_metric, missing_of, weights
from rdo_metrics.iqa.ms_ssim import window_side
from rdo_metrics.iqa.vmaf import find_vmaf

torch = pytest.importorskip("torch")
piq = pytest.importorskip("piq")

NAMES = IQA_METRICS.names()
SEED_000 = ["psnr", "ssim", "ms-ssim", "fsim", "sr-sim", "gmsd", "ms-gmsd", "vsi", "haarpsi", "mdsi", "lpips", "dists"]
STILL = [name for name in NAMES if not IQA_METRICS.get(name).info.video]


@pytest.fixture(scope="session")
def metric(iqa_weights: Path) -> Callable[[str], IqaMetric]:
    """Metrics by name, each made once; skips those whose program is not here."""
    made: dict[str, IqaMetric] = {}

    def get(name: str) -> IqaMetric:
        if name not in made:
            missing = missing_of(name, iqa_weights)
            if missing is not None:
                pytest.skip(missing)
            made[name] = make_iqa_metric(name, weights=iqa_weights)
        return made[name]

    return get


def scene(side: int = 80, seed: int = 0, count: int = 1) -> np.ndarray:
    """(count, side, side + 16) uint8 with gradients, edges and texture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, : side + 16]
    pictures = []
    for i in range(count):
        values = 110 + 50 * np.sin(x / (9 + i) + seed) * np.cos(y / 7) + 30 * ((x // 16 + y // 12) % 2)
        pictures.append(values + cv2.GaussianBlur(rng.normal(0, 12, values.shape), (0, 0), 0.8))
    return np.clip(np.rint(pictures), 16, 235).astype(np.uint8)


def noisy(pictures: np.ndarray, sigma: float, seed: int = 3) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, pictures.shape)
    return np.clip(np.rint(pictures + noise), 0, 255).astype(np.uint8)


def blurred(pictures: np.ndarray, sigma: float) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(picture, (0, 0), sigma) for picture in pictures])


def test_all_of_seed_000_and_more_are_there():
    assert set(SEED_000) <= set(NAMES)
    assert set(NAMES) - set(SEED_000) == {"vif", "vmaf"}


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_describes_itself(name: str):
    info = IQA_METRICS.get(name).info
    low, high = info.range
    assert info.name == name and low < high and info.best in info.range and info.min_side >= 1
    assert info.paper and info.equation and info.title and info.color in ("luma", "luma as RGB")
    assert info.needs_weights == (name in ("lpips", "dists"))
    assert info.identity is None or low <= info.identity <= high
    if name in SEED_000:
        assert info.identity == info.best


@pytest.mark.parametrize("name", STILL)
def test_equal_pictures_get_the_best_score(name: str, metric: Callable[[str], IqaMetric]):
    one = metric(name)
    pictures = np.concatenate([scene(seed=s) for s in (0, 5)] + [np.full((1, 80, 96), v, np.uint8) for v in (0, 131)])
    scores = one.scores(pictures, pictures)
    assert scores == pytest.approx(np.full(4, one.info.identity), abs=2e-4 if name == "sr-sim" else 1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("worsen", [noisy, blurred])
def test_more_distortion_is_never_better(name: str, worsen: Callable[..., np.ndarray], metric: Any):
    one = metric(name)
    pictures = scene(count=3)
    scores = [one.scores(pictures, worsen(pictures, amount)).mean() for amount in (0.7, 1.5, 3.0, 6.0)]
    steps = np.diff(scores)
    assert (steps < 0).all() if one.info.higher_is_better else (steps > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_scores_stay_within_the_range(name: str, metric: Callable[[str], IqaMetric]):
    one = metric(name)
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 256, (2, 5, 64, 72), dtype=np.uint8)
    a[1], b[1] = 0, 255
    a[2], b[2] = 90, 91
    a[3], b[3] = 0, 0
    b[4] = 255 - a[4]
    scores = one.scores(a, b)
    low, high = one.info.range
    assert scores.shape == (5,) and scores.dtype == np.float64
    assert np.isfinite(scores).all() and (scores >= low).all() and (scores <= high).all()


@pytest.mark.parametrize("name", STILL)
def test_other_pictures_of_a_call_do_not_matter(name: str, metric: Callable[[str], IqaMetric]):
    one = metric(name)
    last = 255 - scene(64, 7) if name == "vif" else np.full((1, 64, 80), 40, np.uint8)  # VIF of flat ones is noise
    pictures = np.concatenate([scene(64, count=4), last])
    coded = noisy(pictures, 8)
    alone = np.concatenate([one.scores(pictures[i : i + 1], coded[i : i + 1]) for i in range(5)])
    together = one.scores(pictures, coded)
    assert together == pytest.approx(alone, abs=1e-4)
    assert one.scores(pictures[::-1], coded[::-1])[::-1] == pytest.approx(together, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_call_gives_the_same_scores(name: str, metric: Callable[[str], IqaMetric]):
    one, pictures = metric(name), scene(64, count=2)
    first = one.scores(pictures, noisy(pictures, 5))
    assert (one.scores(pictures, noisy(pictures, 5)) == first).all()
    assert one.scores(pictures[:0], pictures[:0]).shape == (0,)


@pytest.mark.parametrize("name", NAMES)
def test_too_small_is_nan_and_large_enough_is_not(name: str, metric: Callable[[str], IqaMetric]):
    one = metric(name)
    side = one.info.min_side
    exact = scene(side, count=2)[:, :, :side]
    assert np.isfinite(one.scores(exact, noisy(exact, 4))).all()
    if side > 1:
        small = scene(side, count=2)[:, : side - 1]
        assert np.isnan(one.scores(small, noisy(small, 4))).tolist() == [True, True]


@pytest.mark.parametrize("name", ["psnr", "vmaf", "lpips"])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros((1, 64, 64), np.uint8), np.zeros((1, 64, 65), np.uint8)),
        (np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)),
        (np.zeros((1, 64, 64, 4), np.uint8), np.zeros((1, 64, 64, 4), np.uint8)),
        (np.zeros((1, 0, 64), np.uint8), np.zeros((1, 0, 64), np.uint8)),
        (np.zeros((1, 64, 64), np.float32), np.zeros((1, 64, 64), np.float32)),
        (np.zeros((1, 64, 64), np.uint16), np.zeros((1, 64, 64), np.uint16)),
        (np.zeros((1, 64, 64), np.uint8), np.zeros((1, 64, 64), np.uint16)),
    ],
)
def test_what_is_no_pair_of_pictures_is_refused(name: str, a: np.ndarray, b: np.ndarray, metric: Any):
    with pytest.raises(MetricInputError, match="expected"):
        metric(name).scores(a, b)


def test_depths_are_told_apart(metric: Callable[[str], IqaMetric]):
    deep = scene().astype(np.uint16) * 4
    with pytest.raises(MetricInputError, match="12 bit"):
        metric("psnr").scores(deep, deep, bit_depth=12)
    for name in ("psnr", "ssim", "gmsd"):
        pictures = scene(count=2)
        coded = noisy(pictures, 6)
        at_eight = metric(name).scores(pictures, coded)
        at_ten = metric(name).scores(pictures.astype(np.uint16) * 4, coded.astype(np.uint16) * 4, bit_depth=10)
        # The same sample is 4/1023 instead of 1/255 of the range.
        assert at_ten == pytest.approx(at_eight, rel=3e-3) and (at_ten != at_eight).all()


@pytest.mark.parametrize("name", ["psnr", "vsi", "lpips"])
def test_colour_is_scored_by_its_bt601_luma(name: str, metric: Callable[[str], IqaMetric]):
    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 256, (2, 2, 40, 48, 3), dtype=np.uint8)
    grey = [np.rint(rgb @ np.array([0.299, 0.587, 0.114])).astype(np.uint8) for rgb in (a, b)]
    assert metric(name).scores(a, b) == pytest.approx(metric(name).scores(*grey), abs=2e-2 if name == "psnr" else 2e-3)
    as_rgb = [np.repeat(y[..., None], 3, axis=3) for y in grey]
    assert metric(name).scores(*as_rgb).tolist() == metric(name).scores(*grey).tolist()


DIRECT: dict[str, Callable[[Any, Any], Any]] = {
    "psnr": lambda x, y: piq.psnr(x, y, reduction="none"),
    "ssim": lambda x, y: piq.ssim(x, y, reduction="none"),
    "ms-ssim": lambda x, y: piq.multi_scale_ssim(x, y, reduction="none"),
    "fsim": lambda x, y: piq.fsim(x, y, reduction="none", chromatic=False),
    "sr-sim": lambda x, y: torch.stack([piq.srsim(x[i : i + 1], y[i : i + 1]) for i in range(len(x))]),
    "gmsd": lambda x, y: piq.gmsd(x, y, reduction="none"),
    "ms-gmsd": lambda x, y: piq.multi_scale_gmsd(x, y, reduction="none"),
    "vsi": lambda x, y: piq.vsi(x.repeat(1, 3, 1, 1), y.repeat(1, 3, 1, 1), reduction="none"),
    "haarpsi": lambda x, y: piq.haarpsi(x, y, reduction="none"),
    "mdsi": lambda x, y: piq.mdsi(x.repeat(1, 3, 1, 1), y.repeat(1, 3, 1, 1), reduction="none"),
    "vif": lambda x, y: piq.vif_p(x, y, reduction="none"),
}


@pytest.mark.parametrize("name", DIRECT)
def test_scores_equal_the_library_on_random_pictures(name: str, metric: Callable[[str], IqaMetric]):
    originals = np.random.default_rng(6).integers(0, 256, (3, 162, 170), dtype=np.uint8)
    coded = noisy(originals, 25)
    x, y = (torch.from_numpy(p[:, None].astype(np.float32) / np.float32(255)) for p in (coded, originals))
    assert metric(name).scores(originals, coded) == pytest.approx(DIRECT[name](x, y).double().numpy(), abs=1e-6)


@pytest.mark.parametrize(("name", "kind"), [("lpips", "LPIPS"), ("dists", "DISTS")])
def test_networks_equal_the_library_with_the_same_weights(
    name: str, kind: str, metric: Any, iqa_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """piq's own constructor, which finds the learned weights in torch.hub's folder and is given the same VGG-16."""
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "checkpoints").symlink_to(iqa_weights)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    features = weights.vgg16_features(iqa_weights)
    monkeypatch.setattr("piq.perceptual.vgg16", lambda **_: SimpleNamespace(features=features))
    theirs = getattr(piq, kind)(reduction="none")
    originals = np.random.default_rng(6).integers(0, 256, (3, 48, 64), dtype=np.uint8)
    coded = noisy(originals, 25)
    x, y = (torch.from_numpy(p[:, None].astype(np.float32) / np.float32(255)) for p in (coded, originals))
    with torch.no_grad():
        expected = theirs(x.repeat(1, 3, 1, 1), y.repeat(1, 3, 1, 1)).double().numpy()
    found = metric(name).scores(originals, coded)
    assert found == pytest.approx(expected, abs=1e-6) and (found > 1e-4).all()
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    assert make_iqa_metric(name).scores(originals, coded).tolist() == found.tolist()


GOLDEN = {
    "fsim": 0.92227,
    "gmsd": 0.03999,
    "haarpsi": 0.88180,
    "mdsi": 0.33680,
    "ms-gmsd": 0.04648,
    "ms-ssim": 0.96660,
    "psnr": 32.62172,
    "sr-sim": 0.96213,
    "ssim": 0.87619,
    "vif": 0.52200,
    "vsi": 0.97700,
}


@pytest.mark.parametrize("name", GOLDEN)
def test_scores_are_what_they_were(name: str, metric: Callable[[str], IqaMetric]):
    pictures = scene(96, seed=11)
    assert metric(name).scores(pictures, blurred(pictures, 1.2))[0] == pytest.approx(GOLDEN[name], abs=2e-4)


def test_vif_knows_which_picture_is_the_original(metric: Callable[[str], IqaMetric]):
    pictures = scene(seed=2)
    stronger = np.clip(128 + (pictures.astype(float) - 128) * 1.2, 0, 255).astype(np.uint8)
    assert metric("vif").scores(pictures, stronger)[0] > 1.05
    assert metric("vif").scores(stronger, pictures)[0] < 0.95


def test_window_of_ms_ssim_is_the_largest_that_fits():
    assert [window_side(side) for side in (33, 64, 65, 96, 97, 128, 129, 160, 161, 2000)] == [
        3, 3, 5, 5, 7, 7, 9, 9, 11, 11,
    ]  # fmt: skip
    for side in (33, 64, 65, 97, 129, 161):
        window = torch.rand(1, 1, side, side)
        assert piq.multi_scale_ssim(window, window, kernel_size=window_side(side)) == pytest.approx(1.0)
        if window_side(side) < 11:
            with pytest.raises(ValueError, match="Invalid size"):
                piq.multi_scale_ssim(window, window, kernel_size=window_side(side) + 2)


TABLE_II_NAN = {32: {"ms-ssim"}, 64: set(), 128: set()}


@pytest.mark.parametrize("side", TABLE_II_NAN)
def test_what_is_nan_in_table_ii_is_nan_here(side: int):
    assert {n for n in SEED_000 if IQA_METRICS.get(n).info.min_side > side} == TABLE_II_NAN[side]


@pytest.mark.parametrize("side", TABLE_II_NAN)
def test_recorded_blocks_have_the_same_holes(side: int, repo_root: Path):
    path = repo_root.parent / "shared" / "data" / "qomex2023" / f"{side}x{side}_metrics.json"
    if not path.is_file():
        pytest.skip("the blocks of seed 000 are not here")
    recorded = list(json.loads(path.read_text()).values())
    for name in SEED_000:
        key = IQA_METRICS.get(name).info.title.replace("-", "_")
        holes = np.isnan([row[key] for row in recorded])
        assert holes.all() if name in TABLE_II_NAN[side] else not holes.any()


@pytest.mark.parametrize("name", ["psnr", "sr-sim", "vmaf"])
def test_frames_one_by_one_score_as_together(name: str, metric: Callable[[str], IqaMetric], monkeypatch: Any):
    monkeypatch.setattr("rdo_metrics.iqa.base._AT_ONCE", 12000)
    one, pictures = metric(name), scene(64, count=5)
    coded = noisy(pictures, 9)
    with one.collector() as collector:
        for original, decoded in zip(pictures, coded, strict=True):
            collector.add(original, decoded)
        found = collector.result()
    assert found == pytest.approx(one.scores(pictures, coded), abs=1e-6)


def test_unknown_names_and_devices_are_refused():
    with pytest.raises(ConfigError, match="known: dists, fsim"):
        make_iqa_metric("ssim2")
    with pytest.raises(DeviceError, match="tpu"):
        make_iqa_metric("psnr", device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="--device cpu"):
            make_iqa_metric("psnr", device="cuda")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "piq", None)
    with pytest.raises(ToolNotFoundError, match=r"machine-rdo\[iqa\]"):
        make_iqa_metric("ssim")
    assert "machine-rdo[iqa]" in str(missing_of("ssim"))


def test_a_program_without_vmaf_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MRDO_VMAF", "/bin/true")
    with pytest.raises(ToolNotFoundError, match="MRDO_VMAF=/bin/true"):
        find_vmaf()
    with pytest.raises(DeviceError, match="expected cpu"):
        make_iqa_metric("vmaf", device="cuda")


def test_a_failing_vmaf_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "vmaf"
    program.write_text("#!/bin/sh\necho problem loading model >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("MRDO_VMAF", str(program))
    pictures = scene()
    with pytest.raises(EncoderError, match="problem loading model"):
        make_iqa_metric("vmaf").scores(pictures, pictures)

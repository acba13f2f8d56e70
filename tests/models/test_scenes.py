"""The procedural street: deterministic, complete, in motion, and close to what a dash camera sees."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from encoder_bridge.errors import ConfigError
from models.scenes import CAMVID_CLASSES, CAMVID_PALETTE, SceneConfig, SceneSource, render_clip, render_frame
from models.scenes.canvas import Texture
from models.scenes.render import camera_at

ROAD, CAR, SKY, VOID = 3, 8, 0, 11
CLIP_DIGEST = """
import hashlib
from models.scenes import SceneConfig, render_clip
total = hashlib.sha256()
for rgb, labels in render_clip(SceneConfig(160, 120, 4, seed=5)):
    total.update(rgb.tobytes() + labels.tobytes())
print(total.hexdigest())
"""


def digest_of(config: SceneConfig) -> str:
    total = hashlib.sha256()
    for rgb, labels in render_clip(config):
        total.update(rgb.tobytes() + labels.tobytes())
    return total.hexdigest()


@pytest.fixture(scope="module")
def default_clip() -> list[tuple[np.ndarray, np.ndarray]]:
    return list(render_clip(SceneConfig(frames=12)))


def test_another_process_renders_the_same_samples(repo_root: Path) -> None:
    run = subprocess.run([sys.executable, "-c", CLIP_DIGEST], cwd=repo_root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == digest_of(SceneConfig(160, 120, 4, seed=5))


def test_order_of_rendering_does_not_matter() -> None:
    first = digest_of(SceneConfig(96, 64, 2, seed=3))
    render_frame(8, 200, 100)
    digest_of(SceneConfig(64, 48, 3, seed=4))
    assert digest_of(SceneConfig(96, 64, 2, seed=3)) == first


def test_shorter_clip_is_a_prefix_of_the_longer() -> None:
    short = list(render_clip(SceneConfig(96, 72, 3, seed=1)))
    longer = itertools.islice(render_clip(SceneConfig(96, 72, 50, seed=1)), 3)
    for (rgb_a, labels_a), (rgb_b, labels_b) in zip(short, longer, strict=True):
        assert np.array_equal(rgb_a, rgb_b)
        assert np.array_equal(labels_a, labels_b)


def test_same_moment_at_another_rate_has_the_same_labels() -> None:
    slow = list(render_clip(SceneConfig(96, 72, 2, Fraction(10), seed=2)))
    fast = list(render_clip(SceneConfig(96, 72, 4, Fraction(30), seed=2)))
    assert np.array_equal(slow[1][1], fast[3][1])


def test_seeds_differ() -> None:
    pictures = [render_frame(seed, 96, 72)[0].astype(int) for seed in range(4)]
    for a, b in itertools.combinations(pictures, 2):
        assert np.abs(a - b).mean() > 8


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_class_appears(seed: int) -> None:
    count = np.zeros(12, int)
    for _, labels in render_clip(SceneConfig(frames=8, fps=Fraction(4), seed=seed)):
        count += np.bincount(labels.ravel(), minlength=12)
    missing = [name for name, n in zip(CAMVID_CLASSES[:11], count[:11], strict=True) if n < 100]
    assert not missing


def test_class_shares_are_those_of_a_street() -> None:
    count = np.zeros(12)
    for seed in range(100, 118):
        count += np.bincount(render_frame(seed, 240, 180)[1].ravel(), minlength=12)
    share = dict(zip(CAMVID_CLASSES, count / count.sum(), strict=True))
    bands = {
        "Sky": (0.08, 0.35), "Building": (0.1, 0.4), "Pole": (0.003, 0.04), "Road": (0.2, 0.45),
        "Pavement": (0.015, 0.12), "Tree": (0.03, 0.2), "Sign": (0.003, 0.04), "Fence": (0.004, 0.06),
        "Car": (0.02, 0.15), "Pedestrian": (0.002, 0.04), "Bicyclist": (0.001, 0.03), "void": (0.0, 0.06),
    }  # fmt: skip
    outside = {
        name: round(float(share[name]), 4) for name, (low, high) in bands.items() if not low < share[name] < high
    }
    assert not outside


def test_colours_are_muted_and_sky_is_brightest() -> None:
    means = []
    for seed in range(100, 112):
        rgb, labels = render_frame(seed, 240, 180)
        means.append([rgb[labels == c].mean() for c in (SKY, ROAD)] + [rgb.mean()])
    sky, road, whole = np.mean(means, axis=0)
    assert sky > 1.8 * road
    assert 70 < whole < 145


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (101, 57), (640, 33), (35, 240)])
def test_any_size(size: tuple[int, int]) -> None:
    width, height = size
    rgb, labels = next(render_clip(SceneConfig(width, height, 1, seed=6)))
    assert rgb.shape == (height, width, 3)
    assert labels.shape == (height, width)
    assert rgb.dtype == labels.dtype == np.uint8
    assert labels.max() <= VOID
    assert len(np.unique(labels)) >= 3


def test_everything_moves(default_clip: list[tuple[np.ndarray, np.ndarray]]) -> None:
    first, last = default_clip[0][1], default_clip[-1][1]
    assert (first != last).mean() > 0.02
    cars_before, cars_after = first == CAR, last == CAR
    assert (cars_before & ~cars_after).sum() > 50
    assert (cars_after & ~cars_before).sum() > 50


def test_neighbouring_frames_are_of_one_scene(default_clip: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for (_, a), (_, b) in itertools.pairwise(default_clip):
        assert 0 < (a != b).mean() < 0.08


def test_the_road_flows_towards_the_camera() -> None:
    near, later = camera_at(0, 0.0, (480, 360)), camera_at(0, 0.5, (480, 360))
    point = np.array([[near.x, 0.0, near.z + 15.0]])
    before, after = near.project(np.repeat(point, 3, 0)), later.project(np.repeat(point, 3, 0))
    assert before is not None
    assert after is not None
    assert after[0, 1] > before[0, 1] + 5


def test_sensor_noise_is_fresh_in_every_frame() -> None:
    # at a million frames a second nothing moves, so what differs is noise
    (a, _), (b, _) = render_clip(SceneConfig(160, 120, 2, Fraction(50_000), seed=0))
    difference = a.astype(float) - b.astype(float)
    middle = difference[40:80, 40:120]
    assert 0.8 < middle.std() < 12
    assert abs(middle.mean()) < 1.0


def test_a_clip_may_run_for_an_hour() -> None:
    rgb, labels = next(itertools.islice(render_clip(SceneConfig(64, 48, 5, Fraction(1, 900), seed=0)), 4, None))
    assert rgb.std() > 20
    assert {SKY, ROAD} <= set(np.unique(labels))


@pytest.mark.parametrize(
    "settings", [{"width": 31}, {"height": 8}, {"frames": 0}, {"fps": Fraction(0)}, {"seed": -1}], ids=str
)
def test_bad_settings_name_value_and_expectation(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        SceneConfig(**settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected at least 32x32"):
        render_frame(0, 20, 20)


def test_source_is_a_frame_source_with_labels() -> None:
    source = SceneSource(SceneConfig(65, 49, 3, Fraction(25), seed=7))
    frames = list(source)
    assert [f.index for f in frames] == [0, 1, 2]
    assert [f.pts for f in frames] == [Fraction(0), Fraction(1, 25), Fraction(2, 25)]
    assert tuple(p.shape for p in frames[0].planes) == source.format.plane_shapes == ((49, 65), (25, 33), (25, 33))
    assert all(p.dtype == np.uint8 for p in frames[0].planes)
    assert frames[0].planes[0].min() >= 16
    assert frames[0].planes[0].max() <= 235
    labels = list(source.labels())
    assert len(labels) == source.frame_count == 3
    assert labels[0].shape == (49, 65)


def test_source_digest_names_format_and_samples() -> None:
    config = SceneConfig(64, 48, 2, seed=1)
    assert SceneSource(config).digest() == SceneSource(config).digest()
    others = [
        SceneConfig(64, 48, 3, seed=1),
        SceneConfig(64, 48, 2, seed=2),
        SceneConfig(64, 48, 2, Fraction(25), seed=1),
    ]
    assert len({SceneSource(c).digest() for c in [config, *others]}) == 4


def test_luma_of_the_source_is_that_of_the_picture() -> None:
    config = SceneConfig(64, 48, 1, seed=2)
    rgb, _ = next(render_clip(config))
    luma = next(iter(SceneSource(config))).planes[0].astype(float)
    expected = 16 + (rgb.astype(float) @ [0.2126, 0.7152, 0.0722]) * 219 / 255
    assert np.abs(luma - expected).max() <= 1.0


def test_palette_has_a_colour_per_class() -> None:
    assert CAMVID_PALETTE.shape == (len(CAMVID_CLASSES), 3) == (12, 3)
    assert len({tuple(c) for c in CAMVID_PALETTE}) == 12


def test_mip_level_follows_the_scale() -> None:
    texture = Texture.build(np.zeros((128, 256, 3), np.uint8), None, np.ones((128, 256), np.uint8))
    levels = [texture.level(rate) for rate in (0.1, 1, 4, 16, 1e6)]
    assert levels == sorted(levels)
    assert levels[0] == 0
    assert levels[-1] == len(texture.colors) - 1

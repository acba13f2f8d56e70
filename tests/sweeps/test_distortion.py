"""Training pictures through a real encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder_bridge.console import Reporter
from encoder_bridge.encoder import BuildInfo
from encoder_bridge.errors import ConfigError
from models.model_set import Configuration
from sweeps.distortion import DistortedFolder, coding_of, resize_bicubic


@pytest.fixture
def folder(tmp_path: Path, x265_hooked: BuildInfo) -> DistortedFolder:
    """Coloured pictures with some noise, of two sizes, the sizes in turn."""
    images = []
    for index, (height, width) in enumerate([(144, 160), (128, 136), (144, 160)]):
        y, x = np.mgrid[:height, :width]
        channels = [128 + 100 * np.sin(x / (9 + index)), 128 + 100 * np.cos(y / 11), 128 + 90 * np.sin((x + y) / 13)]
        noise = np.random.default_rng(index).normal(0, 8, (height, width, 3))
        images.append(np.clip(np.stack(channels, axis=2) + noise, 0, 255).astype(np.uint8))
    labels = [np.zeros(image.shape[:2], np.uint8) for image in images]
    return DistortedFolder(images, labels, tmp_path / "pictures", "ultrafast", Reporter(), threads=1)


def error(folder: DistortedFolder, configuration: Configuration) -> float:
    pairs = zip(folder.pictures(configuration), folder.images, strict=True)
    return float(np.mean([np.mean((np.asarray(a, float) - b) ** 2) for a, b in pairs]))


def test_pictures_keep_size_and_order_and_lose_quality(folder: DistortedFolder) -> None:
    pictures = folder.pictures(Configuration("x265", 30))
    assert [np.asarray(p).shape for p in pictures] == [image.shape for image in folder.images]
    errors = [error(folder, Configuration("x265", q)) for q in (10, 30, 50)]
    assert errors[0] < errors[1] < errors[2]
    assert error(folder, Configuration()) == 0
    assert error(folder, Configuration(scale=0.5)) > 0


def test_grey_pictures_are_bt601_luma(folder: DistortedFolder) -> None:
    grey = np.asarray(folder.pictures(Configuration(gray=True))[0], float)
    assert np.all(grey == grey[..., :1])
    luma = folder.images[0].astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(grey[..., 0] - luma).max() <= 1.2, "limited range has 220 steps for 256"
    coded = np.asarray(folder.pictures(Configuration("x265", 20, gray=True))[0], float)
    assert np.all(coded == coded[..., :1])
    assert np.abs(coded[..., 0] - luma).mean() < 6


def test_a_scaled_picture_costs_fewer_bits_and_comes_back_at_full_size(folder: DistortedFolder) -> None:
    full, small = Configuration("x265", 20), Configuration("x265", 20, 0.5)
    assert sum(folder.frame_bits(small)) < sum(folder.frame_bits(full))
    assert np.asarray(folder.pictures(small)[0]).shape == (144, 160, 3)


def test_streams_are_coded_once_and_decoded_pictures_come_and_go(folder: DistortedFolder, tmp_path: Path) -> None:
    first = [np.array(p) for p in folder.pictures(Configuration("x265", 30))]
    streams = {p: p.stat().st_mtime_ns for p in (tmp_path / "pictures" / "streams").iterdir()}
    for quality in (35, 40, 45):
        folder.pictures(Configuration("x265", quality))
    assert len(list((tmp_path / "pictures" / "decoded").iterdir())) == 2 * folder.kept, "two sizes each"
    again = folder.pictures(Configuration("x265", 30))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert {p: p.stat().st_mtime_ns for p in streams} == streams


def test_bits_of_the_pictures_are_the_streams(folder: DistortedFolder, tmp_path: Path) -> None:
    bits = folder.frame_bits(Configuration("x265", 30))
    files = (tmp_path / "pictures" / "streams").glob("*.hevc")
    assert len(bits) == 3
    assert sum(bits) == 8 * sum(p.stat().st_size for p in files)


def test_what_cannot_be_coded_is_said_at_once(folder: DistortedFolder) -> None:
    folder.check([Configuration("x265", 50), Configuration(scale=0.25), Configuration(gray=True)])
    with pytest.raises(ConfigError, match="QP 55 outside"):
        folder.check([Configuration("x265", 55)])
    with pytest.raises(ConfigError, match="frame size"):
        folder.check([Configuration("x265", 30, 0.25)])
    with pytest.raises(ConfigError, match=r"codec 'h\.999' has no encoder here.*expected one of .*x265"):
        folder.check([Configuration("h.999", 30)])
    with pytest.raises(ConfigError, match="whole number"):
        coding_of(Configuration("x265", 30.5), "slow")


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize_bicubic(stripes, 16, 16)
    assert np.abs(small.astype(float) - 127.5).max() < 20

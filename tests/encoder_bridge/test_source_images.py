"""Folders and globs of images."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from encoder_bridge.errors import DecodeError
from encoder_bridge.frames import Plane, VideoFormat
from encoder_bridge.source_images import natural_key
from encoder_bridge.sources import open_source

Planes = Callable[[VideoFormat, int], tuple[Plane, ...]]
Writer = Callable[..., Path]


def _images(folder: Path, names: list[str], size: tuple[int, int] = (16, 12)) -> list[np.ndarray]:
    folder.mkdir(exist_ok=True)
    pictures = []
    for number, name in enumerate(names):
        picture = np.full((size[1], size[0], 3), (10 * number, 128, 255 - 10 * number), np.uint8)
        assert cv2.imwrite(str(folder / name), picture[..., ::-1])
        pictures.append(picture)
    return pictures


def test_images_come_in_natural_order(tmp_path: Path) -> None:
    _images(tmp_path / "f", ["a1.png", "a2.png", "a10.png"])
    (tmp_path / "f" / "notes.txt").write_text("not an image")
    source = open_source(tmp_path / "f", chroma="444", fps=Fraction(5))
    assert source.format == VideoFormat(16, 12, "444", fps=Fraction(5))
    reds = [int(frame.planes[2][0, 0]) for frame in source]
    assert reds == sorted(reds)
    assert [frame.pts for frame in source] == [Fraction(i, 5) for i in range(3)]
    by_glob = open_source(str(tmp_path / "f" / "a1*.png"), chroma="444", fps=Fraction(5))
    assert by_glob.frame_count == 2
    assert open_source(tmp_path / "f" / "a2.png").frame_count == 1


def test_image_defaults_are_420_bt709_limited_30(tmp_path: Path) -> None:
    _images(tmp_path / "f", ["1.png", "2.png"])
    source = open_source(tmp_path / "f")
    assert source.format == VideoFormat(16, 12, "420", 8, Fraction(30), "bt709", "limited")
    assert any("frame rate" in note for note in source.notes)


@pytest.mark.parametrize("name", ["1.png", "1.jpg", "1.tiff", "1.bmp"])
def test_image_kinds(name: str, tmp_path: Path) -> None:
    _images(tmp_path / "f", [name], (64, 48))
    luma = next(iter(open_source(tmp_path / "f"))).planes[0]
    assert luma.shape == (48, 64)
    assert np.ptp(luma.astype(int)) <= 2


def test_grey_and_opaque_alpha_images(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), np.full((8, 8), 128, np.uint8))
    cv2.imwrite(str(folder / "2.png"), np.full((8, 8, 4), (128, 128, 128, 255), np.uint8))
    first, second = open_source(folder)
    assert all(np.array_equal(a, b) for a, b in zip(first.planes, second.planes, strict=True))


def test_bad_images(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DecodeError, match="folder without images"):
        open_source(empty)
    with pytest.raises(DecodeError, match="no image matches"):
        open_source(str(tmp_path / "*.png"))
    _images(tmp_path / "f", ["1.png"])
    _images(tmp_path / "f", ["2.png"], (18, 12))
    with pytest.raises(DecodeError, match=r"2\.png: 18x12; expected 16x12 as 1\.png"):
        list(open_source(tmp_path / "f"))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_cut_image_is_an_error(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"1.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(path), noise)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DecodeError, match="cut short"):
        open_source(path)


@pytest.mark.parametrize(
    ("picture", "what"),
    [(np.zeros((8, 8, 3), np.uint16), "uint16 samples"), (np.zeros((8, 8, 4), np.uint8), "transparency")],
)
def test_images_we_do_not_take(picture: np.ndarray, what: str, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), picture)
    with pytest.raises(DecodeError, match=what):
        open_source(tmp_path / "1.png")


def test_natural_key() -> None:
    assert sorted(["b", "a10", "a9", "a09b"], key=natural_key) == ["a9", "a09b", "a10", "b"]

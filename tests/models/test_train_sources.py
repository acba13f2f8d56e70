"""Where training data comes from: the three layouts, label tables, and reading with bounded memory."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from encoder_bridge.errors import ConfigError
from models.train import data as td
from models.train.reading import Cache, open_pairs
from models.train.run import TrainRequest, run_training
from models.train.sources import CITYSCAPES_CLASSES, cityscapes_table, find_source, match_folders

CITIES = {"train": ["aachen", "bochum"], "val": ["ulm"]}


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """Cityscapes' folders with pictures of 64×32; label ids 7 (road), 26 (car), 1 (ego vehicle)."""
    rng = np.random.default_rng(0)
    for split, cities in CITIES.items():
        for city in cities:
            for index in range(2):
                name = f"{city}_{index:06d}_000019"
                picture = rng.integers(0, 256, (32, 64, 3)).astype(np.uint8)
                write(tmp_path / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", picture)
                ids = np.repeat(np.array([7, 26, 1, 33], np.uint8), 16)[None].repeat(32, 0)
                write(tmp_path / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", ids)
                write(tmp_path / "gtFine" / split / city / f"{name}_gtFine_color.png", picture)
    return tmp_path


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    for index in range(5):
        write(tmp_path / "rgb" / f"{index}.jpg", rng.integers(0, 256, (24, 40, 3)).astype(np.uint8))
        write(tmp_path / "ids" / f"{index}.png", rng.integers(0, 4, (24, 40)).astype(np.uint8))
    return tmp_path


def test_cityscapes_is_recognised_and_mapped(cityscapes: Path) -> None:
    source = find_source(cityscapes)
    assert source.layout == "cityscapes" and source.classes == CITYSCAPES_CLASSES and len(CITYSCAPES_CLASSES) == 19
    assert len(source.train.images) == 4 and source.validation is not None and len(source.validation.images) == 2
    samples = td.open_samples(source.train, 19)
    for image, label in (samples.pair(i) for i in range(4)):
        assert image.shape == (32, 64, 3)
        np.testing.assert_array_equal(label[0, ::16], [0, 13, 255, 18])
    assert samples.counts.sum(axis=0)[[0, 13, 18, 255]].tolist() == [4 * 32 * 16] * 4


def test_train_ids_are_taken_as_they_are_where_every_picture_has_them(cityscapes: Path) -> None:
    for path in cityscapes.glob("gtFine/*/*/*_labelIds.png"):
        ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        write(path.with_name(path.name.replace("labelIds", "labelTrainIds")), cityscapes_table()[ids])
    source = find_source(cityscapes)
    assert source.train.table is None and source.train.labels[0].name.endswith("labelTrainIds.png")
    np.testing.assert_array_equal(td.open_samples(source.train, 19).labels[0][0, ::16], [0, 13, 255, 18])
    next(cityscapes.glob("gtFine/train/*/*_labelTrainIds.png")).unlink()
    assert find_source(cityscapes).train.table is not None


def test_cityscapes_table_names_nineteen_ids() -> None:
    table = cityscapes_table()
    assert sorted(table[table < 255].tolist()) == list(range(19))
    assert table[[0, 6, 9, 10, 14, 18, 29, 30, 34, 255]].tolist() == [255] * 10
    assert [CITYSCAPES_CLASSES[table[i]] for i in (7, 17, 19, 23, 24, 33)] == [
        "road", "pole", "traffic light", "sky", "person", "bicycle",
    ]  # fmt: skip


def test_named_folders(pair: Path) -> None:
    source = find_source(None, pair / "rgb", pair / "ids", pair / "rgb", pair / "ids")
    assert source.layout == "pair" and source.classes is None and source.validation is not None
    assert [p.stem for p in source.train.images] == [p.stem for p in source.train.labels] == list("01234")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ((None,), "no training data named; expected DIR/train"),
        ((Path("x"), Path("rgb")), "one or the other"),
        ((None, Path("rgb")), "--images and --labels belong together"),
        ((None, Path("rgb"), Path("ids"), Path("rgb")), "--val-images and --val-labels belong together"),
        ((None, Path("rgb"), Path("none")), "training folder .*none not found"),
        ((Path("rgb"),), "no folder .*train; expected DIR/train with DIR/trainannot, Cityscapes"),
    ],
)
def test_source_refusals(pair: Path, folders: tuple[Path | None, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_source(*(None if f is None else pair / f for f in folders))


def test_cityscapes_refusals(cityscapes: Path) -> None:
    next(cityscapes.glob("gtFine/val/*/*_labelIds.png")).unlink()
    with pytest.raises(ConfigError, match=r"no label .*ulm_0.*labelIds.png; expected"):
        find_source(cityscapes)
    (cityscapes / "other" / "gtFine").mkdir(parents=True)
    with pytest.raises(ConfigError, match="expected Cityscapes' own folders"):
        find_source(cityscapes / "other")


def test_reading_is_lazy_and_bounded(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = cv2.imread

    def noting(path: str, flags: int) -> np.ndarray | None:
        read.append(Path(path).name)
        return whole(path, flags)

    monkeypatch.setattr(cv2, "imread", noting)
    one = 24 * 40 * 4
    images, labels = open_pairs(match_folders(pair / "rgb", pair / "ids"), 3, limit=2 * one)
    assert read == ["0.jpg", "0.png"]
    assert labels[0].max() == 255 and set(np.unique(labels[0])) == {0, 1, 2, 255}
    assert len(read) == 2
    for index in range(5):
        assert images[index].shape == (24, 40, 3) and labels[-5 + index] is labels[index]
    assert images[4] is images[4] and read.count("0.jpg") == 1
    assert images[0].shape == (24, 40, 3) and read.count("0.jpg") == 2
    assert len(images[1:3]) == 2
    with pytest.raises(IndexError):
        images[5]


def test_cache_holds_no_more_than_its_limit() -> None:
    cache = Cache(1000)
    for index in range(10):
        cache.get(("x", index), lambda: np.zeros(300, np.uint8))
        assert cache.held <= 1000
    kept = cache.get(("x", 9), lambda: np.ones(300, np.uint8))
    assert kept.max() == 0
    assert cache.get(("x", 0), lambda: np.ones(300, np.uint8)).max() == 1


def test_a_wrong_label_later_on_is_named(pair: Path) -> None:
    write(pair / "ids" / "3.png", np.zeros((24, 41), np.uint8))
    samples = td.load_folder_pair(pair / "rgb", pair / "ids", 4)
    with pytest.raises(ConfigError, match=r"shape \(24, 41\); expected \(24, 40\)"):
        samples.pair(3)
    (pair / "ids" / "4.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"4.png is not a readable image"):
        samples.pair(4)


def test_named_folders_need_class_names(pair: Path, tmp_path: Path) -> None:
    request = TrainRequest(out=tmp_path / "out", images=pair / "rgb", labels=pair / "ids")
    with pytest.raises(ConfigError, match="give --classes"):
        run_training(request, lambda event: None)

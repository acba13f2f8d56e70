"""Where training pictures and labels lie: folder pairs, CamVid's and Cityscapes' layout, found by what is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ConfigError
from models.labels import CAMVID_CLASSES

IGNORE = 255
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm"}
EXPECTED = (
    "expected DIR/train with DIR/trainannot, Cityscapes' DIR/leftImg8bit/train with DIR/gtFine/train, or --images and "
    "--labels"
)
CITYSCAPES_CLASSES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Label id of each of the 19 classes, in the order of their train ids (Cordts et al. 2016)."""


@dataclass(frozen=True)
class PairFiles:
    """Pictures with their label images, in the same order.

    Attributes:
        images, labels: files.
        table: 256 uint8 that turn stored label values into class indices; None where they are class indices.
    """

    images: tuple[Path, ...]
    labels: tuple[Path, ...]
    table: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Source:
    """A training set, and a validation set where there is one.

    Attributes:
        layout: "camvid", "cityscapes" or "pair".
        classes: the layout's usual class names, None where it has none.
    """

    layout: str
    train: PairFiles
    validation: PairFiles | None
    classes: tuple[str, ...] | None


def find_source(
    data: Path | None,
    images: Path | None = None,
    labels: Path | None = None,
    val_images: Path | None = None,
    val_labels: Path | None = None,
) -> Source:
    """Look at what is in ``data``, or take the folders named; only lists files.

    Raises ConfigError, naming what was expected, for folders that are absent, empty or do not match.
    """
    if images is not None or labels is not None or val_images is not None or val_labels is not None:
        return _named(data, images, labels, val_images, val_labels)
    if data is None:
        raise ConfigError(f"no training data named; {EXPECTED}")
    if (data / "leftImg8bit").is_dir() or (data / "gtFine").is_dir():
        return _cityscapes(data)
    if not (data / "train").is_dir():
        raise ConfigError(f"no folder {data / 'train'}; {EXPECTED}")
    validation = match_folders(data / "val", data / "valannot") if (data / "val").is_dir() else None
    return Source("camvid", match_folders(data / "train", data / "trainannot"), validation, CAMVID_CLASSES[:11])


def match_folders(images: Path, labels: Path) -> PairFiles:
    """Every image of a folder with the label image of the same stem in another. Raises ConfigError."""
    for folder in (images, labels):
        if not folder.is_dir():
            raise ConfigError(f"training folder {folder} not found; {EXPECTED}")
    names = {p.stem: p for p in sorted(labels.iterdir()) if p.suffix.lower() in SUFFIXES}
    paths = [p for p in sorted(images.iterdir()) if p.suffix.lower() in SUFFIXES]
    if not paths:
        raise ConfigError(f"no image in {images}; expected files ending in {', '.join(sorted(SUFFIXES))}")
    missing = [p.name for p in paths if p.stem not in names]
    if missing:
        raise ConfigError(f"no label in {labels} for {missing[0]} ({len(missing)} of {len(paths)} images have none)")
    return PairFiles(tuple(paths), tuple(names[p.stem] for p in paths))


def _named(
    data: Path | None, images: Path | None, labels: Path | None, val_images: Path | None, val_labels: Path | None
) -> Source:
    if data is not None:
        raise ConfigError(f"--data {data} beside --images or --labels; give one or the other")
    if images is None or labels is None:
        raise ConfigError("--images and --labels belong together; give both folders")
    if (val_images is None) != (val_labels is None):
        raise ConfigError("--val-images and --val-labels belong together; give both folders or neither")
    validation = None if val_images is None or val_labels is None else match_folders(val_images, val_labels)
    return Source("pair", match_folders(images, labels), validation, None)


def _cityscapes(data: Path) -> Source:
    train = _cityscapes_split(data, "train")
    validation = _cityscapes_split(data, "val") if (data / "leftImg8bit" / "val").is_dir() else None
    return Source("cityscapes", train, validation, CITYSCAPES_CLASSES)


def _cityscapes_split(data: Path, split: str) -> PairFiles:
    """Train ids where every picture has them, else label ids and the table that turns them into train ids."""
    ending = "_leftImg8bit.png"
    images = sorted((data / "leftImg8bit" / split).glob(f"*/*{ending}"))
    if not images:
        raise ConfigError(f"no {data}/leftImg8bit/{split}/CITY/*{ending}; expected Cityscapes' own folders")
    fine = data / "gtFine" / split
    stems = [fine / p.parent.name / p.name.removesuffix(ending) for p in images]
    for kind, table in (("labelTrainIds", None), ("labelIds", cityscapes_table())):
        labels = [s.with_name(f"{s.name}_gtFine_{kind}.png") for s in stems]
        if all(p.is_file() for p in labels):
            return PairFiles(tuple(images), tuple(labels), table)
    absent = next(p for p in labels if not p.is_file())
    raise ConfigError(f"no label {absent}; expected *_gtFine_labelIds.png or *_gtFine_labelTrainIds.png for each image")


def cityscapes_table() -> NDArray[np.uint8]:
    """(256,) uint8: Cityscapes label id → train id, 255 (ignored) for every id outside the 19 classes."""
    table = np.full(256, IGNORE, np.uint8)
    table[list(CITYSCAPES_IDS)] = np.arange(len(CITYSCAPES_IDS), dtype=np.uint8)
    return table

"""Labelled data sets by path: COCO, WIDER FACE, CelebA, CCPD, as their authors distribute them.

Detection pictures are fitted into one size, boxes with them; faces and plates are cut out with some margin. Every
loader says what it expected where a file is missing or a line is not what the format says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ConfigError, DecodeError
from models.objects.crops import MARGIN, SIDE, crop
from models.objects.types import ObjectSet, Rgb, whole_pictures

FRAME = (256, 192)
"""Width and height detection pictures are fitted into."""
SMALLEST = 18.0
"""Least longer side, in the fitted picture, of objects that are measured."""

CCPD_PROVINCES = "皖沪津渝冀晋蒙辽吉黑苏浙京闽赣鲁豫鄂湘粤桂琼川贵云藏陕甘青宁新警学O"
CCPD_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZO"
CCPD_CHARACTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789O"
CCPD_ALPHABET = CCPD_PROVINCES[:-1] + CCPD_CHARACTERS
"""Characters of CCPD's plates; its lists end in O for "none"."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Annotated:
    """One picture of a data set: file, boxes (x0, y0, x1, y1 in its samples), class or identity and text of each."""

    path: Path
    boxes: tuple[Box, ...]
    labels: tuple[int, ...]
    texts: tuple[str, ...] = ()


def read_coco(folder: Path) -> tuple[list[Annotated], tuple[str, ...]]:
    """COCO detection: ``annotations/instances_*.json`` (or one json) and the images it names; class names beside.

    Crowd annotations are left out. The smallest validation file is taken where several lie there.
    """
    files = sorted(folder.glob("annotations/instances_*.json")) or sorted(folder.glob("*.json"))
    if not files:
        raise ConfigError(f"{folder}: no annotations/instances_*.json; expected a COCO folder")
    chosen = min(files, key=lambda f: f.stat().st_size)
    try:
        content = json.loads(chosen.read_text())
        categories = {c["id"]: c["name"] for c in content["categories"]}
        names = {i["id"]: i["file_name"] for i in content["images"]}
        rows = [(a["image_id"], a["bbox"], a["category_id"]) for a in content["annotations"] if not a.get("iscrowd")]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{chosen}: not COCO annotations ({error}); expected images, annotations, categories"
        ) from error
    order = {key: index for index, key in enumerate(sorted(categories))}
    found: dict[int, tuple[list[Box], list[int]]] = {}
    for image, box, category in rows:
        boxes, labels = found.setdefault(image, ([], []))
        boxes.append(_corners(box, chosen))
        labels.append(order[category])
    places = [folder / chosen.stem.removeprefix("instances_"), folder / "images", folder]
    listed = [
        Annotated(_first(places, names[i], chosen), tuple(b), tuple(k)) for i, (b, k) in found.items() if i in names
    ]
    return listed, tuple(categories[k] for k in sorted(categories))


def read_wider(folder: Path) -> tuple[list[Annotated], tuple[str, ...]]:
    """WIDER FACE: ``wider_face_*_bbx_gt.txt`` (here or in ``wider_face_split``) and ``images`` below ``WIDER_*``."""
    files = sorted(folder.glob("**/wider_face_*_bbx_gt.txt"))
    if not files:
        raise ConfigError(f"{folder}: no wider_face_*_bbx_gt.txt; expected a WIDER FACE folder")
    chosen = min(files, key=lambda f: f.stat().st_size)
    part = chosen.stem.removeprefix("wider_face_").removesuffix("_bbx_gt")
    places = [folder / f"WIDER_{part}" / "images", folder / "images", folder]
    lines = iter(chosen.read_text().splitlines())
    listed = []
    for name in lines:
        count = int(_number(next(lines, ""), chosen))
        # A picture without faces has one line of zeros all the same.
        rows = [_numbers(next(lines, ""), chosen) for _ in range(max(count, 1))]
        boxes = [_corners(row[:4], chosen) for row in rows[:count] if row[2] > 0 and row[3] > 0 and not any(row[7:8])]
        if boxes:
            listed.append(Annotated(_first(places, name, chosen), tuple(boxes), (0,) * len(boxes)))
    return listed, ("face",)


def read_celeba(folder: Path) -> tuple[list[Annotated], tuple[str, ...]]:
    """CelebA: ``identity_CelebA.txt``, ``list_bbox_celeba.txt`` with ``img_celeba``, or ``img_align_celeba`` alone."""
    identity = _table(folder, "identity_CelebA.txt")
    boxes_file = _find(folder, "list_bbox_celeba.txt")
    wild = [folder / "img_celeba", folder / "Img" / "img_celeba"]
    boxes: dict[str, Box] = {}
    if boxes_file is not None and any(p.is_dir() for p in wild):
        for row in boxes_file.read_text().splitlines()[2:]:
            name, *numbers = row.split()
            boxes[name] = _corners(_numbers(" ".join(numbers), boxes_file), boxes_file)
    places = wild if boxes else [folder / "img_align_celeba", folder / "Img" / "img_align_celeba", folder]
    source = folder / "identity_CelebA.txt"
    listed = []
    for name, person in identity:
        if boxes and name not in boxes:
            continue
        whole = () if not boxes else (boxes[name],)
        listed.append(Annotated(_first(places, name, source), whole, (int(_number(person, source)),)))
    return listed, ()


def read_ccpd(folder: Path) -> tuple[list[Annotated], tuple[str, ...]]:
    """CCPD: everything is in the file names: area-tilt-box-corners-characters-brightness-blur.jpg."""
    listed = []
    for path in sorted(folder.rglob("*.jpg")):
        fields = path.stem.split("-")
        if len(fields) < 5:
            raise ConfigError(f"{path}: name without CCPD's fields; expected area-tilt-box-corners-characters-…")
        try:
            (x0, y0), (x1, y1) = (map(float, p.split("&")) for p in fields[2].split("_"))
            text = ccpd_text([int(v) for v in fields[4].split("_")])
        except (ValueError, IndexError) as error:
            raise ConfigError(
                f"{path}: {error}; expected a box as 1&2_3&4 and characters as 0_0_22_27_27_33_16"
            ) from error
        listed.append(Annotated(path, ((x0, y0, x1, y1),), (0,), (text,)))
    if not listed:
        raise ConfigError(f"{folder}: no .jpg files; expected a CCPD folder")
    return listed, ()


def ccpd_text(codes: Sequence[int]) -> str:
    """Province, letter and the rest of a CCPD plate. Raises IndexError for a code outside the lists."""
    lists = (CCPD_PROVINCES, CCPD_LETTERS, *[CCPD_CHARACTERS] * (len(codes) - 2))
    return "".join(characters[code] for characters, code in zip(lists, codes, strict=True))


Reader = Callable[[Path], tuple[list[Annotated], tuple[str, ...]]]
FORMATS: dict[str, tuple[str, Reader]] = {
    "coco": ("detection", read_coco),
    "wider": ("detection", read_wider),
    "celeba": ("face", read_celeba),
    "ccpd": ("plate", read_ccpd),
}
"""Format → the task it serves and its reader."""


def load_split(
    folder: Path, fmt: str, task: str, limit: int, shares: Sequence[float], seed: int = 0, side: int = SIDE
) -> list[ObjectSet]:
    """Disjoint sets of a data set's pictures, of faces disjoint in people.

    Args:
        folder: as distributed.
        fmt: a key of ``FORMATS``.
        task: what it is wanted for.
        limit: most pictures read.
        shares: of the sets, summing to 1.
        seed: of the draw.
        side: of face and plate crops.

    Raises ConfigError for a format that does not serve the task, or missing or damaged files; DecodeError for pictures.
    """
    if fmt not in FORMATS or FORMATS[fmt][0] != task:
        fitting = ", ".join(k for k, (t, _) in FORMATS.items() if t == task)
        raise ConfigError(f"format {fmt!r} for task {task}; expected {fitting}")
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; expected a data set in the format {fmt}")
    listed, names = FORMATS[fmt][1](folder)
    groups = _grouped(listed, task, limit, shares, seed)
    if task == "detection":
        return [_fitted(group, names) for group in groups]
    return [_cut(group, side) for group in groups]


def _grouped(
    listed: list[Annotated], task: str, limit: int, shares: Sequence[float], seed: int
) -> Iterator[list[Annotated]]:
    """The pictures in disjoint groups, drawn at random."""
    rng = np.random.default_rng([seed, 11])
    keys = np.array([a.labels[0] if task == "face" else i for i, a in enumerate(listed)])
    order = rng.permutation(np.unique(keys))
    edges = np.rint(np.cumsum([0.0, *shares]) * len(order)).astype(int)
    kept = rng.permutation(len(listed))[:limit] if task != "face" else np.arange(len(listed))
    for start, end in pairwise(edges):
        chosen = kept[np.isin(keys[kept], order[start:end])]
        group = [listed[i] for i in (chosen[: int(limit * (end - start) / len(order)) + 1])]
        if not group:
            raise ConfigError(f"{len(listed)} labelled pictures are too few for {len(shares)} sets")
        yield group


def _fitted(group: Sequence[Annotated], names: tuple[str, ...]) -> ObjectSet:
    width, height = FRAME
    images, image_of, boxes, labels = [], [], [], []
    for index, item in enumerate(group):
        picture = _read(item.path)
        scale = min(width / picture.shape[1], height / picture.shape[0])
        size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
        frame = np.full((height, width, 3), 114, np.uint8)
        frame[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        images.append(frame)
        for box, label in zip(item.boxes, item.labels, strict=True):
            image_of.append(index)
            boxes.append(np.array(box, np.float32) * scale)
            labels.append(label)
    found = np.array(boxes, np.float32).reshape(-1, 4)
    large = (found[:, 2:] - found[:, :2]).max(axis=1, initial=0) >= SMALLEST
    numbers = np.array(image_of, np.int64), np.array(labels, np.int64)
    return ObjectSet(np.stack(images), numbers[0], found, numbers[1], judged=large, names=names)


def _cut(group: Sequence[Annotated], side: int) -> ObjectSet:
    images = []
    for item in group:
        picture = _read(item.path)
        whole = (0.0, 0.0, float(picture.shape[1]), float(picture.shape[0]))
        box, margin = (item.boxes[0], MARGIN) if item.boxes else (whole, 0.0)
        images.append(crop(picture, np.array(box), side, margin))
    texts = tuple(item.texts[0] for item in group if item.texts)
    return whole_pictures(np.stack(images), np.array([item.labels[0] for item in group], np.int64), texts)


def _read(path: Path) -> Rgb:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise DecodeError(f"{path}: not a readable picture")
    return np.ascontiguousarray(picture[..., ::-1], np.uint8)


def _find(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / name, folder / "Anno" / name) if p.is_file()), None)


def _table(folder: Path, name: str) -> list[tuple[str, str]]:
    found = _find(folder, name)
    if found is None:
        raise ConfigError(f"{folder}: no {name}; expected a CelebA folder")
    rows = [line.split() for line in found.read_text().splitlines() if line.strip()]
    if any(len(row) != 2 for row in rows):
        raise ConfigError(f"{found}: a line is not a file name and a number")
    return [(row[0], row[1]) for row in rows]


def _first(places: Sequence[Path], name: str, source: Path) -> Path:
    for place in places:
        if (place / name).is_file():
            return place / name
    raise ConfigError(f"{source}: names {name}, which is not in {' or '.join(map(str, places))}")


def _corners(box: Sequence[float] | NDArray[Any], source: Path) -> Box:
    """x, y, width, height → corners."""
    if len(box) != 4:
        raise ConfigError(f"{source}: box {list(box)}; expected x, y, width, height")
    x, y, wide, tall = (float(v) for v in box)
    return x, y, x + wide, y + tall


def _number(text: str, source: Path) -> float:
    numbers = _numbers(text, source)
    if len(numbers) != 1:
        raise ConfigError(f"{source}: {text!r}; expected one number")
    return numbers[0]


def _numbers(text: str, source: Path) -> list[float]:
    try:
        return [float(v) for v in text.split()]
    except ValueError as error:
        raise ConfigError(f"{source}: {text!r}; expected numbers") from error

"""Generated pictures with objects, and loaders of the real sets on small fixtures in their formats."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from encoder_bridge.errors import ConfigError, DecodeError
from models.objects.crops import crop, object_crops, window
from models.objects.datasets import CCPD_ALPHABET, ccpd_text, load_split, read_ccpd, read_coco, read_wider
from models.objects.faces import draw_face, face_pictures, identity_of
from models.objects.plates import ALPHABET, glyph, plate_pictures
from models.objects.streets import street_scenes
from models.objects.types import ObjectSet, from_arrays, whole_pictures
from models.scenes.noise import stream

HALVES = (0.5, 0.5)


def paint(path: Path, width: int, height: int, tone: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.full((height, width, 3), tone, np.uint8)
    picture[height // 4 : height // 2, width // 4 : width // 2] = 255 - tone
    assert cv2.imwrite(str(path), picture)


def test_street_scenes_know_where_their_objects_are():
    scenes = street_scenes(5, 3, size=(128, 96), variants=3)
    assert scenes.images.shape == (3, 96, 128, 3)
    assert len(scenes.boxes) >= 3
    assert (scenes.boxes[:, :2] >= 0).all() and (scenes.boxes[:, 2:] <= [128, 96]).all()
    # Variants share the street: only where objects stand, now or in the other, may they differ beyond noise.
    empty = np.ones((96, 128), bool)
    for x0, y0, x1, y1 in scenes.boxes[np.isin(scenes.image_of, [0, 1])].astype(int):
        empty[max(y0 - 6, 0) : y1 + 6, max(x0 - 6, 0) : x1 + 6] = False
    change = np.abs(scenes.images[0].astype(int) - scenes.images[1]).mean(axis=2)
    assert np.median(change[~empty]) > np.median(change[empty])


def test_street_scenes_are_named_by_their_seed():
    first, again, other = (street_scenes(s, 1, size=(96, 64), variants=1) for s in (2, 2, 3))
    assert (first.images == again.images).all() and (first.boxes == again.boxes).all()
    assert (first.images != other.images).any()


@pytest.mark.parametrize("seed", [-1])
def test_a_negative_seed_is_refused(seed: int):
    with pytest.raises(ConfigError, match="seed"):
        street_scenes(seed, 1)


def test_plates_say_what_their_text_says():
    plates = plate_pictures(1, 4)
    again = plate_pictures(1, 4)
    assert plates.texts == again.texts and (plates.images == again.images).all()
    assert len(set(plates.texts)) == 4
    assert all(len(t) == 7 and set(t) <= set(ALPHABET) for t in plates.texts)


def test_every_glyph_is_whole_and_none_is_another():
    shapes = {c: cv2.resize(glyph(c, 0), (16, 48)).astype(int) for c in ALPHABET}
    for character in ALPHABET:
        mask = glyph(character, 0)
        # Reaches the upper and the lower edge: nothing hangs out of the plate or is cut off.
        assert mask[:3].max() > 60 and mask[-3:].max() > 60, character
    apart = [np.abs(shapes[a] - shapes[b]).mean() for a in ALPHABET for b in ALPHABET if a < b]
    assert min(apart) > 3


def test_two_pictures_of_one_person_are_nearer_than_those_of_two():
    def shot(seed: int, number: int) -> np.ndarray:
        return cv2.GaussianBlur(draw_face(stream(seed, number), identity_of(seed)), (0, 0), 6)[28:52, 24:40].astype(
            float
        )

    people = range(8)
    first, second = (np.stack([shot(s, k) for s in people]) for k in (1, 2))
    # Without the light, which differs as much as people do.
    first, second = (p / p.mean(axis=(1, 2, 3), keepdims=True) for p in (first, second))
    distance = np.abs(first[:, None] - second[None]).mean(axis=(2, 3, 4))
    own, others = np.diag(distance), distance[~np.eye(8, dtype=bool)]
    assert own.mean() < 0.8 * others.mean()


def test_faces_come_in_groups_of_one_person():
    faces = face_pictures(4, identities=3, pictures=2, side=48)
    assert faces.images.shape == (6, 48, 48, 3)
    assert faces.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_crop_holds_the_object_and_a_margin():
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 30:50] = 200
    box = np.array([30, 10, 50, 20], np.float32)
    assert window(box, 0.25) == (25, 0, 30)
    found = crop(image, box, 30, 0.25)
    assert found.shape == (30, 30, 3)
    assert (found[10:20, 5:25] == 200).all() and not found[:10].any()


def test_a_crop_beyond_the_picture_repeats_its_border():
    image = np.full((32, 32, 3), 7, np.uint8)
    assert (object_crops(image[None], np.array([0]), np.array([[20.0, 20, 32, 32]]), 16, 1.0) == 7).all()


def test_a_whole_picture_is_its_own_crop():
    plates = plate_pictures(2, 2, side=48)
    assert (object_crops(plates.images, plates.image_of, plates.boxes, 48, 0.0) == plates.images).all()


def test_sets_are_checked_and_survive_a_file(tmp_path: Path):
    plates = plate_pictures(3, 2, side=32)
    np.savez(tmp_path / "set.npz", **plates.arrays())
    with np.load(tmp_path / "set.npz") as arrays:
        again = from_arrays(arrays)
    assert again.texts == plates.texts and (again.images == plates.images).all()
    with pytest.raises(ConfigError, match="labels"):
        ObjectSet(plates.images, plates.image_of, plates.boxes, plates.labels[:1])
    with pytest.raises(ConfigError, match="uint8"):
        whole_pictures(plates.images.astype(np.float32), plates.labels)  # type: ignore[arg-type]


def coco(folder: Path, count: int = 8) -> None:
    rows = [{"id": i, "file_name": f"{i:04d}.png", "width": 80, "height": 60} for i in range(count)]
    boxes = [{"image_id": i, "bbox": [20, 15, 20, 15], "category_id": 7, "iscrowd": 0} for i in range(count)]
    boxes.append({"image_id": 0, "bbox": [0, 0, 80, 60], "category_id": 3, "iscrowd": 1})
    content = {"images": rows, "annotations": boxes, "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "car"}]}
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    for row in rows:
        paint(folder / "val2017" / str(row["file_name"]), 80, 60)


def test_coco_is_read_and_fitted(tmp_path: Path):
    coco(tmp_path)
    listed, names = read_coco(tmp_path)
    assert names == ("car", "cat")
    assert listed[0].boxes == ((20.0, 15.0, 40.0, 30.0),) and listed[0].labels == (1,)
    parts = load_split(tmp_path, "coco", "detection", 100, HALVES)
    assert [len(p.images) for p in parts] == [4, 4]
    assert parts[0].boxes[0] == pytest.approx([64, 48, 128, 96])
    # The painted object fills the box.
    assert (parts[0].images[0, 50:94, 66:126] == 165).all() and parts[0].judged is not None and parts[0].judged.all()


def wider(folder: Path, count: int = 4) -> None:
    lines = ["0--Parade/none.png", "0", "0 0 0 0 0 0 0 0 0 0"]
    paint(folder / "WIDER_val" / "images" / "0--Parade" / "none.png", 64, 48)
    for i in range(count):
        lines += [f"0--Parade/{i}.png", "2", "16 12 16 12 0 0 0 0 0 0", "1 1 4 4 0 0 0 1 0 0"]
        paint(folder / "WIDER_val" / "images" / "0--Parade" / f"{i}.png", 64, 48)
    (folder / "wider_face_split").mkdir()
    (folder / "wider_face_split" / "wider_face_val_bbx_gt.txt").write_text("\n".join(lines) + "\n")


def test_wider_face_is_read_without_invalid_and_empty_entries(tmp_path: Path):
    wider(tmp_path)
    listed, names = read_wider(tmp_path)
    assert (len(listed), names) == (4, ("face",))
    assert all(item.boxes == ((16.0, 12.0, 32.0, 24.0),) for item in listed)


def celeba(folder: Path) -> None:
    names = [f"{i:06d}.png" for i in range(12)]
    for name in names:
        paint(folder / "img_celeba" / name, 60, 80)
    (folder / "identity_CelebA.txt").write_text("".join(f"{n} {i // 3}\n" for i, n in enumerate(names)))
    rows = "".join(f"{n} 15 20 15 20\n" for n in names)
    (folder / "list_bbox_celeba.txt").write_text(f"12\nimage_id x_1 y_1 width height\n{rows}")


def test_celeba_is_split_by_people(tmp_path: Path):
    celeba(tmp_path)
    parts = load_split(tmp_path, "celeba", "face", 100, HALVES)
    assert [len(p.images) for p in parts] == [6, 6]
    assert not set(parts[0].labels) & set(parts[1].labels)
    assert (parts[0].images[:, 16:48, 20:44] == 165).all()


def ccpd(folder: Path, codes: str = "0_0_22_27_27_33_16", count: int = 4) -> None:
    for i in range(count):
        paint(folder / "ccpd_base" / f"025-95_113-15&20_29&39-29&39_15&39_15&20_29&20-{codes}-37-{i}.jpg", 60, 80)


def test_ccpd_is_in_the_names(tmp_path: Path):
    ccpd(tmp_path)
    listed, _ = read_ccpd(tmp_path)
    assert listed[0].boxes == ((15.0, 20.0, 29.0, 39.0),)
    assert listed[0].texts == ("皖AY339S",)
    assert set(listed[0].texts[0]) <= set(CCPD_ALPHABET)
    (part,) = load_split(tmp_path, "ccpd", "plate", 10, (1.0,))
    assert part.texts == ("皖AY339S",) * 4


def test_a_code_outside_the_lists_is_refused(tmp_path: Path):
    with pytest.raises(IndexError):
        ccpd_text([99, 0, 1])
    ccpd(tmp_path, codes="0_0_22_27_27_33_77", count=1)
    with pytest.raises(ConfigError, match="characters"):
        read_ccpd(tmp_path)


@pytest.mark.parametrize(
    ("fmt", "task", "expected"),
    [
        ("coco", "detection", "instances"),
        ("wider", "detection", "bbx_gt"),
        ("celeba", "face", "identity_CelebA"),
        ("ccpd", "plate", "no .jpg"),
        ("coco", "plate", "expected ccpd"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused(fmt: str, task: str, expected: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=expected):
        load_split(tmp_path, fmt, task, 10, HALVES)


def test_damage_is_named(tmp_path: Path):
    coco(tmp_path)
    (tmp_path / "val2017" / "0000.png").write_bytes(b"no picture")
    with pytest.raises(DecodeError, match=r"0000\.png"):
        load_split(tmp_path, "coco", "detection", 100, HALVES)
    (tmp_path / "val2017" / "0001.png").unlink()
    with pytest.raises(ConfigError, match=r"0001\.png"):
        read_coco(tmp_path)
    (tmp_path / "annotations" / "instances_val2017.json").write_text("{}")
    with pytest.raises(ConfigError, match="not COCO"):
        read_coco(tmp_path)


def test_no_such_folder(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such folder"):
        load_split(tmp_path / "nowhere", "ccpd", "plate", 10, HALVES)

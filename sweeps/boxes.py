"""True boxes of a video's frames from a COCO annotation file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encoder_bridge.errors import ConfigError
from rdo_metrics.objects.precision import Objects


def read_boxes(path: Path, frames: int, classes: Sequence[str]) -> list[Objects]:
    """The ground truth of each frame; crowds need not be found, categories the detector does not know are left out.

    Args:
        path: JSON with ``images``, ``annotations`` and ``categories``; its images are the frames, in the order of
            their ids.
        frames: of the video.
        classes: the detector's, whose indices become labels; where it names none, category ids are labels.

    Raises ConfigError for a file that is not that, or with another number of images.
    """
    content = _content(path)
    order = {image["id"]: index for index, image in enumerate(sorted(content["images"], key=lambda row: row["id"]))}
    if len(order) != frames:
        raise ConfigError(f"--boxes {path}: {len(order)} images for {frames} frames; expected as many")
    known = _labels(content["categories"], classes)
    rows: list[list[dict[str, Any]]] = [[] for _ in range(frames)]
    for row in content["annotations"]:
        if row["category_id"] in known and row["image_id"] in order:
            rows[order[row["image_id"]]].append(row)
    return [_objects(some, known) for some in rows]


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--boxes {path}: {error}; expected a COCO annotation file") from error
    missing = [k for k in ("images", "annotations", "categories") if not isinstance(content.get(k), list)]
    if missing:
        raise ConfigError(f"--boxes {path}: no list {missing[0]!r}; expected a COCO annotation file")
    return dict(content)


def _labels(categories: Sequence[dict[str, Any]], classes: Sequence[str]) -> dict[int, int]:
    """Category id → label."""
    if not classes:
        return {int(c["id"]): int(c["id"]) for c in categories}
    order = {name.lower(): index for index, name in enumerate(classes)}
    known = {int(c["id"]): order[c["name"].lower()] for c in categories if c["name"].lower() in order}
    if not known:
        names = ", ".join(str(c["name"]) for c in categories)
        raise ConfigError(f"--boxes: categories {names}; the detector knows {', '.join(classes)}")
    return known


def _objects(rows: Sequence[dict[str, Any]], known: dict[int, int]) -> Objects:
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = np.array([known[row["category_id"]] for row in rows], np.int64)
    return Objects(boxes, labels, None, np.array([bool(row.get("iscrowd", 0)) for row in rows], bool))

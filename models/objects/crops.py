"""Square crops around objects, with some margin, brought to one size."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ConfigError
from models.objects.types import Rgb

MARGIN = 0.25
"""Context on each side, as a share of the object's longer side."""
SIDE = 64


def object_crops(
    images: Rgb, image_of: NDArray[Any], boxes: NDArray[Any], side: int = SIDE, margin: float = MARGIN
) -> Rgb:
    """(M, side, side, 3) uint8 RGB: the square window around each object.

    The window's side is (1 + 2·margin) times the box's longer one; beyond the picture its border is repeated. A window
    that is the whole square picture, of the size asked for, is that picture. The same boxes give the same windows in
    the original and in the coded pictures.

    Args:
        images: (N, H, W, 3) uint8.
        image_of: (M,) index of each box's picture.
        boxes: (M, 4) x0, y0, x1, y1.
    """
    if len(image_of) != len(boxes) or margin < 0 or side < 8:
        raise ConfigError(f"{len(boxes)} boxes in {len(image_of)} pictures, margin {margin}, side {side}")
    if not len(boxes):
        return np.zeros((0, side, side, 3), np.uint8)
    return np.stack([crop(images[i], box, side, margin) for i, box in zip(image_of, boxes, strict=True)])


def crop(image: Rgb, box: NDArray[Any], side: int, margin: float) -> Rgb:
    """One window, see ``object_crops``."""
    x0, y0, wide = window(box, margin)
    height, width = image.shape[:2]
    if (x0, y0, wide, wide) == (0, 0, width, height) and wide == side:
        return image
    before, after = max(0, -x0, -y0), max(0, x0 + wide - width, y0 + wide - height)
    if before or after:
        image = cv2.copyMakeBorder(image, before, after, before, after, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    part = image[y0 + before : y0 + before + wide, x0 + before : x0 + before + wide]
    how = cv2.INTER_AREA if wide > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, (side, side), interpolation=how), np.uint8)


def window(box: NDArray[Any], margin: float) -> tuple[int, int, int]:
    """Left, top and side of the square window around a box, in whole samples."""
    x0, y0, x1, y1 = (float(v) for v in box)
    wide = max(round(max(x1 - x0, y1 - y0) * (1 + 2 * margin)), 2)
    return round((x0 + x1 - wide) / 2), round((y0 + y1 - wide) / 2), wide

"""The 11 CamVid classes (Brostow et al. 2009, grouped as in SegNet) and void: ids, names, colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CAMVID_CLASSES: tuple[str, ...] = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "Sign",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
    "void",
)
"""Names by label id; void (11) is not a class: it is left out of every score."""

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST, VOID = range(12)

CAMVID_PALETTE: NDArray[np.uint8] = np.array(
    [
        [128, 128, 128],
        [128, 0, 0],
        [192, 192, 128],
        [128, 64, 128],
        [60, 40, 222],
        [128, 128, 0],
        [192, 128, 128],
        [64, 64, 128],
        [64, 0, 128],
        [64, 64, 0],
        [0, 128, 192],
        [0, 0, 0],
    ],
    np.uint8,
)
"""(12, 3) uint8 R G B: the colours CamVid pictures are usually shown in."""
CAMVID_PALETTE.setflags(write=False)

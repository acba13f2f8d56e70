"""Planes to blocks of DCT coefficients, and what each block is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.encoder import SideInfo
from encoder_bridge.frames import Plane
from encoder_bridge.jpeg_coding.stream import ZIGZAG

SIDE = 8
_MIDDLE = 128


def dct_blocks(plane: Plane, down: int = 1, across: int = 1) -> NDArray[np.float64]:
    """Orthonormal DCT coefficients in coding order.

    Args:
        plane: (H, W) uint8.
        down, across: blocks of this component in an MCU.

    Returns:
        (rows, columns, 64), rows and columns whole MCUs; the last row and column of samples is repeated.
    """
    from scipy.fft import dctn

    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % (SIDE * down)), (0, -width % (SIDE * across))), mode="edge")
    rows, columns = padded.shape[0] // SIDE, padded.shape[1] // SIDE
    tiles = padded.reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2).astype(np.float64) - _MIDDLE
    coefficients: NDArray[np.float64] = dctn(tiles, axes=(2, 3), norm="ortho")
    return coefficients.reshape(rows, columns, 64)[..., ZIGZAG]


def block_worth(side: SideInfo, size: tuple[int, int]) -> NDArray[np.float64]:
    """(ceil(H/8), ceil(W/8)): distortion weights of 8×8 luma blocks, what a QP offset stands for included.

    A block at ΔQP is coded as if its distortion counted 2^(−ΔQP/3) times (design §5.3).
    """
    shape = -(-size[0] // SIDE), -(-size[1] // SIDE)
    worth = np.ones(shape) if side.weight is None else np.asarray(side.weight, np.float64)
    if side.qp_offset is not None:
        offsets = np.asarray(side.qp_offset, np.float64).repeat(2, 0).repeat(2, 1)[: shape[0], : shape[1]]
        worth = worth * 2.0 ** (-offsets / 3)
    return worth


def fit_grid(worth: NDArray[Any], shape: tuple[int, ...], down: int, across: int) -> NDArray[np.float64]:
    """Worths on a component's grid of ``shape``: means over ``down`` × ``across`` luma blocks, the edges repeated."""
    rows, columns = shape[0] * down, shape[1] * across
    grown = np.pad(worth, ((0, max(0, rows - worth.shape[0])), (0, max(0, columns - worth.shape[1]))), mode="edge")
    cells = grown[:rows, :columns].reshape(shape[0], down, shape[1], across)
    return np.asarray(cells.mean(axis=(1, 3)))

"""Block weights that somebody else made: a NumPy file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError
from rdo_metrics.maps.base import Float, MapContext
from rdo_metrics.weights import grid_shape, repeat_blocks

_BLOCK = 16


class FileMap:
    """Weights from ``FILE.npy``: (T, h, w), or (1, h, w) or (h, w) for every frame, on a grid of 16 luma samples.

    Args:
        path: the file. sigma: accepted for uniformity; a file is used as it is.

    Raises MetricInputError where the file is missing, is not a plain array, or holds values that are negative, NaN or
    infinite.
    """

    needs_network = False
    needs_first_pass = False
    needs_gradient = False
    probe = 0
    tau = 0.3

    def __init__(self, path: str | Path, sigma: float | None = None) -> None:
        self.path = Path(path)
        self._maps = _load(self.path)

    def weights(self, ctx: MapContext) -> Float:
        """Raw weights of frame ``ctx.index``. MetricInputError where the grid or the number of frames is another's."""
        expected = grid_shape(*ctx.size, _BLOCK)
        if self._maps.shape[1:] != expected:
            height, width = ctx.size
            raise MetricInputError(
                f"{self.path}: maps of {self._maps.shape[1:]} blocks; expected {expected} for {width}x{height} pictures"
            )
        weights = self._maps[self._frame(ctx.index)].astype(np.float32)
        return np.asarray(repeat_blocks(weights, _BLOCK // ctx.block, ctx.grid), np.float32)

    def _frame(self, index: int) -> int:
        count = len(self._maps)
        if count == 1:
            return 0
        if index >= count:
            raise MetricInputError(
                f"{self.path}: {count} maps, frame {index} has none; expected one map, or one a frame"
            )
        return index


def _load(path: Path) -> NDArray[Any]:
    try:
        maps = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise MetricInputError(f"{path}: no such file; expected a NumPy .npy file of block weights") from error
    except (OSError, ValueError, EOFError) as error:
        raise MetricInputError(f"{path}: not a readable .npy array ({error})") from error
    if not isinstance(maps, np.ndarray) or maps.dtype.kind not in "fiu" or maps.ndim not in (2, 3) or not maps.size:
        shape = getattr(maps, "shape", "?")
        raise MetricInputError(
            f"{path}: array of shape {shape}; expected numbers of shape (T, h, w), (1, h, w) or (h, w)"
        )
    if not all(np.isfinite(m).all() and (m >= 0).all() for m in maps):
        raise MetricInputError(f"{path}: holds negative, NaN or infinite weights; expected finite values of at least 0")
    return maps if maps.ndim == 3 else maps[None]

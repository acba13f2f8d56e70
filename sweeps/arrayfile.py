"""A ``.npy`` file written one frame at a time, so that a video of any length needs the memory of one frame."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from encoder_bridge.atomic import replacing


def write_frames(path: Path, frames: Iterable[NDArray[Any]]) -> int:
    """Write equal-shaped arrays as one (T, …) array; returns T. ``path`` appears when all are written."""
    count, first = 0, None
    with replacing(path) as temporary, temporary.open("wb") as file:
        for frame in frames:
            if first is None:
                first = frame
                _header(file, 0, first)
            file.write(np.ascontiguousarray(frame, dtype=first.dtype).data)
            count += 1
        if first is not None:
            file.seek(0)
            _header(file, count, first)
        else:
            np.save(file, np.empty((0,), dtype=np.float32))
    return count


def _header(file: Any, count: int, like: NDArray[Any]) -> None:
    # NumPy leaves room for the first axis to grow, so the header of any count has one size.
    descr = npy.dtype_to_descr(like.dtype)
    npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": (count, *like.shape)})


def read_frames(path: Path) -> NDArray[Any]:
    """The array, mapped from disk."""
    array: NDArray[Any] = np.load(path, mmap_mode="r")
    return array

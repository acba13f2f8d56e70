"""A ``.npy`` file written one frame at a time, so that a video of any length needs the memory of one frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from encoder_bridge.atomic import replacing


def write_frames(path: Path, frames: Iterable[NDArray[Any]]) -> int:
    """Write equal-shaped arrays as one (T, …) array; returns T. ``path`` appears when all are written."""
    count = 0
    with writing_frames(path) as add:
        for frame in frames:
            add(frame)
            count += 1
    return count


@contextmanager
def writing_frames(path: Path) -> Iterator[Callable[[NDArray[Any]], None]]:
    """A function that adds one frame to an array like that of ``write_frames``; ``path`` appears at the end."""
    first: list[NDArray[Any]] = []
    count = 0
    with replacing(path) as temporary, temporary.open("wb") as file:

        def add(frame: NDArray[Any]) -> None:
            nonlocal count
            if not first:
                first.append(frame)
                _header(file, 0, frame)
            file.write(np.ascontiguousarray(frame, dtype=first[0].dtype).data)
            count += 1

        yield add
        if first:
            file.seek(0)
            _header(file, count, first[0])
        else:
            np.save(file, np.empty((0,), dtype=np.float32))


def _header(file: Any, count: int, like: NDArray[Any]) -> None:
    # NumPy leaves room for the first axis to grow, so the header of any count has one size.
    descr = npy.dtype_to_descr(like.dtype)
    npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": (count, *like.shape)})


def read_frames(path: Path) -> NDArray[Any]:
    """The array, mapped from disk."""
    array: NDArray[Any] = np.load(path, mmap_mode="r")
    return array

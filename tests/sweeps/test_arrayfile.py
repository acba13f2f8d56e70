"""Arrays written a frame at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sweeps.arrayfile import read_frames, write_frames


@pytest.mark.parametrize("count", [1, 9, 10, 1000])
def test_numpy_reads_back_what_was_written(count: int, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).random((count, 3, 5)).astype(np.float32)
    assert write_frames(tmp_path / "a.npy", iter(frames)) == count
    assert np.array_equal(np.load(tmp_path / "a.npy"), frames)
    assert isinstance(read_frames(tmp_path / "a.npy"), np.memmap)


def test_nothing_is_left_of_an_interrupted_write(tmp_path: Path) -> None:
    def frames() -> Iterator[np.ndarray]:
        yield np.zeros((2, 2), np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_frames(tmp_path / "a.npy", frames())
    assert list(tmp_path.iterdir()) == []

"""``--inspect``: pictures and numbers of every frame's decisions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from encoder_bridge.errors import OutputError
from sweeps.inspection import check_inspection_target, numbers
from sweeps.inspection_view import FrameView, draw_frame
from sweeps.plots import TEST_COLOURS

H, W = 150, 200


def view(**parts: object) -> FrameView:
    return FrameView(7, np.full((H, W, 3), 128, np.uint8), **parts)  # type: ignore[arg-type]


def drawn(seen: FrameView, path: Path) -> np.ndarray:
    draw_frame(seen, path, title="x265 ctu:task QP 32")
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture[..., ::-1].astype(int)


def test_a_candidate_fills_its_ctus_and_no_others(tmp_path: Path):
    none = np.zeros((3, 4), np.uint32)
    some = none.copy()
    some[1, 1:3] = 2
    pictures = [drawn(view(candidate=c, names=("0", "-3", "+3")), tmp_path / "a.png") for c in (none, some)]
    # Colour 2 at 0.62 over the frame's grey.
    colour = np.array([int(TEST_COLOURS[1][i : i + 2], 16) for i in (1, 3, 5)]) * 0.62 + 128 * 0.38
    found = [np.abs(picture - colour).max(axis=2) < 3 for picture in pictures]
    grey = (np.abs(pictures[0] - 128).max(axis=2) < 2).sum()
    assert not found[0].any()
    assert found[1].sum() / grey == pytest.approx(2 * 64 * 64 / (H * W), rel=0.1)


def test_what_is_known_decides_the_panels(tmp_path: Path):
    grid, blocks = np.full((3, 4), 30.0), np.zeros((10, 13), np.float32)
    sizes = {}
    for name, seen in {
        "two": view(qp=grid),
        "four": view(qp=grid, ctu_bits=grid, qp_offset=blocks),
        "seven": view(
            qp=grid,
            ctu_bits=grid,
            qp_offset=blocks,
            weight=np.ones((19, 25)),
            loss=np.zeros((H, W)),
            candidate=np.zeros((3, 4), int),
            names=("0",),
        ),
    }.items():
        sizes[name] = drawn(seen, tmp_path / f"{name}.png").shape[:2]
    assert sizes["two"][1] == sizes["four"][1] < sizes["seven"][1]
    assert sizes["two"][0] < sizes["four"][0] == sizes["seven"][0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["four.png", "seven.png", "two.png"]


def test_a_candidate_nobody_named_is_drawn_all_the_same(tmp_path: Path):
    assert drawn(view(candidate=np.full((3, 4), 9)), tmp_path / "a.png").size


def test_numbers_are_grids_of_ctus():
    loss = np.zeros((H, W), np.float32)
    loss[:64, 64:128] = 2
    found = numbers(view(candidate=np.arange(12, dtype=np.uint32).reshape(3, 4), qp=np.full((3, 4), 30.5), loss=loss))
    assert found["index"] == 7 and found["ctu_candidate"][2] == [8, 9, 10, 11] and found["ctu_qp"][0][0] == 30.5
    assert found["ctu_loss"] == [[0, 2, 0, 0], [0] * 4, [0] * 4]
    assert found["loss"] == pytest.approx(2 * 64 * 64 / (H * W)) and found["ctu_bits"] is None


def test_only_our_own_files_are_replaced(tmp_path: Path):
    check_inspection_target(tmp_path / "new")
    folder = tmp_path / "see"
    folder.mkdir()
    check_inspection_target(folder)
    for name in ("frame_000000.png", "frames.json"):
        (folder / name).touch()
    check_inspection_target(folder)
    (folder / "holiday.png").touch()
    with pytest.raises(OutputError, match=r"holiday\.png, which is not ours"):
        check_inspection_target(folder)


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    for target in (tmp_path / "file", tmp_path / "absent" / "see"):
        with pytest.raises(OutputError):
            check_inspection_target(target)

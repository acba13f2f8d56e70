"""An output is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoder_bridge.atomic import check_target, replacing, replacing_folder
from encoder_bridge.errors import EncoderError, OutputError


def test_a_finished_block_replaces_the_target(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    with replacing(target) as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".bin")
        temporary.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), EncoderError(["x"], 1, ""), BrokenPipeError(), ValueError()])
def test_an_unfinished_block_leaves_the_target_and_passes_the_error_on(error: BaseException, tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    with pytest.raises(type(error)) as caught, replacing(target) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert caught.value is error
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"out\.bin: No space left"), replacing(tmp_path / "out.bin") as temporary:
        temporary.write_bytes(b"half")
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_folders(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "out") as folder:
        (folder / "1").touch()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["1"]
    with pytest.raises(OutputError, match="not empty"), replacing_folder(tmp_path / "out"):
        pass
    with pytest.raises(KeyboardInterrupt), replacing_folder(tmp_path / "other") as folder:
        (folder / "1").touch()
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_check_target(tmp_path: Path) -> None:
    check_target(tmp_path / "new")
    with pytest.raises(OutputError, match="does not exist; create it first"):
        check_target(tmp_path / "missing" / "new")
    with pytest.raises(OutputError, match="is a folder"):
        check_target(tmp_path)

"""Outputs that appear only when they are complete: written beside their target under another name, then renamed."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from encoder_bridge.errors import BridgeError, OutputError


def check_target(target: Path, directory: bool = False) -> None:
    """OutputError unless ``target`` could be created now; call it before long work.

    Args:
        target: the file, or with ``directory`` the folder, to be made.
        directory: a folder is to be made; it may exist only if it is empty.
    """
    parent = target.absolute().parent
    if not parent.is_dir():
        raise OutputError(f"{target}: folder {parent} does not exist; create it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{target}: folder {parent} is not writable; choose another output")
    if directory and target.is_dir() and any(target.iterdir()):
        raise OutputError(f"{target}: folder is not empty; choose a new one")
    if directory and target.exists() and not target.is_dir():
        raise OutputError(f"{target}: is a file; expected a new folder")
    if not directory and target.is_dir():
        raise OutputError(f"{target}: is a folder; expected a file name")


@contextmanager
def atomic_output(target: Path, directory: bool = False) -> Iterator[Path]:
    """A temporary path in the target's folder (same suffix), renamed to ``target`` when the block ends well.

    With ``directory`` the temporary path is a new folder. Whatever ends the block early, an interrupt included, the
    temporary is removed and ``target`` stays as it was.

    Raises:
        OutputError: the folder is missing or read-only, the disk is full, or any other OSError inside the block.
    """
    check_target(target, directory)
    temporary = target.absolute().parent / f".{target.stem[:80]}.{secrets.token_hex(6)}.part{target.suffix}"
    try:
        if directory:
            temporary.mkdir()
        yield temporary
        if not directory:
            _sync(temporary)
        os.replace(temporary, target)
    except OSError as error:
        if isinstance(error, BridgeError):
            raise
        raise OutputError(f"{target}: {error.strerror or error}") from error
    finally:
        _remove(temporary)


def _sync(path: Path) -> None:
    """A full disk or a dead network folder may show only when the data is flushed."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink()

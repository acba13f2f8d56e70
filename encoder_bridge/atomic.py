"""Outputs that appear only when they are complete: written beside their target under another name, then renamed."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from encoder_bridge.errors import BridgeError, OutputError

_NOT_OUR_WRITES = (BridgeError, ConnectionError, ChildProcessError, FileNotFoundError, TimeoutError)
"""OSErrors of pipes, programs and inputs that a block may raise: not the output's fault."""


def check_target(target: Path, directory: bool = False) -> None:
    """OutputError unless ``target`` could be created now; call it before long work.

    Args:
        target: the file, or with ``directory`` the folder, to be made.
        directory: a folder is to be made; it may exist only if it is empty.
    """
    parent = target.absolute().parent
    if not parent.is_dir():
        raise OutputError(f"{target}: folder {parent} does not exist; create it first")
    # Root passes every permission bit, and some file systems refuse what the bits allow: only a try tells.
    try:
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        raise OutputError(f"{target}: cannot write into {parent}: {error.strerror}; choose another output") from error
    if directory and target.is_dir() and any(target.iterdir()):
        raise OutputError(f"{target}: folder is not empty; choose a new one")
    if directory and target.exists() and not target.is_dir():
        raise OutputError(f"{target}: is a file; expected a new folder")
    if not directory and target.is_dir():
        raise OutputError(f"{target}: is a folder; expected a file name")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target`` (same suffix) for a file; renamed to ``target`` when the block ends well.

    Whatever ends the block early, an interrupt included, the temporary is removed and ``target`` stays as it was.

    Raises:
        OutputError: the folder is missing or read-only, the disk is full, or another write inside the block failed.
    """
    check_target(target)
    with _renamed(target) as temporary:
        yield temporary
        _sync(temporary)


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """As ``replacing`` for a new folder: the block fills a temporary folder. ``target`` may exist only if empty."""
    check_target(target, directory=True)
    with _renamed(target) as temporary:
        temporary.mkdir()
        yield temporary


@contextmanager
def _renamed(target: Path) -> Iterator[Path]:
    temporary = target.absolute().parent / f".{target.stem[:80]}.{secrets.token_hex(6)}.part{target.suffix}"
    try:
        yield temporary
        temporary.replace(target)
    except OSError as error:
        if isinstance(error, _NOT_OUR_WRITES) and error.filename != str(temporary):
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

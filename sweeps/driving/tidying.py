"""What a sweep leaves behind: no temporary file, and no stream that is not wanted."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from sweeps.driving import ledger, schedule
from sweeps.driving.bench import SCRATCH, Setup
from sweeps.store import ResultStore
from sweeps.workspace import FOLDERS

_PART = re.compile(r"\..+\.[0-9a-f]{12}\.part(\..+)?")
"""Names of ``atomic.replacing``'s temporary files."""


@contextlib.contextmanager
def tidied(setup: Setup, store: ResultStore) -> Iterator[None]:
    """The results' folder is tidy before and after; the folder for temporary files is there meanwhile.

    An error before ``store`` has its first record takes along what a sweep makes before it.
    """
    folder = Path(setup.folder)
    tidy(folder)
    if setup.workdir is not None:
        Path(setup.workdir).mkdir(parents=True, exist_ok=True)
    try:
        with undone(store):
            yield
    finally:
        tidy(folder)


@contextlib.contextmanager
def undone(store: ResultStore) -> Iterator[None]:
    """An error before ``store`` has its first record takes along what was made in its folder meanwhile."""
    before = {path.name for path in store.folder.iterdir()}
    try:
        yield
    except Exception:
        if not store.path.exists():
            _undo(store.folder, before)
        raise


def _undo(folder: Path, before: Container[str]) -> None:
    """Remove what says how a sweep began, and folders without a stream or labels; not what was there before."""
    for name in (ledger.FILE, schedule.FILE):
        if name not in before:
            (folder / name).unlink(missing_ok=True)
    for name in FOLDERS:
        if name not in before:
            with contextlib.suppress(OSError):  # not empty, or not made
                (folder / name).rmdir()


def tidy(folder: Path) -> None:
    """Remove what killed workers left: temporary files beside their targets, and the folder for such things."""
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)
    for left in folder.rglob(".*.part*"):
        if _PART.fullmatch(left.name):
            left.unlink(missing_ok=True)


def drop_streams(store: ResultStore, keep: Iterable[str]) -> None:
    """Delete the streams that no finished record names, but those of ``keep`` (paths from the store's folder)."""
    folder = store.folder / "streams"
    named = {*keep, *(head.stream for head in store.heads() if head.stream is not None)}
    for path in folder.glob("*"):
        if path.suffix != ".json" and str(path.relative_to(store.folder)) not in named:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)

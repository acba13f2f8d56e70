"""Append-only store of run records: one JSON line each, on the disk before ``append`` returns.

One writer at a time, any number of readers without a lock. A writer killed at any moment leaves at most one torn last
line; readers pass over it and the next writer removes it. After Optuna's journal storage in idea.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from filelock import FileLock, Timeout

from encoder_bridge.errors import OutputError, StoreError
from sweeps.records import RunRecord, now_iso

DEFAULT_NAME = "results.jsonl"


@dataclass(frozen=True)
class DamagedLine:
    """A line that is no record: it is passed over, kept in the file, and can be deleted by hand."""

    path: Path
    number: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.number}: {self.reason}; skipped (delete the line to be rid of this warning)"


class ResultStore:
    """Records by key; of several with one key the newest counts.

    Args:
        path: the ``.jsonl`` file, or a folder that holds (or will hold) ``results.jsonl``.
        read_only: never lock, never write.

    Used as a context (unless ``read_only``) it takes the writer's lock at once; otherwise the first ``append`` does.

    Raises:
        StoreError: another writer holds the store (from ``append`` or entering the context).
        OutputError: the folder cannot be made or written.
    """

    def __init__(self, path: str | os.PathLike[str], read_only: bool = False) -> None:
        given = Path(path)
        self.path = given / DEFAULT_NAME if given.is_dir() or given.suffix != ".jsonl" else given
        self.read_only = read_only
        self.damaged: list[DamagedLine] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._end = 0
        self._lines = 0
        self._file: BinaryIO | None = None
        self._lock: FileLock | None = None
        self._guard = threading.RLock()
        self.refresh()

    @property
    def folder(self) -> Path:
        """Where the file lies; the paths of streams in records start here."""
        return self.path.parent

    def refresh(self) -> None:
        """Take in what a writer has added since; a last line without its newline is left for later."""
        with self._guard:
            if not self.path.exists():
                return
            with self.path.open("rb") as file:
                file.seek(self._end)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._take(line)

    def get(self, key: str) -> RunRecord | None:
        """The newest record of a key, or None."""
        place = self._places.get(key)
        return None if place is None else self._read(place)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __len__(self) -> int:
        """Number of distinct keys."""
        return len(self._places)

    def __iter__(self) -> Iterator[RunRecord]:
        """Newest record of each key, in the order the keys first appeared."""
        for place in list(self._places.values()):
            yield self._read(place)

    def append(self, record: RunRecord) -> None:
        """Store a record; when this returns it is on the disk.

        Raises:
            StoreError: read-only, or another process writes.
            OutputError: the disk is full or the file cannot be written; the store is as before.
        """
        line = record.to_json().encode("ascii") + b"\n"
        with self._guard:
            file = self._writer()
            start = self._end
            try:
                _write_all(file.fileno(), line)
                os.fsync(file.fileno())
                self._take(line)
            except BaseException as error:
                if self._end == start:
                    os.ftruncate(file.fileno(), start)
                if isinstance(error, OSError):
                    raise OutputError(f"{self.path}: cannot append a record: {error.strerror}") from error
                raise

    def close(self) -> None:
        """Release the file and the lock; reading goes on working."""
        with self._guard:
            if self._file is not None:
                self._file.close()
                self._file = None
            if self._lock is not None:
                self._holder_path.unlink(missing_ok=True)
                self._lock.release()
                self._lock = None

    def __enter__(self) -> ResultStore:
        if not self.read_only:
            self._writer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _holder_path(self) -> Path:
        return self.path.with_name(f".{self.path.name}.holder")

    def _take(self, line: bytes) -> None:
        """Index one complete line that starts at ``_end``."""
        start, self._end = self._end, self._end + len(line)
        self._lines += 1
        if not line.strip():
            return
        try:
            record = RunRecord.from_json(line.decode("utf-8"))
        except (StoreError, UnicodeDecodeError) as error:
            self.damaged.append(DamagedLine(self.path, self._lines, str(error)))
            return
        self._places[record.key] = (start, len(line))

    def _read(self, place: tuple[int, int]) -> RunRecord:
        start, length = place
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                return RunRecord.from_json(file.read(length).decode("utf-8"))
        except (OSError, StoreError, UnicodeDecodeError) as error:
            raise StoreError(f"{self.path} was changed by something else while it was open: {error}") from error

    def _writer(self) -> BinaryIO:
        if self.read_only:
            raise StoreError(f"{self.path} was opened for reading only")
        if self._file is None:
            self._acquire()
            try:
                self._file = self._open()
            except BaseException:
                self.close()
                raise
        return self._file

    def _acquire(self) -> None:
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
            self._lock = lock
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": now_iso()}
            self._holder_path.write_text(json.dumps(holder), encoding="utf-8")
        except Timeout:
            raise StoreError(f"{self.path} is being written by {self._holder()}; wait for it or end it") from None
        except OSError as error:
            self.close()
            raise OutputError(f"{self.folder}: cannot write a result store here: {error.strerror}") from error

    def _holder(self) -> str:
        try:
            holder = json.loads(self._holder_path.read_text(encoding="utf-8"))
            return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

    def _open(self) -> BinaryIO:
        fresh = not self.path.exists()
        try:
            file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot open the result store for writing: {error.strerror}") from error
        if fresh:
            _sync_folder(self.folder)
        self.refresh()
        self._mend(file.fileno())
        return file

    def _mend(self, descriptor: int) -> None:
        """Finish or remove a torn last line, so that nothing is glued to it."""
        torn = self.path.read_bytes()[self._end :] if os.fstat(descriptor).st_size > self._end else b""
        if not torn:
            return
        try:
            RunRecord.from_json(torn.decode("utf-8"))
        except (StoreError, UnicodeDecodeError):
            os.ftruncate(descriptor, self._end)
            return
        _write_all(descriptor, b"\n")
        self._take(torn + b"\n")


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

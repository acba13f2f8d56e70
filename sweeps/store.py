"""Append-only store of run records: one JSON line each, on the disk before ``append`` returns.

One writer at a time, any number of readers without a lock. A writer killed at any moment leaves at most one torn last
line; readers pass over it and the next writer removes it. After Optuna's journal storage in idea.

Opening looks at the beginning and the end of each line, or at an index beside the file (``store_index``); a record is
parsed when it is asked for. One that then cannot be read has the whole file read again, every line in full.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TypeVar

from filelock import FileLock, Timeout

from encoder_bridge.errors import OutputError, StoreError
from sweeps.heads import Head, HeadReader, Measured
from sweeps.records import RunRecord, now_iso
from sweeps.store_index import WORTH_BYTES, Places, glance, part_of

T = TypeVar("T")
DEFAULT_NAME = "results.jsonl"


@dataclass(frozen=True)
class DamagedLine:
    """A line that is no record: it is passed over, kept in the file, and can be deleted by hand."""

    path: Path
    number: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.number}: {self.reason}; skipped (delete the line to be rid of this warning)"


def stepwise(items: Iterable[T], advance: Callable[[int], None], step: int = 500) -> Iterator[T]:
    """The items; ``advance`` is told of every ``step`` of them: telling of each would take longer than reading it."""
    count = 0
    for count, item in enumerate(items, 1):
        yield item
        if count % step == 0:
            advance(step)
    advance(count % step)


class ResultStore:
    """Records by key; of several with one key the newest counts.

    Args:
        path: the ``.jsonl`` file, or a folder that holds (or will hold) ``results.jsonl``.
        read_only: never lock, never write.

    Used as a context (unless ``read_only``) it takes the writer's lock at once; otherwise the first ``append`` does.
    The file is made by the first ``append``; closed without one, a store that was not there leaves nothing behind.

    Raises:
        StoreError: another writer holds the store (from ``append`` or entering the context).
        OutputError: the folder cannot be made or written.
    """

    def __init__(self, path: str | os.PathLike[str], read_only: bool = False) -> None:
        given = Path(path)
        self.path = given / DEFAULT_NAME if given.is_dir() or given.suffix != ".jsonl" else given
        self.read_only = read_only
        self._places = Places.load(self._index_path, self.path) or Places()
        self._indexed = self._places.end
        self._file: BinaryIO | None = None
        self._lock: FileLock | None = None
        self._made: list[Path] = []
        self._guard = threading.RLock()
        self.refresh()

    @property
    def folder(self) -> Path:
        """Where the file lies; the paths of streams in records start here."""
        return self.path.parent

    @property
    def damaged(self) -> list[DamagedLine]:
        """Lines that are no records, as far as opening and reading came upon them; ``verify`` finds them all."""
        return [DamagedLine(self.path, number, reason) for number, reason in self._places.damaged]

    @property
    def superseded(self) -> int:
        """Records that a newer one of the same run stands for; to be trusted after ``verify``."""
        return self._places.superseded

    def refresh(self) -> None:
        """Take in what a writer has added since; a last line without its newline is left for later."""
        with self._guard:
            self._scan(in_full=False)

    def verify(self) -> None:
        """Parse every line of the file in full."""
        with self._guard:
            self._places = Places()
            self._scan(in_full=True)

    def get(self, key: str) -> RunRecord | None:
        """The newest record of a key, or None."""
        if key not in self._places:
            return None
        with self._opened() as file:
            return self._read(key, file)

    def line(self, key: str, file: BinaryIO) -> bytes:
        """The newest record of a key as it stands in the store, which ``file`` is: a line and its end. KeyError."""
        place = self._places.get(key)
        if place is None:
            raise KeyError(key)
        return os.pread(file.fileno(), place[1], place[0])

    def ok(self, key: str) -> bool | None:
        """Whether the newest run of a key succeeded, None where there is none; nothing is read for it."""
        return self._places.ok(key)

    def heads(self) -> Iterator[Head]:
        """Newest record of each key without its per-frame parts, in the order of the file: some times faster."""
        return self._each(HeadReader().read)

    def measured(self) -> Iterator[Measured]:
        """What means need of the newest record of each key, in the order of the file: many times faster."""
        return self._each(HeadReader().measured)

    def _each(self, read: Callable[[bytes], T]) -> Iterator[T]:
        if not self._places:
            return
        whole = True
        with self._opened() as file:
            for start, length in self._places.in_file_order():
                file.seek(start)
                try:
                    yield read(file.read(length))
                except StoreError:
                    whole = False
        if not whole:
            self.verify()

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __len__(self) -> int:
        """Number of distinct keys."""
        return len(self._places)

    def __iter__(self) -> Iterator[RunRecord]:
        """Newest record of each key, in the order the keys first appeared."""
        if not self._places:
            return
        known = self._places
        with self._opened() as file:
            for key in list(known):
                record = self._read(key, file)
                if record is not None:
                    yield record
            for key in list(self._places) if self._places is not known else ():
                record = None if key in known else self._read(key, file)
                if record is not None:
                    yield record

    def append(self, record: RunRecord) -> None:
        """Store a record; when this returns it is on the disk. Interrupted, it is there whole or not at all.

        Raises:
            StoreError: read-only, or another process writes.
            OutputError: the disk is full or the file cannot be written; the store is as before.
        """
        line = record.to_json().encode("ascii") + b"\n"
        with self._guard:
            file = self._writer()
            start = self._places.end
            try:
                _write_all(file.fileno(), line)
                os.fsync(file.fileno())
                self._take(line, in_full=True)
            except BaseException as error:
                if self._places.end == start:
                    self._settle(file.fileno(), line, failed=isinstance(error, OSError))
                if isinstance(error, OSError):
                    raise OutputError(f"{self.path}: cannot append a record: {error.strerror}") from error
                raise

    def _settle(self, descriptor: int, line: bytes, failed: bool) -> None:
        """After an append that did not end: a whole record stays unless writing failed, for a reader may have it."""
        start = self._places.end
        if failed or os.fstat(descriptor).st_size < start + len(line):
            os.ftruncate(descriptor, start)
        else:
            self._take(line, in_full=True)

    def close(self) -> None:
        """Release the file and the lock; reading goes on working."""
        with self._guard:
            if self._file is not None:
                self._save_index()
                self._file.close()
                self._file = None
            if self._lock is not None:
                self._holder_path.unlink(missing_ok=True)
                if not self.path.exists():
                    # Only while it is held: whoever has it open then finds it without a name, which FileLock refuses.
                    Path(self._lock.lock_file).unlink(missing_ok=True)
                self._lock.release()
                self._lock = None
            with contextlib.suppress(OSError):  # not empty
                for folder in self._made:
                    folder.rmdir()
            self._made = []

    def __enter__(self) -> ResultStore:
        if not self.read_only:
            self._acquire()
            if self.path.exists():
                self._writer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _holder_path(self) -> Path:
        return self.path.with_name(f".{self.path.name}.holder")

    @property
    def _index_path(self) -> Path:
        return self.path.with_name(f".{self.path.name}.index")

    def _scan(self, in_full: bool) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb", buffering=1 << 20) as file:
            file.seek(self._places.end)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._take(line, in_full)

    def _take(self, line: bytes, in_full: bool = False) -> None:
        """Index one complete line that starts where the known ones end."""
        places = self._places
        start, places.end = places.end, places.end + len(line)
        places.lines += 1
        seen = None if in_full else glance(line)
        if seen is None:
            if not line.strip():
                return
            try:
                record = RunRecord.from_json(line.decode("utf-8"))
            except (StoreError, UnicodeDecodeError) as error:
                places.damaged.append((places.lines, str(error)))
                return
            seen = record.key, record.status == "ok"
        places.put(seen[0], start, len(line), seen[1])

    def _opened(self) -> BinaryIO:
        try:
            return self.path.open("rb", buffering=1 << 16)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read any more: {error.strerror}") from error

    def _read(self, key: str, file: BinaryIO) -> RunRecord | None:
        """The record of a key that is known; None where it turns out to be damaged."""
        for last in (False, True):
            place = self._places.get(key)
            if place is None:
                return None
            try:
                record = RunRecord.from_json(os.pread(file.fileno(), place[1], place[0]).decode("utf-8"))
                if record.key == key:
                    return record
                reason: object = f"record {record.key[:12]} lies where {key[:12]} was"
            except (OSError, StoreError, UnicodeDecodeError) as error:
                reason = error
            if not last:
                self.verify()
        raise StoreError(f"{self.path} was changed by something else while it was open: {reason}")

    def _save_index(self) -> None:
        if self._places.end - self._indexed >= WORTH_BYTES:
            self._places.save(self._index_path, self.path)
            self._indexed = self._places.end

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
        if self._lock is not None:
            return
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        try:
            self._made = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
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
        part_of(self._index_path).unlink(missing_ok=True)
        self._save_index()
        return file

    def _mend(self, descriptor: int) -> None:
        """Finish or remove a torn last line, so that nothing is glued to it."""
        if os.fstat(descriptor).st_size == self._places.end:
            return
        with self._opened() as file:
            file.seek(self._places.end)
            torn = file.read()
        try:
            RunRecord.from_json(torn.decode("utf-8"))
        except (StoreError, UnicodeDecodeError):
            os.ftruncate(descriptor, self._places.end)
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

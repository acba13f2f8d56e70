"""Where a store's records lie, and a file of that beside it which spares reading a large store at every opening.

The file is a convenience: it is used only where it fits the store it was made of, and made again otherwise.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORTH_BYTES = 4 << 20
"""A store is indexed when it has grown by so much: less is read in no time."""
_MAGIC = "mrdo index 1"
_TAIL, _SAMPLES = 1 << 16, 64
# No line of ours has its key elsewhere; a line glued to a torn one has a second key.
_START = re.compile(rb'\{"key":"([ !#-\[\]-~]+)","status":"(ok|error)",')
_KEY = b'{"key":"'


def glance(line: bytes) -> tuple[str, bool] | None:
    """Key and whether the run succeeded, of a line that looks like a whole record; None where it must be parsed."""
    found = _START.match(line)
    if found is None or not line.endswith(b"}\n") or line.find(_KEY, 1) >= 0:
        return None
    return found[1].decode("ascii"), found[2] == b"ok"


@dataclass
class Places:
    """Newest line of each key, keys in the order they first appeared.

    Attributes:
        end: bytes of the store that are accounted for.
        lines: lines in them.
        damaged: (line number, reason) of those that are no records.
        superseded: records passed by that have a newer one; those of a loaded index are not counted.
    """

    end: int = 0
    lines: int = 0
    damaged: list[tuple[int, str]] = field(default_factory=list)
    superseded: int = 0
    _rows: dict[str, int] = field(default_factory=dict)
    _offsets: array[int] = field(default_factory=lambda: array("q"))
    _lengths: array[int] = field(default_factory=lambda: array("q"))
    _ok: bytearray = field(default_factory=bytearray)

    def put(self, key: str, start: int, length: int, ok: bool) -> None:
        """The newest line of a key."""
        row = self._rows.setdefault(key, len(self._offsets))
        if row == len(self._offsets):
            self._offsets.append(start)
            self._lengths.append(length)
            self._ok.append(ok)
        else:
            self.superseded += 1
            self._offsets[row], self._lengths[row], self._ok[row] = start, length, ok

    def get(self, key: str) -> tuple[int, int] | None:
        """Start and length of a key's line."""
        row = self._rows.get(key)
        return None if row is None else (self._offsets[row], self._lengths[row])

    def ok(self, key: str) -> bool | None:
        """Whether a key's run succeeded; None where there is none."""
        row = self._rows.get(key)
        return None if row is None else bool(self._ok[row])

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def in_file_order(self) -> list[tuple[int, int]]:
        """Start and length of every newest line, as they lie in the file."""
        return sorted(zip(self._offsets, self._lengths, strict=True))

    def save(self, target: Path, store: Path) -> None:
        """Write the index of ``store`` to ``target``; a failure to do so is nobody's concern."""
        part = part_of(target)
        with suppress(OSError, ValueError):
            keys = "\n".join(self._rows)
            if keys.count("\n") >= max(1, len(self._rows)):  # a key with a line break in it
                return
            body = self._offsets.tobytes() + self._lengths.tobytes() + bytes(self._ok) + keys.encode()
            head = {"magic": _MAGIC, "end": self.end, "lines": self.lines, "count": len(self), "damaged": self.damaged}
            head |= {"mtime": store.stat().st_mtime_ns, "tail": _tail(store, self.end), "crc": zlib.crc32(body)}
            with part.open("wb") as file:
                file.write(json.dumps(head).encode() + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        part.unlink(missing_ok=True)

    @classmethod
    def load(cls, target: Path, store: Path) -> Places | None:
        """The places of ``target`` where it belongs to ``store`` as it is now or as it was before it grew."""
        try:
            with target.open("rb") as file:
                head, body = json.loads(file.readline()), file.read()
            if head["magic"] != _MAGIC or zlib.crc32(body) != head["crc"]:
                return None
            places = cls._of(head, body)
            return places if _fits(places, head, store) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @classmethod
    def _of(cls, head: dict[str, Any], body: bytes) -> Places:
        count, view = head["count"], memoryview(body)
        offsets, lengths = array("q"), array("q")
        offsets.frombytes(view[: 8 * count])
        lengths.frombytes(view[8 * count : 16 * count])
        keys = bytes(view[17 * count :]).decode().split("\n") if count else []
        rows = dict(zip(keys, range(count), strict=True))
        damaged = [(int(number), str(reason)) for number, reason in head["damaged"]]
        ok = bytearray(view[16 * count : 17 * count])
        return cls(head["end"], head["lines"], damaged, 0, rows, offsets, lengths, ok)


def part_of(target: Path) -> Path:
    """Name under which an index is written; one writer has one, so that a killed one leaves one at most."""
    return target.with_name(f"{target.name}.part")


def _fits(places: Places, head: dict[str, Any], store: Path) -> bool:
    state = store.stat()
    if state.st_size == places.end:
        return bool(state.st_mtime_ns == head["mtime"])
    return state.st_size > places.end and _tail(store, places.end) == head["tail"] and _sampled(places, store)


def _tail(store: Path, end: int) -> str:
    with store.open("rb") as file:
        file.seek(max(0, end - _TAIL))
        return hashlib.sha256(file.read(min(end, _TAIL))).hexdigest()


def _sampled(places: Places, store: Path) -> bool:
    """Whether some lines, spread evenly, begin where they should: the store may have been edited before it grew."""
    keys = list(places)
    with store.open("rb") as file:
        for key in keys[:: max(1, len(keys) // _SAMPLES)]:
            start, length = places.get(key) or (0, 0)
            line = os.pread(file.fileno(), length, start)
            seen = glance(line)
            if not line.endswith(b"\n") or (seen is not None and seen[0] != key):
                return False
    return True

"""Records without what they hold per frame: enough for tables, and read many times faster than whole ones."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from encoder_bridge.errors import StoreError
from sweeps.records import RunRecord

_KEPT = 1 << 16
_KEY = b'{"key":"'
_decode = json.JSONDecoder().raw_decode


class Head(NamedTuple):
    """Fields of a ``RunRecord`` but for ``frame_bits``, ``frame_psnr``, ``confusion`` and ``extra``; same units.

    Equal configurations, inputs and builds are one object in records of one ``HeadReader``: never change them.
    """

    key: str
    status: str
    error: dict[str, str] | None
    config: Mapping[str, Any]
    input: Mapping[str, Any]
    build: Mapping[str, Any]
    models: Mapping[str, str]
    bits: int
    frames: int
    bpp: float
    encode_s: float
    map_s: float
    first_pass_s: float
    judge_s: float
    psnr: dict[str, float]
    scores: dict[str, dict[str, float | None]]
    stream: str | None
    created: str
    seconds: float


class Measured(NamedTuple):
    """What means are made of; the least of a record that is worth reading. Fields as in ``Head``."""

    config: Mapping[str, Any]
    status: str
    bits: int
    bpp: float
    encode_s: float
    scores: dict[str, dict[str, float | None]]


_FIGURES = re.compile(rb',"bits":(\d+),"frames":\d+,"bpp":([^,"]+),"encode_s":([^,"]+),')
_REST = frozenset(Head._fields) - {"config", "input", "build", "models"}


class HeadReader:
    """Reads lines of a store; parses what repeats from line to line only once."""

    def __init__(self) -> None:
        self._seen: dict[bytes, Any] = {}

    def read(self, line: bytes) -> Head:
        """The head of a line. Raises StoreError where it is no record."""
        try:
            return self._quick(line)
        except (ValueError, KeyError, TypeError):
            return head_of(_parsed(line))

    def measured(self, line: bytes) -> Measured:
        """What means need of a line. Raises StoreError where it is no record."""
        try:
            return self._measured(line)
        except (ValueError, KeyError, TypeError):
            head = self.read(line)
            return Measured(*(getattr(head, name) for name in Measured._fields))

    def _measured(self, line: bytes) -> Measured:
        status, config, given = line.index(b'","status":"'), line.index(b',"config":{'), line.index(b',"input":{')
        bits_at = line.index(b',"bits":', given)
        figures, scores = _FIGURES.match(line, bits_at), line.index(b',"scores":{', bits_at)
        if figures is None or not line.startswith(_KEY) or status > config:
            raise ValueError
        measures = _finite(line[scores + 10 : line.index(b',"frame_bits":[', scores)])
        succeeded = line.startswith(b'ok"', status + 12)
        bits, bpp, encode_s = int(figures[1]), float(figures[2]), float(figures[3])
        part = self._part(line[config + 10 : given])
        return Measured(part, "ok" if succeeded else "error", bits, bpp, encode_s, measures)

    def _quick(self, line: bytes) -> Head:
        """By the order of the fields in a line of ours; whatever does not fit raises."""
        config, given = line.index(b',"config":{'), line.index(b',"input":{')
        build, models = line.index(b',"build":{', given), line.index(b',"models":{', given)
        bits, frames = line.index(b',"bits":', models), line.index(b',"frame_bits":[', models)
        rest = _finite(line[:config] + line[bits:frames] + line[line.rindex(b',"stream":') :])
        if rest.keys() != _REST:
            raise KeyError
        return Head(
            config=self._part(line[config + 10 : given]),
            input=self._part(line[given + 9 : build]),
            build=self._part(line[build + 9 : models]),
            models=self._part(line[models + 10 : bits]),
            **rest,
        )

    def _part(self, text: bytes) -> Any:
        part = self._seen.get(text)
        if part is None:
            if len(self._seen) >= _KEPT:
                self._seen.clear()
            part = self._seen[text] = json.loads(text)
        return part


def head_of(record: RunRecord) -> Head:
    """The head of a whole record."""
    return Head(*(getattr(record, name) for name in Head._fields))


def _parsed(line: bytes) -> RunRecord:
    try:
        return RunRecord.from_json(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise StoreError(f"a record is not text: {error}") from error


def _finite(text: bytes) -> dict[str, Any]:
    """An object without spelled-out infinities; ValueError where it may have some."""
    if b'finity"' in text or b'"NaN"' in text:
        raise ValueError
    found, end = _decode(text.decode("ascii"))
    if end < len(text.rstrip()):
        raise ValueError
    return found  # type: ignore[no-any-return]

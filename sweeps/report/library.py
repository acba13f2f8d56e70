"""What the stores of a report hold: runs by input, series and rate point; the runs that failed; lines not read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encoder_bridge.config import CodingConfig
from encoder_bridge.errors import StoreError
from sweeps.analysis.lossless import FILE as LOSSLESS_FILE
from sweeps.analysis.series import LOSSLESS, names_of_coders
from sweeps.anchors import build_name
from sweeps.coding import ANCHOR, NEUTRAL, arm_name
from sweeps.records import RunRecord, config_of
from sweeps.store import DEFAULT_NAME, ResultStore

RATE_FIELDS = ("qp", "crf", "bitrate", "scale")
Point = tuple[Any, ...]


@dataclass(frozen=True)
class Run:
    """One finished run and where its stream lies.

    Attributes:
        record: the newest of its key.
        config: how it was coded.
        folder: of its store.
    """

    record: RunRecord
    config: CodingConfig
    folder: Path

    @property
    def stream(self) -> Path | None:
        """The kept stream; None where there is none any more."""
        path = None if self.record.stream is None else self.folder / self.record.stream
        return path if path is not None and path.is_file() else None


@dataclass(frozen=True)
class Series:
    """What one curve is drawn of: everything of a configuration but rate and scale, and the encoder's version.

    Attributes:
        coder: encoder and settings that several arms share, short where that is enough to tell it from the others.
        arm: "psnr", "neutral", "map:learned", …; with what tells it from another of that name.
        config: of its first run.
    """

    coder: str
    arm: str
    config: CodingConfig

    @property
    def label(self) -> str:
        """``x265 PSNR-RDO``, ``x265 map:learned``."""
        return f"{self.coder} {'PSNR-RDO' if self.arm == ANCHOR else self.arm}"

    @property
    def plain(self) -> bool:
        """Whether the encoder decided by its own rules."""
        return self.arm == ANCHOR


@dataclass
class Library:
    """Everything a report is made of.

    Attributes:
        names: of the stores, as they were given.
        runs: input's digest → series → rate point → run.
        inputs: digest → ``RunRecord.input``.
        failures: records of runs that failed and were not repeated since.
        records: of everything that finished, those of originals without loss among them.
        notes: what a reader should know of the stores.
    """

    names: list[str]
    runs: dict[str, dict[Series, dict[Point, Run]]] = field(default_factory=dict)
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[RunRecord] = field(default_factory=list)
    records: list[RunRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def series(self) -> list[Series]:
        """Every series of any input, coders together, the plain arm first."""
        found = list(dict.fromkeys(series for arms in self.runs.values() for series in arms))
        coders = list(dict.fromkeys(series.coder for series in found))
        return sorted(found, key=lambda series: (coders.index(series.coder), not series.plain))

    @property
    def networks(self) -> dict[str, str]:
        """Network → digest; the driving one first."""
        return {
            name: digest
            for arms in self.runs.values()
            for points in arms.values()
            for run in points.values()
            for name, digest in run.record.models.items()
            if name in run.record.scores
        }

    def each(self) -> Iterable[tuple[str, Series, Run]]:
        """Every run with its input's digest and its series."""
        for digest, arms in self.runs.items():
            for series, points in arms.items():
                yield from ((digest, series, run) for run in points.values())


def open_library(paths: Sequence[Path], advance: Callable[[int], None] = lambda _: None) -> Library:
    """The runs of one or several stores.

    Args:
        paths: folders with ``results.jsonl``, or ``.jsonl`` files.
        advance: called with 1 for each record.

    Raises:
        StoreError: a store is missing or empty, or nothing in it was finished.
    """
    library = Library([path.name or str(path) for path in paths])
    rows: list[Run] = []
    for path in paths:
        store = _open(path)
        library.notes += [f"a line of the store could not be read: {line}" for line in store.damaged]
        for record in store:
            _take(record, store.folder, rows, library)
            advance(1)
        library.records += _lossless(store.folder)
    finished = {_what(run.record) for run in rows} if library.failures else set()
    library.failures = [failed for failed in library.failures if _what(failed) not in finished]
    if not rows:
        raise StoreError(
            f"{', '.join(map(str, paths))}: no finished run ({len(library.failures)} failed); run the comparison again"
        )
    _arrange(rows, library)
    return library


def _lossless(folder: Path) -> list[RunRecord]:
    """What is kept beside a store of its inputs without loss."""
    return list(ResultStore(folder / LOSSLESS_FILE, read_only=True)) if (folder / LOSSLESS_FILE).is_file() else []


def _open(path: Path) -> ResultStore:
    if not path.exists():
        raise StoreError(f"{path}: no such store; expected a folder made by mrdo compare or mrdo sweep")
    if path.is_dir() and not (path / DEFAULT_NAME).exists():
        raise StoreError(f"{path}: holds no {DEFAULT_NAME}; expected a folder made by mrdo compare or mrdo sweep")
    store = ResultStore(path, read_only=True)
    if not len(store):
        raise StoreError(f"{store.path}: holds no record; run the comparison first")
    return store


def _take(record: RunRecord, folder: Path, rows: list[Run], library: Library) -> None:
    if record.status != "ok":
        library.failures.append(record)
        return
    library.records.append(record)
    if record.config.get("codec") == LOSSLESS:
        return
    try:
        rows.append(Run(record, config_of(record), folder))
    except StoreError as error:
        library.notes.append(str(error))


def _what(record: RunRecord) -> str:
    """What was run, however it was judged."""
    return json.dumps([record.input.get("digest"), record.config], sort_keys=True)


def _arrange(rows: Sequence[Run], library: Library) -> None:
    """Fill ``runs`` and ``inputs``; a later run of the same point replaces an earlier one."""
    coders = names_of_coders(_coder_key(run) for run in rows)
    arms = _arm_names(rows)
    known: dict[tuple[str, str], Series] = {}
    for run in rows:
        names = coders[_coder_key(run)], arms[_arm_key(run.config)]
        series = known.setdefault(names, Series(*names, run.config))
        digest = str(run.record.input.get("digest", ""))
        library.inputs.setdefault(digest, run.record.input)
        point = tuple(getattr(run.config, name) for name in RATE_FIELDS)
        points = library.runs.setdefault(digest, {}).setdefault(series, {})
        points[point] = _merged(points.get(point), run)
    for series_points in library.runs.values():
        for series, points in series_points.items():
            series_points[series] = dict(sorted(points.items(), key=lambda item: _order(item[1])))


def _merged(before: Run | None, run: Run) -> Run:
    """The later run; of an earlier one with the same stream, the networks that the later one did not ask."""
    if before is None or before.record.bits != run.record.bits:
        return run
    old, new = before.record, run.record
    record = dataclasses.replace(
        new,
        scores={**new.scores, **{n: v for n, v in old.scores.items() if n not in new.scores}},
        confusion={**new.confusion, **{n: v for n, v in old.confusion.items() if n not in new.confusion}},
        models={**new.models, **{n: v for n, v in old.models.items() if n not in new.models}},
    )
    return dataclasses.replace(run, record=record)


def _order(run: Run) -> tuple[float, int]:
    return run.config.scale, -run.record.bits


def _coder_key(run: Run) -> tuple[str, ...]:
    c = run.config
    depth, gray = (f"{c.bit_depth} bit", "grey" if c.gray else "")
    build = build_name(run.record.build) if run.record.build else c.codec
    return (c.codec, build, c.preset, c.gop, depth, gray, *c.extra)


def _arm_key(config: CodingConfig) -> str:
    parts = {
        "neutral": config.neutral,
        "rdo": config.rdo,
        "map": config.as_dict()["map"],
        "ctu": config.as_dict()["ctu"],
    }
    return json.dumps(parts, sort_keys=True)


def _arm_names(rows: Sequence[Run]) -> dict[str, str]:
    """Arm of each key; where several have one name, followed by the parameters they differ in."""
    found = {_arm_key(run.config): run.config for run in rows}
    names = {key: arm_name(config) for key, config in found.items()}
    flat = {key: _flat(json.loads(key)) for key in found}
    told = dict(names)
    for key, name in names.items():
        rivals = [flat[other] for other, same in names.items() if same == name and other != key]
        differing = [part for part, value in flat[key].items() if any(other.get(part) != value for other in rivals)]
        if differing:
            told[key] = f"{name} ({', '.join(f'{part} {flat[key][part]}' for part in differing)})"
    return told


def _flat(parts: Mapping[str, Any]) -> dict[str, Any]:
    inner = [parts[name] for name in ("map", "ctu") if parts.get(name)]
    return {name: value for part in inner for name, value in part.items()}


def drop_neutral(library: Library) -> None:
    """Leave out neutral arms whose streams are those of the plain encoder, and say so: they are a check."""
    coders: dict[str, int] = {}
    for arms in library.runs.values():
        for series in [series for series in arms if series.arm == NEUTRAL]:
            twins = next((arms[s] for s in arms if s.coder == series.coder and s.plain), {})
            equal = [p for p, run in arms[series].items() if p in twins and twins[p].record.bits == run.record.bits]
            if len(equal) == len(arms[series]):
                coders[series.coder] = coders.get(series.coder, 0) + len(equal)
                del arms[series]
            else:
                library.notes.append(f"{series.label}: not the size of the plain stream at every point")
    if coders:
        library.notes.append(
            f"with nothing to tell, the hooked {', '.join(coders)} made streams of the plain encoder's size at all "
            f"{sum(coders.values())} rate points"
        )

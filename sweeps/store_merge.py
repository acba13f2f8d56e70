"""Two or more stores made one, and a store looked over: damage, duplicates, streams that are gone."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from encoder_bridge.atomic import replacing
from encoder_bridge.console import Advance
from encoder_bridge.errors import ConfigError, OutputError, StoreError
from sweeps.records import RunRecord
from sweeps.store import DamagedLine, ResultStore, stepwise


@dataclass(frozen=True)
class Conflict:
    """One run with two results.

    Attributes:
        key: of the run.
        bits: size of the stream in each store that holds it, in the order of the stores; the one taken counts.
        taken: index of that store.
    """

    key: str
    bits: tuple[int, ...]
    taken: int


@dataclass
class Merge:
    """What became of a merge.

    Attributes:
        records: in the new store.
        taken: how many of them from each store.
        conflicts: runs that succeeded in several stores with streams of different sizes.
        streams: copied.
        missing: streams that records name and their store does not hold; those records name none in the new one.
        damaged: lines passed over.
    """

    records: int = 0
    taken: list[int] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    streams: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[DamagedLine] = field(default_factory=list)


def merge_stores(stores: Sequence[ResultStore], target: Path, advance: Advance = lambda records: None) -> Merge:
    """Put the records of all stores into a new one, and their streams beside it.

    Of several records of one run a success is taken before a failure, and of two alike the newer.

    Raises:
        ConfigError: the target is there already.
        OutputError: it cannot be written; streams that were copied stay, for the next attempt.
    """
    new = ResultStore(target, read_only=True)
    if new.path.exists():
        raise ConfigError(f"{new.path}: is there already; merge into a new folder")
    merge = Merge(taken=[0] * len(stores))
    choice = _choose(stores, merge, advance)
    try:
        new.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{new.folder}: cannot be made: {error.strerror}") from error
    with replacing(new.path) as temporary, temporary.open("wb") as file, ExitStack() as stack:
        sources = [stack.enter_context(store.path.open("rb")) for store in stores]
        for key, (index, stream) in choice.items():
            line = stores[index].line(key, sources[index])
            kept = stream is None or _copy_stream(stores[index].folder, new.folder, stream, merge)
            file.write(line if kept else _without_stream(line))
            merge.taken[index] += 1
    merge.records = len(choice)
    merge.damaged = [line for store in stores for line in store.damaged]
    return merge


def _choose(stores: Sequence[ResultStore], merge: Merge, advance: Advance) -> dict[str, tuple[int, str | None]]:
    """Key → store it is taken from, and its stream."""
    best: dict[str, _Best] = {}
    sizes: dict[str, list[int]] = {}
    for index, store in enumerate(stores):
        for head in stepwise(store.heads(), advance):
            new = _Best((head.status == "ok", head.created), index, head.bits, head.stream)
            old = best.get(head.key)
            if old is not None and old.rank[0] and new.rank[0]:
                sizes.setdefault(head.key, [old.bits]).append(new.bits)
            if old is None or new.rank > old.rank:
                best[head.key] = new
    differing = {key: bits for key, bits in sizes.items() if len(set(bits)) > 1}
    merge.conflicts = [Conflict(key, tuple(bits), best[key].store) for key, bits in differing.items()]
    return {key: (choice.store, choice.stream) for key, choice in best.items()}


class _Best(NamedTuple):
    """The best record of a run so far: what ranks it, the store that holds it, what it says."""

    rank: tuple[bool, str]
    store: int
    bits: int
    stream: str | None


def _without_stream(line: bytes) -> bytes:
    return replace(RunRecord.from_json(line.decode()), stream=None).to_json().encode() + b"\n"


def _copy_stream(source: Path, target: Path, stream: str, merge: Merge) -> bool:
    """Copy a stream and what is noted beside it; False where there is none."""
    path = Path(stream)
    if path.is_absolute() or ".." in path.parts:
        raise StoreError(f"{source}: a record names the stream {stream}; expected a path below the store's folder")
    if not (source / path).is_file():
        merge.missing.append(stream)
        return False
    beside = [path.with_suffix(".json")] if path.parts[0] == "streams" else []
    for name in (path, *beside):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            with replacing(target / name) as temporary:
                shutil.copyfile(source / name, temporary)
    merge.streams += 1
    return True


@dataclass
class Findings:
    """State of a store.

    Attributes:
        records, failed: distinct runs, and those among them that failed.
        superseded: older records of runs that have a newer one.
        damaged: lines that are no records.
        missing: streams that records name and that are not there.
        altered: streams of another size than their record says.
    """

    records: int = 0
    failed: int = 0
    superseded: int = 0
    damaged: list[DamagedLine] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Nothing is damaged, missing or altered."""
        return not (self.damaged or self.missing or self.altered)


def check_store(store: ResultStore, advance: Advance = lambda records: None) -> Findings:
    """Read every line in full and look for every stream."""
    store.verify()
    found = Findings(records=len(store), damaged=store.damaged)
    found.superseded = store.superseded
    for record in stepwise(store, advance):
        found.failed += record.status != "ok"
        if record.stream is None:
            continue
        path = store.folder / record.stream
        if not path.is_file():
            found.missing.append(record.stream)
        elif path.stat().st_size != record.extra.get("bytes", record.bits / 8):
            found.altered.append(record.stream)
    return found

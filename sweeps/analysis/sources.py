"""What ``mrdo tables`` reads: stores, and the inputs of the lossless anchor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from encoder_bridge.console import Reporter
from encoder_bridge.errors import StoreError
from sweeps.analysis.data import SweepData
from sweeps.analysis.lossless import FILE, lossless_record
from sweeps.plan import InputFile, find_inputs, is_plan, load_plan
from sweeps.plan.inputs import input_block
from sweeps.records import RunRecord
from sweeps.store import ResultStore


def read_stores(paths: Sequence[Path], warn: Callable[[str], None]) -> tuple[list[RunRecord], list[Path]]:
    """The records of all stores, with those without loss that lie beside them, and the stores' folders.

    Raises StoreError for a store that is not there.
    """
    records: list[RunRecord] = []
    folders = []
    for path in paths:
        store = ResultStore(path, read_only=True)
        if not store.path.exists():
            raise StoreError(f"{path}: no such store; expected a folder made by mrdo sweep or mrdo compare")
        for line in store.damaged:
            warn(str(line))
        records += [*store, *ResultStore(store.folder / FILE, read_only=True)]
        folders.append(store.folder)
    return records, folders


def named_inputs(words: Sequence[str], options: Mapping[str, Any]) -> list[InputFile]:
    """The inputs of plans and of paths; options say what is taken of a path. Raises ConfigError, DecodeError."""
    found: list[InputFile] = []
    for word in words:
        if is_plan(word):
            found += find_inputs(load_plan(word).inputs)
            continue
        stated = {name: options[name] for name in ("labels", "every", "frames", "each")}
        found += find_inputs([input_block({"path": word, **stated})])
    return found


def add_lossless(data: SweepData, files: Sequence[InputFile], folders: Sequence[Path], say: Reporter) -> None:
    """Give the data a record without loss of each input, and keep it beside the first store.

    Raises as ``lossless_record``, and OutputError.
    """
    with ResultStore(folders[0] / FILE) as kept:
        for file in files:
            with say.task(f"PNG of {file.name}", file.frames) as advance:
                record = lossless_record(data, file, folders, advance)
            kept.append(record)
            data.add(record)

"""A store as a table for queries: Parquet, DuckDB, SQLite or CSV."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from encoder_bridge.atomic import check_target, replacing
from encoder_bridge.console import Advance
from encoder_bridge.errors import ConfigError
from encoder_bridge.extras import need
from sweeps.heads import Head
from sweeps.store import ResultStore, stepwise

COLUMNS: dict[str, str] = {
    "key": "TEXT",
    "status": "TEXT",
    "error_type": "TEXT",
    "error_message": "TEXT",
    "input": "TEXT",
    "input_digest": "TEXT",
    "width": "INTEGER",
    "height": "INTEGER",
    "fps": "TEXT",
    "codec": "TEXT",
    "version": "TEXT",
    "preset": "TEXT",
    "gop": "TEXT",
    "qp": "INTEGER",
    "crf": "REAL",
    "bitrate": "INTEGER",
    "scale": "REAL",
    "gray": "INTEGER",
    "bit_depth": "INTEGER",
    "rdo": "TEXT",
    "map": "TEXT",
    "metric": "TEXT",
    "neutral": "INTEGER",
    "config": "TEXT",
    "bits": "INTEGER",
    "frames": "INTEGER",
    "bpp": "REAL",
    "psnr_y": "REAL",
    "psnr_u": "REAL",
    "psnr_v": "REAL",
    "psnr_yuv": "REAL",
    "encode_s": "REAL",
    "map_s": "REAL",
    "first_pass_s": "REAL",
    "judge_s": "REAL",
    "seconds": "REAL",
    "stream": "TEXT",
    "created": "TEXT",
    "network": "TEXT",
    "network_digest": "TEXT",
    "measure": "TEXT",
    "value": "REAL",
}
"""Column → SQLite's type of it. The table is named ``runs``, a row for each run × network × measure.

Of a run without scores, a failed one, there is one row whose ``network``, ``measure`` and ``value`` are empty. Units as
in ``RunRecord``; ``config`` is the whole configuration as JSON.
"""
TABLE = "runs"
_BATCH = 50_000
_Rows = Iterator[list[tuple[Any, ...]]]


def export_store(store: ResultStore, target: Path, advance: Advance = lambda records: None) -> int:
    """Write the newest record of every key to ``target``; its suffix says how. Returns the number of rows.

    Raises:
        ConfigError: another suffix than .parquet, .duckdb, .sqlite, .db or .csv.
        ToolNotFoundError: pyarrow or duckdb is not installed, where they are needed.
        OutputError: the file cannot be written; nothing is left of it.
    """
    check_export(target)
    written = 0

    def counted() -> _Rows:
        nonlocal written
        rows = (row for head in stepwise(store.heads(), advance) for row in rows_of(head))
        while batch := list(islice(rows, _BATCH)):
            written += len(batch)
            yield batch

    with replacing(target) as temporary:
        WRITERS[target.suffix.lower()](temporary, counted())
    return written


def check_export(target: Path) -> None:
    """Raises as ``export_store`` where nothing can be exported to ``target``; no record is read."""
    writer = WRITERS.get(target.suffix.lower())
    if writer is None:
        raise ConfigError(f"{target}: suffix {target.suffix!r}; expected one of {', '.join(WRITERS)}")
    if writer in (_parquet, _duckdb):
        need("query", "pyarrow", *(["duckdb"] if writer is _duckdb else []))
    check_target(target)


def rows_of(head: Head) -> Iterator[tuple[Any, ...]]:
    """The rows of a record, values in the order of ``COLUMNS``."""
    run = _run_values(head)
    measured: list[tuple[Any, ...]] = [
        (network, head.models.get(network), measure, value)
        for network, measures in head.scores.items()
        for measure, value in measures.items()
    ]
    for values in measured or [(None, None, None, None)]:
        yield (*run, *values)


def _run_values(head: Head) -> tuple[Any, ...]:
    config, given, error = head.config, head.input, head.error or {}
    return (
        *(head.key, head.status, error.get("type"), error.get("message")),
        *(given.get("name"), given.get("digest"), given.get("width"), given.get("height"), given.get("fps")),
        *(config.get("codec"), head.build.get("version"), config.get("preset"), config.get("gop")),
        *(config.get("qp"), config.get("crf"), config.get("bitrate"), config.get("scale")),
        *(_flag(config.get("gray")), config.get("bit_depth"), config.get("rdo")),
        *(_inner(config, "map", "name"), _inner(config, "ctu", "metric"), _flag(config.get("neutral"))),
        json.dumps(config, sort_keys=True),
        *(head.bits, head.frames, head.bpp),
        *(head.psnr.get(plane) for plane in ("y", "u", "v", "yuv")),
        *(head.encode_s, head.map_s, head.first_pass_s, head.judge_s, head.seconds, head.stream, head.created),
    )


def _flag(value: Any) -> int | None:
    return None if value is None else int(value)


def _inner(config: Mapping[str, Any], part: str, name: str) -> Any:
    return (config.get(part) or {}).get(name)


def _csv(target: Path, batches: _Rows) -> None:
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for batch in batches:
            writer.writerows(batch)


def _sqlite(target: Path, batches: _Rows) -> None:
    declared = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
    insert = f"INSERT INTO {TABLE} VALUES ({', '.join('?' * len(COLUMNS))})"
    with closing(sqlite3.connect(target)) as database:
        try:
            # The file takes its name only when it is whole: a journal would guard nothing.
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            database.execute(f"CREATE TABLE {TABLE} ({declared})")
            for batch in batches:
                database.executemany(insert, batch)
            database.execute(f"CREATE INDEX by_run ON {TABLE} (codec, network, measure)")
            database.commit()
        except sqlite3.OperationalError as error:
            raise OSError(f"SQLite: {error}") from error


def _tables(batches: _Rows) -> Iterator[Any]:
    """Arrow tables of batches."""
    import pyarrow

    kinds = {"TEXT": pyarrow.string(), "INTEGER": pyarrow.int64(), "REAL": pyarrow.float64()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    yield schema.empty_table()
    for batch in batches:
        columns = zip(*batch, strict=True)
        arrays = [pyarrow.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
        yield pyarrow.Table.from_arrays(arrays, schema=schema)


def _parquet(target: Path, batches: _Rows) -> None:
    import pyarrow.parquet

    tables = _tables(batches)
    with pyarrow.parquet.ParquetWriter(target, next(tables).schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)


def _duckdb(target: Path, batches: _Rows) -> None:
    import duckdb

    tables = _tables(batches)
    try:
        with closing(duckdb.connect(str(target))) as database:
            database.register("batch", next(tables))
            database.execute(f"CREATE TABLE {TABLE} AS SELECT * FROM batch")
            for table in tables:
                database.register("batch", table)
                database.execute(f"INSERT INTO {TABLE} SELECT * FROM batch")
    except duckdb.IOException as error:
        raise OSError(f"DuckDB: {error}") from error


WRITERS: dict[str, Callable[[Path, _Rows], None]] = {
    ".parquet": _parquet,
    ".duckdb": _duckdb,
    ".sqlite": _sqlite,
    ".db": _sqlite,
    ".csv": _csv,
}
"""Suffix → what writes such a file."""

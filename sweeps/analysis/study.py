"""Seed 000's Table II from the ``table.json`` of ``mrdo metrics correlate``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from encoder_bridge.errors import ConfigError
from rdo_metrics.correlation import COEFFICIENTS
from sweeps.analysis.table import Cell, Row, Table

_TOO_SMALL = "no value: the metric is not defined on blocks of this size, or it is the same on all of them"


def table_ii(path: Path, network: str | None = None) -> Table:
    """Correlations of every measure with a network's accuracy, by level: PLCC, SROCC and KROCC, with intervals.

    Args:
        path: ``table.json``, or the folder it lies in.
        network: whose accuracy; None for the first.

    Raises ConfigError for another file, or a network it does not know.
    """
    rows = _read(path / "table.json" if path.is_dir() else path)
    networks = list(dict.fromkeys(row["network"] for row in rows))
    chosen = network or networks[0]
    if chosen not in networks:
        raise ConfigError(f"network {chosen!r}; expected one of {', '.join(networks)}")
    own = {(row["metric"], row["level"]): row for row in rows if row["network"] == chosen}
    levels = list(dict.fromkeys(level for _, level in own))
    kinds = {metric: own[metric, level]["kind"] for metric, level in own}
    lines = [Row((metric, kind), _cells(metric, levels, own)) for metric, kind in kinds.items()]
    columns = tuple(f"{_level(level)} {name.upper()}" for level in levels for name in COEFFICIENTS)
    title = f"Table II: correlation with the accuracy of {chosen}"
    count = max(row["count"] for row in own.values())
    note = f"Higher is better; intervals over pictures; up to {count} samples a level."
    return Table("table_ii", title, ("metric", "kind"), columns, tuple(lines), note, unit="", decimals=4, signed=False)


def _cells(metric: str, levels: Sequence[str], own: dict[tuple[str, str], dict[str, Any]]) -> tuple[Cell, ...]:
    rows = [own.get((metric, level)) for level in levels]
    return tuple(Cell(None) if row is None else _cell(row, name) for row in rows for name in COEFFICIENTS)


def _cell(row: dict[str, Any], name: str) -> Cell:
    if row[name] is None:
        return Cell(None, reason=_TOO_SMALL, undefined="NaN")
    ends = row[f"{name}_ci"]
    return Cell(float(row[name]), None if ends is None else (float(ends[0]), float(ends[1])))


def _level(level: str) -> str:
    return f"{level}×{level}" if level.isdecimal() else level


def _read(path: Path) -> list[dict[str, Any]]:
    needed = {"network", "level", "metric", "kind", "count", *COEFFICIENTS, *(f"{name}_ci" for name in COEFFICIENTS)}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        if not rows or not all(needed <= row.keys() for row in rows):
            raise ValueError("rows of another kind")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: {error}; expected the table.json of mrdo metrics correlate") from error
    return list(rows)

"""Tables of ``sweeps.analysis`` that the records can fill, beside those of arms over their own encoder."""

from __future__ import annotations

from dataclasses import dataclass

from encoder_bridge.errors import BridgeError
from sweeps.analysis import Question, SweepData, Table
from sweeps.analysis.bundle import Wanted, make_tables
from sweeps.analysis.table import Cell
from sweeps.report.library import Library

_RDO, _CRITERIA = "rdo", "table_vii"
"""Left out where they say no more than the tables of BD-rates: of one encoder, of no criterion."""


@dataclass(frozen=True)
class MoreCell:
    """A cell in words; ``verdict`` as that of ``rates.Cell``."""

    text: str
    interval: str
    detail: str
    verdict: str


@dataclass(frozen=True)
class MoreTable:
    """A table in words.

    Attributes:
        name: short, for the list of sections. title: whole.
        heads, columns: titles. rows: heads and cells each. note: how to read it. reasons: why cells are undefined.
    """

    name: str
    title: str
    heads: tuple[str, ...]
    columns: tuple[str, ...]
    rows: list[tuple[tuple[str, ...], list[MoreCell]]]
    note: str
    reasons: list[str]


def more_tables(library: Library, anchor: str | None, draws: int) -> tuple[list[MoreTable], list[str]]:
    """The tables, and why others could not be made.

    Args:
        library: whose records.
        anchor: encoder of table VII and of the table by input; None takes their own.
        draws: resamples for intervals.
    """
    try:
        data = SweepData(library.records)
        made = make_tables(data, Question(draws=draws), Wanted(anchor=anchor))
    except BridgeError as error:
        return [], [f"further tables could not be made: {error}"]
    machine = {series.coder for series in library.series if not series.plain}
    told = {_RDO: len(machine) > 1, _CRITERIA: any(len(table.rows) > 1 for table in made if table.name == _CRITERIA)}
    return [_in_words(table) for table in made if told.get(table.name, True)], []


def _in_words(table: Table) -> MoreTable:
    rows = [(row.heads, [_cell(table, cell) for cell in row.cells]) for row in table.rows]
    name = table.title.partition(":")[0]
    short = name if len(name) < 14 else "By input"
    return MoreTable(short, table.title, table.heads, table.columns, rows, table.note, table.reasons)


def _cell(table: Table, cell: Cell) -> MoreCell:
    unit = " %" if table.unit == "%" and cell.value is not None else ""
    low, high = cell.interval or (0.0, 0.0)
    sided = "better" if high < 0 else "worse" if low > 0 else "open"
    verdict = "none" if cell.value is None else sided if table.signed else "open"
    return MoreCell(table.text(cell) + unit, table.interval(cell), cell.detail, verdict)

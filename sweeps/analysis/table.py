"""A table of numbers that may be undefined, and its forms: for the terminal, Markdown, CSV, JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Group

NOTHING = "—"


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        value: the number, in the table's unit; None where there is none.
        interval: (low, high) of the same unit; None where there is none.
        reason: why ``value`` or ``interval`` is missing; "" where neither is, or where nothing is expected.
        detail: what the number belongs to, for example an operating point.
        undefined: word shown where ``value`` is None and ``reason`` says why.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    reason: str = ""
    detail: str = ""
    undefined: str = "undefined"

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"cell of {self.value}; expected a finite number, or None with a reason")


@dataclass(frozen=True)
class Row:
    """A line of a table: its heads, one for each head column, and its cells."""

    heads: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A small table.

    Attributes:
        name: of its files, for example "table_v".
        title: one line.
        heads: titles of the head columns. columns: titles of the number columns.
        rows: as many heads and cells each.
        note: what a reader must know to read the numbers.
        unit: "%" or "" (a ratio).
        decimals: digits after the point.
        signed: numbers carry their sign.
    """

    name: str
    title: str
    heads: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    unit: str = "%"
    decimals: int = 1
    signed: bool = True
    _reasons: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.heads) != len(self.heads) or len(row.cells) != len(self.columns):
                raise ValueError(f"row {row.heads} has {len(row.cells)} cells for {len(self.columns)} columns")
        for cell in self.cells():
            if cell.reason:
                self._reasons.setdefault(cell.reason, len(self._reasons) + 1)

    def cells(self) -> Iterable[Cell]:
        """Every cell, row by row."""
        return (cell for row in self.rows for cell in row.cells)

    @property
    def reasons(self) -> list[str]:
        """Why cells are undefined, or a number lacks something; the numbers at those cells count from 1."""
        return list(self._reasons)

    def number(self, value: float) -> str:
        """A number as the table shows it: ``−58.3``."""
        text = f"{value:+.{self.decimals}f}" if self.signed else f"{value:.{self.decimals}f}"
        if self.signed and not float(text):
            text = text[1:]
        return text.replace("-", "−")

    def text(self, cell: Cell) -> str:
        """Value of a cell, or why there is none: ``−58.3``, ``undefined ²``."""
        note = f" {_superscript(self._reasons[cell.reason])}" if cell.reason else ""
        if cell.value is not None:
            return self.number(cell.value) + note
        return f"{cell.undefined}{note}" if note else NOTHING

    def interval(self, cell: Cell) -> str:
        """``[−60.1, −56.0]`` or nothing."""
        return "" if cell.interval is None else f"[{', '.join(self.number(end) for end in cell.interval)}]"

    def console(self) -> Group:
        """For the terminal: value, below it the interval; reasons below the table."""
        from rich import box
        from rich.console import Group
        from rich.markup import escape
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for head in self.heads:
            table.add_column(escape(head), overflow="fold")
        for column in self.columns:
            table.add_column(escape(column), justify="right", min_width=9)
        for row in self.rows:
            table.add_row(*map(escape, row.heads), *(self._console_cell(cell) for cell in row.cells))
        notes = [self.note] if self.note else []
        notes += [f"{_superscript(n)} {reason}" for reason, n in self._reasons.items()]
        return Group(Text(f"\n{self.title}\n", style="bold"), table, *(Text(note, style="dim") for note in notes))

    def _console_cell(self, cell: Cell) -> str:
        from rich.markup import escape

        lines = [escape(self.text(cell))]
        if cell.interval is not None:
            low, high = cell.interval
            colour = ("green" if high < 0 else "red" if low > 0 else "") if self.signed else ""
            lines = [
                f"[{colour}]{lines[0]}[/]" if colour else lines[0],
                f"[dim]{escape(self._short(cell.interval))}[/]",
            ]
        return "\n".join(lines)

    def _short(self, interval: tuple[float, float]) -> str:
        """The interval in few characters, for columns side by side."""
        digits = 0 if self.signed else self.decimals
        return "…".join(f"{end:.{digits}f}".replace("-", "−") for end in interval)

    def markdown(self) -> str:
        """A GitHub-flavoured table with title, note and numbered reasons."""
        lines = [f"**{self.title}**", ""]
        lines.append(_line([*self.heads, *self.columns]))
        lines.append(_line([*["---"] * len(self.heads), *["---:"] * len(self.columns)]))
        for row in self.rows:
            cells = [" ".join(filter(None, (self.text(cell), self.interval(cell)))) for cell in row.cells]
            lines.append(_line([*row.heads, *cells]))
        lines += ["", self.note] if self.note else []
        lines += [""] * bool(self._reasons)
        lines += [f"{_superscript(n)} {reason}  " for reason, n in self._reasons.items()]
        return "\n".join(lines).rstrip() + "\n"

    def csv(self) -> str:
        """One line a row; a number is followed by its interval's ends, detail and reason, where any row has one."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        kept = [self._csv_parts(place) for place in range(len(self.columns))]
        titles = [f"{column}{suffix}" for column, parts in zip(self.columns, kept, strict=True) for suffix in parts]
        writer.writerow([*self.heads, *titles])
        for row in self.rows:
            values = [_csv_value(cell, part) for cell, parts in zip(row.cells, kept, strict=True) for part in parts]
            writer.writerow([*row.heads, *values])
        return out.getvalue()

    def _csv_parts(self, place: int) -> list[str]:
        cells = [row.cells[place] for row in self.rows]
        parts = [""]
        parts += [" low", " high"] if any(cell.interval for cell in cells) else []
        parts += [" detail"] if any(cell.detail for cell in cells) else []
        return parts + ([" reason"] if any(cell.reason for cell in cells) else [])

    def to_json(self) -> dict[str, Any]:
        """JSON-ready: what the attributes say, numbers unrounded, missing ones null with their reason."""
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "heads": list(self.heads),
            "columns": list(self.columns),
            "rows": [
                {"heads": list(row.heads), "cells": [_json_cell(cell) for cell in row.cells]} for row in self.rows
            ],
            "note": self.note,
        }


def _json_cell(cell: Cell) -> dict[str, Any]:
    out: dict[str, Any] = {"value": cell.value, "interval": None if cell.interval is None else list(cell.interval)}
    return out | {name: text for name in ("reason", "detail") if (text := getattr(cell, name))}


def _csv_value(cell: Cell, part: str) -> str:
    if part in (" low", " high"):
        return "" if cell.interval is None else repr(cell.interval[part == " high"])
    if part:
        return str(getattr(cell, part.strip()))
    return "" if cell.value is None else repr(cell.value)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))

"""All tables that a store can fill, and their files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from encoder_bridge.atomic import replacing
from encoder_bridge.console import Reporter
from encoder_bridge.errors import ConfigError, CurveError, OutputError
from sweeps.analysis.constraints import lossless_inputs, table_vi
from sweeps.analysis.criteria import table_vii
from sweeps.analysis.curves import Curves
from sweeps.analysis.data import Question, SweepData
from sweeps.analysis.figure import figure_2
from sweeps.analysis.iso import iso_table
from sweeps.analysis.matrix import coder_lines, gains_by_input, table_v
from sweeps.analysis.rdo import rdo_table
from sweeps.analysis.table import Table
from sweeps.table_names import TABLES

FIGURE = "figure_2"


@dataclass(frozen=True)
class Wanted:
    """Which tables, and what table VII and the table by input compare with.

    Attributes:
        tables: of ``TABLES``; none for all that the records can fill.
        coder, anchor, trained: as ``table_vii``; the anchor is also that of the table by input.
        levels: as ``iso_table``, which is made where they are given or the table is named.
    """

    tables: tuple[str, ...] = ()
    coder: str = "jpeg"
    anchor: str | None = None
    trained: str | None = None
    levels: tuple[float, ...] = ()


def make_tables(data: SweepData, ask: Question, wanted: Wanted) -> list[Table]:
    """The tables asked for, in the order of ``TABLES``. Raises ConfigError for one that the records cannot answer."""
    names = [name for name in TABLES if name in (wanted.tables or _possible(data, ask, wanted))]
    return [_make(name, data, ask, wanted) for name in names]


def _make(name: str, data: SweepData, ask: Question, wanted: Wanted) -> Table:
    if name == "v":
        return table_v(data, ask)
    if name == "vi":
        return table_vi(data, ask)
    if name == "vii":
        return table_vii(data, ask, coder=wanted.coder, anchor=wanted.anchor or "vtm", trained=wanted.trained)
    if name == "iso":
        return iso_table(data, ask, wanted.levels)
    return rdo_table(data, ask) if name == "rdo" else gains_by_input(data, ask, wanted.anchor)


def _possible(data: SweepData, ask: Question, wanted: Wanted) -> list[str]:
    codecs = (*data.coders, *data.codecs.values())
    lines = coder_lines(data)
    can = {
        "v": len(lines) > 1,
        "vi": not lossless_inputs(data) and ask.metric != "psnr_y",
        "vii": wanted.coder in codecs and (wanted.anchor or "vtm") in codecs,
        "rdo": any(series.arm != "psnr" for series in data.series),
        "iso": bool(wanted.levels),
        "inputs": len(lines) > 1 and len(Curves(data, ask).groups) > 1,
    }
    return [name for name, possible in can.items() if possible]


def show_tables(tables: Sequence[Table], say: Reporter) -> None:
    """Each as an event and on the terminal; a warning where there is none."""
    from rich.console import Group

    for table in tables:
        say.event("table", **table.to_json())
    say.show(Group(*(table.console() for table in tables)))
    if not tables:
        say.warn("no table: one encoder, one size, one arm; name a table with --table to hear what is missing")


def write_tables(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Each table as ``NAME.md``, ``NAME.csv`` and ``NAME.json``. Raises OutputError."""
    _make_folder(folder)
    written = []
    for table in tables:
        text = json.dumps(table.to_json(), indent=1, ensure_ascii=False) + "\n"
        for suffix, content in ((".md", table.markdown()), (".csv", table.csv()), (".json", text)):
            path = folder / f"{table.name}{suffix}"
            with replacing(path) as temporary:
                temporary.write_text(content, encoding="utf-8")
            written.append(path)
    return written


def write_figures(data: SweepData, ask: Question, folder: Path) -> list[Path]:
    """``figure_2.png``; where the inputs share no curve one of each, ``figure_2_INPUT.png``. Raises OutputError."""
    _make_folder(folder)
    whole = folder / f"{FIGURE}.png"
    try:
        figure_2(data, whole, ask)
        return [whole]
    except CurveError:
        paths = [_drawn(data, digest, ask, folder) for digest in data.inputs]
        return [path for path in paths if path is not None]


def _drawn(data: SweepData, digest: str, ask: Question, folder: Path) -> Path | None:
    word = re.sub(r"[^\w.-]+", "_", str(data.inputs[digest].get("name", "input")))
    path = folder / f"{FIGURE}_{word}.png"
    path = path if not path.exists() else folder / f"{FIGURE}_{word}_{digest[:8]}.png"
    try:
        figure_2(data.of_input(digest), path, ask)
    except (CurveError, ConfigError):
        return None
    return path


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}; give a folder that can be written") from error

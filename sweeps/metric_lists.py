"""What can be measured here: image quality metrics, metrics that judge candidates, maps; as rows and as tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder_bridge.errors import ToolNotFoundError
from encoder_bridge.extras import need
from rdo_metrics.candidates import CANDIDATE_METRICS
from rdo_metrics.iqa import IQA_METRICS, missing_of
from rdo_metrics.maps import MAPS
from rdo_metrics.objects import OBJECT_MEASURES

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Row = dict[str, Any]


def iqa_rows(weights: Path | None = None) -> list[Row]:
    """One row an IQA metric: ``MetricInfo`` and ``missing``, what keeps it from running here (None: nothing)."""
    rows = []
    for name in IQA_METRICS.shown():
        missing = missing_of(name, weights)
        try:
            info = vars(IQA_METRICS.get(name).info)
        except ToolNotFoundError:  # another package's, and broken
            info = {}
        rows.append({**info, "family": "iqa", "name": name, "missing": missing})
    return rows


def candidate_rows() -> list[Row]:
    """One row a metric of ``mrdo encode --metric``: the networks it needs, the context it wants; lower is better."""
    rows = []
    for name in CANDIDATE_METRICS.shown():
        row: Row = {"family": "candidate", "name": name, "higher_is_better": False}
        try:
            factory = CANDIDATE_METRICS.get(name)
            needs = list(getattr(factory, "needs", ()))
            row |= {"needs": needs, "context": getattr(factory, "context", None), "what": _about(factory)}
            row["missing"] = _without_autograd("signed_grad" in needs)
        except ToolNotFoundError as error:
            row["missing"] = str(error)
        rows.append(row)
    return rows


def map_rows() -> list[Row]:
    """One row a map of ``--map``: whether it needs the driving network, a first pass, gradients."""
    rows = []
    for name in MAPS.shown():
        row: Row = {"family": "map", "name": name}
        try:
            made = MAPS.get(name)()
            wants = ("network", "first_pass", "gradient")
            row["needs"] = [want for want in wants if getattr(made, f"needs_{want}", False)]
            row |= {"what": _about(MAPS.get(name)), "missing": _without_autograd("gradient" in row["needs"])}
        except ToolNotFoundError as error:
            row["missing"] = str(error)
        rows.append(row)
    return rows


def object_rows() -> list[Row]:
    """One row a measure of what coding did to detected objects, faces and plates."""
    rows = []
    for name in OBJECT_MEASURES.shown():
        row: Row = {"family": "object", "name": name, "missing": _without_libraries()}
        try:
            measure = OBJECT_MEASURES.get(name)
            row |= {"task": measure.task, "higher_is_better": measure.higher_better, "what": measure.description}
            row["range"] = (measure.low, measure.high)
        except ToolNotFoundError as error:
            row["missing"] = str(error)
        rows.append(row)
    return rows


def metrics_tables(rows: Sequence[Row]) -> list[RenderableType]:
    """A table a family."""
    makers = {"iqa": _iqa_table, "candidate": _candidate_table, "map": _map_table, "object": _object_table}
    return [make([row for row in rows if row["family"] == family]) for family, make in makers.items()]


def _iqa_table(rows: Sequence[Row]) -> RenderableType:
    table = _table("Image quality on luma")
    for name in ("metric", "range", "better", "min", "sees", "weights", "here"):
        table.add_column(name, justify="right" if name == "min" else "left")
    for row in rows:
        low, high = row.get("range", (math.nan, math.nan))
        better = "higher" if row.get("higher_is_better") else "lower"
        span = f"{low:g} to {'∞' if math.isinf(high) else f'{high:g}'}"
        needs = "learned" if row.get("weights") else ""
        table.add_row(row["name"], span, better, str(row.get("min_side", "")), row.get("color", ""), needs, _here(row))
    return _noted(table, "For mrdo score --metric. min: width and height below it score NaN.", rows)


def _candidate_table(rows: Sequence[Row]) -> RenderableType:
    table = _table("Judges of candidates")
    for name in ("metric", "needs", "context", "what", "here"):
        table.add_column(name, justify="right" if name == "context" else "left", overflow="fold")
    for row in rows:
        table.add_row(row["name"], _needs(row), str(row.get("context", "")), row.get("what", ""), _here(row))
    return _noted(table, "For mrdo encode --rdo ctu --metric; lower is better; context: samples around a CTU.", rows)


def _map_table(rows: Sequence[Row]) -> RenderableType:
    table = _table("Maps")
    for name in ("map", "needs", "what", "here"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(row["name"], _needs(row), row.get("what", ""), _here(row))
    return _noted(table, "For --map; where it is higher, an error costs more.", rows)


def _object_table(rows: Sequence[Row]) -> RenderableType:
    table = _table("Objects")
    for name in ("measure", "of", "range", "better", "what", "here"):
        table.add_column(name, overflow="fold")
    for row in rows:
        low, high = row.get("range", (math.nan, math.nan))
        better = "higher" if row.get("higher_is_better") else "lower"
        cells = (row.get("task", ""), f"{low:g} to {high:g}", better, row.get("what", ""), _here(row))
        table.add_row(row["name"], *cells)
    return _noted(table, "Of detections: mrdo metrics detection; of all: rdo_metrics.objects.", rows)


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(
        title="\n" + title,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title_justify="left",
        title_style="bold",
        header_style="bold",
    )


def _noted(table: Table, note: str, rows: Sequence[Row]) -> RenderableType:
    """The table, the note, and what the rows lack that are not here."""
    from rich.console import Group
    from rich.text import Text

    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["missing"] is not None:
            reasons.setdefault(row["missing"], []).append(row["name"])
    lacking = [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return Group(table, Text("\n".join([note, *lacking])))


def _here(row: Row) -> str:
    return "yes" if row["missing"] is None else "no"


def _needs(row: Row) -> str:
    return ", ".join(row.get("needs", ())).replace("_", " ")


def _about(factory: Any) -> str:
    """First sentence of its documentation."""
    paragraph = " ".join((factory.__doc__ or "").strip().partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".")


def _without_autograd(wanted: bool) -> str | None:
    try:
        need("exact", *(("torch", "onnx2torch") if wanted else ()))
    except ToolNotFoundError as error:
        return str(error)
    return None


def _without_libraries() -> str | None:
    try:
        need("objects", "pycocotools", "rapidfuzz")
    except ToolNotFoundError as error:
        return str(error)
    return None

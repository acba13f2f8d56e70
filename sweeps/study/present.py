"""What a study shows: events or tables on stdout, a Markdown table and the paper's pictures in its folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from encoder_bridge.atomic import replacing
from encoder_bridge.console import Reporter
from rdo_metrics.correlation import COEFFICIENTS, Correlation
from sweeps.study.coded import CodedPictures
from sweeps.study.measures import Measure
from sweeps.study.recorded import read_recorded
from sweeps.study.study import Study
from sweeps.study.table import Bootstrap, Row, finding, markdown, rich_table, rows_of, write_table


def present(
    study: Study,
    measures: Sequence[Measure],
    made: CodedPictures,
    folder: Path,
    reporter: Reporter,
    figures: bool = True,
) -> None:
    """Show the table and the finding of every network; write ``table.md`` and, if asked for, the pictures."""
    from sweeps.study.figures import draw_figures

    text = show_rows(study.rows, reporter)
    with replacing(folder / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    drawn = draw_figures(study, measures, made, folder) if figures else []
    reporter.event("result", table=str(folder / "table.json"), figures=[str(path) for path in drawn])
    reporter.note(f"table: {folder / 'table.json'}   pictures: {', '.join(path.name for path in drawn) or 'none'}")


def present_recorded(folder: Path, output: Path, bootstrap: Bootstrap, reporter: Reporter) -> None:
    """Correlations of recorded scores, beside the published ones where the folder holds them."""
    rows: list[Row] = []
    largest = 0.0
    for recorded in read_recorded(folder):
        found = rows_of(recorded.sample, recorded.headings, bootstrap)
        largest = max([largest, *(_deviation(row.found, recorded.published.get(row.metric)) for row in found)])
        rows += found
    output.mkdir(parents=True, exist_ok=True)
    text = show_rows(rows, reporter)
    with replacing(output / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_table(rows, {"recorded": folder.name, "bootstrap": vars(bootstrap)}, output / "table.json")
    reporter.show(f"largest difference from the published correlations: {largest:.1e}")
    reporter.event("result", table=str(output / "table.json"), largest_difference=largest)


def show_rows(rows: Sequence[Row], reporter: Reporter) -> str:
    """Events, or a table and the finding of every network; returns the same in Markdown."""
    for row in rows:
        reporter.event("correlation", **row.event())
    text = []
    for network in dict.fromkeys(row.network for row in rows):
        lines = finding(rows, network)
        reporter.show(rich_table(rows, network))
        for line in lines:
            reporter.show(line)
        text += [f"## {network}", "", markdown(rows, network), "", *(f"- {line}" for line in lines), ""]
    return "\n".join(text)


def _deviation(found: Correlation, published: Correlation | None) -> float:
    """Largest difference of the three; infinite where one of both is NaN alone."""
    if published is None:
        return 0.0
    pairs = [(getattr(found, name), getattr(published, name)) for name in COEFFICIENTS]
    if any(math.isnan(a) != math.isnan(b) for a, b in pairs):
        return math.inf
    return max((abs(a - b) for a, b in pairs if not math.isnan(a)), default=0.0)

"""Correlations of every measure at every level, with intervals over pictures: table II and beyond."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from encoder_bridge.atomic import replacing
from rdo_metrics.correlation import COEFFICIENTS, Correlation, Resampled, correlate_or_nan, resample_correlations
from sweeps.study.samples import IMAGE, Sample

if TYPE_CHECKING:
    from rich.table import Table

PUBLISHED_BEST: Mapping[str, tuple[str, float]] = {
    IMAGE: ("psnr", 0.6992),
    "32": ("lpips", 0.0552),
    "64": ("lpips", 0.1747),
    "128": ("dists", 0.3276),
}
"""The best SROCC of table II of QoMEX 2023 and its metric, by level: other pictures, codecs and networks."""
Interval = tuple[float, float] | None


class Named(Protocol):
    """What a table says of a measure."""

    @property
    def name(self) -> str:
        """Unique in a study."""

    @property
    def title(self) -> str:
        """As tables show it."""

    @property
    def kind(self) -> str:
        """See ``sweeps.study.measures.Measure``."""


@dataclass(frozen=True)
class Row:
    """One measure at one level for one network.

    Attributes:
        network, level, metric, title, kind: what it is.
        found: correlations, NaN where the measure has no values.
        intervals: coefficient → (low, high), or None.
        over_best: SROCC minus that of the best quality metric of this network and level; NaN where there is none.
        over_best_interval: of that, over the same resamples.
    """

    network: str
    level: str
    metric: str
    title: str
    kind: str
    found: Correlation
    intervals: Mapping[str, Interval]
    over_best: float
    over_best_interval: Interval

    def event(self) -> dict[str, Any]:
        """Fields of the ``correlation`` event and of ``table.json``; NaN is null."""
        row: dict[str, Any] = {"network": self.network, "level": self.level, "metric": self.metric, "family": self.kind}
        for name in COEFFICIENTS:
            row[name] = _number(getattr(self.found, name))
            row[f"{name}_ci"] = self.intervals[name]
        row["count"] = self.found.count
        return row | {"over_best_quality": _number(self.over_best), "over_best_quality_ci": self.over_best_interval}


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made; see ``resample_correlations``."""

    n: int = 500
    level: float = 0.9
    together: int = 1
    seed: int = 0


def rows_of(sample: Sample, measures: Sequence[Named], bootstrap: Bootstrap) -> list[Row]:
    """A row for each measure, best quality metric found among those of kind "quality"."""
    found = {m.name: correlate_or_nan(sample.values[m.name], sample.accuracy) for m in measures}
    drawn = resample_correlations(
        {name: sample.values[name] for name in found},
        sample.accuracy,
        sample.picture,
        n=bootstrap.n,
        seed=bootstrap.seed,
        level=bootstrap.level,
        together=bootstrap.together,
    )
    best = best_quality(found, measures)
    return [_row(sample, measure, found, drawn, best) for measure in measures]


def best_quality(found: Mapping[str, Correlation], measures: Sequence[Named]) -> str | None:
    """The quality metric with the highest SROCC; None without any."""
    known = [m.name for m in measures if m.kind == "quality" and not math.isnan(found[m.name].srocc)]
    return max(known, key=lambda name: found[name].srocc, default=None)


def _row(sample: Sample, measure: Named, found: Mapping[str, Correlation], drawn: Resampled, best: str | None) -> Row:
    own = found[measure.name]
    return Row(
        sample.network,
        sample.level,
        measure.name,
        measure.title,
        measure.kind,
        own,
        {name: drawn.interval(measure.name, name) for name in COEFFICIENTS},
        math.nan if best is None else own.srocc - found[best].srocc,
        None if best is None else drawn.difference(measure.name, best),
    )


def rich_table(rows: Sequence[Row], network: str) -> Table:
    """SROCC with intervals of one network: metrics × levels, for the terminal."""
    from rich.table import Table

    levels = list(dict.fromkeys(row.level for row in rows))
    table = Table(title=f"SROCC with the accuracy of {network}", title_justify="left")
    table.add_column("metric")
    for level in levels:
        table.add_column(level if level == IMAGE else f"{level}x{level}", justify="right")
    kind = ""
    for metric in dict.fromkeys(row.metric for row in rows if row.network == network):
        cells = {row.level: row for row in rows if row.network == network and row.metric == metric}
        first = next(iter(cells.values()))
        if kind and first.kind != kind:
            table.add_section()
        kind = first.kind
        table.add_row(first.title, *(_cell(cells.get(level)) for level in levels))
    return table


def markdown(rows: Sequence[Row], network: str) -> str:
    """All three coefficients of one network, as table II: metrics × levels; below each SROCC its interval."""
    own = [row for row in rows if row.network == network]
    levels = list(dict.fromkeys(row.level for row in own))
    names = [level if level == IMAGE else f"{level}×{level}" for level in levels]
    lines = ["| metric | " + " | ".join(f"{n}: PLCC | SROCC | KROCC" for n in names) + " |"]
    lines.append("|---|" + "---|---|---|" * len(levels))
    for metric in dict.fromkeys(row.metric for row in own):
        cells = {row.level: row for row in own if row.metric == metric}
        text = [_three(cells.get(level)) for level in levels]
        lines.append(f"| {next(iter(cells.values())).title} | " + " | ".join(text) + " |")
    return "\n".join(lines)


def finding(rows: Sequence[Row], network: str) -> list[str]:
    """One line a level: which measures beat the best quality metric here, and by how much."""
    lines = []
    for level in dict.fromkeys(row.level for row in rows):
        own = [row for row in rows if (row.network, row.level) == (network, level)]
        quality = [row for row in own if row.kind == "quality" and not math.isnan(row.found.srocc)]
        if not quality:
            continue
        best = max(quality, key=lambda row: row.found.srocc)
        better = [row for row in own if row.over_best_interval is not None and row.over_best_interval[0] > 0]
        better.sort(key=lambda row: -row.found.srocc)
        said = ", ".join(f"{row.title} {row.found.srocc:.3f} ({row.over_best:+.3f})" for row in better) or "none"
        lines.append(f"{level}: best quality metric {best.title} {best.found.srocc:.3f}; above it: {said}")
    return lines


def write_table(rows: Sequence[Row], about: Mapping[str, Any], path: Path) -> None:
    """``table.json``: what the study was, what QoMEX 2023 published as best, and all rows."""
    published = {level: {"metric": metric, "srocc": value} for level, (metric, value) in PUBLISHED_BEST.items()}
    whole = {**about, "published_best": published, "rows": [row.event() for row in rows]}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def _cell(row: Row | None) -> str:
    if row is None or math.isnan(row.found.srocc):
        return "NaN" if row is not None else ""
    return f"{row.found.srocc:.3f}{_span(row.intervals['srocc'])}"


def _three(row: Row | None) -> str:
    if row is None:
        return " | | "
    numbers = ["NaN" if math.isnan(v) else f"{v:.3f}" for v in (row.found.plcc, row.found.srocc, row.found.krocc)]
    return f"{numbers[0]} | {numbers[1]}{_span(row.intervals['srocc'])} | {numbers[2]}"


def _span(interval: Interval) -> str:
    return "" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value

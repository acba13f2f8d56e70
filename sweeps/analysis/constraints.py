"""Seed 001's Table VI: the best compression ratio that still reaches a share of the accuracy on the originals."""

from __future__ import annotations

import re
from collections.abc import Sequence

from encoder_bridge.errors import ConfigError, CurveError
from rdo_metrics.compression import best_compression
from rdo_metrics.curve import RDCurve
from sweeps.analysis.curves import Curves, Line
from sweeps.analysis.data import Question, Source, SweepData, data_of
from sweeps.analysis.matrix import across_note, measure_title
from sweeps.analysis.series import Series
from sweeps.analysis.table import NOTHING, Cell, Row, Table
from sweeps.records import RunRecord, rate_point

SHARES = (0.975, 0.95, 0.9, 0.8, 0.7)
"""The paper's thresholds t₀, shares of the accuracy on the originals."""


def table_vi(source: Source, ask: Question | None = None, shares: Sequence[float] = SHARES) -> Table:
    """Highest compression ratio over PNG among all plain configurations (sizes, grey) that meet an accuracy constraint.

    Args:
        source: records, and for each input one without loss (``lossless_record``): the anchor's size, and the accuracy
            the shares are of.
        ask: see ``Question``. Where inputs are not pooled, the mean of their ratios.
        shares: t₀; the constraint is t₀ times the accuracy on the originals.

    Nothing is interpolated: the cheapest point that is good enough counts, and "N.A." stands where none is.
    """
    data = data_of(source)
    curves = Curves(data, ask or Question())
    if curves.metric == "psnr_y":
        raise ConfigError("table VI is for shares of an accuracy; expected another metric than psnr_y")
    table = [[_cell(curves, coder, share) for coder in data.coders] for share in shares]
    rows = [
        Row((f"{100 * share:g} %", _constraint(curves, share)), tuple(cells))
        for share, cells in zip(shares, table, strict=True)
    ]
    title = f"Table VI: compression ratio over PNG at a constraint on {measure_title(curves)}"
    note = f"Higher is better; the cheapest configuration that is good enough, not interpolated; {across_note(curves)}."
    heads = ("t₀", "at least")
    return Table("table_vi", title, heads, tuple(data.coders), tuple(rows), note, unit="", signed=False)


def _constraint(curves: Curves, share: float) -> str:
    try:
        values = [curves.lossless(group).full.metrics[0] for group in curves.groups]
    except CurveError:
        return NOTHING
    return f"{share * sum(values) / len(values):.3f}" if len(values) == 1 else f"{share:g} of each"


def _cell(curves: Curves, coder: str, share: float) -> Cell:
    sizes = curves.data.chosen(coder, gray=None)
    lines = [Line(series.label, (series,)) for series in sizes]

    def ratio(lossless: RDCurve, *candidates: RDCurve) -> float:
        named = {str(i): curve for i, curve in enumerate(candidates)}
        return best_compression(named, float(lossless.rates[0]), share * float(lossless.metrics[0])).ratio

    cell = curves.over_lossless(ratio, lines)
    detail = _chosen(curves, sizes, share) if cell.value is not None and len(curves.groups) == 1 else ""
    missing = any(not curves.has_lossless(digest) for digest in curves.data.inputs)
    # The threshold stands at the row: one reason an encoder says as much as one a cell.
    reason = re.sub(r"no operating point reaches [^:]*: the best is", f"{coder}: the best is", cell.reason)
    return Cell(cell.value, cell.interval, reason, detail, "undefined" if missing else "N.A.")


def _chosen(curves: Curves, sizes: Sequence[Series], share: float) -> str:
    """``quality 12 ×0.5 grey``: what achieves the ratio."""
    (group, digests), *_ = curves.groups.items()
    lossless = curves.lossless(group).full
    named = {s.label: curves.curve(Line(s.label, (s,)), group).full for s in sizes}
    point = best_compression(named, float(lossless.rates[0]), share * float(lossless.metrics[0])).point
    series = next(s for s in sizes if s.label == point.curve)
    records = list(curves.data.points(series, digests).values())[point.index]
    return _said(records[0], series)


def _said(record: RunRecord, series: Series) -> str:
    return rate_point(record.config) + (" grey" if series.gray else "")


def lossless_inputs(data: SweepData) -> list[str]:
    """Names of inputs that have no record without loss."""
    return [str(info.get("name", digest)) for digest, info in data.inputs.items() if digest not in data.lossless]

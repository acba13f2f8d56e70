"""Seed 001's Table V: every encoder over every other, at one resolution and on the hull over resolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from encoder_bridge.errors import ConfigError
from sweeps.analysis.curves import Curves, Line
from sweeps.analysis.data import Question, Source, SweepData, data_of
from sweeps.analysis.table import Cell, Row, Table
from sweeps.tables import MEASURE_NAMES

STAR = "*"


def table_v(source: Source, ask: Question | None = None) -> Table:
    """BD-rates of the row over the column, in percent: negative where the row needs fewer bits.

    Args:
        source: records; only plain (PSNR-RDO) coding in colour counts, grey only where there is no other.
        ask: see ``Question``. Where inputs are not pooled, the mean of their BD-rates.

    Rows and columns are the encoders at full size and, with a star, the hull over all sizes where there are several.
    """
    data = data_of(source)
    curves = Curves(data, ask or Question())
    lines = coder_lines(data)
    cells: dict[tuple[int, int], Cell] = {}
    for i, test in enumerate(lines):
        for j, anchor in enumerate(lines):
            known = cells.get((j, i)) if len(curves.groups) == 1 else None
            cells[i, j] = Cell(0.0) if i == j else _inverse(known) if known else curves.bd(anchor, test)
    names = tuple(line.name for line in lines)
    rows = [Row((name,), tuple(cells[i, j] for j in range(len(lines)))) for i, name in enumerate(names)]
    title = f"Table V: BD-rate of the row over the column, {measure_title(curves)}"
    return Table("table_v", title, ("",), names, tuple(rows), _note(curves, lines))


def coder_lines(data: SweepData) -> list[Line]:
    """Each encoder's plain coding at full size, and with a star the hull over its sizes."""
    lines = []
    for coder in data.coders:
        gray = not data.chosen(coder)
        sizes = data.chosen(coder, gray=gray)
        full = [s for s in sizes if s.scale == 1]
        lines += [Line(coder, tuple(full))] if full else []
        lines += [Line(coder + STAR, tuple(sizes))] if len(sizes) > 1 else []
    return lines


def gains_by_input(source: Source, ask: Question | None = None, anchor: str | None = None) -> Table:
    """BD-rates of each input, their mean, and the BD-rate of the mean curve: two different questions, side by side.

    Args:
        source: records.
        ask: see ``Question``; inputs are never pooled here.
        anchor: encoder all are compared with, at full size; None for the first.

    Raises ConfigError where there is no such encoder.
    """
    data = data_of(source)
    curves = Curves(data, replace(ask or Question(), across="mean"))
    lines = coder_lines(data)
    reference = next((line for line in lines if anchor in (None, line.name, data.codecs.get(line.name))), None)
    if reference is None:
        raise ConfigError(f"--anchor {anchor}: no such encoder; expected one of {', '.join(data.coders)}")
    tests = [line for line in lines if line is not reference]
    rows = [Row((test.name,), _by_input(curves, reference, test)) for test in tests]
    title = f"BD-rate over {reference.name} by input, {measure_title(curves)}"
    columns = (*curves.groups, "mean", "mean curve")
    return Table("by_input", title, ("",), columns, tuple(rows), _note(curves, lines))


def _by_input(curves: Curves, anchor: Line, test: Line) -> tuple[Cell, ...]:
    own = [curves.bd_in(group, anchor, test) for group in curves.groups]
    return (*own, curves.bd(anchor, test), curves.bd_of_mean(anchor, test))


def _inverse(cell: Cell) -> Cell:
    """BD-rate the other way round: the logarithm of the ratio changes its sign, the metric's interval is the same."""
    if cell.value is None:
        return cell
    ends = None if cell.interval is None else (_flip(cell.interval[1]), _flip(cell.interval[0]))
    return Cell(_flip(cell.value), ends, cell.reason)


def _flip(percent: float) -> float:
    return 100.0 * (1.0 / (1.0 + percent / 100.0) - 1.0)


def measure_title(curves: Curves) -> str:
    """``mIoU labels of deeplab``; ``PSNR-Y``."""
    name = MEASURE_NAMES[curves.metric]
    return name if curves.metric == "psnr_y" else f"{name} of {curves.ask.network}"


def _note(curves: Curves, lines: Sequence[Line]) -> str:
    ask = curves.ask
    parts = ["Percent of bits at equal measure, negative is better; method " + ask.method]
    if any(line.name.endswith(STAR) for line in lines):
        parts.append(f"* {ask.hull} hull over resolutions")
    if ask.min_overlap != Question().min_overlap:
        parts.append(f"overlap of at least {ask.min_overlap:.0%}".replace("%", " %"))
    if ask.draws:
        parts.append(f"{ask.level:.0%} intervals over {ask.draws} resamples of the frames".replace("%", " %"))
    return "; ".join([*parts, across_note(curves)]) + "."


def across_note(curves: Curves) -> str:
    """How the inputs were joined."""
    count = len(curves.data.inputs)
    frames = sum(int(i.get("frames", 0)) for i in curves.data.inputs.values())
    if count == 1:
        return f"{next(iter(curves.groups))}, {frames} frame{'s' if frames != 1 else ''}"
    return f"{frames} frames of {count} inputs as one clip" if len(curves.groups) == 1 else f"mean of {count} inputs"

"""Rate at equal accuracy: what each encoder pays at a few levels, read off its curve and never beyond it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encoder_bridge.errors import CurveError
from rdo_metrics.curve import RDCurve
from rdo_metrics.iso import rate_at
from sweeps.analysis.curves import Curves, Line
from sweeps.analysis.data import Question, Source, data_of
from sweeps.analysis.matrix import across_note, coder_lines, measure_title
from sweeps.analysis.table import Row, Table

_LEVELS = 5


def iso_table(source: Source, ask: Question | None = None, levels: Sequence[float] = ()) -> Table:
    """Bits a pixel at equal accuracy, interpolated over log-rate.

    Args:
        source: records; plain coding only, as table V.
        ask: see ``Question``. Where inputs are not pooled, the mean of their rates.
        levels: accuracies; none takes five across the range that all curves share.

    A level outside a curve's range has a reason instead of a number.
    """
    data = data_of(source)
    curves = Curves(data, ask or Question())
    lines = coder_lines(data)
    wanted = tuple(levels) or _common_levels(curves, lines)

    def at(level: float, curve: RDCurve) -> float:
        return rate_at(curve, level, method=curves.ask.method)

    rows = [
        Row((f"{level:g}",), tuple(curves.number(lambda c, level=level: at(level, c), (line,)) for line in lines))
        for level in wanted
    ]
    title = f"Bits a pixel at equal {measure_title(curves)}"
    note = f"Lower is better; interpolated ({curves.ask.method}), * {curves.ask.hull} hull over resolutions; "
    columns = tuple(line.name for line in lines)
    heads = ("at",)
    return Table("iso", title, heads, columns, tuple(rows), f"{note}{across_note(curves)}.", "", 4, False)


def _common_levels(curves: Curves, lines: Sequence[Line]) -> tuple[float, ...]:
    """Round levels inside what every curve of every input reaches; none where there is no such range."""
    known = []
    for line in lines:
        for group in curves.groups:
            try:
                known.append(curves.curve(line, group).full)
            except CurveError:
                continue
    low = max((float(curve.metrics.min()) for curve in known), default=1.0)
    high = min((float(curve.metrics.max()) for curve in known), default=0.0)
    places = 3 if high <= 1 else 1
    if low >= high:
        return ()
    return tuple(dict.fromkeys(round(float(level), places) for level in np.linspace(low, high, _LEVELS + 2)[1:-1]))

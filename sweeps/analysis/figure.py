"""Seed 001's Fig. 2: rate against accuracy, one panel an encoder, a thin line a resolution, the hull thick."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder_bridge.errors import CurveError
from rdo_metrics.curve import RDCurve
from sweeps.analysis.curves import Curves, Line
from sweeps.analysis.data import Question, Source, data_of
from sweeps.analysis.matrix import across_note, measure_title
from sweeps.analysis.series import Series
from sweeps.plots import FAINT, INK, TEST_COLOURS, TEST_MARKERS, new_figure, short_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOUR, _GREY = "#0072B2", "#7a7a7a"
_ACROSS = 4


def figure_2(source: Source, path: Path, ask: Question | None = None, arm: str = "psnr") -> None:
    """Draw the curves: colour blue, grey coding grey; hollow points lie below the hull; all hulls in the last panel.

    Args:
        source: records.
        path: ``.png``, ``.svg`` or ``.pdf``, written when complete.
        ask: network and measure; intervals are not drawn.
        arm: whose curves.

    Raises:
        CurveError: no curve at all. OutputError: ``path`` cannot be written.
    """
    data = data_of(source)
    curves = Curves(data, replace(ask or Question(), draws=0))
    panels = {coder: _panel(curves, coder, arm) for coder in data.coders}
    panels = {coder: panel for coder, panel in panels.items() if panel}
    if not panels:
        raise CurveError(f"no rate-accuracy curve of arm {arm} to draw")
    count = len(panels) + (len(panels) > 1)
    columns = 3 if count in (5, 6, 9) else min(count, _ACROSS)
    rows = -(-count // columns)
    with new_figure(Path(path), 3.7 * columns + 0.5, 3.4 * rows + 0.7) as figure:
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        places = list(grid.flat)
        for axes, (coder, panel) in zip(places, panels.items(), strict=False):
            _draw(axes, coder, panel)
        if len(panels) > 1:
            _draw_hulls(places[len(panels)], panels)
        for axes in places[count:]:
            axes.set_visible(False)
        for place, axes in enumerate(places[:count]):
            _finish(axes, "bits a pixel" if place + columns >= count else "", place % columns == 0, curves)
        figure.suptitle(f"Rate and {measure_title(curves)}, {across_note(curves)}", fontsize=12, fontweight="bold")


Panel = list[tuple[Line, dict[Series, RDCurve], RDCurve]]
"""For colour and for grey: the line, its curves by resolution, their hull."""


def _panel(curves: Curves, coder: str, arm: str) -> Panel:
    panel: Panel = []
    for gray in (False, True):
        found = {}
        for series in curves.data.chosen(coder, arm, gray):
            try:
                found[series] = curves.full(Line(series.label, (series,)))
            except CurveError:
                continue
        if found:
            line = Line("grey" if gray else "colour", tuple(found))
            panel.append((line, found, curves.full(line)))
    return panel


def _draw(axes: Axes, coder: str, panel: Panel) -> None:
    from matplotlib.colors import to_rgb

    for line, found, best in panel:
        colour = _GREY if line.name == "grey" else _COLOUR
        scales = sorted({series.scale for series in found}, reverse=True)
        for series, curve in found.items():
            order = curve.rates.argsort()
            # Smaller pictures are paler, and every size keeps its marker in all panels.
            fade = 0.62 * scales.index(series.scale) / max(len(scales) - 1, 1)
            shade = tuple(part + (1 - part) * fade for part in to_rgb(colour))
            look: dict[str, Any] = {"color": shade, "marker": _marker(series.scale), "markersize": 4.0}
            axes.plot(
                curve.rates[order], curve.metrics[order], linewidth=0.9, markerfacecolor="white", zorder=2, **look
            )
        hull: dict[str, Any] = {"color": colour, "linewidth": 2.4, "alpha": 0.9, "zorder": 3}
        axes.plot(best.rates, best.metrics, label=f"hull, {line.name}" if len(panel) > 1 else "hull", **hull)
    _legend(axes, panel)
    axes.set_title(coder, fontsize=11, fontweight="bold", loc="left")


def _legend(axes: Axes, panel: Panel) -> None:
    from matplotlib.lines import Line2D

    handles, names = axes.get_legend_handles_labels()
    scales = sorted({series.scale for _, found, _ in panel for series in found}, reverse=True)
    for scale in scales:
        handles.append(
            Line2D([], [], color=INK, marker=_marker(scale), markersize=4, markerfacecolor="white", linewidth=0.9)
        )
        names.append(f"×{scale:g}")
    axes.legend(handles, names, loc="lower right", fontsize=7.5, frameon=False, handlelength=1.6, labelspacing=0.3)


def _marker(scale: float) -> str:
    """The same for a resolution wherever it is drawn: full size is a dot."""
    known = {1.0: "o", 0.75: "s", 0.5: "^", 0.25: "D", 0.875: "v", 0.625: "P", 0.375: "X"}
    return known.get(scale, "d")


def _draw_hulls(axes: Axes, panels: dict[str, Panel]) -> None:
    for place, (coder, panel) in enumerate(panels.items()):
        look: dict[str, Any] = {"color": TEST_COLOURS[place % len(TEST_COLOURS)], "linewidth": 1.8, "markersize": 3.5}
        line, _, best = panel[0]
        name = coder if line.name == "colour" else f"{coder} (grey)"
        axes.plot(best.rates, best.metrics, marker=TEST_MARKERS[place % len(TEST_MARKERS)], label=name, **look)
    axes.set_title("hulls of all", fontsize=11, fontweight="bold", loc="left")
    axes.legend(loc="lower right", fontsize=7.5, frameon=False)


def _finish(axes: Axes, rate_label: str, first: bool, curves: Curves) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=8, labelbottom=bool(rate_label))
    axes.set_xlabel(rate_label)
    axes.set_ylabel(measure_title(curves).split(" of ")[0] if first else "")
    axes.grid(True, which="major", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)

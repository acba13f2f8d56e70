"""Pictures of results: RD curves, coded frames beside what a network sees in them, maps. PNG, SVG or PDF by suffix.

Matplotlib is used through its object interface (no pyplot, no display, no global state) and imported only here,
when a picture is drawn. Colours are those of Okabe and Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.atomic import replacing
from encoder_bridge.errors import ConfigError, CurveError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, ALARM = "#222222", "#9a9a9a", "#D55E00"
TEST_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
TEST_MARKERS = ("s", "^", "D", "v", "P", "X")
STYLES = ("anchor", "neutral", "test")
_RC: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": "#777777",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "savefig.facecolor": "white",
}


@dataclass(frozen=True)
class Curve:
    """One arm in one panel.

    Attributes:
        name: arm, as the legend shows it; the same name has the same look in all panels.
        rates: (N,) bits or kbit/s, > 0.
        values: (N,) the measure at each rate.
        style: "anchor", "neutral" or "test".
    """

    name: str
    rates: Sequence[float]
    values: Sequence[float]
    style: str = "test"

    def __post_init__(self) -> None:
        if len(self.rates) != len(self.values) or not len(self.rates):
            raise CurveError(f"{self.name}: {len(self.rates)} rates and {len(self.values)} values to plot")
        if self.style not in STYLES:
            raise ConfigError(f"curve style {self.style!r}; expected one of {', '.join(STYLES)}")


@dataclass(frozen=True)
class Panel:
    """One set of axes.

    Attributes:
        title: for example the network and whether it drives.
        metric: label of the vertical axis.
        curves: arms.
        notes: one line each, for example ``kl: −25.6 % [−28, −24]``; shown in the lower right corner.
    """

    title: str
    metric: str
    curves: Sequence[Curve]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class PictureRow:
    """One picture of a comparison and what a network sees in it.

    Attributes:
        caption: parts separated by two spaces; the first is the heading.
        rgb: (H, W, 3) uint8.
        labels: (H, W) integer class of each pixel.
    """

    caption: str
    rgb: NDArray[np.uint8]
    labels: NDArray[Any]


def rd_plot(
    panels: Sequence[Panel],
    path: Path,
    *,
    title: str = "",
    rate_label: str = "kbit/s",
    columns: int = 0,
    log_rate: bool = True,
) -> None:
    """Rate-accuracy curves, one panel per measure and network, written to ``path`` when complete.

    Lines go through the upper-left points; points that another one beats are hollow and off the line.

    Args:
        panels: in reading order.
        path: ``.png``, ``.svg`` or ``.pdf``.
        title: above all panels.
        rate_label: unit of the rates.
        columns: panels in a row; 0 chooses.
        log_rate: logarithmic rate axis.

    Raises:
        CurveError: nothing to plot. OutputError: ``path`` cannot be written.
    """
    if not panels:
        raise CurveError("no panels to plot")
    columns = columns or min(len(panels), 4 if len(panels) in (4, 7, 8) else 3)
    rows = math.ceil(len(panels) / columns)
    with new_figure(path, 3.9 * columns + 0.4, 3.3 * rows + 1.0) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        looks = _looks(panels)
        for place, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
            _draw_panel(axes, panel, looks, log_rate)
            if place + columns >= len(panels):
                axes.set_xlabel(rate_label)
        _head(figure, grid, looks, title)


def comparison_picture(
    rows: Sequence[PictureRow],
    path: Path,
    *,
    reference: NDArray[Any],
    classes: Sequence[str],
    palette: NDArray[np.uint8] | None = None,
    title: str = "",
) -> None:
    """Pictures side by side; below each what the network sees; below that where it differs from ``reference``.

    Args:
        rows: the original first, then the coded pictures.
        path: as ``rd_plot``.
        reference: (H, W) classes on the original, the pseudo-GT.
        classes: names by label.
        palette: (C, 3) uint8 colours; None takes CamVid's.

    Raises:
        ConfigError: sizes differ. OutputError: ``path`` cannot be written.
    """
    from sweeps.segmentation_view import draw_comparison

    for row in rows:
        if row.rgb.shape[:2] != reference.shape or row.labels.shape != reference.shape:
            raise ConfigError(f"{row.caption}: {row.rgb.shape[:2]} picture for a reference of {reference.shape}")
    height, width = reference.shape
    across = min(4.6, max(2.6, width / 150))
    with new_figure(path, across * len(rows) + 0.2, across * height / width * 3 + 1.45) as figure:
        draw_comparison(figure, rows, reference, classes, palette, title)


def map_picture(
    rgb: NDArray[np.uint8], values: NDArray[Any], path: Path, *, kind: str = "qp_offset", title: str = ""
) -> None:
    """A map over its frame: where the encoder is told to spend (warm) and to save (cold).

    Args:
        rgb: (H, W, 3) uint8 frame.
        values: "qp_offset": (ceil(H/16), ceil(W/16)) QP offsets; "weight": (ceil(H/8), ceil(W/8)) weights, mean 1.
        path: as ``rd_plot``.
        kind: "qp_offset" or "weight".

    Raises:
        ConfigError: unknown kind, or a map of another size. OutputError: ``path`` cannot be written.
    """
    blocks = {"qp_offset": 16, "weight": 8}
    if kind not in blocks:
        raise ConfigError(f"map kind {kind!r}; expected qp_offset or weight")
    side, (height, width) = blocks[kind], rgb.shape[:2]
    expected = (math.ceil(height / side), math.ceil(width / side))
    if values.shape != expected:
        raise ConfigError(f"{kind} map of shape {values.shape}; expected {expected} for a frame of {width}x{height}")
    across = min(9.0, max(5.0, width / 120))
    with new_figure(path, 2 * across + 1.0, across * height / width + 0.9) as figure:
        _draw_map(figure, rgb, values, side, kind)
        if title:
            figure.suptitle(title, fontsize=12, fontweight="bold")


@contextmanager
def new_figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """An empty figure of a size in inches; saved to ``path`` when the block ends well."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kind = Path(path).suffix.lstrip(".").lower()
    if kind not in ("png", "svg", "pdf"):
        raise ConfigError(f"{path}: unknown picture format {kind!r}; expected .png, .svg or .pdf")
    with mpl.rc_context(_RC):
        figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with replacing(Path(path)) as temporary:
            figure.savefig(temporary, format=kind)


def _looks(panels: Sequence[Panel]) -> dict[str, dict[str, Any]]:
    """Look of each arm; test arms take colours and markers in the order they appear."""
    looks: dict[str, dict[str, Any]] = {}
    tests = 0
    for curve in (curve for panel in panels for curve in panel.curves):
        if curve.name in looks:
            continue
        if curve.style == "anchor":
            looks[curve.name] = {"color": INK, "marker": "o", "linestyle": "-", "zorder": 3, "markersize": 5.5}
        elif curve.style == "neutral":
            looks[curve.name] = {"color": FAINT, "marker": "o", "linestyle": ":", "zorder": 2}
            # A ring around the anchor's dots: the two arms ought to coincide.
            looks[curve.name] |= {"fillstyle": "none", "markersize": 9.5}
        else:
            colour = TEST_COLOURS[tests % len(TEST_COLOURS)]
            marker = TEST_MARKERS[tests % len(TEST_MARKERS)]
            looks[curve.name] = {"color": colour, "marker": marker, "linestyle": "-", "zorder": 4, "markersize": 5.5}
            tests += 1
    return looks


def _draw_panel(axes: Axes, panel: Panel, looks: dict[str, dict[str, Any]], log_rate: bool) -> None:
    for curve in panel.curves:
        _draw_curve(axes, curve, looks[curve.name])
    if log_rate:
        _log_axis(axes, [rate for curve in panel.curves for rate in curve.rates])
    axes.set_title(panel.title, fontsize=11, fontweight="bold", loc="left")
    axes.set_ylabel(panel.metric)
    axes.grid(True, which="major", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.08)
    if panel.notes:
        low, high = axes.get_ylim()
        axes.set_ylim(low - 0.085 * len(panel.notes) * (high - low), high)
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "#cccccc", "alpha": 0.92}
        text = "\n".join(panel.notes)
        place: dict[str, Any] = {"transform": axes.transAxes, "ha": "right", "va": "bottom", "bbox": box}
        axes.text(0.98, 0.035, text, fontsize=8.5, linespacing=1.35, zorder=6, **place)


def _draw_curve(axes: Axes, curve: Curve, look: dict[str, Any]) -> None:
    order = np.argsort(curve.rates, kind="stable")
    rates, values = np.asarray(curve.rates, float)[order], np.asarray(curve.values, float)[order]
    best = values > np.concatenate([[-np.inf], np.maximum.accumulate(values)[:-1]])
    width = 1.3 if curve.style == "neutral" else 1.9
    axes.plot(rates[best], values[best], linewidth=width, label=curve.name, **look)
    beaten = {**look, "linestyle": "none", "markerfacecolor": "white"}
    axes.plot(rates[~best], values[~best], **beaten)


def _log_axis(axes: Axes, rates: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    decades = math.log10(max(rates) / min(rates)) if min(rates) > 0 else 1.0
    steps = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if decades < 0.7 else (1.0, 2.0, 5.0) if decades < 2 else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def short_number(value: float) -> str:
    """``950``, ``1.5k``, ``20M``."""
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{suffix}"
    return f"{value:.3g}"


def _head(figure: Figure, grid: NDArray[Any], looks: dict[str, dict[str, Any]], title: str) -> None:
    """Title and one legend for all panels."""
    handles: dict[str, Any] = {}
    for axes in grid.flat:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    if title:
        figure.suptitle(title, fontsize=13, fontweight="bold")
    names = [name for name in looks if name in handles]
    figure.legend(
        [handles[name] for name in names], names, loc="outside lower center", ncols=min(len(names), 5), frameon=False
    )


def _draw_map(figure: Figure, rgb: NDArray[np.uint8], values: NDArray[Any], side: int, kind: str) -> None:
    height, width = rgb.shape[:2]
    offset = kind == "qp_offset"
    shown = values if offset else np.log2(np.maximum(values, 1e-6))
    limit = max(float(np.abs(shown).max()), 1e-6)
    left, right = figure.subplots(1, 2)
    left.imshow(rgb)
    right.imshow(np.repeat(rgb.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8))
    extent = (-0.5, values.shape[1] * side - 0.5, values.shape[0] * side - 0.5, -0.5)
    colours = "RdBu" if offset else "RdBu_r"
    heat = right.imshow(
        shown, cmap=colours, vmin=-limit, vmax=limit, extent=extent, alpha=0.62, interpolation="nearest"
    )
    for axes, name in ((left, "frame"), (right, "QP offset" if offset else "distortion weight")):
        axes.set_xlim(-0.5, width - 0.5)
        axes.set_ylim(height - 0.5, -0.5)
        axes.set_axis_off()
        axes.set_title(name, fontsize=11)
    bar = figure.colorbar(heat, ax=right, shrink=0.9, pad=0.02)
    if bar.solids is not None:
        bar.solids.set_alpha(1.0)
    bar.set_label("QP offset (negative: more bits)" if offset else "weight (powers of two)")
    if not offset:
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{2.0**value:.3g}")

"""One picture a frame: what the encoder decided, panel by panel, over what it made of the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sweeps.plots import TEST_COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = {1: 1, 2: 2, 4: 2, 7: 4, 8: 4}
"""Panels → columns; 3 for other numbers."""
_MANY = "turbo"
_LOSS_TOP = 99.5


@dataclass(frozen=True)
class FrameView:
    """What is known of one coded frame; a part that is not known is None.

    Attributes:
        index: display order.
        rgb: (H, W, 3) uint8 decoded frame.
        ctu: side of a CTU in luma samples.
        names: of the candidates, by index.
        slice_type: "I", "P", "B" or "".
        bits: of the frame.
        mean_qp: of the frame.
        candidate: (rows, columns) index of the candidate kept in each CTU.
        qp: (rows, columns) mean QP of each CTU.
        ctu_bits: (rows, columns) bits of each CTU as the decisions estimated them.
        qp_offset: (ceil(H/16), ceil(W/16)) offsets the encoder was told.
        weight: (ceil(H/8), ceil(W/8)) distortion weights it was told, mean 1.
        loss: (H, W) task loss in nats.
    """

    index: int
    rgb: NDArray[np.uint8]
    ctu: int = 64
    names: Sequence[str] = ()
    slice_type: str = ""
    bits: int = 0
    mean_qp: float | None = None
    candidate: NDArray[Any] | None = None
    qp: NDArray[Any] | None = None
    ctu_bits: NDArray[Any] | None = None
    qp_offset: NDArray[Any] | None = None
    weight: NDArray[Any] | None = None
    loss: NDArray[Any] | None = None


@dataclass(frozen=True)
class _Layer:
    """A grid of values over the frame.

    Attributes:
        title: of the panel.
        values: (rows, columns).
        side: of a cell in luma samples.
        colours: matplotlib's name of the colour map.
        low, high: values at the ends of the colour map.
        label: of the colour bar.
    """

    title: str
    values: NDArray[Any]
    side: int
    colours: str
    low: float
    high: float
    label: str


def draw_frame(view: FrameView, path: Path, *, title: str = "") -> None:
    """Panels over the frame: decoded, candidate, QP, bits, what the encoder was told, task loss; one PNG.

    Args:
        view: the frame; panels of what is not known are left out.
        path: ``.png``; appears when it is complete.
        title: what was coded how.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    layers = list(_layers(view))
    count = 1 + (view.candidate is not None) + len(layers)
    columns = _COLUMNS.get(count, 3)
    rows = math.ceil(count / columns)
    height, width = view.rgb.shape[:2]
    across = min(5.2, max(3.4, width / 150))
    with new_figure(path, across * columns, (across * height / width * 0.8 + 0.38) * rows + 0.4) as figure:
        grid = iter(figure.subplots(rows, columns, squeeze=False).flat)
        _draw_picture(next(grid), view.rgb, "decoded", view.rgb.shape)
        if view.candidate is not None:
            _draw_candidates(figure, next(grid), view, view.candidate)
        for layer in layers:
            _draw_layer(figure, next(grid), view.rgb, layer)
        for axes in grid:
            axes.set_visible(False)
        figure.suptitle(_heading(view, title), fontsize=11, fontweight="bold")


def _heading(view: FrameView, title: str) -> str:
    parts = [f"frame {view.index}" + (f" ({view.slice_type})" if view.slice_type else "")]
    parts += [title] if title else []
    parts += [f"{view.bits / 1000:.1f} kbit"] if view.bits else []
    parts += [f"mean QP {view.mean_qp:.1f}"] if view.mean_qp is not None else []
    parts += [f"task loss {view.loss.mean():.3f} nats a pixel"] if view.loss is not None else []
    return "   ".join(parts)


def _layers(view: FrameView) -> list[_Layer]:
    layers = []
    if view.qp is not None:
        layers.append(_ranged("QP of each CTU", view.qp, view.ctu, "viridis_r", "QP"))
    if view.ctu_bits is not None:
        bits = np.maximum(view.ctu_bits, 0)
        layers.append(_ranged("bits of each CTU", bits, view.ctu, "inferno", "bits", low=0.0))
    if view.qp_offset is not None:
        limit = max(float(np.abs(view.qp_offset).max()), 1.0)
        layers.append(_Layer("map: QP offset", view.qp_offset, 16, "RdBu", -limit, limit, "QP (below 0: more bits)"))
    if view.weight is not None:
        powers = np.log2(np.maximum(view.weight, 1e-6))
        limit = max(float(np.abs(powers).max()), 0.5)
        layers.append(_Layer("map: distortion weight", powers, 8, "RdBu_r", -limit, limit, "log2 of the weight"))
    if view.loss is not None:
        top = max(float(np.percentile(view.loss, _LOSS_TOP)), 1e-3)
        layers.append(_Layer("task loss", view.loss, 1, "magma", 0.0, top, "nats a pixel"))
    return layers


def _ranged(title: str, values: NDArray[Any], side: int, colours: str, label: str, low: float | None = None) -> _Layer:
    least = float(values.min()) if low is None else low
    most = max(float(values.max()), least + 1.0)
    return _Layer(title, values, side, colours, least, most, label)


def _draw_layer(figure: Figure, axes: Axes, rgb: NDArray[np.uint8], layer: _Layer) -> None:
    _draw_picture(axes, _grey(rgb), layer.title, rgb.shape)
    heat = axes.imshow(
        layer.values,
        cmap=layer.colours,
        vmin=layer.low,
        vmax=layer.high,
        extent=_extent(layer.values, layer.side),
        alpha=0.68,
        interpolation="nearest",
    )
    _frame(axes, rgb.shape)
    _solid(figure.colorbar(heat, ax=axes, shrink=0.8, pad=0.02)).set_label(layer.label, fontsize=8.5)


def _draw_candidates(figure: Figure, axes: Axes, view: FrameView, chosen: NDArray[Any]) -> None:
    from matplotlib.colors import BoundaryNorm, ListedColormap

    count = max(len(view.names), int(chosen.max()) + 1)
    names = [*view.names, *(str(k) for k in range(len(view.names), count))]
    shares = [100 * float((chosen == k).mean()) for k in range(count)]
    _draw_picture(axes, _grey(view.rgb), "candidate of each CTU", view.rgb.shape)
    norm = BoundaryNorm(np.arange(count + 1) - 0.5, count)
    extent = _extent(chosen, view.ctu)
    heat = axes.imshow(
        chosen, cmap=ListedColormap(_palette(count)), norm=norm, extent=extent, alpha=0.62, interpolation="nearest"
    )
    _frame(axes, view.rgb.shape)
    bar = _solid(figure.colorbar(heat, ax=axes, shrink=0.8, pad=0.02, ticks=range(count)))
    bar.ax.set_yticklabels([f"{name}\n{share:.0f} %" for name, share in zip(names, shares, strict=True)], fontsize=8)
    bar.ax.tick_params(length=0)


def _palette(count: int) -> list[Any]:
    """The encoder's own way in grey; ways of doing otherwise in colour."""
    if count <= len(TEST_COLOURS) + 1:
        return ["#bdbdbd", *TEST_COLOURS[: count - 1]]
    from matplotlib import colormaps

    return ["#bdbdbd", *colormaps[_MANY](np.linspace(0.05, 0.95, count - 1))]


def _draw_picture(axes: Axes, picture: NDArray[np.uint8], title: str, shape: tuple[int, ...]) -> None:
    axes.imshow(picture, interpolation="antialiased")
    axes.set_title(title, fontsize=9.5, loc="left")
    _frame(axes, shape)


def _frame(axes: Axes, shape: tuple[int, ...]) -> None:
    """Cells at the right and bottom reach beyond the picture; what is shown does not."""
    axes.set_xlim(-0.5, shape[1] - 0.5)
    axes.set_ylim(shape[0] - 0.5, -0.5)
    axes.set_axis_off()


def _solid(bar: Any) -> Any:
    if bar.solids is not None:
        bar.solids.set_alpha(1.0)
    bar.ax.tick_params(labelsize=8)
    return bar


def _extent(values: NDArray[Any], side: int) -> tuple[float, float, float, float]:
    return (-0.5, values.shape[1] * side - 0.5, values.shape[0] * side - 0.5, -0.5)


def _grey(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = rgb.mean(axis=2, keepdims=True)
    return np.repeat(grey, 3, axis=2).astype(np.uint8)

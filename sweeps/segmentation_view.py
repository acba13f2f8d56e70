"""Layout of ``plots.comparison_picture``: pictures, segmentations, disagreement, legend of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.labels import CAMVID_PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sweeps.plots import PictureRow

_ALARM = np.array([0xD5, 0x5E, 0x00], np.float64)


def draw_comparison(
    figure: Figure,
    rows: Sequence[PictureRow],
    reference: NDArray[Any],
    classes: Sequence[str],
    palette: NDArray[np.uint8] | None,
    title: str,
) -> None:
    """Fill an empty figure; arguments as ``plots.comparison_picture``."""
    colours = palette_for(len(classes), palette)
    grid = figure.subplots(3, len(rows), squeeze=False)
    for column, row in enumerate(rows):
        _show(grid[0][column], row.rgb)
        _show(grid[1][column], colours[np.minimum(row.labels, len(colours) - 1)])
        _caption(grid[0][column], row.caption)
        if column == 0:
            _legend(grid[2][0], classes, colours, _present(rows, len(classes)))
        else:
            wrong = row.labels != reference
            _show(grid[2][column], disagreement(row.rgb, wrong))
            grid[2][column].set_title(
                f"differs from the original: {100 * wrong.mean():.1f} %", fontsize=9.5, loc="left"
            )
    grid[1][0].set_title("what the network sees", fontsize=9.5, loc="left")
    if title:
        figure.suptitle(title, fontsize=13, fontweight="bold")


def palette_for(count: int, palette: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """(count + 1 or more, 3) uint8 colours, the last for labels that are no class; CamVid's where they suffice."""
    if palette is not None and len(palette) >= count:
        return palette
    if count <= len(CAMVID_PALETTE) - 1:
        return CAMVID_PALETTE
    from matplotlib import colormaps

    wheel = colormaps["turbo"](np.linspace(0.03, 0.97, count))[:, :3]
    shuffled = wheel[np.random.default_rng(3).permutation(count)]
    return np.concatenate([shuffled * 255, np.zeros((1, 3))]).astype(np.uint8)


def disagreement(rgb: NDArray[np.uint8], wrong: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture, faded to grey, with wrong pixels in a loud colour.

    Args:
        rgb: (H, W, 3) uint8.
        wrong: (H, W).

    Returns:
        (H, W, 3) uint8.
    """
    grey = rgb.mean(axis=2, keepdims=True) * 0.45 + 140.0
    return np.where(wrong[..., None], _ALARM, grey).clip(0, 255).astype(np.uint8)


def _show(axes: Axes, picture: NDArray[np.uint8]) -> None:
    axes.imshow(picture, interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _caption(axes: Axes, caption: str) -> None:
    """Heading and, below it, the figures."""
    heading, *figures = [part.strip() for part in caption.split("  ") if part.strip()]
    lines = [line for line in (", ".join(figures[:2]), ", ".join(figures[2:])) if line]
    style: dict[str, Any] = {"loc": "left", "linespacing": 1.3}
    axes.set_title(heading + "\n" * len(lines), fontsize=11, fontweight="bold", **style)
    axes.text(0.0, 1.02, "\n".join(lines), transform=axes.transAxes, fontsize=9.5, va="bottom", linespacing=1.3)


def _present(rows: Sequence[PictureRow], count: int) -> list[int]:
    seen = np.unique(np.concatenate([np.unique(row.labels) for row in rows]))
    return [int(label) for label in seen if label < count]


def _legend(axes: Axes, classes: Sequence[str], colours: NDArray[np.uint8], labels: Sequence[int]) -> None:
    from matplotlib.patches import Patch

    shown = [(colours[i], classes[i]) for i in labels] + [(_ALARM, "differs")]
    patches = [Patch(facecolor=tuple(c / 255.0), edgecolor="#777777", label=name) for c, name in shown]
    axes.set_axis_off()
    columns = 1 if len(patches) <= 6 else 2 if len(patches) <= 14 else 3
    axes.legend(handles=patches, loc="center", ncols=columns, frameon=False, fontsize=9.5, handlelength=1.4)

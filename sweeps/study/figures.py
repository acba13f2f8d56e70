"""The pictures of QoMEX 2023: where blocks are drawn (3), their accuracies (4), examples (5), scatter plots (6)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rdo_metrics.block_sampling import BINS, Block, BlockSampler
from sweeps.plots import TEST_COLOURS, new_figure
from sweeps.segmentation_view import palette_for
from sweeps.study.coded import CodedPictures
from sweeps.study.measures import Measure
from sweeps.study.plan import label
from sweeps.study.samples import Answers, Sample
from sweeps.study.study import Study
from sweeps.study.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_EXAMPLES = 4


def draw_figures(study: Study, measures: Sequence[Measure], made: CodedPictures, folder: Path) -> list[Path]:
    """All pictures of the first network's blocks; returns what was written."""
    answers = study.answers[0]
    blocks = [sample for sample in study.samples if sample.network == answers.judge.name and sample.side]
    if not blocks:
        return []
    first = blocks[0]
    paths = [folder / f"{name}.png" for name in ("densities", "histograms", "examples", "scatter")]
    densities(answers, first, paths[0])
    histograms(answers, first, paths[1])
    written = paths[:2]
    quality = next((m for m in measures if m.name == "psnr"), None)
    if quality is not None:
        examples(answers, blocks[min(1, len(blocks) - 1)], made, paths[2])
        written.append(paths[2])
    if scatter(blocks, study.rows, paths[3]):
        written.append(paths[3])
    return written


def densities(answers: Answers, sample: Sample, path: Path) -> None:
    """Figure 3: how often each place was in a block, drawn at random, by accuracy, and without unlabelled pixels."""
    count, side = len(sample.blocks), sample.side
    panels = [("uniform random", answers.random_blocks(side, count))]
    if answers.population().labelled is not None:
        everywhere = BlockSampler(answers.population(exclude=False), side).draw(count, skip_empty=True)
        panels += [
            ("by accuracy, unlabelled included", everywhere),
            ("by accuracy, unlabelled excluded", [*sample.blocks]),
        ]
    else:
        panels += [("by accuracy", [*sample.blocks])]
    maps = [_density(blocks, answers.known(0).shape) for _, blocks in panels]
    height, width = maps[0].shape
    with new_figure(path, 3.6 * len(panels) + 0.8, 3.6 * height / width + 0.75) as figure:
        row = figure.subplots(1, len(panels), squeeze=False)[0]
        top = max(float(found.max()) for found in maps)
        for axes, (title, _), found in zip(row, panels, maps, strict=True):
            picture = axes.imshow(found, cmap="inferno", vmin=0, vmax=top)
            axes.set_title(title, fontsize=10)
            axes.set_axis_off()
        bar = figure.colorbar(picture, ax=list(row), shrink=0.85, pad=0.01)
        bar.set_label("blocks over a place / mean")
        figure.suptitle(f"Where {count} blocks of {side}×{side} lie", fontsize=12, fontweight="bold")


def histograms(answers: Answers, sample: Sample, path: Path) -> None:
    """Figure 4: accuracies of blocks drawn at random and by the protocol."""
    count, side = len(sample.blocks), sample.side
    drawn = [("uniform random", [block.accuracy for block in answers.random_blocks(side, count)])]
    drawn.append(("by accuracy", list(sample.accuracy)))
    with new_figure(path, 8.0, 3.3) as figure:
        for axes, (title, values) in zip(figure.subplots(1, 2), drawn, strict=True):
            axes.hist(values, bins=np.linspace(0, 1, BINS + 1), color=TEST_COLOURS[0], edgecolor="white")
            axes.set_title(title, fontsize=10, loc="left", fontweight="bold")
            axes.set_xlabel("accuracy")
            axes.set_xticks(np.linspace(0, 1, 6))
            _plain(axes)
        figure.axes[0].set_ylabel("blocks")
        figure.suptitle(f"Accuracy of {count} blocks of {side}×{side}", fontsize=12, fontweight="bold")


def examples(answers: Answers, sample: Sample, made: CodedPictures, path: Path) -> None:
    """Figure 5: badly coded blocks that lost nothing, and well coded ones that lost most; PSNR says how well."""
    psnr, accuracy = sample.values["psnr"], sample.accuracy
    groups = [
        ("low PSNR, nothing lost", _spread(np.argsort(psnr), np.flatnonzero(accuracy == accuracy.max()), sample)),
        ("high PSNR, most lost", _spread(np.argsort(-psnr), np.flatnonzero(accuracy < 0.1), sample)),
    ]
    groups = [(kind, chosen) for kind, chosen in groups if chosen]
    across = max(len(chosen) for _, chosen in groups) if groups else 1
    with new_figure(path, 3.1 * across, 3.75 * max(len(groups), 1)) as figure:
        parts = figure.subfigures(max(len(groups), 1), across, squeeze=False, wspace=0.06, hspace=0.04)
        for row, (kind, chosen) in zip(parts, groups, strict=False):
            for part, index in zip(row, chosen, strict=False):
                block = sample.blocks[index]
                name = label(made.configs[block.configuration])
                title = f"{kind}\n{name}: {psnr[index]:.1f} dB, accuracy {accuracy[index]:.2f}"
                part.suptitle(title, fontsize=9, fontweight="bold")
                _example(part, answers, made, block)


def _example(part: Any, answers: Answers, made: CodedPictures, block: Block) -> None:
    place, classes = block.place, answers.judge.classes
    original = np.asarray(made.originals()[block.picture])[place]
    pictures = [("original", original), ("coded", made.picture(block.configuration, block.picture)[place])]
    palette = palette_for(len(classes))
    for configuration in (None, block.configuration):
        labels = answers.labels(block.picture, configuration)[place]
        most = int(np.bincount(labels.ravel()).argmax())
        pictures.append((f"seen: {classes[most] if most < len(classes) else most}", palette[labels]))
    for axes, (title, picture) in zip(part.subplots(2, 2).ravel(), pictures, strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title, fontsize=8, pad=2)
        axes.set_axis_off()


def scatter(samples: Sequence[Sample], rows: Sequence[Row], path: Path) -> bool:
    """Figure 6: accuracy over the best quality metric and the best machine metric of each size; False without any."""
    panels = []
    for sample in samples:
        own = [row for row in rows if (row.network, row.level) == (sample.network, sample.level)]
        for kind in ("quality", "machine"):
            known = [row for row in own if row.kind == kind and row.found.srocc == row.found.srocc]
            if known:
                panels.append((sample, max(known, key=lambda row: row.found.srocc)))
    if not panels:
        return False
    across = 2 if len(panels) % 2 == 0 else len(panels)
    down = -(-len(panels) // across)
    with new_figure(path, 4.2 * across, 3.3 * down + 0.2) as figure:
        for axes, (sample, row) in zip(figure.subplots(down, across, squeeze=False).ravel(), panels, strict=False):
            _scatter_panel(axes, sample, row)
    return True


def _scatter_panel(axes: Axes, sample: Sample, row: Row) -> None:
    values = sample.values[row.metric]
    colour = TEST_COLOURS[0] if row.kind == "quality" else TEST_COLOURS[1]
    axes.scatter(values, sample.accuracy, s=5, alpha=0.25, linewidths=0, color=colour, rasterized=True)
    known = np.abs(values[np.isfinite(values)])
    if row.kind == "machine" and known.min() >= 0 and np.median(known) > 0 and known.max() > 50 * np.median(known):
        axes.set_xscale("symlog", linthresh=float(np.median(known)) / 10)
    axes.set_xlabel(row.title)
    axes.set_ylabel("accuracy")
    axes.set_ylim(-0.02, 1.02)
    name = f"{sample.side}×{sample.side}   SROCC {row.found.srocc:.3f}"
    axes.set_title(name, fontsize=10, loc="left", fontweight="bold")
    _plain(axes)


def _density(blocks: Sequence[Block], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """(H, W) how often a place was inside a block, over its mean."""
    corners = np.zeros((shape[0] + 1, shape[1] + 1))
    for block in blocks:
        x, y, side = block.x, block.y, block.side
        corners[[y, y + side], [x, x + side]] += 1
        corners[[y, y + side], [x + side, x]] -= 1
    inside = corners.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
    return np.asarray(inside / max(float(inside.mean()), 1e-12), np.float64)


def _spread(order: NDArray[np.int64], allowed: NDArray[np.int64], sample: Sample) -> list[int]:
    """The first few of ``order`` that are allowed, each of another picture."""
    wanted, chosen, seen = set(allowed.tolist()), [], set()
    for index in order.tolist():
        if index in wanted and sample.picture[index] not in seen:
            chosen.append(index)
            seen.add(sample.picture[index])
        if len(chosen) == _EXAMPLES:
            break
    return chosen


def _plain(axes: Axes) -> None:
    axes.grid(True, color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)

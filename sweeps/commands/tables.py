"""``mrdo tables``: the tables and the figure of the papers, from result stores."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdo_metrics.methods import METHODS, SHAPES
from sweeps.options import command as new_command
from sweeps.options import json_option, reporter
from sweeps.paramtypes import FLOATS
from sweeps.table_names import ACROSS, METRICS, TABLES

if TYPE_CHECKING:
    from encoder_bridge.console import Reporter
    from sweeps.analysis import Table


@new_command("tables")
@click.argument("stores", metavar="[STORE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Also write them to this folder."
)
@click.option(
    "--table",
    "tables",
    multiple=True,
    type=click.Choice(TABLES),
    help="Only this one; repeatable.  [default: all that the store can fill]",
)
@click.option("--network", metavar="NAME", help="Network that judges.  [default: the first in the store]")
@click.option("--metric", type=click.Choice(METRICS), help="Measure.  [default: the first of these that every run has]")
@click.option("--bd-method", default="pchip", type=click.Choice(METHODS), help="Interpolation of BD-rates.")
@click.option(
    "--min-overlap",
    default=0.5,
    type=click.FloatRange(0, 1),
    help="Share of the accuracies spanned that two curves must have in common for a BD-rate.",
)
@click.option("--hull", default="pareto", type=click.Choice(SHAPES), help="Shape of the hull over resolutions.")
@click.option(
    "--across",
    default="auto",
    type=click.Choice(ACROSS),
    help="Several inputs: pool their frames, or take the mean of their numbers; auto pools single pictures.",
)
@click.option("--bootstrap", default=300, type=click.IntRange(min=0), help="Resamples for intervals; 0: none.")
@click.option(
    "--png",
    multiple=True,
    metavar="PLAN|INPUT",
    help="What was coded, for the lossless anchor of table VI; repeatable. Kept beside the store.",
)
@click.option("--labels", metavar="DIR", help="Label images of --png INPUT.")
@click.option("--every", type=click.IntRange(min=1), default=1, metavar="N", help="As INPUT was coded.")
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="As INPUT was coded.")
@click.option("--each", is_flag=True, help="As INPUT was coded: every image an input of its own.")
@click.option("--coder", default="jpeg", metavar="CODEC", help="Table VII: the encoder.")
@click.option(
    "--anchor", metavar="CODEC", help="Table VII: the anchor [vtm]; inputs: the encoder compared with [first]."
)
@click.option(
    "--at", default=(), type=FLOATS, metavar="A,...", help="Also bits a pixel at these accuracies (table iso)."
)
@click.option("--trained", metavar="NAME", help="Table VII: network that was trained on compressed pictures.")
@click.option(
    "--study",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also table II of a study: the table.json of mrdo metrics correlate.",
)
@json_option
def command(**options: Any) -> None:
    """Tables of one or several STOREs that mrdo sweep or mrdo compare wrote.

    v: BD-rate of every encoder over every other, at full size and on the hull over sizes. vi: best compression ratio
    over PNG that keeps a share of the accuracy. vii: one encoder over the hull of the VTM, by criterion. rdo:
    machine-aware arms over plain ones. inputs: BD-rates of each input. iso: bits at equal accuracy. With -o also the
    figure of all curves.
    """
    if not (options["stores"] or options["study"]):
        raise click.UsageError("Missing argument 'STORE...', or --study FILE.")
    from sweeps.analysis.bundle import show_tables, write_tables
    from sweeps.analysis.study import table_ii

    say, files = reporter(options), []
    tables = [table_ii(options["study"], options["network"])] if options["study"] else []
    if options["stores"]:
        made, draw = _of_stores(options, say)
        tables += made
    show_tables(tables, say)
    if options["output"] is not None:
        files = write_tables(tables, options["output"])
        if options["stores"]:
            files += draw(options["output"])
        say.event("result", files=[str(path) for path in files])
        say.note(f"{len(files)} files in {options['output']}")


def _of_stores(options: dict[str, Any], say: Reporter) -> tuple[list[Table], Callable[[Path], list[Path]]]:
    """The tables of the stores, and what draws their figure into a folder."""
    from sweeps.analysis import Question, SweepData
    from sweeps.analysis.bundle import Wanted, make_tables, write_figures
    from sweeps.analysis.sources import add_lossless, named_inputs, read_stores

    records, folders = read_stores(options["stores"], say.warn)
    data = SweepData(records)
    if options["png"]:
        add_lossless(data, named_inputs(options["png"], options), folders, say)
    ask = Question(
        network=options["network"],
        metric=options["metric"],
        method=options["bd_method"],
        hull=options["hull"],
        across=options["across"],
        draws=options["bootstrap"],
        min_overlap=options["min_overlap"],
    )
    wanted = Wanted(options["tables"], options["coder"], options["anchor"], options["trained"], options["at"])
    return make_tables(data, ask, wanted), partial(write_figures, data, ask)

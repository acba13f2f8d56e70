"""``mrdo compare``: machine-aware RDO against PSNR-RDO of the same encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rdo_metrics.methods import METHODS
from sweeps.options import (
    candidate_options,
    coding_configs,
    coding_options,
    compared_map_options,
    input_options,
    judge_options,
    model_options,
    reporter,
    run_options,
    run_opts,
)
from sweeps.options import command as new_command


@new_command("compare")
@input_options
@coding_options(lists=True)
@compared_map_options
@candidate_options
@model_options
@judge_options
@run_options
@click.option("-o", "--output", default="compare-out", type=click.Path(file_okay=False), help="Folder of the results.")
@click.option("--neutral/--no-neutral", default=True, help="Also run the neutral arm, which must equal the plain one.")
@click.option(
    "--controls/--no-controls",
    default=False,
    help="Also run the candidates judged by squared error, and the map alone.",
)
@click.option(
    "--anchor",
    multiple=True,
    metavar="CODEC[-VERSION]",
    help="Also compare with this encoder's own coding (vtm, hm, vvenc, jm, x265): with a program that is here, else "
    "with recorded points of the input `embedded`; repeatable.",
)
@click.option("--bootstrap", default=1000, type=click.IntRange(min=10), help="Resamples for confidence intervals.")
@click.option(
    "--bd-method",
    default="pchip",
    type=click.Choice(METHODS),
    help="Interpolation of the BD-rates; vcm fits curves that are not monotone as MPEG VCM does.",
)
def command(**options: Any) -> None:
    """Encode INPUT at several rate points in every arm, score what networks see, and give BD-rates.

    INPUT may be the word `embedded`: a small procedural street scene with labels, which anchors are recorded on.
    Results are kept in the output folder: started again, the command repeats nothing that is finished.
    """
    from sweeps import session
    from sweeps.anchors import resolve_anchors
    from sweeps.coding import Coder
    from sweeps.compare import plan
    from sweeps.driving.tidying import undone
    from sweeps.present import run_and_show
    from sweeps.run_one import Job
    from sweeps.store import ResultStore
    from sweeps.workspace import Workspace

    say, folder = reporter(options), Path(options["output"])
    source = session.open_input(options, say)
    configs = coding_configs(options, source.format)
    driving = session.driver(options)
    networks = session.judges(options, driving, options["gray"] or source.format.chroma == "400")
    labels = session.labels_of(options, source)
    anchors = resolve_anchors(options["anchor"], configs, source)
    mapped = next((config for config in configs if config.map is not None), configs[0])
    judged = next((config for config in configs if config.ctu is not None), configs[0])
    maker, judges = session.map_maker(options, driving, mapped), session.judge_maker(options, driving, judged)
    job = Job(source, Path(options["input"]).name, configs[0], networks, labels)
    runs = plan(configs, options["neutral"], options["controls"])
    for anchor in anchors:
        say.note(f"anchor {anchor.name}: {'recorded streams' if anchor.recorded else 'coded here'}")
    with ResultStore(folder) as store, undone(store):
        coder = Coder(Workspace(folder), run_opts(options), say, maker, judges)
        run_and_show(job, runs, coder, store, options["bootstrap"], anchors, options["bd_method"])

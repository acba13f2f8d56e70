"""``mrdo sweep``: many coding configurations over many inputs, or many videos with one configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sweeps.options import (
    candidate_options,
    coding_options,
    compared_map_options,
    judge_options,
    model_options,
    reporter,
    run_options,
    stated_options,
)
from sweeps.options import command as new_command
from sweeps.sections import SectionedOption

F = TypeVar("F", bound=Callable[..., Any])


def _sweep_option(*names: str, **settings: Any) -> Callable[[F], F]:
    return click.option(*names, cls=SectionedOption, section="Sweep", **settings)


@new_command("sweep")
@click.argument("what", nargs=-1, metavar="[PLAN|PRESET] [INPUT]...", required=True)
@_sweep_option(
    "-o", "--output", type=click.Path(file_okay=False), help="Folder of the results; started again it goes on."
)
@_sweep_option(
    "--dry-run", is_flag=True, help="Count the runs, name missing tools, estimate time and disk; run nothing."
)
@_sweep_option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes at a time.  [default: one, here]")
@_sweep_option("--scheduler", metavar="ADDRESS", help="Dask scheduler, as tcp://host:8786.")
@_sweep_option("--cluster", metavar="KIND", help="Ask a job system for workers: slurm, pbs, lsf, sge, ...")
@_sweep_option(
    "--cluster-option", multiple=True, metavar="NAME=VALUE", help="Of the job system, as queue=gpu; repeatable."
)
@_sweep_option(
    "--gpu-workers", type=click.IntRange(min=0), default=0, metavar="N", help="Workers that hold a GPU each."
)
@_sweep_option("--retry", type=click.Choice(["failed"]), help="Run again what failed before.")
@_sweep_option("--rescore", is_flag=True, help="Score kept streams with the networks named now; encode nothing.")
@_sweep_option(
    "--keep-streams", type=click.Choice(["all", "none", "failed"]), default="all", help="Streams that stay afterwards."
)
@_sweep_option("--abort-above", metavar="N|P%", help="Give up after more than N failures, or P % of the runs.")
@_sweep_option("--every", type=click.IntRange(min=1), default=1, metavar="N", help="Take each Nth frame of INPUT.")
@_sweep_option("--each", is_flag=True, help="Every image of INPUT is an input of its own, not a frame.")
@_sweep_option(
    "--suffix", help="Batch: kind of the results, as .mkv or .hevc.  [default: .mp4 where it holds the codec]"
)
@stated_options
@coding_options(lists=True)
@compared_map_options
@candidate_options
@model_options
@judge_options
@run_options
def command(**options: Any) -> None:
    """Code INPUTs as a plan says and score what networks see, on as many workers as there are.

    PLAN is a TOML or YAML file (inputs, codecs and their qualities, scales, gray, RDO modes, networks) or one of the
    presets `seed001` (1486 configurations), `seed000` (176) and `everywhere`. Without a plan the options give the
    configurations, and a single one makes this the batch encoder: every video below a folder is coded into the same
    place below the output folder, and nothing is scored. INPUT is a video, a folder of videos, or images. Interrupted
    or killed, the same command goes on.
    """
    from sweeps.driving.launch import plan_of

    say = reporter(options)
    plan = plan_of(options["what"], options)
    if options["dry_run"]:
        from sweeps.driving.dry_run import show_dry_run

        show_dry_run(plan, options, say)
        return
    if options["output"] is None:
        raise click.UsageError("Missing option '-o' / '--output', the folder of the results.")
    from sweeps.driving.launch import is_batch, run_batch, run_plan, setup_of
    from sweeps.driving.showing import event_of, show_tally

    folder = Path(options["output"])
    run = run_batch if is_batch(plan, options["what"]) else run_plan
    tally = run(plan, setup_of(plan, folder, options), options, say, event_of(say, folder))
    show_tally(say, tally, folder)
    if tally.failed or tally.aborted:
        raise SystemExit(1)

"""``mrdo status``: how far a sweep is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from encoder_bridge.console import Reporter, clock
from sweeps.options import command as new_command
from sweeps.options import json_option, reporter

if TYPE_CHECKING:
    from sweeps.driving.status import Progress


@new_command("status")
@click.argument("folder", type=click.Path(path_type=Path), metavar="OUT")
@json_option
def command(folder: Path, **options: Any) -> None:
    """Say what a sweep in folder OUT has done, what failed and what is missing; it may be running meanwhile."""
    from sweeps.driving.status import progress_of

    say = reporter(options)
    progress = progress_of(folder)
    _show_table(progress, say)
    _show_holder(progress, say)


def _show_table(progress: Progress, say: Reporter) -> None:
    from rich.table import Table

    table = Table("codec", "planned", "done", "failed", "missing", "s per run", box=None)
    for codec, planned in progress.planned.items():
        done, failed, missing = progress.done[codec], progress.failed[codec], progress.missing(codec)
        pace = progress.seconds[codec] / done if done else None
        cells = (*map(str, (planned, done, failed, missing)), "-" if pace is None else f"{pace:.2f}")
        table.add_row(codec, *cells)
        counts = {"planned": planned, "done": done, "failed": failed, "missing": missing}
        say.event("status", codec=codec, **counts, seconds_per_run=pace)
    say.show(table)


def _show_holder(progress: Progress, say: Reporter) -> None:
    from sweeps.driving.status import running_s

    holder, left = progress.holder, progress.left_s
    missing = sum(progress.missing(codec) for codec in progress.planned)
    say.event(
        "result",
        name=progress.name,
        planned=sum(progress.planned.values()),
        done=sum(progress.done.values()),
        failed=sum(progress.failed.values()),
        missing=missing,
        running=holder is not None,
        holder=holder,
        left_s=None if math.isnan(left) else left,
    )
    if holder is None:
        say.show(
            f"{progress.name}: not running" + ("; the same mrdo sweep goes on with it" if missing else "; complete")
        )
        return
    since = running_s(holder)
    who = f"process {holder.get('pid')} on {holder.get('host')}" if holder else "another process"
    runs = "" if since is None else f" for {clock(since)}"
    eta = (
        "time left not known yet" if math.isnan(left) else f"about {clock(left)} left with {progress.workers} at a time"
    )
    say.show(f"{progress.name}: {who} has been running{runs}; {missing} runs missing, {eta}")

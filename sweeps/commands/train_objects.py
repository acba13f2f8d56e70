"""``mrdo train objects``: metrics that predict what coding does to detection, face and plate recognition."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sweeps.options import command as new_command
from sweeps.options import reporter

TASKS = ("detection", "face", "plate")
FORMATS = ("coco", "wider", "celeba", "ccpd")


@new_command("objects")
@click.option("--task", type=click.Choice([*TASKS, "all"]), default="all", help="What the metrics are for.")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False), help="Folder of everything made.")
@click.option("--data", type=click.Path(), help="Folder of a data set, instead of generated pictures.")
@click.option("--format", "fmt", type=click.Choice(FORMATS), help="What --data holds.")
@click.option("--limit", default=5000, type=click.IntRange(min=30), help="Most pictures taken from --data.")
@click.option("--network", type=click.Path(), help="Your own task network (ONNX), instead of one trained here.")
@click.option("--pictures", default=1.0, type=float, help="Share of the usual number of generated pictures.")
@click.option(
    "--task-steps", type=click.IntRange(min=1), help="Optimiser steps of task networks.  [default: the task's]"
)
@click.option("--metric-steps", type=click.IntRange(min=1), help="Optimiser steps of metrics.  [default: the task's]")
@click.option(
    "--backbone", default="lite0-levels", help="Features of the metrics: lite0-levels, lite0 or mobilenet-v3-small."
)
@click.option("--seed", default=0, type=click.IntRange(min=0), help="Seed of pictures, coding and training.")
@click.option("--minutes", type=float, help="Stop after this time; the same command goes on.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where networks are trained.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the training.")
@click.option("--json", is_flag=True, help="NDJSON events on stdout, nothing else there.")
def command(**options: Any) -> None:
    """Learn metrics for machines that look at objects (arXiv 2411.06776), and say how good they are.

    For each task: pictures with objects, a task network, the pictures coded by several codecs, what that cost each
    object (Delta Object IoU, cosine-similarity difference, Jaro similarity), a network that predicts it from the
    original and the coded crop, and its rank correlation on scenes and codecs it never saw, beside PSNR, SSIM, VIF and
    a feature distance. With --task all also one metric for all of them. Killed at any moment, the same command goes on.
    """
    from sweeps.object_plan import ObjectRequest
    from sweeps.object_training import run_objects

    say = reporter(options)
    tasks = TASKS if options["task"] == "all" else (options["task"],)
    request = ObjectRequest(
        out=Path(options["output"]),
        tasks=tasks,
        data=None if options["data"] is None else Path(options["data"]),
        fmt=options["fmt"],
        network=None if options["network"] is None else Path(options["network"]),
        **{name: options[name] for name in _PASSED},
    )
    results = run_objects(request, say)
    if results is None:
        say.note(f"stopped after {options['minutes']:g} minutes; the same command goes on")
        say.event("result", finished=False, folder=str(request.out))
        return
    for task, found in results.items():
        for row in found["scores"]:
            say.event("score", task=task, **row)
        say.show(score_table(task, found))
    say.event("result", finished=True, folder=str(request.out), results=str(request.out / "results.json"))
    say.note(f"results: {request.out / 'results.json'}")


_PASSED = (
    *("limit", "pictures", "task_steps", "metric_steps", "backbone", "seed", "minutes"),
    *("device", "threads"),
)


def score_table(task: str, found: Mapping[str, Any]) -> Any:
    """A task's results as a table: Spearman's rank correlation of each metric with the task's loss."""
    from rich.table import Table

    codecs = list(found["scores"][0]["codecs"])
    accuracy = ", ".join(f"{name} {value:.4g}" for name, value in found["accuracy"].items())
    cost = found["cost"]
    caption = (
        f"task network: {accuracy}; {cost['task_ms']:.2f} ms a picture, metric {cost['metric_ms']:.2f} ms a crop "
        f"(one thread)"
    )
    table = Table(title=f"{task}: SRCC with the task's loss", caption=caption)
    for heading in ("metric", "known codecs", "held-out codecs", *codecs, "alike"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for row in found["scores"]:
        values = (row["known"], row["held_out"], *(row["codecs"][c] for c in codecs), row["alike"])
        table.add_row(row["metric"], *("–" if v is None else f"{v:.3f}" for v in values))
    return table

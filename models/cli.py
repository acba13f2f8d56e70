"""``mrdo train``: a network from folder pairs and procedural scenes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from models.labels import CAMVID_CLASSES
from models.train.architectures import ARCHITECTURES

PLAIN_EVERY = 20
Report = Callable[[dict[str, Any]], None]


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder with train/ and trainannot/.")
@click.option("--arch", default="fpn-r18", show_default=True, help="Architecture: " + ", ".join(ARCHITECTURES))
@click.option("--steps", default=5000, show_default=True, help="Optimiser steps of the learning-rate schedule.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder for checkpoint and network.")
@click.option("--seed", default=0, show_default=True)
@click.option("--batch", default=6, show_default=True)
@click.option("--crop", default=352, show_default=True, help="Side of the training crops in pixels.")
@click.option("--lr", default=1.5e-3, show_default=True, help="Peak learning rate.")
@click.option("--scenes", default=0.0, show_default=True, help="Share of samples that are procedural scenes.")
@click.option("--scene-count", default=300, show_default=True, help="Number of scenes rendered for that.")
@click.option("--classes", default=",".join(CAMVID_CLASSES[:11]), help="Class names in label order, comma-separated.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=int, default=None, help="CPU threads.")
@click.option("--minutes", type=float, default=None, help="Stop after this time; --resume goes on.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option("--json", "as_json", is_flag=True, help="NDJSON events on stdout.")
def train(as_json: bool, **given: Any) -> None:
    """Train a segmentation network and export it as ONNX with a model card.

    --data holds images in train/ with label images (class indices) of the same names in trainannot/, and val/ with
    valannot/ where accuracy is to be reported. Killed at any moment, the same command with --resume goes on.
    """
    # Paths that a user mistypes must not cost the seconds that importing torch takes.
    from models.train.run import TrainRequest, run_training

    names = tuple(n.strip() for n in given.pop("classes").split(",") if n.strip())
    request = TrainRequest(classes=names, **given)
    with _reporter(request.steps, as_json) as report:
        result = run_training(request, report)
    click.echo(json.dumps({"event": "result", **result}) if as_json else _summary(result))


def _summary(result: dict[str, Any]) -> str:
    scores = result["scores"]
    accuracy = f", mIoU {scores['miou']:.4f} on validation" if scores else ""
    return f"{result['network']}: {result['step']} steps{accuracy}"


@contextmanager
def _reporter(steps: int, as_json: bool) -> Iterator[Report]:
    """Events to a rich bar on a terminal, to plain lines on stderr without one, and to stdout with ``--json``."""
    if sys.stderr.isatty():
        with _bar(steps) as show:
            yield _tee(show, as_json)
    else:
        yield _tee(_plain, as_json)


def _tee(show: Report, as_json: bool) -> Report:
    def report(event: dict[str, Any]) -> None:
        if as_json and (event["event"] != "step" or event["step"] % PLAIN_EVERY == 0):
            click.echo(json.dumps(event))
        show(event)

    return report


def _plain(event: dict[str, Any]) -> None:
    if event["event"] == "validation":
        click.echo(f"step {event['step']}: validation mIoU {event['miou']:.4f}", err=True)
    elif event["event"] == "step" and event["step"] % PLAIN_EVERY == 0:
        click.echo(f"step {event['step']}/{event['of']} loss {event['loss']:.4f} {event['s']:.0f} s", err=True)


@contextmanager
def _bar(steps: int) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("train"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("train", total=steps, note="")

        def show(event: dict[str, Any]) -> None:
            if event["event"] == "validation":
                progress.console.print(f"step {event['step']}: validation mIoU {event['miou']:.4f}")
            elif event["event"] == "step":
                progress.update(task, completed=event["step"], note=f"loss {event['loss']:.3f}")

        yield show

"""``mrdo train``: a network from folder pairs and procedural scenes. ``mrdo export``: a network cut at a layer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from encoder_bridge.atomic import replacing
from encoder_bridge.console import Reporter
from encoder_bridge.errors import ConfigError, ModelError
from models import default_model_path
from models.cut import cut_network, first_stages, list_layers
from models.labels import CAMVID_CLASSES
from models.metadata import COLORS, LAYOUTS, RANGES, ModelOptions
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


def _triple(_: click.Context, __: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        found = tuple(float(part) for part in value.split(","))
    except ValueError:
        found = ()
    if len(found) != 3:
        raise click.BadParameter(f"{value!r}; expected three numbers, as 123.7,116.3,103.5")
    return found


@click.command()
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option("--layer", "layers", multiple=True, metavar="NAME", help="Layer to end at; repeatable.")
@click.option("--list", "listing", is_flag=True, help="Show the layers, their stride and channels; write nothing.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The .onnx file to write.")
@click.option("--layout", type=click.Choice(LAYOUTS), help="Layout of the image input.")
@click.option("--color-order", "color", type=click.Choice(COLORS), help="Colour order of the image input.")
@click.option("--input-range", "range", type=click.Choice(RANGES), help="Range of the image before mean and std.")
@click.option("--mean", callback=_triple, metavar="R,G,B", help="Mean the network expects, in its colour order.")
@click.option("--std", callback=_triple, metavar="R,G,B", help="Standard deviation, likewise.")
@click.option("--json", "as_json", is_flag=True, help="NDJSON events on stdout, nothing else there.")
def export(
    model: Path | None, layers: tuple[str, ...], listing: bool, output: Path | None, as_json: bool, **stated: Any
) -> None:
    """Cut a network at a layer: its first stages as a file for `mrdo encode --metric FILE.onnx`.

    MODEL is an ONNX network of one image; without it, the embedded one. Without --layer the cut is at the last feature
    maps of strides 2 and 4. What the file says about its input is kept; the options add what it does not say.
    """
    source, reporter = model or default_model_path(), Reporter(json=as_json)
    if listing:
        _list(source, layers, reporter)
        return
    if output is None:
        raise click.UsageError("give -o FILE.onnx, or --list to see the layers")
    if output.exists() and source.exists() and output.samefile(source):
        raise ConfigError(f"{output}: is the network itself; give another output")
    names = layers or first_stages(source)
    content = cut_network(source, names, ModelOptions(**stated))
    with replacing(output) as temporary:
        temporary.write_bytes(content)
    reporter.show(f"{output}: ends at {', '.join(names)}")
    reporter.event("result", network=str(output), layers=list(names))


def _list(source: Path, chosen: tuple[str, ...], reporter: Reporter) -> None:
    found = list_layers(source)
    try:
        marked = chosen or first_stages(source)
    except ModelError:
        marked = ()
    lines = [f"{'*' if f.name in marked else ' '} {f.stride:>3} {f.channels:>5}  {f.op:<20} {f.name}" for f in found]
    reporter.show("\n".join(["stride channels (* where it is cut)", *lines]))
    for layer in found:
        reporter.event("layer", name=layer.name, op=layer.op, stride=layer.stride, channels=layer.channels)
    reporter.event("result", layers=len(found))

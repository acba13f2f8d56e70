"""``mrdo train``: a segmentation network. ``mrdo export``: a network cut at a layer, or another library's."""

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
from models.metadata import COLORS, LAYOUTS, RANGES, ModelOptions
from models.train.architectures import ARCHITECTURES

PLAIN_EVERY = 20
Report = Callable[[dict[str, Any]], None]


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder in CamVid's or Cityscapes' layout.")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of pictures, in place of --data.")
@click.option("--labels", type=click.Path(path_type=Path), help="Folder of label images of the same names.")
@click.option("--val-images", type=click.Path(path_type=Path), help="Folder of pictures to validate with.")
@click.option("--val-labels", type=click.Path(path_type=Path), help="Folder of their label images.")
@click.option("--classes", help="Class names in label order, comma-separated.  [default: the layout's]")
@click.option("--arch", default="fpn-r18", show_default=True, help="Architecture: " + ", ".join(ARCHITECTURES))
@click.option("--init", type=click.Path(path_type=Path), help="Checkpoint whose weights to start from.")
@click.option("--steps", default=5000, show_default=True, help="Optimiser steps of the learning-rate schedule.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder for checkpoint and network.")
@click.option("--seed", default=0, show_default=True)
@click.option("--batch", default=6, show_default=True)
@click.option("--crop", default=352, show_default=True, help="Side of the training crops in pixels.")
@click.option("--optimizer", type=click.Choice(["adamw", "sgd"]), default="adamw", show_default=True)
@click.option("--lr", type=float, default=None, help="Peak learning rate.  [default: 1.5e-3, sgd 1e-2]")
@click.option("--momentum", default=0.9, show_default=True, help="Of sgd.")
@click.option("--weight-decay", type=float, default=None, help="Of kernels.  [default: 0.02, sgd 5e-4]")
@click.option("--schedule", type=click.Choice(["cosine", "poly"]), default="cosine", show_default=True)
@click.option("--power", default=0.9, show_default=True, help="Exponent of the poly schedule.")
@click.option("--warmup", default=100, show_default=True, help="Steps in which the learning rate rises.")
@click.option("--ema", default=0.998, show_default=True, help="Decay of the weight average that is exported.")
@click.option("--polish", default=0.3, show_default=True, help="Last share of the steps, with milder augmentation.")
@click.option("--class-power", default=0.2, show_default=True, help="Class weights are frequency to minus this.")
@click.option("--amp/--no-amp", default=True, show_default=True, help="Mixed precision: bfloat16, float16 on CUDA.")
@click.option("--scenes", default=0.0, show_default=True, help="Share of samples that are procedural scenes.")
@click.option("--scene-count", default=300, show_default=True, help="Number of scenes rendered for that.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=int, default=None, help="CPU threads.")
@click.option("--minutes", type=float, default=None, help="Stop after this time; --resume goes on.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option("--eval-every", default=250, show_default=True, help="Steps between validations.")
@click.option("--save-every", default=100, show_default=True, help="Steps between checkpoints.")
@click.option("--log-dir", type=click.Path(path_type=Path), help="Folder for TensorBoard.  [default: OUT/log]")
@click.option("--json", "as_json", is_flag=True, help="NDJSON events on stdout.")
def train(as_json: bool, classes: str | None, out: Path, log_dir: Path | None, **given: Any) -> None:
    """Train a segmentation network and export it as ONNX with a model card.

    --data holds train/ with label images (class indices) of the same names in trainannot/, and val/ with valannot/
    where accuracy is to be reported; or leftImg8bit/ and gtFine/ as Cityscapes comes. Killed at any moment, the same
    command with --resume goes on. With the same seed and number of threads a training gives the same network.
    """
    # Paths that a user mistypes must not cost the seconds that importing torch takes.
    from models.train.run import TrainRequest, run_training

    names = None if classes is None else tuple(n.strip() for n in classes.split(",") if n.strip())
    request = TrainRequest(classes=names, out=out, log_dir=log_dir or out / "log", **given)
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


def _size(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    parts = value.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise click.BadParameter(f"{value!r}; expected WIDTHxHEIGHT, as 1024x512")
    return int(parts[1]), int(parts[0])


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
@click.option("--mmseg", metavar="CONFIG", help="Export an mmsegmentation network: a configuration's path or name.")
@click.option("--torchvision", metavar="NAME", help="Export a torchvision segmentation network or detector.")
@click.option(
    "--checkpoint",
    "--weights",
    "weights",
    metavar="FILE",
    help="Its weights.  [default: the library's own, downloaded]",
)
@click.option(
    "--size", callback=_size, metavar="WxH", help="Fix its input to one picture of this size.  [default: any]"
)
@click.option("--score-threshold", type=click.FloatRange(0, 1), help="Least score of a detector's boxes.")
@click.option("--json", "as_json", is_flag=True, help="NDJSON events on stdout, nothing else there.")
def export(as_json: bool, mmseg: str | None, torchvision: str | None, output: Path | None, **given: Any) -> None:
    """Cut a network at a layer, or bring one from mmsegmentation or torchvision; either way an ONNX file.

    MODEL is an ONNX network of one image; without it, the embedded one. Without --layer the cut is at the last feature
    maps of strides 2 and 4, for `mrdo encode --metric FILE.onnx`. What the file says about its input is kept; the
    options from --layout to --std add what it does not say.

    --mmseg and --torchvision write a whole network with normalisation inside, for --model and --judge, and check its
    answers against torch's.
    """
    reporter = Reporter(json=as_json)
    if mmseg is None and torchvision is None:
        _refuse(given, ("weights", "size", "score_threshold"), "belongs to --mmseg or --torchvision")
        _cut(output, reporter, **{k: v for k, v in given.items() if k not in ("weights", "size", "score_threshold")})
        return
    if mmseg is not None and torchvision is not None:
        raise click.UsageError("--mmseg and --torchvision are two networks; give one")
    _refuse(given, ("model", "layers", "listing", *MODEL_FLAGS), "does not go with --mmseg or --torchvision")
    if output is None:
        raise click.UsageError("give -o FILE.onnx")
    _bring(mmseg, torchvision, output, reporter, given)


MODEL_FLAGS = ("layout", "color", "range", "mean", "std")


def _refuse(given: dict[str, Any], names: tuple[str, ...], why: str) -> None:
    for name in names:
        if given[name] is not None and given[name] is not False and given[name] != ():
            raise click.UsageError(f"--{name.replace('_', '-').replace('layers', 'layer')} {why}")


def _bring(mmseg: str | None, torchvision: str | None, output: Path, reporter: Reporter, given: dict[str, Any]) -> None:
    weights = None if given["weights"] in (None, "default") else Path(given["weights"])
    if mmseg is not None:
        from models.zoo.mmseg import export_mmseg

        _refuse(given, ("score_threshold",), "is for detectors")
        made = export_mmseg(mmseg, weights, output, given["size"], reporter.note)
    else:
        from models.zoo.torchvision import export_torchvision

        threshold = given["score_threshold"]
        made = export_torchvision(str(torchvision), weights, output, given["size"], threshold, reporter.note)
    size = "any size" if made.size is None else f"{made.size[1]}x{made.size[0]}"
    names = f"{len(made.classes)} classes" if made.classes else "classes without names"
    agreement = f"differs from torch by {made.difference:.1e} at most"
    reporter.show(f"{output}: opset {made.opset}, {size}, {names}; {agreement} ({made.compared} answers)")
    reporter.event(
        "result",
        network=str(output),
        opset=made.opset,
        size=made.size,
        classes=list(made.classes),
        difference=made.difference,
        compared=made.compared,
    )


def _cut(
    output: Path | None, reporter: Reporter, model: Path | None, layers: tuple[str, ...], listing: bool, **stated: Any
) -> None:
    source = model or default_model_path()
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

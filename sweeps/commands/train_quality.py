"""``mrdo train quality``: a network that tells a coded picture's quality for detectors without the original."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sweeps.options import command as new_command
from sweeps.options import json_option

CODECS = ("x264", "x265", "jpeg")


@new_command("quality")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder of everything made.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of pictures, instead of generated street video.")
@click.option("--limit", type=click.IntRange(min=10), help="Most pictures taken from --data.")
@click.option("--clips", default=80, type=click.IntRange(2, 900), help="Generated clips to learn from.")
@click.option("--test-clips", default=10, type=click.IntRange(1, 99), help="Generated clips that only judge.")
@click.option("--frames", default=9, type=click.IntRange(min=1), help="Frames of a generated clip; every 4th is used.")
@click.option("--codec", "codecs", type=click.Choice(CODECS), multiple=True, help="Repeatable.  [default: all three]")
@click.option("--share", default=3, type=click.IntRange(min=1), help="Code each training clip in every n-th way.")
@click.option(
    "--features", type=click.Path(path_type=Path), help="Network of the full-reference metric.  [default: the embedded]"
)
@click.option("--layer", help="Its layer, by name; `mrdo export --list` has them.  [default: the first convolution]")
@click.option("--form", type=click.Choice(["ratio", "log"]), default="ratio", help="Of the full-reference metric.")
@click.option("--width", default=0.25, help="Share of AlexNet's channels; 1 is the paper's size.")
@click.option("--steps", default=2000, type=click.IntRange(min=1), help="Optimiser steps.")
@click.option("--batch", default=32, type=click.IntRange(min=2), help="Patches of 224×224 in a step.")
@click.option("--lr", default=0.02, help="Peak learning rate.")
@click.option("--optimizer", type=click.Choice(["sgd", "adamw"]), default="sgd", help="The paper takes SGD.")
@click.option("--seed", default=0, type=click.IntRange(min=0), help="Of clips, weights and patches.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option("--minutes", type=float, help="Stop the training after this time; --resume goes on.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out; pictures are never coded twice.")
@json_option
def command(**given: Any) -> None:
    """Learn to tell the quality of coded pictures for detectors without their originals (seed 003, section 5).

    Pictures are coded by real encoders, the DCT ratio of a network's first layer says what each lost, and a network of
    five convolutions and four fully connected layers learns that from random patches of the coded pictures alone.
    `mrdo metrics predict` runs it on any video.
    """
    from sweeps.options import reporter
    from sweeps.quality_training import QualityRequest, run_quality_training

    say = reporter(given)
    result = run_quality_training(QualityRequest.of({**given, "codecs": given["codecs"] or CODECS}), say)
    say.show(fidelity_table(result))
    say.event("result", **result)
    say.note(f"network: {result['network']}")


def fidelity_table(result: Mapping[str, Any]) -> Any:
    """Predictions against the full-reference metric on held-out pictures."""
    from rich.table import Table

    table = Table(title=f"predicted quality on held-out pictures, {result['steps']} steps")
    for heading in ("codec", "pictures", "LCC", "SROCC", "KRCC", "MSE", "MAE"):
        table.add_column(heading, justify="left" if heading == "codec" else "right")
    for name, row in {**result["codecs"], "all": result["held_out"]}.items():
        values = (f"{row[k]:.3f}" for k in ("lcc", "srocc", "krcc", "mse", "mae"))
        table.add_row(name, str(row["count"]), *values)
    return table

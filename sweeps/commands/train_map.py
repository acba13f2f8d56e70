"""``mrdo train map``: the network behind ``--map learned``, from what attribution says of many pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sweeps.options import command as new_command
from sweeps.options import json_option


@new_command("map")
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="Folder of pictures, or with train/ in it."
)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder for labels and networks.")
@click.option(
    "--network",
    "networks",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Gives labels; repeatable.  [default: the embedded one]",
)
@click.option("--variant", type=click.Choice(["image", "pass", "head"]), default="image", show_default=True)
@click.option(
    "--scenes", default=150, show_default=True, type=click.IntRange(min=0), help="Procedural scenes labelled."
)
@click.option("--limit", type=click.IntRange(min=1), help="Label only so many of the pictures.")
@click.option(
    "--variations", default=0, show_default=True, type=click.IntRange(min=0), help="Further changes of every picture."
)
@click.option("--guide", type=click.Path(path_type=Path), help="Map network of an earlier round that now guides x265.")
@click.option("--init", type=click.Path(path_type=Path), help="checkpoint.pt of a network to start from (fpn-lite0).")
@click.option("--steps", default=1500, show_default=True, type=click.IntRange(min=1), help="Optimiser steps.")
@click.option("--batch", default=8, show_default=True, type=click.IntRange(min=2))
@click.option("--lr", default=1e-3, show_default=True, help="Peak learning rate.")
@click.option("--seed", default=0, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=int, default=None, help="CPU threads.")
@click.option("--minutes", type=float, default=None, help="Stop the training after this time; --resume goes on.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out; labels are never made twice.")
@json_option
def command(**given: Any) -> None:
    """Label pictures with attribution maps, train a map network on them and write it as ONNX with a card.

    Variants: image sees the original alone, pass the first pass as well, head only the driving network's answer.
    """
    from sweeps.map_training import MapRequest, run_map_training
    from sweeps.options import reporter

    say = reporter(given)
    result = run_map_training(MapRequest.of(given), say)
    say.show(f"{result['network']}: {result['step']} steps on {result['labels']} labelled pictures")
    say.event("result", **result)

"""``mrdo train block``: the network behind ``--metric learned``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sweeps.options import command as new_command
from sweeps.options import json_option
from sweeps.paramtypes import INTS, Parsed, parse_ints

SOME = Parsed("LIST", lambda text: parse_ints(text) if text else ())
"""As ``INTS``, or nothing at all."""


@new_command("block")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder with train/ and val/ pictures.")
@click.option("--model", type=click.Path(path_type=Path), help="Network to predict.  [default: the embedded one]")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder for data and network.")
@click.option("--qps", type=INTS, default="22-49:3", help="QPs of the training pictures, x265 all-intra.")
@click.option("--map-qps", type=SOME, default="32,40", help="QPs coded with side information as well; may be empty.")
@click.option("--jpeg", type=SOME, default="4,10,25", help="JPEG qualities coded as well; may be empty.")
@click.option("--test-qps", type=INTS, default="22-49:3", help="QPs of the held-out pictures, preset slow.")
@click.option("--preset", default="veryfast", help="Of the training pictures.")
@click.option("--share", default=5, type=click.IntRange(min=1), help="Code each picture in every n-th way.")
@click.option("--scenes", default=60, type=click.IntRange(min=0), help="Procedural scenes to learn from.")
@click.option("--step", default=2, type=click.IntRange(min=1), help="Take every n-th of the held-out pictures.")
@click.option("--blocks", default=4000, type=click.IntRange(min=1), help="Blocks of each size to learn from.")
@click.option("--steps", default=1200, type=click.IntRange(min=1), help="Optimiser steps.")
@click.option("--batch", default=8, type=click.IntRange(min=2))
@click.option("--side", default=256, help="Training windows in samples, a multiple of 128.")
@click.option("--lr", default=1.5e-3, help="Peak learning rate.")
@click.option("--seed", default=0)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
@click.option("--threads", type=int, default=None, help="CPU threads.")
@click.option("--minutes", type=float, default=None, help="Stop the training after this time; --resume goes on.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out; data is never made twice.")
@json_option
def command(**given: Any) -> None:
    """Learn where a network changes its mind when a picture is coded, and how well that predicts blocks' accuracy.

    Pictures are coded, the network labels originals and results, a smaller network learns from both pictures which
    labels change. Held-out pictures (val) give the correlations, on blocks drawn by the protocol of QoMEX 2023.
    """
    from sweeps.block_training import BlockRequest, run_block_training
    from sweeps.options import reporter

    say = reporter(given)
    result = run_block_training(BlockRequest.of(given), say)
    say.show(f"{result['network']}: {result['ratio']:.1f} times as fast as the network it predicts")
    say.event("result", **result)

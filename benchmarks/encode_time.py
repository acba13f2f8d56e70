"""Encode time of every kind of side information over plain x265: one run, arms in turn, medians.

    python benchmarks/encode_time.py FRAMES --frames 30 --preset slow --gop intra
    python benchmarks/encode_time.py FRAMES --frames 30 --preset slow --whole learned,kl

In the arms of the first table maps are computed beforehand and not counted. With ``--whole`` the arms are the maps
named, and their first passes and networks count. The table goes to stdout.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from pathlib import Path
from typing import Any

import click

from encoder_bridge.config import CodingConfig, MapConfig
from encoder_bridge.console import Reporter
from sweeps import session
from sweeps.coding import Coder
from sweeps.options import (
    coding_config,
    coding_options,
    input_options,
    map_options,
    model_options,
    run_options,
    run_opts,
)
from sweeps.workspace import Workspace

ARMS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "neutral plugin": {},
    "QP map 32×32": {"group": 32},
    "weights 8×8 alone": {"qp_map": False, "weights": True},
    "QP map 64×64 + weights": {"group": 64, "weights": True},
}


def arm_config(config: CodingConfig, settings: dict[str, Any] | None) -> CodingConfig:
    """The configuration of one arm."""
    if not settings:
        return dataclasses.replace(config, rdo="psnr", map=None, neutral=settings is not None)
    return dataclasses.replace(config, map=dataclasses.replace(config.map or MapConfig(), **settings))


@click.command()
@input_options
@coding_options()
@map_options
@model_options
@run_options
@click.option("--repeats", default=3, show_default=True)
@click.option("--whole", metavar="MAPS", help="Count everything that these maps need, as learned,kl.")
def main(**options: Any) -> None:
    """Print median encode seconds and their ratio to the plain encoder's."""
    say = Reporter(json=False)
    source = session.open_input(options, say)
    config = coding_config(options, source.format)
    maker = session.map_maker(options, session.driver(options), config)
    whole = options["whole"].split(",") if options["whole"] else []
    arms = {"plain": None, **{f"--map {name}": {"name": name} for name in whole}} if whole else ARMS
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    with tempfile.TemporaryDirectory() as folder:
        coder = Coder(Workspace(Path(folder)), run_opts(options), say, maker)
        for _ in range(options["repeats"]):
            for name, settings in arms.items():
                encoded = coder.encode(source, arm_config(config, settings))
                rest = encoded.first_pass_s + encoded.map_s if whole else 0.0
                seconds[name].append(encoded.stream.encode_s + rest)
            for kept in (*Path(folder).glob("streams/*"), *Path(folder).glob("maps/*")):
                kept.unlink()
    plain = statistics.median(seconds["plain"])
    click.echo("| arm | encode s | ratio |\n|---|---|---|")
    for name, values in seconds.items():
        click.echo(f"| {name} | {statistics.median(values):.2f} | {statistics.median(values) / plain:.2f} |")


if __name__ == "__main__":
    main()

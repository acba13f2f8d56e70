"""Encode time of every kind of side information over plain x265: one run, arms in turn, medians.

    python benchmarks/encode_time.py FRAMES --frames 30 --preset slow --gop intra

Maps are computed beforehand and not counted. The table goes to stdout.
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
def main(**options: Any) -> None:
    """Print median encode seconds and their ratio to the plain encoder's."""
    say = Reporter(json=False)
    source = session.open_input(options, say)
    config = coding_config(options, source.format)
    maker = session.map_maker(options, session.driver(options), config)
    seconds: dict[str, list[float]] = {name: [] for name in ARMS}
    with tempfile.TemporaryDirectory() as folder:
        coder = Coder(Workspace(Path(folder)), run_opts(options), say, maker)
        for _ in range(options["repeats"]):
            for name, settings in ARMS.items():
                encoded = coder.encode(source, arm_config(config, settings))
                seconds[name].append(encoded.stream.encode_s)
            for stream in (Path(folder) / "streams").iterdir():
                stream.unlink()
    plain = statistics.median(seconds["plain"])
    click.echo("| arm | encode s | ratio |\n|---|---|---|")
    for name, values in seconds.items():
        click.echo(f"| {name} | {statistics.median(values):.2f} | {statistics.median(values) / plain:.2f} |")


if __name__ == "__main__":
    main()

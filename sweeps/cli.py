"""``mrdo``: the root of the command line. Subcommands are imported when they run, so ``mrdo --help`` is instant."""

from __future__ import annotations

import configparser
import importlib.metadata
import sys
from pathlib import Path

import click

from encoder_bridge.shell import run_cli
from sweeps.lazy import LazyGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "doctor": ("sweeps.checks:doctor", "Say what is installed, what is missing and how to get it."),
    "build": ("encoder_bridge.cli:build", "Build an encoder with the machine-RDO hook into your cache folder."),
    "encode": ("sweeps.commands.encode:command", "Turn a video into a standard stream tuned for a network."),
    "decode": ("encoder_bridge.cli:decode", "Turn a stream back into pictures."),
    "score": ("sweeps.commands.score:command", "Measure what coding did to a network's accuracy."),
    "metrics": ("sweeps.commands.metrics:command", "What can be measured, and what predicts a network's accuracy."),
    "compare": ("sweeps.commands.compare:command", "Machine-aware against PSNR coding: RD curves and BD-rates."),
    "sweep": ("sweeps.commands.sweep:command", "Many configurations over many inputs, or many videos with one."),
    "status": ("sweeps.commands.status:command", "How far a sweep is, while it runs or afterwards."),
    "store": ("sweeps.commands.store:command", "Records out of their file (Parquet, SQLite, ...), merged, checked."),
    "demo": ("sweeps.commands.demo:command", "The whole comparison on the embedded clip, with pictures."),
    "tables": ("sweeps.commands.tables:command", "Tables of the papers from result stores: BD-rates, hulls, ratios."),
    "report": ("sweeps.commands.report:command", "One HTML page of results: curves, BD-rates, pictures; no network."),
    "train": ("sweeps.commands.train:command", "Train a network: segmentation, robust to coding, maps, metrics."),
    "export": ("models.cli:export", "Cut a network at a layer, or bring one from mmsegmentation or torchvision."),
}
"""Name → (``module:attribute``, one line of help)."""


def version() -> str:
    """Of this software, as installed or as the tree says."""
    try:
        return importlib.metadata.version("machine-rdo")
    except importlib.metadata.PackageNotFoundError:
        parser = configparser.ConfigParser()
        parser.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")
        return parser.get("metadata", "version", fallback="unknown")


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"mrdo {version()}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def cli() -> None:
    """Video coding whose rate-distortion optimisation listens to a neural network.

    Start with `mrdo doctor`, then `mrdo demo`. Every command takes --json (NDJSON on stdout, nothing else there);
    progress and messages go to stderr. Exit codes: 0 success, 2 wrong usage, 1 failure, 130 and 143 when
    interrupted by Ctrl-C and SIGTERM.
    """


def main() -> None:
    """Entry point of the ``mrdo`` script."""
    sys.exit(run_cli(cli))


if __name__ == "__main__":
    main()

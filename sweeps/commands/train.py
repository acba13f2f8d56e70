"""``mrdo train``: networks, compression-robust networks, and the small networks that guide and judge an encoder."""

from __future__ import annotations

import click

from sweeps.lazy import LazyGroup

TRAININGS: dict[str, tuple[str, str]] = {
    "network": ("models.cli:train", "A segmentation network from images and labels (what `mrdo train --data` does)."),
    "progressive": ("sweeps.commands.train_progressive:command", "Networks robust to compression, one a setting."),
    "map": ("sweeps.commands.train_map:command", "The network behind `--map learned`, from attribution maps."),
    "block": ("sweeps.commands.train_block:command", "The network behind `--metric learned`: a block's task loss."),
    "objects": ("sweeps.commands.train_objects:command", "Metrics of detected objects, faces and plates."),
    "quality": ("sweeps.commands.train_quality:command", "Quality for detectors, told without the original."),
}


@click.group(
    cls=LazyGroup,
    table=TRAININGS,
    fallback="network",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
def command() -> None:
    """Train a network; `mrdo train WHAT --help` has the options.

    Without WHAT it is a segmentation network: `mrdo train --data camvid -o out`.
    """

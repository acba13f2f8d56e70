"""``mrdo metrics``: what can be measured, and what any of it says about the accuracy of networks."""

from __future__ import annotations

import click

from sweeps.lazy import LazyGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "list": ("sweeps.commands.metrics_list:command", "Every metric and map: range, direction, smallest picture."),
    "correlate": (
        "sweeps.commands.metrics_correlate:command",
        "Which metric predicts what a network sees: correlations over coded pictures.",
    ),
    "detection": (
        "sweeps.commands.metrics_detection:command",
        "What a detector still finds in coded videos, and which metrics say so.",
    ),
    "predict": ("sweeps.commands.metrics_predict:command", "Quality of a coded video told without its original."),
}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
def command() -> None:
    """Measures of what coding did: image quality, what a network lost, and which of the two predicts which."""

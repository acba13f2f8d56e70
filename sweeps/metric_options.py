"""Options of the commands that score with image quality metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sweeps.sections import SectionedOption

F = TypeVar("F", bound=Callable[..., Any])


def metric_weights_option(function: F) -> F:
    """``--metric-weights``: where the learned weights of LPIPS and DISTS are."""
    return click.option(
        "--metric-weights",
        type=click.Path(path_type=Path),
        metavar="DIR",
        cls=SectionedOption,
        section="Image quality",
        help="Folder with the weights of lpips and dists.  [default: $MRDO_IQA_WEIGHTS, then torch.hub's]",
    )(function)


def quality_options(function: F) -> F:
    """``--metric`` and ``--metric-weights``."""
    metric = click.option(
        "--metric",
        "metrics",
        multiple=True,
        metavar="NAME",
        cls=SectionedOption,
        section="Image quality",
        help="Image quality metric on luma, as ssim; `mrdo metrics list` has them; repeatable.",
    )
    return metric(metric_weights_option(function))

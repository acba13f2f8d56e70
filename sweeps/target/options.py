"""Options of ``mrdo encode --target-accuracy``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from encoder_bridge.config import RDO_MODES, CodingConfig
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import ConfigError
from encoder_bridge.frames import VideoFormat
from sweeps.options import Options, coding_config
from sweeps.paramtypes import Parsed, parse_floats, parse_modes
from sweeps.sections import SectionedOption
from sweeps.target.probing import METRICS, SCALES, Space
from sweeps.target.search import Goal
from sweeps.target.shots import DEFAULT_THRESHOLD

F = TypeVar("F", bound=Callable[..., Any])
AUTO_MODES = ("psnr", "map")
"""What ``--rdo auto`` tries: candidates judged by a network cost too much time to be probed unasked."""
_GOAL = Goal(0.95)
_OWN_FLAGS = {
    "target_metric": "--target-metric",
    "max_probes": "--max-probes",
    "tolerance": "--tolerance",
    "shortfall": "--shortfall",
    "shots": "--shots",
    "shot_threshold": "--shot-threshold",
    "probes": "--probes",
}


def parse_scales(text: str) -> tuple[float, ...]:
    """``auto``, a number, or several with commas between them."""
    return SCALES if text == "auto" else tuple(dict.fromkeys(parse_floats(text)))


def parse_search_modes(text: str) -> tuple[str, ...]:
    """``auto``, an RDO mode, or several with commas between them."""
    return AUTO_MODES if text == "auto" else parse_modes(text)


SCALE_CHOICE = Parsed("AUTO|LIST", parse_scales)
MODE_CHOICE = Parsed("AUTO|LIST", parse_search_modes)
RDO_ROW = (
    ("--rdo",),
    {
        "type": MODE_CHOICE,
        "default": "map",
        "help": "psnr codes plainly, map tells the encoder what the network needs, ctu asks about each CTU, or map+ctu "
        "for both; with a target also several, as psnr,map, or auto for these two.",
    },
)


def target_options(function: F) -> F:
    """What accuracy is wanted, and how it is searched for."""
    rows: tuple[tuple[str, dict[str, Any]], ...] = (
        (
            "--target-accuracy",
            {
                "type": float,
                "metavar": "SHARE",
                "help": "Search for the lowest rate at which the network keeps this accuracy, as 0.95; over the "
                "quality, and over resolutions with --scale auto, RDO modes with --rdo auto.",
            },
        ),
        (
            "--target-metric",
            {
                "type": click.Choice(METRICS),
                "default": METRICS[0],
                "help": "Accuracy against what the network sees in the input: share of equal pixels, or mean IoU.",
            },
        ),
        (
            "--tolerance",
            {
                "type": float,
                "default": _GOAL.tolerance,
                "help": "Up to this much above the target is on target; as much below where nothing comes nearer.",
            },
        ),
        (
            "--shortfall",
            {
                "type": float,
                "metavar": "FLOAT",
                "help": "Up to this much below the target is on target, where the rate is worth it; 0 for never.  "
                "[default: half the tolerance]",
            },
        ),
        (
            "--max-probes",
            {
                "type": click.IntRange(min=1),
                "default": _GOAL.max_probes,
                "metavar": "N",
                "help": "Most encodes tried, for each shot.",
            },
        ),
        (
            "--shots/--no-shots",
            {"default": True, "help": "Search each shot for itself; all share one resolution."},
        ),
        (
            "--shot-threshold",
            {"type": float, "default": DEFAULT_THRESHOLD, "help": "Least change that is a cut, 0 to 100 (scdet)."},
        ),
        (
            "--probes",
            {
                "type": click.Path(file_okay=False),
                "metavar": "DIR",
                "help": "Keep what was tried here; a second call repeats nothing.  [default: OUTPUT.probes]",
            },
        ),
    )
    for name, settings in reversed(rows):
        function = click.option(name, cls=SectionedOption, section="Target", **settings)(function)
    return function


def single_choice(options: Options, given: Callable[[str], bool]) -> dict[str, Any]:
    """The options of one plain encode; ConfigError where they ask for a search without a target."""
    lost = [flag for name, flag in _OWN_FLAGS.items() if given(name)]
    if lost:
        raise ConfigError(f"{', '.join(lost)} without --target-accuracy; expected --target-accuracy 0.95, say")
    for name in ("scale", "rdo"):
        if len(options[name]) > 1:
            listed = ",".join(f"{value:g}" if name == "scale" else value for value in options[name])
            raise ConfigError(f"--{name} {listed} without --target-accuracy; expected one value, or a target")
    return {**options, "scale": options["scale"][0], "rdo": options["rdo"][0]}


def goal_of(options: Options) -> Goal:
    """The goal; ConfigError for impossible values, and for a rate given beside it."""
    rates = [f"--{name}" for name in ("qp", "crf", "bitrate") if options[name] is not None]
    if rates:
        raise ConfigError(f"{', '.join(rates)} with --target-accuracy; expected one or the other")
    if options["inspect"] is not None:
        raise ConfigError("--inspect with --target-accuracy; expected it in a second call, with the --qp chosen")
    return Goal(options["target_accuracy"], options["tolerance"], options["max_probes"], options["shortfall"])


def space_of(options: Options, fmt: VideoFormat) -> Space:
    """What may be chosen; ConfigError for settings that no encode could have."""
    modes: tuple[str, ...] = options["rdo"]
    templates: dict[str, CodingConfig] = {}
    for mode in modes:
        assert mode in RDO_MODES
        one = {**options, "rdo": mode, "modes": modes, "scale": 1.0}
        templates[mode] = coding_config(one, fmt)
    ENCODERS.get(options["codec"])
    return Space(templates, options["scale"])

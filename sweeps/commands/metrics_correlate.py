"""``mrdo metrics correlate``: which metric predicts what a network sees (QoMEX 2023)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sweeps.metric_options import metric_weights_option
from sweeps.options import command as new_command
from sweeps.options import input_options, judge_options, model_options, reporter, run_options, run_opts
from sweeps.paramtypes import FLOATS, INTS, Parsed, parse_ints
from sweeps.sections import SectionedOption


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise ValueError(f"{text!r}: expected names with commas between them")
    return names


def _sides(text: str) -> tuple[int, ...]:
    sides = parse_ints(text)
    if sides[0] < 1:
        raise ValueError(f"{sides[0]}: expected sides of at least 1 sample")
    return sides


LIST = Parsed("NAMES", _names)
SIDES = Parsed("LIST", _sides)
F = TypeVar("F", bound=Callable[..., Any])


def _option(section: str, *names: str, **settings: Any) -> Callable[[F], F]:
    return click.option(*names, cls=SectionedOption, section=section, **settings)


@new_command("correlate")
@input_options
@_option("Coding", "--codecs", type=LIST, default="jpeg,x265", help="Encoders; `mrdo doctor` lists them.")
@_option("Coding", "--qps", type=INTS, help="QPs of codecs that have them.  [default: 0-50:5]")
@_option("Coding", "--qualities", type=INTS, help="Of JPEG and others.  [default: 5,7,10,15,20,25,30,35,50,70,90]")
@_option("Coding", "--scales", type=FLOATS, default="0.25,0.5,0.75,1", help="Code at these fractions of the size.")
@_option("Coding", "--preset", help="Of every codec with QPs.  [default: each one's own; VVenC: fast]")
@_option("Pairs", "--step", type=click.IntRange(min=1), default=1, help="Take every n-th picture.")
@_option("Pairs", "--side", type=SIDES, default="32,64,128", help="Sides of blocks.")
@_option("Pairs", "--count", type=click.IntRange(min=10), default=4096, help="Blocks of each size.")
@_option("Pairs", "--image-step", type=click.IntRange(min=0), default=1, help="Whole pictures: every n-th; 0 for none.")
@_option(
    "Pairs",
    "--against",
    type=click.Choice(["pseudo", "labels"]),
    default="pseudo",
    help="Accuracy against the network's labels of the original, or --labels.",
)
@_option("Pairs", "--seed", default=0, help="Of the draws of blocks.")
@_option(
    "Metrics",
    "--metric",
    "metrics",
    type=LIST,
    multiple=True,
    metavar="NAME",
    help="Only this metric, or FILE.onnx; `mrdo metrics list` has the names; repeatable.  [default: all]",
)
@metric_weights_option
@_option("Metrics", "--bootstrap", type=click.IntRange(min=10), default=500, help="Resamples for intervals.")
@_option("Metrics", "--together", type=click.IntRange(min=1), default=1, help="Neighbouring pictures drawn as one.")
@model_options
@judge_options
@run_options
@click.option("--figures/--no-figures", default=True, help="Draw densities, histograms, examples and scatter plots.")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder.")
def command(**options: Any) -> None:
    """Code pictures in many ways and tell which metric predicts what a network makes of them.

    INPUT is a folder of pictures, a video, the word `embedded`, or a folder of recorded scores like those of QoMEX 2023
    (32x32_metrics.json, ...), which are correlated as they are. The accuracy of whole pictures and of blocks drawn
    evenly over all accuracies is correlated with every metric that is here: quality metrics, machine metrics of the
    network that drives (--model), and QP and rate. With --labels, blocks with unlabelled pixels are left out. Started
    again with the same output folder, the command repeats nothing that is finished.
    """
    from sweeps import session
    from sweeps.coding import Coder
    from sweeps.study.catalogue import Catalogue
    from sweeps.study.coded import CodedPictures, EveryNth
    from sweeps.study.plan import configurations
    from sweeps.study.present import present, present_recorded
    from sweeps.study.recorded import is_recorded
    from sweeps.study.study import Request, run_study
    from sweeps.study.table import Bootstrap
    from sweeps.workspace import Workspace

    say, folder = reporter(options), options["output"]
    bootstrap = Bootstrap(options["bootstrap"], together=options["together"])
    if is_recorded(Path(options["input"])):
        present_recorded(Path(options["input"]), folder, bootstrap, say)
        return
    configs = configurations(
        options["codecs"], options["scales"], options["qps"], options["qualities"], options["preset"]
    )
    source = session.open_input(options, say)
    request = Request(
        options["side"], options["count"], options["against"], options["image_step"], bootstrap, options["seed"]
    )
    request.check((source.format.height, source.format.width))
    driving = session.driver(options)
    judges = session.judges(options, driving)
    labels = session.labels_of(options, source)
    catalogue = Catalogue(driving, options["device"], options["metric_weights"])
    names = [name for part in options["metrics"] for name in part]
    measures = catalogue.chosen(names) if names else catalogue.default(say)
    coder = Coder(Workspace(folder), run_opts(options), say)
    made = CodedPictures(EveryNth(source, options["step"]), configs, coder, labels, options["step"])
    study = run_study(made, judges, measures, request, folder)
    present(study, measures, made, folder, say, figures=options["figures"])

"""``mrdo report``: a result store as one page."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from encoder_bridge.frames import MATRICES, RANGES, FrameSource
from sweeps.options import Options, json_option, reporter
from sweeps.options import command as new_command
from sweeps.paramtypes import FORMAT, FPS, SIZE


@new_command("report")
@click.argument("stores", metavar="STORE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", default="report", type=click.Path(path_type=Path), help="Folder for index.html, or an .html file."
)
@click.option(
    "--original", "originals", multiple=True, metavar="INPUT", help="Video that was coded, to show it; repeatable."
)
@click.option("--every", type=click.IntRange(min=1), default=1, metavar="N", help="As the originals were coded.")
@click.option("--size", type=SIZE, help="Raw originals: width and height, as 1920x1080.")
@click.option("--format", type=FORMAT, help="Samples of raw originals, as yuv420p10le; of images: what they become.")
@click.option("--fps", type=FPS, help="Frame rate of raw originals and image folders.")
@click.option("--matrix", type=click.Choice(MATRICES), help="Colour matrix of the originals, as it was given.")
@click.option("--range", type=click.Choice(RANGES), help="Sample range of the originals, as it was given.")
@click.option("--model", "models", multiple=True, metavar="ONNX", help="Network of the records; repeatable.")
@click.option("--anchor", metavar="CODEC", help="Encoder that others are compared with.  [default: the first]")
@click.option("--bootstrap", default=1000, type=click.IntRange(min=10), help="Resamples for confidence intervals.")
@click.option("--frames", default=4, type=click.IntRange(min=0), metavar="N", help="Frames in the viewer; 0: none.")
@click.option("--width", default=640, type=click.IntRange(min=64), help="Width of pictures at most.")
@click.option("--budget", default=12.0, type=click.FloatRange(min=0.1), metavar="MB", help="Size of all pictures.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where networks run.")
@json_option
def command(**options: Any) -> None:
    """Make one HTML page of the results in one or several STOREs: curves, BD-rates, pictures.

    A STORE is a folder that mrdo compare, mrdo demo or mrdo sweep wrote. The page holds everything it shows: it can be
    mailed, printed, and read without a network. Originals and networks that come with this software are found by
    themselves; others are told by their samples and their digest.
    """
    from sweeps.cli import version
    from sweeps.report.build import ReportRequest, write_report
    from sweeps.report.gallery import GalleryOptions

    say = reporter(options)
    request = ReportRequest(
        stores=options["stores"],
        output=options["output"],
        open_path=partial(_open, options),
        originals=options["originals"],
        models=options["models"],
        anchor=options["anchor"],
        bootstrap=options["bootstrap"],
        gallery=GalleryOptions(options["frames"], options["width"], int(options["budget"] * 1e6)),
        device=options["device"],
        line=_line(sys.argv[1:]),
        version=version(),
    )
    result = write_report(request, say)
    say.event("result", **result)
    say.show(
        f"{result['output']}: {result['bytes'] / 1e6:.1f} MB, {result['runs']} runs, {result['failed']} failed, "
        f"{result['streams_shown']} streams and {result['frames_shown']} frames to look at"
    )


def _open(options: Options, path: str) -> FrameSource:
    """A video as it was given to the command that coded it."""
    from sweeps.options import raw_spec, source_options
    from sweeps.plan import InputFile

    stated = InputFile(path, Path(path).name, every=options["every"], raw=raw_spec(options))
    return replace(stated, options=source_options(options)).open()


def _line(words: list[str]) -> str:
    """The command without the folders of this machine: the page may be read on another one."""
    return shlex.join(["mrdo", *(Path(word).name if Path(word).is_absolute() else word for word in words)])

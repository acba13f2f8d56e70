"""``mrdo score``: what a network sees in any pair of videos."""

from __future__ import annotations

from typing import Any

import click

from sweeps.options import command as new_command
from sweeps.options import input_options, judge_options, model_options, reporter, run_options


@new_command("score")
@input_options
@click.argument("test", metavar="TEST")
@model_options
@judge_options
@click.option(
    "--coded",
    metavar="CODEC:QP[:SCALE]",
    help="How TEST was coded, as x265:32 or x265:32:0.5; a --judge that is a set of networks needs to know.",
)
@run_options
def command(**options: Any) -> None:
    """Score the video TEST against INPUT: PSNR, and what networks see in it that they did not see in INPUT.

    Any two videos with as many frames; TEST may have another resolution and codec.
    """
    from sweeps import session
    from sweeps.arrayfile import read_frames
    from sweeps.coded import members
    from sweeps.pseudo import pseudo_labels
    from sweeps.scoring import score_video
    from sweeps.tables import score_table
    from sweeps.workspace import Workspace

    say = reporter(options)
    with session.scratch(options) as folder:
        reference = session.Once(session.open_input(options, say))
        test = session.open_test(options, say)
        networks = session.judges(options, session.driver(options), reference.format.chroma == "400")
        seeing = members(networks, options["coded"])
        labels = session.labels_of(options, reference)
        workspace = Workspace(folder)
        pseudo = {n.name: read_frames(pseudo_labels(reference, n, workspace, say)) for n in networks}
        with say.task("score", reference.frame_count) as advance:
            scores = score_video(reference, test, seeing, pseudo, labels, advance)
    summary, psnr = scores.summary(), scores.psnr()
    say.event("result", reference=options["input"], test=options["test"], psnr=psnr, scores=summary)
    say.show(score_table(psnr, summary))

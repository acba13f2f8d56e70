"""``mrdo score``: what a network sees in any pair of videos."""

from __future__ import annotations

from typing import Any

import click

from sweeps.metric_options import quality_options
from sweeps.options import command as new_command
from sweeps.options import input_options, judge_options, model_options, reporter, run_options


@new_command("score")
@input_options
@click.argument("test", metavar="TEST")
@model_options
@judge_options
@quality_options
@click.option(
    "--coded",
    metavar="CODEC:QP[:SCALE]",
    help="How TEST was coded, as x265:32 or x265:32:0.5; a --judge that is a set of networks needs to know.",
)
@run_options
def command(**options: Any) -> None:
    """Score the video TEST against INPUT: PSNR, and what networks see in it that they did not see in INPUT.

    With --metric also by image quality metrics on luma, frame by frame. Any two videos with as many frames; TEST may
    have another resolution and codec.
    """
    from sweeps import session
    from sweeps.arrayfile import read_frames
    from sweeps.coded import members
    from sweeps.metric_scores import QualityWatch, quality_metrics, quality_table
    from sweeps.pseudo import pseudo_labels
    from sweeps.scoring import score_video
    from sweeps.tables import score_table
    from sweeps.workspace import Workspace

    say = reporter(options)
    with session.scratch(options) as folder:
        reference = session.Once(session.open_input(options, say))
        test = session.open_test(options, say)
        metrics = quality_metrics(options["metrics"], options["device"], options["metric_weights"])
        networks = session.judges(options, session.driver(options), reference.format.chroma == "400")
        seeing = members(networks, options["coded"])
        labels = session.labels_of(options, reference)
        workspace = Workspace(folder)
        pseudo = {n.name: read_frames(pseudo_labels(reference, n, workspace, say)) for n in networks}
        watching = QualityWatch(metrics, reference.format.bit_depth)
        with say.task("score", reference.frame_count) as advance, watching as watch:
            scores = score_video(reference, test, seeing, pseudo, labels, advance, watch.add)
            quality = watch.results()
    summary, psnr = scores.summary(), scores.psnr()
    measured = {name: score.to_json() for name, score in quality.items()}
    say.event("result", reference=options["input"], test=options["test"], psnr=psnr, scores=summary, metrics=measured)
    say.show(score_table(psnr, summary))
    if quality:
        say.show(quality_table(quality))

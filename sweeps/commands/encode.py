"""``mrdo encode``: a video in, a standard stream out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sweeps.options import (
    Options,
    candidate_options,
    coding_config,
    coding_options,
    input_options,
    is_given,
    map_options_with,
    model_options,
    reporter,
    run_options,
    run_opts,
)
from sweeps.options import command as new_command
from sweeps.target.options import RDO_ROW, SCALE_CHOICE, single_choice, target_options


@new_command("encode")
@input_options
@coding_options(scale=SCALE_CHOICE)
@map_options_with(RDO_ROW)
@target_options
@candidate_options
@model_options
@run_options
@click.option(
    "--inspect",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Also write a picture and the numbers of every frame's decisions into this folder.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(),
    help="Result: .mp4, .mkv or the codec's own.",
)
def command(**options: Any) -> None:
    """Turn a video into a standard stream whose rate-distortion decisions listened to a network.

    INPUT is a video, a raw .yuv with --size, a folder or glob of images, or - for Y4M on standard input.
    With --target-accuracy the quality, and with --scale auto and --rdo auto the resolution and the RDO mode, are
    searched for the lowest rate at which the network still sees what it sees in INPUT.
    """
    if options["target_accuracy"] is not None:
        from sweeps.target.run import encode_to_target

        encode_to_target(options, reporter(options))
        return
    encode(single_choice(options, is_given))


def encode(options: Options) -> None:
    """The stream of one configuration."""
    from encoder_bridge.encoders import ENCODERS
    from encoder_bridge.mux import check_output
    from sweeps import session
    from sweeps.coding import Coder, describe
    from sweeps.encoding import encode_file, seconds_of
    from sweeps.inspection import FrameLog, Inspection, write_inspection
    from sweeps.workspace import Workspace

    say, output = reporter(options), Path(options["output"])
    session.refuse_same_file(options["input"], output)
    with session.scratch(options) as folder:
        source = session.Once(session.open_input(options, say))
        config = coding_config(options, source.format)
        check_output(output, ENCODERS.get(config.codec).codec, source.format.sar)
        say.note(session.describe_input(source, options["input"]))
        session.note_padding(source.format, config, say)
        inspected = session.inspection_folder(options, config)
        driving = session.driver(options) if session.asks_driver(config) or inspected else None
        makers = session.map_maker(options, driving, config), session.judge_maker(options, driving, config)
        coder = Coder(Workspace(folder), run_opts(options), say, *makers)
        log = FrameLog()
        encoded = encode_file(source, config, coder, output, log.add if inspected else None)
        stream = encoded.stream
        if inspected is not None:
            seen = Inspection(source, coder.coded(source, config), config, encoded, log, driving)
            write_inspection(seen, inspected, say)
    seconds = seconds_of(source)
    say.event(
        "result",
        output=str(output),
        what=describe(config),
        bits=stream.bits,
        frames=stream.frames,
        kbps=stream.bits / 1000 / seconds,
        encode_s=stream.encode_s,
        first_pass_s=encoded.first_pass_s,
        map_s=encoded.map_s,
        judging=encoded.judging,
        inspect=None if inspected is None else str(inspected),
        build=encoded.build.key(),
    )
    say.show(
        f"{output}: {stream.frames} frames, {stream.bits // 8} bytes, {stream.bits / 1000 / seconds:.1f} kbit/s; "
        f"encode {stream.encode_s:.1f} s, first pass {encoded.first_pass_s:.1f} s, map {encoded.map_s:.1f} s"
        + (f", judging {encoded.judge_s:.1f} s over all threads, meanwhile" if encoded.judging else "")
    )

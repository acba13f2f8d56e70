"""``mrdo metrics predict``: quality of a coded video for detectors, told without the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sweeps.options import command as new_command
from sweeps.options import input_options, reporter, run_options


@new_command("predict")
@input_options
@click.option("--network", required=True, type=click.Path(path_type=Path), help="quality.onnx of `mrdo train quality`.")
@click.option("--window", type=click.IntRange(min=1), metavar="N", help="Also the mean of every N frames.")
@click.option("--patches", default=2, type=click.IntRange(min=1), help="Patches of a frame that are looked at.")
@click.option("--seed", default=0, type=click.IntRange(min=0), help="Of the draw of patches.")
@run_options
def command(**options: Any) -> None:
    """Predict the DCT ratio of INPUT, a coded video or pictures, from it alone (seed 003); higher is worse.

    Two patches of each frame, drawn where a network's activations are unusual, are judged and averaged.
    """
    import numpy as np

    from encoder_bridge.color import planes_to_rgb
    from models.quality import QualityModel
    from rdo_metrics.dct_ratio import window_means
    from sweeps import session

    say = reporter(options)
    network = QualityModel(
        options["network"], options["device"], options["threads"], options["patches"], options["seed"]
    )
    source = session.open_input(options, say)
    values = []
    with say.task("predict", source.frame_count) as advance:
        for index, frame in enumerate(source):
            values.append(float(network(planes_to_rgb(frame.planes, source.format))[0]))
            say.event("frame", index=index, quality=values[-1])
            advance(1)
    found = window_means(values, options["window"]).tolist() if options["window"] else []
    say.show(f"predicted DCT ratio {np.mean(values):.4f} over {len(values)} frames (higher is worse)")
    for index, value in enumerate(found):
        say.show(f"frames {index * options['window']}–{(index + 1) * options['window'] - 1}: {value:.4f}")
    say.event("result", quality=float(np.mean(values)), frames=len(values), windows=found)

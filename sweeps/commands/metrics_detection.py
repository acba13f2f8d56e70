"""``mrdo metrics detection``: what a detector still finds in coded videos, and which metrics say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.extras import need
from encoder_bridge.frames import FrameSource, VideoFormat
from sweeps.options import Options, input_options, reporter, run_options
from sweeps.options import command as new_command

if TYPE_CHECKING:
    from sweeps.detection_quality import Judged


@new_command("detection")
@input_options
@click.argument("tests", metavar="TEST...", nargs=-1, required=True)
@click.option(
    "--detector", required=True, type=click.Path(path_type=Path), help="ONNX of `mrdo train objects` or `mrdo export`."
)
@click.option(
    "--boxes", type=click.Path(path_type=Path), help="True boxes, COCO JSON.  [default: what is found in INPUT]"
)
@click.option("--window", default=100, type=click.IntRange(min=1), metavar="N", help="Frames that AP is taken over.")
@click.option(
    "--features", type=click.Path(path_type=Path), help="Network of the DCT ratio.  [default: the embedded one]"
)
@click.option("--layer", help="Its layer, by name.  [default: the first convolution]")
@click.option("--score", default=0.3, type=click.FloatRange(0, 1), help="Least score of detections for Object IoU.")
@run_options
def command(**options: Any) -> None:
    """Score coded videos TEST against INPUT by what a detector finds: AP, Object IoU and Delta Object IoU.

    Beside them PSNR, SSIM and the DCT ratio of first-layer features (seed 003), and, over all windows of all videos,
    how well each of these goes with AP.
    """
    from sweeps import session
    from sweeps.detection_quality import correlations_of

    need("objects,exact", "pycocotools", "onnx")
    say = reporter(options)
    reference = session.Once(session.open_input(options, say))
    chain = _Chain(reference, options)
    rows = {}
    for name in options["tests"]:
        test = session.open_test({**options, "test": name}, say)
        with say.task(f"watch {Path(name).name}", reference.frame_count) as advance:
            rows[name] = chain.judged(test, advance)
        say.event("video", video=name, **rows[name].summary)
    say.show(_table(rows))
    found = correlations_of([row.windows for row in rows.values()])
    for metric, values in found.items():
        say.event("correlation", metric=metric, lcc=values.plcc, srocc=values.srocc, krcc=values.krocc)
    if found:
        say.show(_correlations(found))
    say.event("result", videos=len(rows), windows=next(iter(found.values())).count if found else 0)


class _Chain:
    """The detector, the metrics, and what the detector finds in the original."""

    def __init__(self, reference: FrameSource, options: Options) -> None:
        from models import default_model_path
        from models.features import first_layer_model
        from models.objects.tasks import Detector
        from rdo_metrics.objects import pseudo_truth
        from sweeps.boxes import read_boxes
        from sweeps.detection_quality import LEAST_SCORE, Watched, as_objects, frame_metrics

        where = options["device"], options["threads"]
        self._detect = Detector(options["detector"], *where, LEAST_SCORE)
        layer = first_layer_model(options["features"] or default_model_path(), options["layer"], *where)
        self._metrics, self._reference, self._options = frame_metrics({"": layer}), reference, options
        found = tuple(as_objects(self._detect(rgb[None])[0]) for rgb in _frames(reference, reference.format))
        self._before = Watched(found, {})
        boxes = options["boxes"]
        self._truth = read_boxes(boxes, len(found), self._detect.classes) if boxes else pseudo_truth(found)

    def judged(self, test: FrameSource, advance: Callable[[int], None]) -> Judged:
        """One coded video; of another size, it is resized to the original's."""
        from sweeps.detection_quality import judged, watch

        fmt = self._reference.format
        pair = _frames(self._reference, fmt), _advancing(_frames(test, fmt), advance)
        return judged(self._truth, self._before, watch(*pair, self._detect, self._metrics), self._options)


def _frames(source: FrameSource, fmt: VideoFormat) -> Iterator[NDArray[np.uint8]]:
    from encoder_bridge.color import planes_to_rgb
    from sweeps.scoring import match_planes

    for frame in source:
        yield planes_to_rgb(match_planes(frame.planes, source.format, fmt), fmt)


def _advancing(frames: Iterator[NDArray[np.uint8]], advance: Callable[[int], None]) -> Iterator[NDArray[np.uint8]]:
    for frame in frames:
        yield frame
        advance(1)


def _table(rows: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title="what the detector finds")
    names = list(next(iter(rows.values())).summary)
    for heading in ("video", *names):
        table.add_column(heading, justify="left" if heading == "video" else "right")
    for name, row in rows.items():
        table.add_row(Path(name).name, *(_shown(value) for value in row.summary.values()))
    return table


def _shown(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


def _correlations(found: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title=f"with AP, over {next(iter(found.values())).count} windows")
    for heading in ("metric", "LCC", "SROCC", "KRCC"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, row in found.items():
        table.add_row(name, f"{row.plcc:.3f}", f"{row.srocc:.3f}", f"{row.krocc:.3f}")
    return table

"""``--target-accuracy`` against trying everything: probes, distance from the target, rate over the exhaustive hull.

    python benchmarks/target_accuracy.py exhaust FRAMES --clips 6 --length 8 --codec x265 --gop intra -o out
    python benchmarks/target_accuracy.py search FRAMES --clips 6 --length 8 --codec x265 --gop intra -o out
    python benchmarks/target_accuracy.py prior FRAMES [--drives] -o out

``exhaust`` codes every clip at all seven scales and every quality whose accuracy may lie between ``--low`` and
``--high``. Every fourth quality comes first, until a scale has left that range or costs ever more than twice
``--margin`` over others; of those between, the ones are left out that would cost more than ``--margin`` over the hull
so far, by interpolation. Started again it repeats nothing. ``search`` runs the search of ``mrdo encode``
on the same clips, from the same store, and compares. ``prior`` prints the surfaces of ``sweeps/target/priors.py``.
With ``--drives`` a clip is not cut from the video but made of its first picture, by driving into it: for stills that
are too far apart to be a video.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from scipy.optimize import minimize

from encoder_bridge.config import GOPS, CodingConfig, RunOptions
from encoder_bridge.console import Reporter
from encoder_bridge.encoder import default_preset_of
from encoder_bridge.frames import Frame, FrameSource, Plane
from encoder_bridge.source_base import BaseSource
from encoder_bridge.sources import open_source
from models import default_model_path
from models.task_model import TaskModel
from rdo_metrics.curve import RDCurve
from rdo_metrics.hull import hull
from sweeps.coding import Coder
from sweeps.store import ResultStore
from sweeps.target.curves import FloatArray, Point, logit
from sweeps.target.priors import terms
from sweeps.target.probing import FIELDS, METRICS, SCALES, Prober, Space
from sweeps.target.search import Goal, Probe, Search
from sweeps.workspace import Workspace

_ORDER = (0.5, 0.75, 0.375, 1.0, 0.25, 0.625, 0.875)
Curve = list[tuple[float, float]]
"""(rate, accuracy) of points, both rising."""


class Quiet(Reporter):
    """Says nothing of single encodes."""

    def _say(self, text: str, style: str | None = None) -> None:
        pass


class Clip(BaseSource):
    """Chosen frames of a video, in memory."""

    def __init__(self, frames: Sequence[Frame], like: FrameSource, name: str) -> None:
        super().__init__(name, like.format, len(frames))
        rate = like.format.fps
        self._frames = [Frame(frame.planes, i, i / rate) for i, frame in enumerate(frames)]

    def __iter__(self) -> Iterator[Frame]:
        """Frames from the first."""
        return iter(self._frames)


@dataclass(frozen=True)
class Setup:
    """What every command is told."""

    folder: Path
    clips: list[Clip]
    space: Space
    metric: str

    def probers(self, store: ResultStore) -> Iterator[Prober]:
        """One a clip."""
        network = TaskModel(default_model_path(), threads=1)
        coder = Coder(Workspace(self.folder), RunOptions(threads=1), Quiet())
        for clip in self.clips:
            yield Prober(clip, clip.name, self.space, network, self.metric, coder, store)


def cut(path: str, clips: int, length: int, step: int, drives: bool = False) -> list[Clip]:
    """``clips`` clips of ``length`` frames, evenly spread: each ``step`` from the last, or all made of one still."""
    source = open_source(path)
    total = source.frame_count or 0
    taken = 1 if drives else length
    starts = [round(i * (total - (taken - 1) * step - 1) / max(1, clips - 1)) for i in range(clips)]
    wanted = {start: [start + i * step for i in range(taken)] for start in starts}
    needed = set(itertools.chain(*wanted.values()))
    frames = {frame.index: frame for frame in source if frame.index in needed}
    if drives:
        return [Clip(drive(frames[start], length, start), source, f"drive {start}") for start in starts]
    return [Clip([frames[i] for i in places], source, f"frames {start}+") for start, places in wanted.items()]


def drive(still: Frame, length: int, seed: int) -> list[Frame]:
    """A clip that zooms into a picture by 0.2 to 1 % a frame and pans by up to 2 samples, with a camera's noise."""
    rng = np.random.default_rng(seed)
    zoom, pan = 1 + rng.uniform(0.002, 0.01), rng.uniform(-0.004, 0.004)
    steps = range(-(length // 2), length - length // 2)
    moved = [[warp(plane, 1.06 * zoom**step, pan * step) for plane in still.planes] for step in steps]
    noisy = [[np.clip(np.rint(plane + rng.normal(0, 1, plane.shape)), 0, 255) for plane in frame] for frame in moved]
    return [Frame(tuple(plane.astype(np.uint8) for plane in frame), i, still.pts) for i, frame in enumerate(noisy)]


def warp(plane: Plane, scale: float, pan: float) -> FloatArray:
    """A plane enlarged about a point somewhat above its middle, and moved by a share of its width."""
    height, width = plane.shape
    shift = np.array([[scale, 0, ((1 - scale) / 2 + pan) * width], [0, scale, (1 - scale) * 0.45 * height]])
    return np.asarray(
        cv2.warpAffine(
            plane.astype(np.float64), shift, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
    )


def hull_rate(points: Sequence[tuple[float, float]], accuracy: float) -> float:
    """Rate of the hull at an accuracy."""
    rates, accuracies = zip(*points, strict=True)
    best = hull({"all": RDCurve(rates, accuracies)}, shape="convex").curve
    return float(np.interp(accuracy, best.metrics, best.rates))


def common(function: Callable[..., None]) -> Callable[..., None]:
    """Arguments of all commands."""
    for add in reversed(
        (
            click.argument("frames"),
            click.option("--clips", default=6, show_default=True),
            click.option("--length", default=8, show_default=True),
            click.option("--only", type=int, multiple=True, help="Only this clip, counted from 0; repeatable."),
            click.option("--step", default=1, show_default=True, help="Frames from one to the next."),
            click.option("--drives", is_flag=True, help="Make each clip of one picture."),
            click.option("--codec", default="x265", show_default=True),
            click.option("--preset", help="The codec's own."),
            click.option("--gop", type=click.Choice(GOPS), default="intra", show_default=True),
            click.option("--metric", type=click.Choice(METRICS), default="agreement", show_default=True),
            click.option("-o", "--output", required=True, type=click.Path(path_type=Path)),
        )
    ):
        function = add(function)
    return function


def setup(options: dict[str, Any]) -> Setup:
    """The clips and what may be tried on them."""
    codec = options["codec"]
    template = CodingConfig(codec, options["preset"] or default_preset_of(codec), options["gop"], qp=32)
    clips = cut(options["frames"], options["clips"], options["length"], options["step"], options["drives"])
    clips = [clip for place, clip in enumerate(clips) if place in (options["only"] or range(len(clips)))]
    return Setup(options["output"], clips, Space({"psnr": template}, SCALES), options["metric"])


@click.group()
def main() -> None:
    """Measure the search for a target accuracy."""


@main.command()
@common
@click.option("--low", default=0.885, show_default=True)
@click.option("--high", default=0.985, show_default=True)
@click.option("--margin", default=0.2, show_default=True, help="Share of the rate.")
def exhaust(low: float, high: float, margin: float, **options: Any) -> None:
    """Code everything near the hull."""
    given = setup(options)
    with ResultStore(given.folder) as store:
        for prober in given.probers(store):
            tried = list(sweep(prober, low, high, margin))
            click.echo(f"{prober.name}: {len(tried)} points, of {len(prober.space.points())}")


def pairs(probes: Sequence[Probe]) -> Curve:
    """(rate, accuracy) of probes."""
    return [(probe.bpp, probe.accuracy) for probe in probes]


def sweep(prober: Prober, low: float, high: float, margin: float) -> Iterator[Probe]:
    """Every fourth quality of each scale, then all between that may come near the hull."""
    lines = {scale: [p for p in prober.space.points() if p.scale == scale] for scale in _ORDER}
    coarse: dict[float, list[Probe]] = {}
    seen: Curve = []
    for scale, line in lines.items():
        coarse[scale] = list(descend(prober, line[::4], (low, high), seen, margin))
        seen += pairs(coarse[scale])
        yield from coarse[scale]
    for scale, line in lines.items():
        for point in line:
            if promising(point, coarse[scale], seen, (low, high), margin):
                yield prober.measure(point)


def descend(
    prober: Prober, line: Sequence[Point], wanted: tuple[float, float], seen: Curve, margin: float
) -> Iterator[Probe]:
    """Probes from the middle to both sides, until the accuracy has left the range or other scales are ever cheaper."""
    middle = min(range(len(line)), key=lambda i: abs(line[i].qp - 30))
    first = prober.measure(line[middle])
    yield first
    for way in (1, -1):
        place, last = middle, first
        while (last.accuracy > wanted[0] if way > 0 else last.accuracy < wanted[1]) and 0 <= place + way < len(line):
            place += way
            before, last = last, prober.measure(line[place])
            yield last
            if over(last, seen) > max(1 + 2 * margin, over(before, seen)):
                break


def over(probe: Probe, seen: Curve) -> float:
    """Rate over that of the cheapest point seen that is as accurate; 0 where there is none."""
    return probe.bpp / min((rate for rate, accuracy in seen if accuracy >= probe.accuracy), default=math.inf)


def promising(point: Point, coarse: Sequence[Probe], seen: Curve, wanted: tuple[float, float], margin: float) -> bool:
    """Whether a point not yet tried, between coarse ones, may be near the hull and in the range wanted."""
    ordered = sorted(coarse, key=lambda probe: probe.point.qp)
    qps = [probe.point.qp for probe in ordered]
    if point.qp in qps or not qps[0] < point.qp < qps[-1]:
        return False
    accuracy = float(np.interp(point.qp, qps, [probe.accuracy for probe in ordered]))
    rate = float(np.exp(np.interp(point.qp, qps, np.log([probe.bpp for probe in ordered]))))
    return wanted[0] <= accuracy <= wanted[1] and rate <= (1 + margin) * hull_rate(seen, accuracy)


@main.command()
@common
@click.option("--targets", default="0.9,0.93,0.95,0.97", show_default=True)
@click.option("--probes", default=8, show_default=True)
@click.option("--verbose", is_flag=True)
def search(targets: str, probes: int, verbose: bool, **options: Any) -> None:
    """Search every clip for every target and compare with all that is in the store."""
    given = setup(options)
    rows = []
    with ResultStore(given.folder) as store:
        for prober in given.probers(store):
            for target in map(float, targets.split(",")):
                rows.append(one_search(prober, Goal(target, max_probes=probes), verbose))
        everything = known(store, given)
    report([(name, goal, found, everything[name]) for name, goal, found in rows])


def one_search(prober: Prober, goal: Goal, verbose: bool) -> tuple[str, Goal, Search]:
    """A finished search."""
    found = prober.search(goal)
    while (point := found.ask()) is not None:
        found.tell(prober.measure(point))
    if verbose:
        steps = (f"{p.point.scale:g}/{p.point.quality}: {p.bpp:.4f} {p.accuracy:.4f}" for p in found.probes)
        click.echo(f"{prober.name} {goal.accuracy}: " + "; ".join(steps))
    return prober.name, goal, found


def known(store: ResultStore, given: Setup) -> dict[str, Curve]:
    """Clip → (rate, accuracy) of all its points in the store."""
    digests = {clip.digest(): clip.name for clip in given.clips}
    points: dict[str, Curve] = {clip.name: [] for clip in given.clips}
    field = FIELDS[given.metric]
    template = given.space.templates["psnr"]
    for record in store:
        same = all(record.config[name] == getattr(template, name) for name in ("codec", "preset", "gop"))
        if same and record.input["digest"] in digests:
            (scores,) = record.scores.values()
            points[digests[record.input["digest"]]].append((record.bpp, float(scores[field] or 0)))
    return points


def report(rows: Sequence[tuple[str, Goal, Search, Curve]]) -> None:
    """A line a search, and a table of means by target."""
    click.echo(
        "| clip | target | probes | accuracy | scale/quality | over hull | over front | over hull at target | points |"
    )
    click.echo("|---|---|---|---|---|---|---|---|---|")
    lines = []
    for name, goal, found, everything in rows:
        best = found.best()
        assert best is not None
        more, there = (best.bpp / hull_rate(everything, each) - 1 for each in (best.accuracy, goal.accuracy))
        cheapest = min(rate for rate, accuracy in everything if accuracy >= best.accuracy)
        line = (goal.accuracy, len(found.probes), best.accuracy - goal.accuracy, more, best.bpp / cheapest - 1, there)
        lines.append(line)
        over = " | ".join(f"{100 * share:+.1f} %" for share in line[3:])
        click.echo(
            f"| {name} | {goal.accuracy:g} | {line[1]} | {best.accuracy:.4f} | {best.point.scale:g}/"
            f"{best.point.quality} | {over} | {len(everything)} |"
        )
    measures = ("over hull", "over front", "over hull at target")
    head = ["target", "searches", "probes: mean (most)", "off target: least, most"]
    for measure in measures:
        head += [f"{measure}: mean, median, most", "≤ 3 %"]
    click.echo(f"\n| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for target in [*sorted({line[0] for line in lines}), None]:
        table = np.array([each for each in lines if target in (each[0], None)])
        cells = [
            "all" if target is None else f"{target:g}",
            str(len(table)),
            f"{table[:, 1].mean():.1f} ({table[:, 1].max():.0f})",
            f"{100 * table[:, 2].min():+.2f}, {100 * table[:, 2].max():+.2f} points",
        ]
        for column in 100 * table[:, 3:].T:
            cells += [f"{column.mean():.1f}, {np.median(column):.1f}, {column.max():.1f} %", str((column <= 3).sum())]
        click.echo(f"| {' | '.join(cells)} |")


@main.command()
@common
def prior(**options: Any) -> None:
    """Code a coarse grid and print the surfaces fitted to it."""
    given = setup(options)
    grid: list[tuple[Point, float, float, float]] = []
    with ResultStore(given.folder) as store:
        for prober in given.probers(store):
            for point in prober.space.points():
                if point.quality % 5 == 2 and (point.qp >= 17 or point.scale <= 0.625) and 7 <= point.qp <= 47:
                    record = prober.record(point)
                    (scores,) = record.scores.values()
                    seen = float(scores["agreement"] or 0), float(scores["miou_pseudo"] or 0)
                    grid += [(point, record.bpp, *seen)] * (0.6 < seen[0] < 0.995)
    matrix = terms([point for point, *_ in grid])
    for name, column in (("rate", 1), ("agreement", 2), ("miou", 3)):
        measured = np.array([row[column] for row in grid])
        values = np.log2(measured) if name == "rate" else logit(measured)
        fitted = falling_fit(matrix, values)
        click.echo(f"{name}: ({', '.join(f'{c:.3f}' for c in fitted)}), rmse {np.std(values - matrix @ fitted):.3f}")


def falling_fit(matrix: FloatArray, values: FloatArray) -> FloatArray:
    """Least squares under the condition that the surface falls with QP everywhere, also where little was measured."""
    places = [(scale, qp) for scale in SCALES for qp in range(12, 53, 2)]
    here, beyond = (terms([Point("", scale, 0, qp + step) for scale, qp in places]) for step in (0, 0.01))
    slopes = (beyond - here) / 0.001
    found = minimize(
        lambda c: np.sum((matrix @ c - values) ** 2),
        np.linalg.lstsq(matrix, values, rcond=None)[0],
        jac=lambda c: 2 * matrix.T @ (matrix @ c - values),
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda c: -0.3 - slopes @ c, "jac": lambda _: -slopes},
    )
    return np.asarray(found.x)


if __name__ == "__main__":
    main()

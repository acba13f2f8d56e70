"""Seed 003 on generated video: does the DCT ratio of first-layer features go with AP, and can it be told unseen?

    mrdo train objects --task detection --task-steps 700 -o OBJECTS
    mrdo train quality --clips 60 --steps 1500 -o QUALITY
    python benchmarks/detection_quality.py OBJECTS/detection/network.onnx --predictor QUALITY/quality.onnx -o OUT

Streets seen by a camera that stands still, none of which either network has seen, coded by x264 at the CRFs of the
paper, x265 and JPEG. AP is that of the detector over windows of n frames, against the true boxes or against what it
finds in the originals. Everything made is kept in OUT and not made again; the tables go to stdout in Markdown.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from encoder_bridge.config import CodingConfig
from encoder_bridge.console import Reporter
from models import default_model_path
from models.features import first_layer_model
from models.objects.streets import street_video
from models.objects.tasks import Detector
from models.objects.types import ObjectSet
from models.quality import QualityModel
from rdo_metrics.dct_ratio import DctRatio
from rdo_metrics.objects.precision import Matching, Objects, pseudo_truth
from sweeps.arrayfile import read_frames, write_frames
from sweeps.detection_quality import LEAST_SCORE, Watched, Windows, correlations, frame_metrics, joined, watch, windows
from sweeps.object_codecs import code_video, through_420
from sweeps.object_data import load_objects, save_objects
from sweeps.quality_data import LEVELS, SIZE, ways
from sweeps.quality_training import Fidelity, fidelity

FIRST_SEED = 400
EVERY = 10
"""Every tenth frame is kept, for the predictor and the ratio as printed."""
AS_PRINTED, PREDICTED = "DCT ratio as printed, embedded backbone", "predicted, no reference"
REFERENCE = "DCT ratio, embedded backbone"
"""What it predicts."""


@dataclass(frozen=True)
class Seen:
    """One coded video: detections matched with the true boxes and with those of the original, metrics of its frames,
    and means over every tenth frame."""

    street: int
    codec: str
    way: str
    true: Matching
    pseudo: Matching
    watched: Watched
    thinned: dict[str, float]

    def windows(self, frames: int, pseudo: bool = False) -> Windows:
        """Windows of ``frames`` frames; one of the whole video also has what only every tenth frame is asked for."""
        found = windows(self.pseudo if pseudo else self.true, self.watched, frames)
        whole = self.thinned if frames == len(self.true) else {}
        return replace(found, values={**found.values, **{name: np.array([v]) for name, v in whole.items()}})


def truth_of(video: ObjectSet) -> list[Objects]:
    """The true boxes of each frame; small or mostly hidden objects need not be found."""
    judged = np.ones(len(video.labels), bool) if video.judged is None else video.judged
    rows = [np.flatnonzero(video.image_of == i) for i in range(len(video.images))]
    return [Objects(video.boxes[o], video.labels[o], None, ~judged[o]) for o in rows]


class Studio:
    """Videos, coded videos and what is seen in them, in a folder."""

    def __init__(self, folder: Path, detector: Path, predictor: Path | None, threads: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._tag = folder, f"{zlib.crc32(detector.read_bytes()):08x}"
        self._detect = Detector(detector, threads=threads, score=LEAST_SCORE)
        layers = {"detector": detector, "embedded backbone": default_model_path()}
        models = {name: first_layer_model(path, threads=threads) for name, path in layers.items()}
        self._metrics = frame_metrics(models)
        # So small a share that hardly any coefficient notices.
        self._printed = DctRatio(models["embedded backbone"], share=1e-6)
        self._predictor = None if predictor is None else QualityModel(predictor, threads=threads)

    def video(self, seed: int, frames: int) -> ObjectSet:
        """One street as it is in 4:2:0."""
        path = self._folder / f"street-{seed}-{frames}.npz"
        if not path.exists():
            made = street_video(seed, frames, SIZE)
            save_objects(replace(made, images=through_420(made.images)), path)
        return load_objects(path)

    def see(self, seed: int, frames: int, codecs: Sequence[str], advance: Callable[[int], None]) -> list[Seen]:
        """Every coding of one street."""
        video = self.video(seed, frames)
        truth, pseudo = truth_of(video), pseudo_truth(self._watched(video, f"original-{seed}-{frames}", None).found)
        seen = []
        for codec in codecs:
            for way in ways([codec]):
                name = f"{way.name}-{seed}-{frames}"
                watched = self._watched(video, name, way.config)
                true, same = (Matching(boxes, watched.found) for boxes in (truth, pseudo))
                seen.append(Seen(seed, codec, way.name, true, same, watched, self._thinned(video, name)))
                advance(1)
        return seen

    def _watched(self, video: ObjectSet, name: str, config: CodingConfig | None) -> Watched:
        path = self._folder / f"{name}-{self._tag}.npz"
        if not path.exists():
            coded = video.images if config is None else code_video(video.images, config)
            write_frames(self._folder / f"{name}.npy", coded[::EVERY])
            watch(video.images, coded, self._detect, self._metrics).save(path)
        return Watched.load(path)

    def _thinned(self, video: ObjectSet, name: str) -> dict[str, float]:
        coded = np.asarray(read_frames(self._folder / f"{name}.npy"))
        found = {AS_PRINTED: float(self._printed(video.images[::EVERY], coded).mean())}
        return found if self._predictor is None else {**found, PREDICTED: float(self._predictor(coded).mean())}


def correlation_table(title: str, columns: Mapping[str, Windows]) -> str:
    """LCC / SROCC / KRCC of every metric with AP, a column for each set of windows."""
    found = {name: correlations(some) for name, some in columns.items()}
    metrics = list(dict.fromkeys(metric for rows in found.values() for metric in rows))
    lines = [
        f"{title}: LCC / SROCC / KRCC",
        "",
        "| metric | " + " | ".join(found) + " |",
        "|---|" + "---|" * len(found),
    ]
    for metric in metrics:
        some = (rows.get(metric) for rows in found.values())
        cells = ("" if c is None else f"{c.plcc:.3f} / {c.srocc:.3f} / {c.krocc:.3f}" for c in some)
        lines.append(f"| {metric} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def level_table(seen: Sequence[Seen]) -> str:
    """Mean AP and metrics of every coding."""
    lines: list[str] = []
    for way in dict.fromkeys(s.way for s in seen):
        some = [s for s in seen if s.way == way]
        true = joined([s.windows(len(s.true)) for s in some])
        pseudo = joined([s.windows(len(s.true), pseudo=True) for s in some])
        if not lines:
            heads = ["coding", "AP", "AP50", "AP, pseudo-GT", *true.values]
            lines = ["| " + " | ".join(heads) + " |", "|---|" + "---|" * (len(heads) - 1)]
        values = [np.nanmean(true.ap), np.nanmean(true.ap50), np.nanmean(pseudo.ap)]
        values += [v.mean() for v in true.values.values()]
        lines.append(f"| {way} | " + " | ".join(f"{v:.3f}" for v in values) + " |")
    return "\n".join(lines) + "\n"


def predictor_table(seen: Sequence[Seen], codecs: Sequence[str]) -> str:
    """The prediction of each coded video against the full-reference metric of the same frames."""
    lines = ["| videos of | LCC | SROCC | KRCC | MSE | MAE | SROCC within a street |", "|---|---|---|---|---|---|---|"]
    for name, chosen in {**{c: [c] for c in codecs}, "all": list(codecs)}.items():
        some = [s for s in seen if s.codec in chosen]
        row = told(some)
        streets = [told([s for s in some if s.street == street]).srocc for street in {s.street for s in some}]
        cells = f"{row.lcc:.3f} | {row.srocc:.3f} | {row.krcc:.3f} | {row.mse:.4f} | {row.mae:.3f}"
        lines.append(f"| {name} | {cells} | {np.mean(streets):.2f} ({min(streets):.2f} to {max(streets):.2f}) |")
    return "\n".join(lines) + "\n"


def told(seen: Sequence[Seen]) -> Fidelity:
    """Predictions and what they predict, on every tenth frame."""
    wanted = [s.watched.values[REFERENCE][::EVERY].mean() for s in seen]
    return fidelity(np.array([s.thinned[PREDICTED] for s in seen]), np.array(wanted))


@click.command()
@click.argument("detector", type=click.Path(path_type=Path))
@click.option("--predictor", type=click.Path(path_type=Path), help="quality.onnx of `mrdo train quality`.")
@click.option("--videos", default=8, show_default=True, help="Streets.")
@click.option("--frames", default=100, show_default=True, help="Of each.")
@click.option("--lengths", default="10,25,50,100", show_default=True, help="Frames in a window; the paper takes 100.")
@click.option("--codecs", default=",".join(LEVELS), show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
def main(
    detector: Path,
    predictor: Path | None,
    videos: int,
    frames: int,
    lengths: str,
    codecs: str,
    threads: int,
    output: Path,
) -> None:
    """Print the tables."""
    studio, names = Studio(output, detector, predictor, threads), codecs.split(",")
    seen: list[Seen] = []
    with Reporter().task("watch", videos * sum(len(LEVELS[c]) for c in names)) as advance:
        for seed in range(FIRST_SEED, FIRST_SEED + videos):
            seen += studio.see(seed, frames, names, advance)
    counts = [int(n) for n in lengths.split(",")]
    click.echo(level_table(seen))
    for label, pseudo in (("AP against true boxes", False), ("AP against detections in the originals", True)):
        columns = {n: joined([s.windows(n, pseudo) for s in seen]) for n in counts}
        click.echo(correlation_table(label, {f"n = {n} ({len(w.ap)})": w for n, w in columns.items()}))
    parts = {c: joined([s.windows(counts[-1]) for s in seen if s.codec == c]) for c in names}
    click.echo(correlation_table(f"AP against true boxes by codec, n = {counts[-1]}", parts))
    if predictor is not None:
        click.echo(predictor_table(seen, names))


if __name__ == "__main__":
    main()

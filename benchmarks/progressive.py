"""A small Table IV of seed 001 on CamVid: progressive training against separate training and augmentation.

    python benchmarks/progressive.py ../shared/data/camvid -o table4

CamVid at half size, one codec, all-intra; a pristine network is trained first unless --init gives one. BD-rate over
mIoU against labels of val, anchor ST. Everything is kept in the output folder: started again, the command repeats
nothing that is finished. The table goes to stdout, figures and settings to OUT/table4.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.console import Reporter
from encoder_bridge.errors import CurveError
from models.labels import CAMVID_CLASSES
from models.model_set import Configuration, ModelSet
from models.task_model import TaskModel
from models.train.architectures import ARCHITECTURES
from models.train.data import Samples, load_folder_pair
from models.train.progressive.plan import Selection, make_plan
from models.train.progressive.schedule import ProgressiveSchedule
from rdo_metrics.accuracy import confusion, miou
from rdo_metrics.bootstrap import PointStats, bootstrap_bd_rate
from sweeps.distortion import DistortedFolder


@ARCHITECTURES.register("fpn-r18-12")
def fpn_r18_12(classes: int) -> Any:
    """Semantic FPN on a ResNet-18 with 12 base channels: half a million parameters, for a table in minutes."""
    from models.train.nets import SemanticFpn

    return SemanticFpn(classes, base_channels=12, pyramid_channels=32)


CLASSES = CAMVID_CLASSES[:11]
ARMS = ("ST", "DA", "s = 0.085", "s = 0.045", "s = 0.025")
BLOCK = 8
"""Frames of val that are drawn together: its pictures are a video."""


@click.command()
@click.argument("camvid", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True)
@click.option("--arch", default="fpn-r18-12", show_default=True)
@click.option("--init", type=click.Path(path_type=Path), help="checkpoint.pt of the pristine network at half size.")
@click.option("--pristine-steps", default=3000, show_default=True, help="Length of the pristine training.")
@click.option("--codec", default="x265", show_default=True)
@click.option("--preset", default="fast", show_default=True)
@click.option("--last", default=50, show_default=True, help="Last QP; the first is 0.")
@click.option("--step", default=5, show_default=True, help="Distance of the QPs.")
@click.option("--p-inf", default=60, show_default=True)
@click.option("--arms", default=",".join(ARMS), show_default=True)
@click.option("--lr", default=1e-2, show_default=True)
@click.option("--crop", default=160, show_default=True)
@click.option("--shrink", default=2, show_default=True, help="Pictures are made this many times smaller.")
@click.option("--limit", type=int, help="Use only this many training pictures (a trial).")
@click.option("--separate-epochs", default=8, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--bf16/--no-bf16", default=True, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(**options: Any) -> None:
    """Print epochs, complexity and BD-rate of every arm."""
    say = Reporter()
    out: Path = options["out"]
    out.mkdir(parents=True, exist_ok=True)
    data = _shrink(options["camvid"], out / f"camvid{options['shrink']}", options["shrink"], options["limit"])
    init = options["init"] or _pristine(data, out / "pristine", options, say)
    train, val = (load_folder_pair(data / name, data / f"{name}annot", len(CLASSES)) for name in ("train", "val"))
    pictures = _folder(train, out / "pictures", options, say)
    judged = _folder(val, out / "val", options, say)
    results = {}
    for arm in _names(options["arms"]):
        epochs, networks = _train(arm, init, pictures, options, say)
        results[arm] = {"epochs": epochs, "points": _curve(ModelSet(networks), judged, val, options)}
        results.setdefault("Baseline", {"epochs": 0, "points": _curve(ModelSet(networks), judged, val, options, True)})
    table = _table(results)
    (out / "table4.json").write_text(json.dumps({"settings": _plain(options), "arms": table}, indent=1) + "\n")
    _show(table)


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _shrink(camvid: Path, target: Path, factor: int, limit: int | None) -> Path:
    """CamVid's folders at a fraction of their size: area means, labels by the nearest pixel."""
    for name in ("train", "val"):
        for kind, how in ((name, cv2.INTER_AREA), (f"{name}annot", cv2.INTER_NEAREST)):
            (target / kind).mkdir(parents=True, exist_ok=True)
            files = sorted((camvid / kind).iterdir())
            for file in files[: limit if name == "train" else None]:
                made = target / kind / file.name
                if not made.exists():
                    image: NDArray[Any] = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
                    size = (image.shape[1] // factor, image.shape[0] // factor)
                    cv2.imwrite(str(made), cv2.resize(image, size, interpolation=how))
    return target


def _pristine(data: Path, out: Path, options: dict[str, Any], say: Reporter) -> Path:
    from models.train.run import TrainRequest, run_training

    def report(event: dict[str, Any]) -> None:
        if event["event"] == "validation" or event.get("step", 1) % 50 == 0:
            say.note(f"pristine: {event}")

    place = out / "checkpoint.pt"
    if not (out / "network.onnx").is_file():
        request = TrainRequest(
            data=data,
            out=out,
            classes=CLASSES,
            arch=options["arch"],
            steps=options["pristine_steps"],
            batch=8,
            crop=options["crop"],
            seed=options["seed"],
            threads=options["threads"],
            resume=place.is_file(),
        )
        run_training(request, report)
    return place


def _folder(samples: Samples, place: Path, options: dict[str, Any], say: Reporter) -> DistortedFolder:
    count = options["last"] // options["step"] + 1
    return DistortedFolder(
        samples.images, samples.labels, place, options["preset"], say, options["threads"], kept=count
    )


def _train(arm: str, init: Path, pictures: DistortedFolder, options: dict[str, Any], say: Reporter) -> tuple[int, Path]:
    """Epochs of an arm, and its set of networks."""
    import torch

    from models.train.progressive.run import RunRequest, execute
    from models.train.progressive.sgd import SgdConfig

    torch.set_num_threads(options["threads"])
    strategy = {"ST": "separate", "DA": "augmentation"}.get(arm, "progressive")
    speed = float(arm.partition("=")[2]) if strategy == "progressive" else 0.045
    selection = Selection(
        codecs=(options["codec"],),
        scales=(1.0,),
        grays=(False,),
        qualities=_qualities(options),
        schedule=ProgressiveSchedule(0, options["p_inf"], options["step"], speed, 120),
        separate_epochs=options["separate_epochs"],
    )
    request = RunRequest(
        plan=make_plan(selection, strategy),
        arch=options["arch"],
        init=init,
        out=options["out"] / arm.replace(" = ", ""),
        sgd=SgdConfig(CLASSES, options["lr"], crop=options["crop"], seed=options["seed"], bf16=options["bf16"]),
        strategy=strategy,
    )

    def report(event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            place = f"{event['training']} {event['epoch']}/{event['of']} {event['configuration']}"
            say.note(f"{arm}: {place} loss {event['loss']:.4f} {event['s']:.1f} s")

    outcome = execute(request, pictures, report)
    assert outcome.folder is not None
    return sum(outcome.epochs.values()), outcome.folder


def _qualities(options: dict[str, Any]) -> tuple[float, ...]:
    return tuple(float(q) for q in range(0, options["last"] + 1, options["step"]))


def _curve(
    networks: ModelSet, judged: DistortedFolder, val: Samples, options: dict[str, Any], baseline: bool = False
) -> list[PointStats]:
    """(bits, confusion) of every frame at each QP, each QP seen by its own network, or all by the pristine one."""
    points = []
    for quality in _qualities(options):
        configuration = Configuration(options["codec"], quality)
        path = networks.pristine() if baseline else networks.for_config(configuration)
        network = TaskModel(path, threads=options["threads"])
        points.append((np.asarray(judged.frame_bits(configuration)), _confusions(network, judged, val, configuration)))
    return points


def _confusions(
    network: TaskModel, judged: DistortedFolder, val: Samples, configuration: Configuration
) -> NDArray[np.int64]:
    seen = judged.pictures(configuration)
    pairs: Iterator[tuple[Any, Any]] = zip(seen, val.labels, strict=True)
    return np.stack([confusion(network.labels(np.asarray(p))[0], label, len(CLASSES)) for p, label in pairs])


def _table(results: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    anchor = results.get("ST")
    rows = []
    for arm in ("Baseline", *(a for a in results if a != "Baseline")):
        entry = results[arm]
        curve = [(int(bits.sum()), miou(counts.sum(axis=0))) for bits, counts in entry["points"]]
        row = {"arm": arm, "epochs": entry["epochs"], "curve": curve, "complexity": None, "bd_rate": None}
        if anchor is not None:
            row["complexity"] = 100 * entry["epochs"] / anchor["epochs"] if entry["epochs"] else None
            row |= _bd_rate(anchor["points"], entry["points"])
        rows.append(row)
    return rows


def _bd_rate(anchor: Sequence[PointStats], test: Sequence[PointStats]) -> dict[str, Any]:
    try:
        outcome = bootstrap_bd_rate(anchor, test, miou, method="pchip", n=300, block=BLOCK)
    except CurveError as error:
        return {"bd_rate": None, "reason": str(error)}
    result = outcome.result
    return {
        "bd_rate": result.value_percent,
        "ci": outcome.interval,
        "overlap": result.overlap,
        "dropped": result.dropped,
    }


def _show(table: list[dict[str, Any]]) -> None:
    click.echo("| arm | epochs | complexity % | BD-rate % | mIoU by QP |\n|---|---|---|---|---|")
    for row in table:
        share = "—" if row["complexity"] is None else f"{row['complexity']:.2f}"
        value = "undefined" if row["bd_rate"] is None else f"{row['bd_rate']:+.2f}"
        ci = "" if not row.get("ci") else f" [{row['ci'][0]:.1f}, {row['ci'][1]:.1f}]"
        curve = " ".join(f"{accuracy:.3f}" for _, accuracy in row["curve"])
        click.echo(f"| {row['arm']} | {row['epochs']} | {share} | {value}{ci} | {curve} |")


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    hidden = ("out", "camvid", "init")
    return {key: value for key, value in options.items() if key not in hidden}


if __name__ == "__main__":
    main()

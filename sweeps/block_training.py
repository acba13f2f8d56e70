"""One training of the learned block metric: coded pictures, training, export, correlations on held-out pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from encoder_bridge.config import RunOptions
from encoder_bridge.console import Reporter
from encoder_bridge.errors import ConfigError
from encoder_bridge.extras import need
from models import default_model_path
from models.block_model import BlockModel
from models.task_model import TaskModel
from sweeps.block_data import CodedStills, Coding, Maker, Stills, codings, training_arrays
from sweeps.block_evaluation import Row, Speed, evaluate, learned, psnr_of, speed, ssim_of, table

SCENE_SEED = 70_000
HELD_OUT = "x265 all-intra, preset slow"


@dataclass(frozen=True)
class BlockRequest:
    """What ``mrdo train block`` was asked for; names as its options."""

    data: Path
    out: Path
    model: Path | None
    qps: tuple[int, ...]
    map_qps: tuple[int, ...]
    jpeg: tuple[int, ...]
    test_qps: tuple[int, ...]
    preset: str
    share: int
    scenes: int
    step: int
    blocks: int
    steps: int
    batch: int
    side: int
    lr: float
    seed: int
    device: str
    threads: int | None
    minutes: float | None
    resume: bool

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> BlockRequest:
        """From the command's options."""
        fields: dict[str, Any] = {k: v for k, v in given.items() if k in cls.__dataclass_fields__}
        for name in ("qps", "map_qps", "jpeg", "test_qps"):
            fields[name] = tuple(fields[name])
        return cls(**fields)

    def ways(self) -> list[Coding]:
        """How the training pictures are coded."""
        return codings(self.qps, self.preset, self.map_qps, self.jpeg)


def run_block_training(request: BlockRequest, say: Reporter) -> dict[str, Any]:
    """Make data, train, write ``block.onnx`` and ``block.md``; returns network path, correlations and speed.

    Data is kept in the output folder and never made twice. Raises what the encoder, the network and the training
    raise; ToolNotFoundError without the extra ``train``.
    """
    need("train", "torch", "onnx", "efficientnet_lite_pytorch")
    driver = TaskModel(request.model or default_model_path(), request.device, request.threads)
    maker = Maker(driver, RunOptions(threads=request.threads, device=request.device), say)
    made, held_out = _data(request, maker)
    path, done = _train(request, made, len(driver.classes), say)
    rows, times = judged(path, driver, held_out, request.device, request.threads, request.seed)
    _write_card(path, replace(request, steps=done or request.steps), driver, made, held_out, table(rows), times)
    say.show(table(rows))
    for row in rows:
        say.event("correlation", side=row.side, metric=row.metric, srocc=row.found.srocc, plcc=row.found.plcc)
    return {"network": str(path), "metric_ms": times.metric, "network_ms": times.network, "ratio": times.ratio}


def _data(request: BlockRequest, maker: Maker) -> tuple[list[CodedStills], CodedStills]:
    """Training pictures, those of scenes among them, and held-out ones."""
    folder = request.data
    if not (folder / "train").is_dir() or not (folder / "val").is_dir():
        raise ConfigError(f"{folder}: expected folders train and val in it, and trainannot and valannot for labels")
    request.out.mkdir(parents=True, exist_ok=True)
    train = Stills.of(folder / "train", folder / "trainannot")
    made = [maker.make(train, request.ways(), request.out / "train", request.share)]
    if request.scenes:
        scenes = render_scenes(request.out / "scenes-rendered", request.scenes, made[0].known.shape[1:])
        made.append(maker.make(scenes, request.ways(), request.out / "scenes", request.share))
    test = Stills.of(folder / "val", folder / "valannot", request.step)
    return made, maker.make(test, codings(request.test_qps, "slow"), request.out / "val")


def render_scenes(folder: Path, count: int, size: tuple[int, ...]) -> Stills:
    """Procedural street scenes of (H, W) = ``size`` as pictures and labels in ``folder``; made once."""
    from models.scenes import render_frame

    images, labels = folder / "images", folder / "labels"
    for part in (images, labels):
        part.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        name = f"scene_{index:04d}.png"
        if not (labels / name).exists():
            picture, truth = render_frame(SCENE_SEED + index, size[1], size[0])
            cv2.imwrite(str(images / name), np.ascontiguousarray(picture[..., ::-1]))
            cv2.imwrite(str(labels / name), truth)
    return Stills.of(images, labels)


def _train(request: BlockRequest, made: list[CodedStills], classes: int, say: Reporter) -> tuple[Path, int]:
    from models.train.blocks import BlockTraining, CodedPictures, export_blocks, train_blocks
    from models.train.trainer import LoopOptions

    config = BlockTraining(
        classes=classes,
        side=request.side,
        steps=request.steps,
        batch=request.batch,
        lr=request.lr,
        seed=request.seed,
    )
    say.note(f"labels that stay: {', '.join(f'{m.agreement:.3f} of {m.folder.name}' for m in made)}")
    pictures = CodedPictures(**training_arrays(made, request.blocks, request.seed))
    done = 0
    with say.task("train block metric", request.steps) as advance:

        def report(event: dict[str, Any]) -> None:
            nonlocal done
            done = event["step"]
            advance(1)
            if event["step"] % 50 == 0:
                say.note(f"step {event['step']}/{event['of']} loss {event['loss']:.4f} {event['s']:.0f} s")
            say.event(**{("kind" if k == "event" else k): v for k, v in event.items()})

        options = LoopOptions(
            request.out, request.device, request.threads, request.minutes, request.resume, report=report
        )
        network = train_blocks(pictures, config, options)
    path = request.out / "block.onnx"
    export_blocks(network, path, {"seed": config.seed, "steps": done, "pictures": len(pictures.source)})
    return path, done


def judged(
    path: Path, driver: TaskModel, held_out: CodedStills, device: str, threads: int | None, seed: int
) -> tuple[list[Row], Speed]:
    """Correlations of a metric and of PSNR and SSIM on held-out pictures, and how fast it is."""
    model = BlockModel(path, device, threads)
    measures = {
        "learned": learned(model),
        "PSNR": psnr_of,
        "SSIM": ssim_of,
    }
    pair = np.asarray(held_out.originals[0]), np.asarray(held_out.coded(0)[0])
    return evaluate(held_out, measures, seed=seed), speed(model, driver, pair)


def _write_card(
    path: Path, request: BlockRequest, driver: TaskModel, made: list[CodedStills], held_out: CodedStills,
    correlations: str, times: Speed,
) -> None:  # fmt: skip
    ways = ", ".join(way.name for way in request.ways())
    rows = {
        "Predicts": f"share of pixels whose label by `{driver.path.name}` changes, in cells of 8×8 samples",
        "Architecture": "EfficientNet-Lite0 blocks 0-8 (ImageNet weights) on both pictures at half size, compared",
        "Data": f"{sum(len(m.originals) for m in made)} pictures, each in every {request.share}th of: {ways}",
        "Recipe": f"AdamW {request.lr:g}, cosine, {request.steps} steps of {request.batch} windows of {request.side}",
        "Seed": str(request.seed),
        "Input": "`original`, `reconstruction` float32 (N, 3, H, W) RGB 0..255; normalisation inside",
        "Output": "`losses` (N, H/8, W/8) in 0..1, higher is worse",
        "File": f"{path.stat().st_size / 1e6:.2f} MB, ONNX opset 17, dynamic sizes",
        "Speed": f"{times.metric:.1f} ms a pair, the network {times.network:.1f} ms a picture: {times.ratio:.1f} times",
    }
    lines = [
        "# block.onnx",
        "",
        "Where a network changes its mind between two pictures; made by `mrdo train block`.",
        "",
    ]
    lines += ["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items()), ""]
    tested = ", ".join(str(way.level) for way in held_out.codings)
    protocol = (
        f"{len(held_out.originals)} held-out pictures, {HELD_OUT}, QP {tested}; 4096 blocks of each size drawn as "
    )
    lines += [protocol + "in QoMEX 2023 (k = 10, none with unlabelled pixels).", "", correlations]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")

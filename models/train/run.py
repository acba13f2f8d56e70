"""One training from start to exported network; what ``mrdo train`` calls."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from encoder_bridge.errors import ConfigError
from models.train import mmcv_shim
from models.train.architectures import ARCHITECTURES
from models.train.sources import find_source

ROLE = "A semantic segmentation network trained by `mrdo train`."


@dataclass(frozen=True)
class TrainRequest:
    """What the command line asks for; see TrainConfig and LoopOptions for the meaning of each value.

    ``data`` and ``images`` and so on say where the pictures are (``models.train.sources``); without ``classes`` they
    are the layout's own. ``lr`` and ``weight_decay`` of None are the optimiser's usual ones. ``log_dir`` takes
    TensorBoard's event files.
    """

    out: Path
    data: Path | None = None
    images: Path | None = None
    labels: Path | None = None
    val_images: Path | None = None
    val_labels: Path | None = None
    classes: tuple[str, ...] | None = None
    arch: str = "fpn-r18"
    init: Path | None = None
    steps: int = 5000
    seed: int = 0
    batch: int = 6
    crop: int = 352
    optimizer: str = "adamw"
    lr: float | None = None
    momentum: float = 0.9
    weight_decay: float | None = None
    schedule: str = "cosine"
    power: float = 0.9
    warmup: int = 100
    ema: float = 0.998
    polish: float = 0.3
    class_power: float = 0.2
    amp: bool = True
    scenes: float = 0.0
    scene_count: int = 300
    device: str = "cpu"
    threads: int | None = None
    minutes: float | None = None
    resume: bool = False
    eval_every: int = 250
    save_every: int = 100
    log_dir: Path | None = None


USUAL = {"adamw": {"lr": 1.5e-3, "weight_decay": 0.02}, "sgd": {"lr": 1e-2, "weight_decay": 5e-4}}
"""Learning rate and weight decay of each optimiser where none is asked for."""


def run_training(request: TrainRequest, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Train, then write ``network.onnx`` and ``network.md`` into the output folder.

    ``report`` receives events as dictionaries ("init", "step", "validation"). Returns network path, step and scores.
    Raises ConfigError, DeviceError, and ToolNotFoundError where the extra ``train`` is not installed.
    """
    ARCHITECTURES.get(request.arch)
    classes = _classes(request)
    mmcv_shim.install()
    from models.train.log import EventLog
    from models.train.trainer import Trainer

    log = None if request.log_dir is None else EventLog(request.log_dir)
    both = report if log is None else _tee(report, log)
    trainer = Trainer(_config(request, classes), _options(request, both))
    try:
        trainer.run()
    finally:
        if log is not None:
            log.close()
    return finish(trainer, request.out / "network.onnx", ROLE)


def _classes(request: TrainRequest) -> tuple[str, ...]:
    folders = request.data, request.images, request.labels, request.val_images, request.val_labels
    classes = request.classes or find_source(*folders).classes
    if not classes:
        raise ConfigError("--images and --labels do not say what the classes are; give --classes NAME,NAME,… in order")
    return classes


def _config(request: TrainRequest, classes: tuple[str, ...]) -> Any:
    """The TrainConfig asked for: the fields of the same name, paths as text, the optimiser's usual values."""
    from models.train.trainer import TrainConfig

    usual = USUAL.get(request.optimizer, USUAL["adamw"])
    given: dict[str, Any] = {}
    for name in (f.name for f in fields(TrainConfig) if f.name not in ("bf16", "classes")):
        value = getattr(request, name)
        value = usual.get(name, "") if value is None else value
        given[name] = str(value) if isinstance(value, Path) else value
    return TrainConfig(**given, bf16=request.amp, classes=classes)


def _options(request: TrainRequest, report: Callable[[dict[str, Any]], None]) -> Any:
    from models.train.trainer import LoopOptions

    return LoopOptions(
        out=request.out,
        device=request.device,
        threads=request.threads,
        minutes=request.minutes,
        resume=request.resume,
        save_every=request.save_every,
        eval_every=request.eval_every,
        report=report,
    )


def _tee(*sinks: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    def report(event: dict[str, Any]) -> None:
        for sink in sinks:
            sink(event)

    return report


def finish(trainer: Any, path: Path, role: str) -> dict[str, Any]:
    """Export a trainer's averaged weights to ``path`` and the card beside it."""
    from models.train.card import write_card
    from models.train.export import export_onnx
    from models.train.nets import count_parameters

    config = asdict(trainer.config)
    scores = None if trainer.scores is None else asdict(trainer.scores)
    notes = {"steps": trainer.step, "seed": config["seed"], "arch": config["arch"], "scenes": config["scenes"]}
    network = copy.deepcopy(trainer.average)
    export_onnx(network, path, trainer.config.classes, {**notes, "data": f"{len(trainer.real)} labelled images"})
    facts = {"step": trainer.step, "parameters": count_parameters(network), "images": len(trainer.real)}
    write_card(path.with_suffix(".md"), path, role, config, {**facts, "scores": scores})
    return {"network": str(path), "step": trainer.step, "scores": scores}

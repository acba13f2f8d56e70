"""One training from start to exported network; what ``mrdo train`` calls."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from encoder_bridge.errors import ConfigError
from models.train import mmcv_shim
from models.train.architectures import ARCHITECTURES

ROLE = "A semantic segmentation network trained by `mrdo train`."


@dataclass(frozen=True)
class TrainRequest:
    """What the command line asks for; see TrainConfig and LoopOptions for the meaning of each value."""

    data: Path
    out: Path
    classes: tuple[str, ...]
    arch: str = "fpn-r18"
    steps: int = 5000
    seed: int = 0
    batch: int = 6
    crop: int = 352
    lr: float = 1.5e-3
    scenes: float = 0.0
    scene_count: int = 300
    device: str = "cpu"
    threads: int | None = None
    minutes: float | None = None
    resume: bool = False


def run_training(request: TrainRequest, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Train, then write ``network.onnx`` and ``network.md`` into the output folder.

    ``report`` receives events as dictionaries ("step", "validation"). Returns network path, step and scores.
    Raises ConfigError, DeviceError, and ToolNotFoundError where the extra ``train`` is not installed.
    """
    ARCHITECTURES.get(request.arch)
    if not (request.data / "train").is_dir():
        raise ConfigError(f"no folder {request.data / 'train'}; expected --data DIR with DIR/train and DIR/trainannot")
    mmcv_shim.install()
    from models.train.trainer import LoopOptions, TrainConfig, Trainer

    config = TrainConfig(
        data=str(request.data),
        arch=request.arch,
        steps=request.steps,
        seed=request.seed,
        batch=request.batch,
        crop=request.crop,
        lr=request.lr,
        scenes=request.scenes,
        scene_count=request.scene_count,
        classes=request.classes,
    )
    options = LoopOptions(
        out=request.out,
        device=request.device,
        threads=request.threads,
        minutes=request.minutes,
        resume=request.resume,
        report=report,
    )
    trainer = Trainer(config, options)
    trainer.run()
    return finish(trainer, request.out / "network.onnx", ROLE)


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

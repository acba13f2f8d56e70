"""The training loop: every step is a function of (seed, step), so a killed run resumes to the same weights."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from encoder_bridge.errors import ConfigError
from models.labels import CAMVID_CLASSES
from models.train import data as td
from models.train.architectures import ARCHITECTURES
from models.train.evaluate import Scores, evaluate, reduced_precision
from models.train.optim import (
    OPTIMISERS,
    SCHEDULES,
    average_weights,
    build_optimiser,
    changed_settings,
    deterministic,
    learning_rate,
    load_checkpoint,
    open_device,
    save_checkpoint,
    start_from,
)
from models.train.sources import find_source

AUXILIARY = 0.4
CHECKPOINT = "checkpoint.pt"
POLISH: dict[str, Any] = {"scale": (0.9, 1.5), "gamma": 0.25, "brightness": 15.0, "contrast": 0.2, "saturation": 0.25}
"""Towards the end the pictures come closer to those the network will see."""


@dataclass(frozen=True)
class TrainConfig:
    """What a training is; recorded in the checkpoint and in the network's card.

    Attributes:
        data: folder in one of the layouts of ``models.train.sources``; empty where the folders are named instead.
        arch: registered architecture.
        steps: length of the learning-rate schedule in optimiser steps.
        seed, batch, crop: as their names say.
        lr, weight_decay: the optimiser's; the rate rises for ``warmup`` steps and then falls as ``schedule`` says.
        scenes: share of samples that are procedural scenes; scene_count of them are rendered.
        polish: share of the schedule, at its end, with the narrow augmentation ``POLISH``.
        ema: decay of the weight average that is evaluated and exported.
        bf16: automatic mixed precision: bfloat16 on CPUs, float16 with loss scaling on CUDA.
        class_power: class weights are frequency^−class_power.
        classes: names, in label order.
        optimizer: "adamw", or "sgd" with ``momentum``.
        schedule: "cosine", or "poly" with exponent ``power``.
        init: checkpoint whose weights are the starting point, empty for the architecture's own.
        images, labels, val_images, val_labels: folders in place of ``data``.
    """

    data: str
    arch: str
    steps: int
    seed: int = 0
    batch: int = 6
    crop: int = 352
    lr: float = 1.5e-3
    weight_decay: float = 0.02
    warmup: int = 100
    scenes: float = 0.0
    scene_count: int = 300
    polish: float = 0.3
    ema: float = 0.998
    bf16: bool = True
    class_power: float = 0.2
    classes: tuple[str, ...] = field(default=())
    optimizer: str = "adamw"
    momentum: float = 0.9
    schedule: str = "cosine"
    power: float = 0.9
    init: str = ""
    images: str = ""
    labels: str = ""
    val_images: str = ""
    val_labels: str = ""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2 or self.crop < 32:
            raise ConfigError(
                f"steps {self.steps}, batch {self.batch}, crop {self.crop}; expected at least 1, 2 and 32"
            )
        if not 0 <= self.scenes < 1:
            raise ConfigError(f"scenes {self.scenes}; expected a share 0 <= scenes < 1")
        if self.scenes and self.classes != CAMVID_CLASSES[: len(self.classes)]:
            raise ConfigError("procedural scenes are labelled with CamVid's classes; train without them for others")
        if self.optimizer not in OPTIMISERS or self.schedule not in SCHEDULES:
            raise ConfigError(
                f"optimizer {self.optimizer!r}, schedule {self.schedule!r}; expected one of {', '.join(OPTIMISERS)} "
                f"and one of {', '.join(SCHEDULES)}"
            )


@dataclass(frozen=True)
class LoopOptions:
    """How a training is carried out; never changes its weights (beyond the device's own rounding)."""

    out: Path
    device: str = "cpu"
    threads: int | None = None
    minutes: float | None = None
    resume: bool = False
    save_every: int = 100
    eval_every: int = 250
    report: Callable[[dict[str, Any]], None] = lambda event: None
    on_save: Callable[[nn.Module, int, Scores | None], None] = lambda network, step, scores: None


class Trainer:
    """Holds network, average, optimiser and data of one training.

    Raises ConfigError for unusable data or settings, DeviceError for an absent device.
    """

    def __init__(self, config: TrainConfig, options: LoopOptions) -> None:
        self.config, self.options = config, options
        self.device = open_device(options.device)
        if options.threads:
            torch.set_num_threads(options.threads)
        options.out.mkdir(parents=True, exist_ok=True)
        self._load_data()
        torch.manual_seed(config.seed)
        network = ARCHITECTURES.get(config.arch)(len(config.classes))
        self.network: nn.Module = network.to(self.device, memory_format=torch.channels_last)
        if config.init and not options.resume:
            fresh = start_from(self.network, Path(config.init))
            options.report({"event": "init", "weights": config.init, "fresh": fresh})
        self.average = copy.deepcopy(self.network).eval()
        self.optimiser = build_optimiser(config, self.network)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.bf16 and self.device.type == "cuda")
        self.step = 0
        self.scores: Scores | None = None
        if options.resume:
            self._resume()

    def run(self) -> Scores | None:
        """Train to the end of the schedule or until the minutes are over; returns the last validation scores."""
        started = time.monotonic()
        limit = math.inf if self.options.minutes is None else self.options.minutes * 60
        with deterministic(self.device), ThreadPoolExecutor(1) as pool:
            pending = pool.submit(self._draw, self.step)
            while self.step < self.config.steps and time.monotonic() - started < limit:
                loss, pending = self._advance(pool, pending)
                self._housekeeping(loss, time.monotonic() - started)
        self.save()
        return self.scores

    def save(self) -> Path:
        """Write the checkpoint under a temporary name, then rename."""
        path = self.options.out / CHECKPOINT
        state = {
            "config": asdict(self.config),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "scores": None if self.scores is None else asdict(self.scores),
        }
        save_checkpoint(path, state)
        self.options.on_save(self.average, self.step, self.scores)
        return path

    def _advance(self, pool: ThreadPoolExecutor, pending: Future[Any]) -> tuple[float, Future[Any]]:
        images, labels = pending.result()
        pending = pool.submit(self._draw, self.step + 1)
        loss = self._optimise(torch.from_numpy(images), torch.from_numpy(labels))
        self.step += 1
        average_weights(self.average, self.network, self.config.ema, self.step)
        return loss, pending

    def _optimise(self, images: Tensor, labels: Tensor) -> float:
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        rate = learning_rate(self.config, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        images = images.to(self.device, memory_format=torch.channels_last)
        labels = labels.to(self.device)
        with torch.autocast(self.device.type, reduced_precision(self.device), enabled=self.config.bf16):
            outputs = self.network(images)
        loss = self._loss(outputs, labels)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return float(loss.detach())

    def _loss(self, outputs: list[Tensor], labels: Tensor) -> Tensor:
        total = torch.zeros((), device=self.device)
        for index, logits in enumerate(outputs):
            full = interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
            value = _pixel_loss(full, labels, self.weights)
            total = total + value * (1.0 if index == 0 else AUXILIARY)
        return total

    def _housekeeping(self, loss: float, elapsed: float) -> None:
        options, config = self.options, self.config
        rate = learning_rate(config, self.step)
        options.report({"event": "step", "step": self.step, "of": config.steps, "loss": loss, "lr": rate, "s": elapsed})
        if self.step % options.eval_every == 0 or self.step == config.steps:
            self._validate()
        if self.step % options.save_every == 0:
            self.save()

    def _validate(self) -> None:
        if self.validation is None:
            return
        self.scores = evaluate(self.average, self.validation, self.config.classes, self.device, self.config.bf16)
        self.options.report({"event": "validation", "step": self.step, **asdict(self.scores)})

    def _draw(self, step: int) -> tuple[Any, Any]:
        c = self.config
        augment = td.Augment(crop=c.crop)
        if step >= c.steps * (1 - c.polish):
            augment = replace(augment, **POLISH)
        return td.draw_batch(self.real, self.scenes, c.scenes, c.batch, augment, c.seed, step)

    def _load_data(self) -> None:
        c = self.config
        data, images, labels, val_images, val_labels = (
            Path(p) if p else None for p in (c.data, c.images, c.labels, c.val_images, c.val_labels)
        )
        source = find_source(data, images, labels, val_images, val_labels)
        self.real = td.open_samples(source.train, len(c.classes))
        self.scenes = (
            td.load_scenes(c.scene_count, 10_000 * (1 + c.seed), len(c.classes), self.options.out) if c.scenes else None
        )
        self.validation = None if source.validation is None else td.open_samples(source.validation, len(c.classes))
        weights = td.class_weights([self.real], len(c.classes), c.class_power)
        self.weights = torch.from_numpy(weights).to(self.device)

    def _resume(self) -> None:
        state = load_checkpoint(self.options.out / CHECKPOINT, self.device)
        stored, own = state["config"], asdict(self.config)
        changed = changed_settings(stored, own)
        if changed:
            raise ConfigError(f"--resume: {changed[0]} is {own[changed[0]]}, the checkpoint has {stored[changed[0]]}")
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state.get("scaler") or {})
        self.step = int(state["step"])
        self.scores = None if state["scores"] is None else Scores(**state["scores"])


def _pixel_loss(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean cross-entropy over the pixels that are not ignored."""
    if scores.is_cuda:  # torch has a deterministic kernel for lists of scores, and none for maps of them
        scores, labels = scores.permute(0, 2, 3, 1).flatten(0, 2), labels.flatten()
    return cross_entropy(scores, labels, weights, ignore_index=td.IGNORE)

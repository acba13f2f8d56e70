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

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from encoder_bridge.errors import ConfigError, DeviceError
from models.train import data as td
from models.train.architectures import ARCHITECTURES
from models.train.evaluate import Scores, evaluate

AUXILIARY = 0.4
CHECKPOINT = "checkpoint.pt"
POLISH: dict[str, Any] = {"scale": (0.9, 1.5), "gamma": 0.25, "brightness": 15.0, "contrast": 0.2, "saturation": 0.25}
"""Towards the end the pictures come closer to those the network will see."""


@dataclass(frozen=True)
class TrainConfig:
    """What a training is; recorded in the checkpoint and in the network's card.

    Attributes:
        data: folder with ``train`` and ``trainannot``, and ``val`` and ``valannot`` where there is a validation set.
        arch: registered architecture.
        steps: length of the learning-rate schedule in optimiser steps.
        seed, batch, crop: as their names say.
        lr, weight_decay: AdamW's; the rate rises for ``warmup`` steps and falls as a cosine to 1 % of itself.
        scenes: share of samples that are procedural scenes; scene_count of them are rendered.
        polish: share of the schedule, at its end, with the narrow augmentation ``POLISH``.
        ema: decay of the weight average that is evaluated and exported.
        bf16: compute in bfloat16 where the operator allows it.
        class_power: class weights are frequency^−class_power.
        classes: names, in label order.
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

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2 or self.crop < 32:
            raise ConfigError(
                f"steps {self.steps}, batch {self.batch}, crop {self.crop}; expected at least 1, 2 and 32"
            )
        if not 0 <= self.scenes < 1:
            raise ConfigError(f"scenes {self.scenes}; expected a share 0 <= scenes < 1")


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
        self.device = _device(options.device)
        if options.threads:
            torch.set_num_threads(options.threads)
        options.out.mkdir(parents=True, exist_ok=True)
        self._load_data()
        torch.manual_seed(config.seed)
        network = ARCHITECTURES.get(config.arch)(len(config.classes))
        self.network: nn.Module = network.to(self.device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).eval()
        self.optimiser = torch.optim.AdamW(_parameter_groups(self.network, config.weight_decay), lr=config.lr)
        self.step = 0
        self.scores: Scores | None = None
        if options.resume:
            self._resume()

    def run(self) -> Scores | None:
        """Train to the end of the schedule or until the minutes are over; returns the last validation scores."""
        started = time.monotonic()
        limit = math.inf if self.options.minutes is None else self.options.minutes * 60
        with ThreadPoolExecutor(1) as pool:
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
            "scores": None if self.scores is None else asdict(self.scores),
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)
        self.options.on_save(self.average, self.step, self.scores)
        return path

    def _advance(self, pool: ThreadPoolExecutor, pending: Future[Any]) -> tuple[float, Future[Any]]:
        images, labels = pending.result()
        pending = pool.submit(self._draw, self.step + 1)
        loss = self._optimise(torch.from_numpy(images), torch.from_numpy(labels))
        self.step += 1
        self._average()
        return loss, pending

    def _optimise(self, images: Tensor, labels: Tensor) -> float:
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        rate = learning_rate(self.config, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        images = images.to(self.device, memory_format=torch.channels_last)
        labels = labels.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            outputs = self.network(images)
        loss = self._loss(outputs, labels)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        return float(loss.detach())

    def _loss(self, outputs: list[Tensor], labels: Tensor) -> Tensor:
        total = torch.zeros((), device=self.device)
        for index, logits in enumerate(outputs):
            full = interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
            value = cross_entropy(full, labels, self.weights, ignore_index=td.IGNORE)
            total = total + value * (1.0 if index == 0 else AUXILIARY)
        return total

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

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
        folder = Path(c.data)
        self.real = td.load_folder_pair(folder / "train", folder / "trainannot", len(c.classes))
        self.scenes = (
            td.load_scenes(c.scene_count, 10_000 * (1 + c.seed), len(c.classes), self.options.out) if c.scenes else None
        )
        has_val = (folder / "val").is_dir()
        self.validation = td.load_folder_pair(folder / "val", folder / "valannot", len(c.classes)) if has_val else None
        weights = td.class_weights([self.real], len(c.classes), c.class_power)
        self.weights = torch.from_numpy(weights).to(self.device)

    def _resume(self) -> None:
        path = self.options.out / CHECKPOINT
        if not path.is_file():
            raise ConfigError(f"--resume: no checkpoint {path}; start without --resume")
        state = torch.load(path, map_location=self.device, weights_only=True)
        stored, own = state["config"], asdict(self.config)
        changed = [k for k in ("arch", "classes") if _plain(stored[k]) != _plain(own[k])]
        if changed:
            raise ConfigError(f"--resume: {changed[0]} is {own[changed[0]]}, the checkpoint has {stored[changed[0]]}")
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = int(state["step"])
        self.scores = None if state["scores"] is None else Scores(**state["scores"])


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then a cosine from ``lr`` to 1 % of it at ``steps``."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    part = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return config.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))


def _parameter_groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay on convolution kernels alone, not on normalisation or biases."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device cuda asked for, but torch sees no CUDA device; use --device cpu")
    if name not in ("cpu", "cuda"):
        raise DeviceError(f"device {name!r}; expected cpu or cuda")
    return torch.device(name)


def _plain(value: Any) -> Any:
    return np.asarray(value).tolist()

"""A training loop for any network and loss: every step is a function of (seed, step), so a killed run resumes."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoder_bridge.errors import ConfigError
from models.train.optim import (
    average_weights,
    cosine_rate,
    load_checkpoint,
    open_device,
    parameter_groups,
    save_checkpoint,
)
from models.train.trainer import CHECKPOINT, LoopOptions

Prepared = tuple[NDArray[Any], ...]
"""Arrays of one batch, first axis the batch."""
Prepare = Callable[[np.random.Generator], Prepared]
"""Makes the batch of one step from that step's generator; runs in a thread beside the training."""
N = TypeVar("N", bound=nn.Module)
Loss = Callable[[nn.Module, tuple[Tensor, ...]], Tensor]
"""Network and batch, as tensors on its device, → scalar."""


@dataclass(frozen=True)
class Fit:
    """An optimiser with a cosine schedule.

    Attributes:
        steps: length of the schedule.
        lr, weight_decay: the rate rises for ``warmup`` steps and falls as a cosine to 1 % of itself.
        ema: decay of the weight average.
        seed: of batches and dropout.
        optimizer: "adamw", or "sgd" with momentum 0.9.
    """

    steps: int
    lr: float
    weight_decay: float
    warmup: int
    ema: float
    seed: int
    optimizer: str = "adamw"

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        return cosine_rate(self.lr, self.warmup, self.steps, step)


class _State:
    """Network, weight average, optimiser and step; what a checkpoint holds."""

    def __init__(self, network: nn.Module, schedule: Fit, device: torch.device, config: Mapping[str, Any]) -> None:
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval()
        self.optimiser = _optimiser(schedule, network)
        self.config, self.step = dict(config), 0

    def save(self, path: Path) -> None:
        parts = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimiser")}
        save_checkpoint(path, {"config": self.config, "step": self.step, **parts})

    def load(self, path: Path, device: torch.device) -> None:
        stored = load_checkpoint(path, device)
        changed = [k for k, v in self.config.items() if _plain(stored["config"].get(k)) != _plain(v)]
        if changed:
            key = changed[0]
            raise ConfigError(f"--resume: {key} is {self.config[key]}, the checkpoint has {stored['config'].get(key)}")
        for name in ("network", "average", "optimiser"):
            getattr(self, name).load_state_dict(stored[name])
        self.step = int(stored["step"])

    def follow(self, ema: float) -> None:
        average_weights(self.average, self.network, ema, self.step)


def fit(network: N, prepare: Prepare, loss: Loss, schedule: Fit, options: LoopOptions, config: Mapping[str, Any]) -> N:
    """Train ``network`` and return it with the average of its weights, in evaluation mode on the CPU.

    Args:
        network: changed in place.
        prepare, loss, schedule: see there.
        options: of these folder, device, threads, minutes, resume, save_every, report (events "step").
        config: JSON-ready description; a checkpoint with another one is refused.

    Raises ConfigError for an unsuitable checkpoint, DeviceError for an absent device.
    """
    device = open_device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    state, path = _State(network, schedule, device, config), options.out / CHECKPOINT
    if options.resume:
        state.load(path, device)
    started, limit = time.monotonic(), math.inf if options.minutes is None else options.minutes * 60
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(prepare, _generator(schedule, state.step))
        while state.step < schedule.steps and time.monotonic() - started < limit:
            batch = pending.result()
            pending = pool.submit(prepare, _generator(schedule, state.step + 1))
            value = _optimise(state, schedule, loss, tuple(torch.from_numpy(a).to(device) for a in batch))
            event = {"event": "step", "step": state.step, "of": schedule.steps, "loss": value}
            options.report({**event, "lr": schedule.rate(state.step), "s": time.monotonic() - started})
            if state.step % options.save_every == 0:
                state.save(path)
    state.save(path)
    network.load_state_dict(state.average.state_dict())
    return network.cpu().eval()


def _optimiser(schedule: Fit, network: nn.Module) -> torch.optim.Optimizer:
    groups = parameter_groups(network, schedule.weight_decay)
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=schedule.lr, momentum=0.9)
    return torch.optim.AdamW(groups, lr=schedule.lr)


def _optimise(state: _State, schedule: Fit, loss: Loss, batch: tuple[Tensor, ...]) -> float:
    torch.manual_seed(schedule.seed * 1_000_003 + state.step)
    for group in state.optimiser.param_groups:
        group["lr"] = schedule.rate(state.step)
    state.network.train()
    value = loss(state.network, batch)
    state.optimiser.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
    state.optimiser.step()
    state.step += 1
    state.follow(schedule.ema)
    return float(value.detach())


def _generator(schedule: Fit, step: int) -> np.random.Generator:
    return np.random.default_rng([schedule.seed, step])


def _plain(value: Any) -> Any:
    return np.asarray(value).tolist()

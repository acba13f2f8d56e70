"""Optimisers and learning-rate schedules by name, starting weights, and what makes a run repeatable."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from encoder_bridge.errors import ConfigError, DeviceError

if TYPE_CHECKING:
    from models.train.trainer import TrainConfig

OPTIMISERS = ("adamw", "sgd")
SCHEDULES = ("cosine", "poly")


def build_optimiser(config: TrainConfig, network: nn.Module) -> torch.optim.Optimizer:
    """AdamW, or SGD with ``config.momentum``; weight decay on kernels alone."""
    groups = parameter_groups(network, config.weight_decay)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=config.lr)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up to ``lr``, then over the rest of ``steps`` a cosine to 1 % of it, or lr·(1 − part)^power."""
    if config.schedule == "cosine" or step < config.warmup:
        return cosine_rate(config.lr, config.warmup, config.steps, step)
    part = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return float(config.lr * (1 - part) ** config.power)


def cosine_rate(lr: float, warmup: int, steps: int, step: int) -> float:
    """A rate that rises to ``lr`` for ``warmup`` steps and falls as a cosine to 1 % of it at ``steps``."""
    if step < warmup:
        return lr * (step + 1) / warmup
    part = min(1.0, (step - warmup) / max(1, steps - warmup))
    return lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint under a temporary name, then rename."""
    partial = path.with_suffix(".partial")
    torch.save(dict(content), partial)
    partial.replace(path)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """What ``save_checkpoint`` wrote. Raises ConfigError where there is none."""
    if not path.is_file():
        raise ConfigError(f"--resume: no checkpoint {path}; start without --resume")
    content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return content


def open_device(name: str) -> torch.device:
    """A torch device by name, "cpu" or "cuda". Raises DeviceError where it is not here."""
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device cuda asked for, but torch sees no CUDA device; use --device cpu")
    if name not in ("cpu", "cuda"):
        raise DeviceError(f"device {name!r}; expected cpu or cuda")
    return torch.device(name)


@torch.no_grad()
def average_weights(average: nn.Module, network: nn.Module, ema: float, step: int) -> None:
    """Move ``average`` towards ``network`` after ``step`` steps: a decay of ``ema``, less while there are few."""
    decay = min(ema, (1 + step) / (10 + step))
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def parameter_groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay on convolution kernels alone, not on normalisation or biases."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def start_from(network: nn.Module, path: Path) -> list[str]:
    """Load the weights of a checkpoint to go on from; returns the tensors that stay as they were.

    Takes this project's checkpoints (their weight average) and any file with a state_dict. Only tensors that have
    one entry for each class may differ in shape, so that a network can learn other classes.

    Raises ConfigError for weights of another network, ModelError for an unreadable file.
    """
    from models.zoo.weights import read_checkpoint, state_of

    content = read_checkpoint(path)
    state = content["average"] if isinstance(content.get("average"), dict) else state_of(content, path)
    own = network.state_dict()
    strange = [k for k in (*own, *state) if k not in state or k not in own]
    if strange:
        raise ConfigError(f"--init {path}: weights of another network ({strange[0]} and {len(strange) - 1} more)")
    fresh = [k for k, v in own.items() if v.shape != state[k].shape]
    wrong = [k for k in fresh if not _differs_in_classes(own[k], state[k])]
    if wrong:
        shapes = f"{list(state[wrong[0]].shape)}; expected {list(own[wrong[0]].shape)}"
        raise ConfigError(f"--init {path}: {wrong[0]} has shape {shapes}")
    network.load_state_dict({k: v for k, v in state.items() if k not in fresh}, strict=False)
    return fresh


def changed_settings(stored: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Settings of a checkpoint that must not change when a training goes on, and did."""
    return [k for k in ("arch", "classes", "optimizer") if _plain(stored.get(k, own[k])) != _plain(own[k])]


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """On CUDA choose deterministic kernels wherever torch has them; CPU kernels are, for one number of threads."""
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def _differs_in_classes(own: torch.Tensor, stored: torch.Tensor) -> bool:
    return own.ndim == stored.ndim and own.shape[1:] == stored.shape[1:]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value

"""Carries out a plan: trains, keeps the weights of each configuration, exports them into a model set."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.atomic import replacing
from encoder_bridge.errors import ConfigError
from models.model_set import Configuration, write_index
from models.train import mmcv_shim
from models.train.architectures import ARCHITECTURES
from models.train.progressive.plan import GRAY, Plan, Training

mmcv_shim.install()

import torch  # noqa: E402  (the shim says what is missing when torch is not there)
from torch import nn  # noqa: E402

from models.train.optim import open_device  # noqa: E402
from models.train.progressive.sgd import Material, Pictures, Progress, SgdConfig, SgdTrainer  # noqa: E402

Report = Callable[[dict[str, Any]], None]
NETWORKS = "networks"


class DistortedPictures(Protocol):
    """Where training pictures come from; the command line's encodes them with the project's own encoders."""

    @property
    def labels(self) -> Sequence[NDArray[np.uint8]]:
        """(H, W) uint8 of each picture, 255 ignored."""

    def pictures(self, configuration: Configuration) -> Pictures:
        """Every training picture as the network will see it: same size and order as ``labels``."""

    def digest(self) -> str:
        """Names pictures, labels and how they are coded."""


@dataclass(frozen=True)
class RunRequest:
    """What is to be done.

    Attributes:
        plan: the trainings.
        arch: registered architecture.
        init: checkpoint of ``mrdo train`` (its averaged weights) or a state dictionary: the pristine network.
        out: folder of checkpoints, weights and, under ``networks``, the model set.
        sgd: optimiser.
        strategy: noted in the set.
        device: "cpu" or "cuda".
        minutes: stop after this time; the same request goes on.
    """

    plan: Plan
    arch: str
    init: Path
    out: Path
    sgd: SgdConfig
    strategy: str = "progressive"
    device: str = "cpu"
    minutes: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        folder: the model set; None where the time was over before the end.
        epochs: epochs of each training, those of earlier calls included.
        losses: mean loss of each epoch, by training and leg.
    """

    folder: Path | None
    epochs: dict[str, int]
    losses: dict[str, list[list[float]]]


def execute(request: RunRequest, source: DistortedPictures, report: Report) -> Outcome:
    """Train what is not trained yet, then write the model set.

    ``report`` receives dictionaries: "epoch" (training, configuration, epoch, of, loss, lr, s) and "network".
    Raises ConfigError where ``out`` holds the work of another request.
    """
    deadline = None if request.minutes is None else time.monotonic() + request.minutes * 60
    request.out.mkdir(parents=True, exist_ok=True)
    _check_same(request, source)
    runner = _Runner(request, source, report, deadline)
    for index, training in enumerate(request.plan.trainings):
        if not runner.train(training, index):
            return Outcome(None, runner.epochs, runner.losses)
    folder = _export(request, report)
    return Outcome(folder, runner.epochs, runner.losses)


class _Runner:
    def __init__(self, request: RunRequest, source: DistortedPictures, report: Report, deadline: float | None) -> None:
        self.request, self.source, self.report, self.deadline = request, source, report, deadline
        self.epochs: dict[str, int] = {}
        self.losses: dict[str, list[list[float]]] = {}

    def train(self, training: Training, index: int) -> bool:
        """Carry a training to its end; False where the time is over first."""
        place = _checkpoint(self.request.out, training)
        state = _load(place) if place.is_file() else None
        legs: list[list[float]] = [] if state is None else state["losses"]
        finished = state is not None and state["finished"]
        self._note(training, legs)
        if finished:
            return True
        trainer = self._trainer(training, state)
        for number in range(max(0, len(legs) - 1), len(training.legs)):
            if len(legs) <= number:
                legs.append([])
            if not self._leg(trainer, training, (index, number), legs):
                return False
        self._save(trainer, training, legs, finished=True)
        return True

    def _leg(self, trainer: SgdTrainer, training: Training, place: tuple[int, int], legs: list[list[float]]) -> bool:
        leg, progress = training.legs[place[1]], Progress(legs[place[1]])
        sgd = self.request.sgd
        while len(progress.losses) < leg.epochs:
            if leg.until_converged and progress.converged(sgd.patience, sgd.tolerance):
                break
            if self.deadline is not None and time.monotonic() > self.deadline:
                return False
            material = Material(tuple(map(self.source.pictures, leg.configurations)), self.source.labels)
            began, epoch = time.monotonic(), len(progress.losses)
            progress.losses.append(trainer.epoch(material, (*place, epoch), (epoch, leg.epochs)))
            self._save(trainer, training, legs)
            self._say(training, leg.configurations, legs, time.monotonic() - began)
        _save_weights(trainer.network, self.request.out, training, leg.configurations)
        return True

    def _say(
        self, training: Training, configurations: Sequence[Configuration], legs: list[list[float]], seconds: float
    ) -> None:
        self._note(training, legs)
        done = sum(map(len, legs))
        several = len(configurations) > 1
        name = f"{len(configurations)} configurations" if several else configurations[0].name()
        event = {"event": "epoch", "training": training.name, "configuration": name, "epoch": done}
        self.report({**event, "of": training.epochs, "loss": legs[-1][-1], "s": seconds})

    def _note(self, training: Training, legs: list[list[float]]) -> None:
        self.epochs[training.name] = sum(map(len, legs))
        self.losses[training.name] = legs

    def _trainer(self, training: Training, state: dict[str, Any] | None) -> SgdTrainer:
        request = self.request
        network = load_network(request.arch, len(request.sgd.classes), _start_file(request, training))
        trainer = SgdTrainer(network, request.sgd, self.source.labels, open_device(request.device))
        if state is not None:
            trainer.load(state)
        return trainer

    def _save(self, trainer: SgdTrainer, training: Training, legs: list[list[float]], finished: bool = False) -> None:
        place = _checkpoint(self.request.out, training)
        place.parent.mkdir(parents=True, exist_ok=True)
        state: dict[str, Any] = {"losses": legs, "finished": finished}
        with replacing(place) as temporary:
            # A finished training is represented by the weights of its configurations.
            torch.save(state if finished else {**state, **trainer.state()}, temporary)


def load_network(arch: str, classes: int, weights: Path) -> nn.Module:
    """An architecture with weights from a checkpoint of ``mrdo train`` (averaged ones first) or a state dictionary.

    Raises ConfigError where the file is missing, unreadable or of another network.
    """
    network: nn.Module = ARCHITECTURES.get(arch)(classes)
    if not weights.is_file():
        raise ConfigError(f"--init {weights}: no such file; expected checkpoint.pt of mrdo train")
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises its own, pickle's and zipfile's errors
        raise ConfigError(f"--init {weights}: not readable ({type(error).__name__}); expected checkpoint.pt") from error
    state = state.get("average", state.get("network", state))
    try:
        network.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ConfigError(f"--init {weights}: not the weights of {arch} with {classes} classes") from error
    return network


def _start_file(request: RunRequest, training: Training) -> Path:
    return request.init if training.parent is None else _weights(request.out, training.parent, training.start)


def _checkpoint(out: Path, training: Training) -> Path:
    return out / "checkpoints" / f"{_file_name(training.name)}.pt"


def _weights(out: Path, training: str, configuration: Configuration) -> Path:
    return out / "weights" / _file_name(training) / f"{configuration.name()}.pt"


def _file_name(training: str) -> str:
    return training.replace("/", "-")


def _save_weights(network: nn.Module, out: Path, training: Training, configurations: Iterable[Configuration]) -> None:
    """The weights of a leg; several configurations share those of the first."""
    place = _weights(out, training.name, next(iter(configurations)))
    place.parent.mkdir(parents=True, exist_ok=True)
    with replacing(place) as temporary:
        torch.save(network.state_dict(), temporary)


def _export(request: RunRequest, report: Report) -> Path:
    folder = request.out / NETWORKS
    folder.mkdir(exist_ok=True)
    files = {Configuration(): _export_one(request, request.init, folder, Configuration().name(), report)}
    for training in request.plan.trainings:
        for configuration in training.wanted:
            # The chain of resolutions begins at δ = 1; the pristine network keeps that place.
            if configuration.is_pristine and training.kind != GRAY:
                continue
            shared = len(training.legs) == 1 and len(training.legs[0].configurations) > 1
            first = training.legs[0].configurations[0] if shared else configuration
            name = _file_name(training.name) if shared else configuration.name()
            weights = _weights(request.out, training.name, first)
            files[configuration] = _export_one(request, weights, folder, name, report)
    notes = {"strategy": request.strategy, "arch": request.arch, "seed": request.sgd.seed}
    write_index(folder, files, notes)
    return folder


def _export_one(request: RunRequest, weights: Path, folder: Path, name: str, report: Report) -> str:
    from models.train.export import export_onnx

    place = folder / f"{name}.onnx"
    if not place.is_file() or place.stat().st_mtime < weights.stat().st_mtime:
        network = load_network(request.arch, len(request.sgd.classes), weights)
        notes = {"arch": request.arch, "configuration": name, "strategy": request.strategy, "seed": request.sgd.seed}
        export_onnx(network, place, request.sgd.classes, notes)
        report({"event": "network", "file": str(place)})
    return place.name


def _check_same(request: RunRequest, source: DistortedPictures) -> None:
    """ConfigError where the folder was begun with other settings: its weights would not be what they claim."""
    place = request.out / "run.json"
    plan = [
        [t.name, [[[c.name() for c in leg.configurations], leg.epochs] for leg in t.legs]]
        for t in request.plan.trainings
    ]
    settings: dict[str, Any] = {
        "arch": request.arch,
        "strategy": request.strategy,
        "data": source.digest(),
        "plan": plan,
    }
    settings |= {"init": _digest(request.init), "sgd": asdict(request.sgd)}
    now = json.loads(json.dumps(settings))
    if place.is_file():
        before = json.loads(place.read_text(encoding="utf-8"))
        changed = [key for key in now if now[key] != before.get(key)]
        if changed:
            raise ConfigError(f"{request.out}: begun with another {', '.join(changed)}; choose another output folder")
        return
    with replacing(place) as temporary:
        temporary.write_text(json.dumps(now, indent=1), encoding="utf-8")


def _digest(path: Path) -> str:
    import hashlib

    if not path.is_file():
        raise ConfigError(f"--init {path}: no such file; expected checkpoint.pt of mrdo train")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _load(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state

"""Which trainings give a network to every coding configuration, and in which order (seed 001, §III-B).

The interlaced chains: on pristine weights a training over resolutions; from the weights of each resolution one
training over qualities for each codec. The grey branch is the same from weights fine-tuned on grey pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from encoder_bridge.errors import ConfigError
from models.model_set import Configuration
from models.train.progressive.schedule import (
    PAPER_CODECS,
    RESOLUTION,
    SCHEDULES,
    UNSCALED_CODECS,
    ProgressiveSchedule,
)

GRAY, RESOLUTIONS, QUALITIES, SEPARATE, AUGMENTATION = "gray", "resolution", "quality", "separate", "augmentation"
STRATEGIES = ("progressive", "separate", "augmentation")
GRAY_EPOCHS = 20
PAPER_SEPARATE_EPOCHS = 83 / 11
"""Epochs until convergence of one separate training: 83 for the 11 configurations of Table IV."""
AUGMENTATION_SHARE = 39 / 83
"""Epochs of one training on random configurations over those of separate trainings (46.99 % in Table IV)."""


@dataclass(frozen=True)
class Leg:
    """A run of epochs at one distortion; the learning rate starts anew, and its last weights are kept.

    Attributes:
        configurations: what the pictures go through; of several, each picture draws one.
        epochs: length, or the most there may be.
        until_converged: stop earlier once the loss no longer falls.
    """

    configurations: tuple[Configuration, ...]
    epochs: int
    until_converged: bool = False


@dataclass(frozen=True)
class Training:
    """A node of the plan.

    Attributes:
        name: unique in the plan.
        kind: "gray" (fine-tuning), "resolution", "quality", "separate" or "augmentation".
        parent: the training whose weights it starts from; None for the pristine network.
        start: which of the parent's weights.
        legs: in order.
        wanted: configurations whose networks are kept; the others are only passed through.
    """

    name: str
    kind: str
    parent: str | None
    start: Configuration
    legs: tuple[Leg, ...]
    wanted: tuple[Configuration, ...]

    @property
    def epochs(self) -> int:
        """Epochs of all legs (the most, where a leg stops by itself)."""
        return sum(leg.epochs for leg in self.legs)

    @property
    def is_progressive(self) -> bool:
        """Follows Eq. (1)."""
        return self.kind in (RESOLUTIONS, QUALITIES)


@dataclass(frozen=True)
class Plan:
    """Trainings in an order in which each finds the weights it starts from."""

    trainings: tuple[Training, ...]

    @property
    def progressive_count(self) -> int:
        """Trainings that follow Eq. (1): 60 in the paper's plan."""
        return sum(t.is_progressive for t in self.trainings)

    @property
    def quality_epochs(self) -> int:
        """Epochs of the trainings over qualities: the 4278 of the paper, which leaves out the other kinds."""
        return self.epochs_of(QUALITIES)

    def epochs_of(self, kind: str) -> int:
        """Epochs of all trainings of one kind."""
        return sum(t.epochs for t in self.trainings if t.kind == kind)

    @property
    def coded(self) -> tuple[Configuration, ...]:
        """Coding configurations that get a network: 1486 in the paper's plan."""
        return tuple(c for t in self.trainings for c in t.wanted if c.codec)

    def complexity(self, training: Training, separate_epochs: float = PAPER_SEPARATE_EPOCHS) -> float | None:
        """Epochs in percent of what separate trainings of the same configurations take (lower is cheaper).

        None for a training that no coding configuration asks for.
        """
        count = sum(1 for c in training.wanted if c.codec)
        return 100.0 * training.epochs / (count * separate_epochs) if count else None

    def rows(self) -> list[dict[str, Any]]:
        """One JSON-ready row a training: name, stage, parent, epochs, configurations, complexity in percent."""
        return [
            {
                "name": t.name,
                "stage": t.kind,
                "parent": t.parent or "pristine",
                "epochs": t.epochs,
                "configurations": len(t.wanted),
                "complexity": self.complexity(t),
            }
            for t in self.trainings
        ]


@dataclass(frozen=True)
class Selection:
    """Which part of the configurations is wanted.

    Attributes:
        codecs: registered schedules; empty is the paper's five.
        scales: δ; empty is every level of the resolution chain.
        grays: False is colour, True is grey.
        qualities: levels whose networks are kept, empty for all; a chain ends when f(e) leaves the last of them.
        schedule: in place of the codecs' own.
        resolution: chain of δ.
        gray_epochs: of the fine-tuning on grey pictures.
        separate_epochs: the most epochs of one separate training.
        augmentation_epochs: None is 46.99 % of what the separate trainings would take.
    """

    codecs: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    grays: tuple[bool, ...] = (False, True)
    qualities: tuple[float, ...] = ()
    schedule: ProgressiveSchedule | None = None
    resolution: ProgressiveSchedule = RESOLUTION
    gray_epochs: int = GRAY_EPOCHS
    separate_epochs: int = 12
    augmentation_epochs: int | None = None

    def __post_init__(self) -> None:
        for codec in self.codecs:
            SCHEDULES.get(codec)
        self.resolution.check_levels(self.scales)
        for codec in self.wanted_codecs:
            self.schedule_of(codec).check_levels(self.qualities)
        if not self.grays:
            raise ConfigError("neither colour nor grey; expected --color color, gray or both")

    @property
    def wanted_codecs(self) -> tuple[str, ...]:
        """The codecs, the paper's where none is named."""
        return self.codecs or PAPER_CODECS

    @property
    def wanted_scales(self) -> tuple[float, ...]:
        """The scales in the order of the chain, all where none is named."""
        return tuple(s for s in self.resolution.levels if s in self.scales) if self.scales else self.resolution.levels

    def schedule_of(self, codec: str) -> ProgressiveSchedule:
        """The schedule of a codec's quality."""
        return self.schedule or SCHEDULES.get(codec)

    def scales_of(self, codec: str) -> tuple[float, ...]:
        """The scales a codec is used at."""
        return tuple(s for s in self.wanted_scales if codec not in UNSCALED_CODECS or s == 1)

    def configurations(self, gray: bool) -> list[Configuration]:
        """Wanted coding configurations of the colour or the grey branch."""
        return [
            Configuration(codec, level, scale, gray)
            for codec in self.wanted_codecs
            for scale in self.scales_of(codec)
            for level in self.qualities or self.schedule_of(codec).levels
        ]


def make_plan(selection: Selection, strategy: str = "progressive") -> Plan:
    """The trainings of a strategy: "progressive", "separate" (ST) or "augmentation" (DA). ConfigError for another."""
    makers: dict[str, Callable[[Selection, bool], Iterable[Training]]] = {
        "progressive": _progressive,
        "separate": _separate,
        "augmentation": _augmentation,
    }
    if strategy not in makers:
        raise ConfigError(f"strategy {strategy!r}; expected one of {', '.join(STRATEGIES)}")
    trainings: list[Training] = []
    for gray in selection.grays:
        if gray:
            trainings.append(_gray_tuning(selection))
        trainings += makers[strategy](selection, gray)
    return Plan(tuple(trainings))


GRAY_TUNING = "gray/pristine"


def _gray_tuning(selection: Selection) -> Training:
    gray = Configuration(gray=True)
    return Training(GRAY_TUNING, GRAY, None, Configuration(), (Leg((gray,), selection.gray_epochs),), (gray,))


def _base(gray: bool) -> str | None:
    return GRAY_TUNING if gray else None


def _progressive(selection: Selection, gray: bool) -> Iterable[Training]:
    parent = _base(gray)
    # A single resolution that is the original's needs no chain: Table IV starts from the pristine network.
    if selection.wanted_scales != (1.0,):
        chain = _resolution_chain(selection, gray)
        parent = chain.name
        yield chain
    for scale in selection.wanted_scales:
        for codec in selection.wanted_codecs:
            if scale in selection.scales_of(codec):
                yield _quality_chain(selection, codec, Configuration(scale=scale, gray=gray), parent)


def _resolution_chain(selection: Selection, gray: bool) -> Training:
    def at(scale: float) -> Configuration:
        return Configuration(scale=scale, gray=gray)

    scales = selection.wanted_scales
    legs = _legs(selection.resolution, scales, at)
    return Training(f"{_branch(gray)}/resolution", RESOLUTIONS, _base(gray), at(1.0), legs, tuple(map(at, scales)))


def _quality_chain(selection: Selection, codec: str, start: Configuration, parent: str | None) -> Training:
    def at(level: float) -> Configuration:
        return Configuration(codec, level, start.scale, start.gray)

    schedule = selection.schedule_of(codec)
    wanted = selection.qualities or schedule.levels
    name = f"{_branch(start.gray)}/{codec}/{start.scale:g}"
    return Training(name, QUALITIES, parent, start, _legs(schedule, wanted, at), tuple(map(at, wanted)))


def _branch(gray: bool) -> str:
    return "gray" if gray else "color"


def _legs(
    schedule: ProgressiveSchedule, wanted: Sequence[float], at: Callable[[float], Configuration]
) -> tuple[Leg, ...]:
    """The schedule's runs until it leaves the last level that is wanted."""
    last = max(schedule.levels.index(level) for level in wanted)
    return tuple(Leg((at(level),), epochs) for level, epochs in schedule.runs[: last + 1])


def _separate(selection: Selection, gray: bool) -> Iterable[Training]:
    start = Configuration(gray=gray)
    for wanted in selection.configurations(gray):
        leg = Leg((wanted,), selection.separate_epochs, until_converged=True)
        yield Training(f"separate/{wanted.name()}", SEPARATE, _base(gray), start, (leg,), (wanted,))


def _augmentation(selection: Selection, gray: bool) -> Iterable[Training]:
    wanted = tuple(selection.configurations(gray))
    epochs = selection.augmentation_epochs
    if epochs is None:
        epochs = max(1, round(AUGMENTATION_SHARE * PAPER_SEPARATE_EPOCHS * len(wanted)))
    name = f"augmentation/{_branch(gray)}"
    yield Training(name, AUGMENTATION, _base(gray), Configuration(gray=gray), (Leg(wanted, epochs),), wanted)

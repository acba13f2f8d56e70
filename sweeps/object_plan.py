"""What ``mrdo train objects`` is asked for, and how much of everything it makes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from encoder_bridge.errors import ConfigError
from models.objects.crops import SIDE
from models.objects.types import TASKS

SPLITS = ("task", "train", "test")
"""Pictures that teach the task network, that train the metrics, and that only judge."""


@dataclass(frozen=True)
class ObjectSizes:
    """How much of everything.

    Attributes:
        task, train, test: pictures in each split.
        per_picture: codecs and levels each training picture is coded with; test pictures get half as many.
        task_steps, task_batch, task_lr: training of the task network.
        metric_steps, metric_batch: training of its metric; the general one takes half as many steps again.
    """

    task: int
    train: int
    test: int
    per_picture: int
    task_steps: int
    task_batch: int
    task_lr: float
    metric_steps: int
    metric_batch: int = 24

    def scaled(self, pictures: float, task_steps: int | None, metric_steps: int | None) -> ObjectSizes:
        """With a share of the pictures and other lengths. Raises ConfigError for a share that is not positive."""
        if not pictures > 0:
            raise ConfigError(f"share of pictures {pictures}; expected more than 0")
        counts = {name: max(8, round(getattr(self, name) * pictures)) for name in SPLITS}
        steps = {"task_steps": task_steps or self.task_steps, "metric_steps": metric_steps or self.metric_steps}
        return replace(self, **counts, **steps)


SIZES: dict[str, ObjectSizes] = {
    "detection": ObjectSizes(400, 240, 96, 6, 500, 8, 2e-3, 250),
    "face": ObjectSizes(3600, 1000, 300, 6, 600, 32, 3e-3, 250),
    "plate": ObjectSizes(4000, 1000, 300, 6, 800, 32, 3e-3, 250),
}
"""Of generated data; small enough for two cores."""


@dataclass(frozen=True)
class ObjectRequest:
    """What ``mrdo train objects`` was asked for.

    Attributes:
        out: folder of everything; what is there already is not made again.
        tasks: of ``TASKS``; with several, a general metric is trained as well.
        data, fmt: a data set and its format instead of generated pictures (one task).
        limit: most pictures read from it.
        seed: of everything random.
        network: the user's own task network instead of one that is trained (one task): for detection any file
            ``models.detector.DetectorModel`` takes, else what ``models.objects.tasks`` describes.
        minutes: stop after this time; the same request goes on.
        device, threads: for training.
        backbone: of the metrics, see ``models.train.full_reference``.
        side: of the crops.
        pictures, task_steps, metric_steps: instead of the defaults in ``SIZES``.
    """

    out: Path
    tasks: tuple[str, ...] = TASKS
    data: Path | None = None
    fmt: str | None = None
    limit: int = 5000
    network: Path | None = None
    seed: int = 0
    minutes: float | None = None
    device: str = "cpu"
    threads: int | None = None
    backbone: str = "lite0-levels"
    side: int = SIDE
    pictures: float = 1.0
    task_steps: int | None = None
    metric_steps: int | None = None

    def __post_init__(self) -> None:
        strange = [t for t in self.tasks if t not in TASKS]
        if strange or not self.tasks:
            raise ConfigError(f"task {strange[0] if strange else ''!r}; expected {', '.join(TASKS)} or all")
        if (self.data is None) != (self.fmt is None):
            raise ConfigError("--data and --format belong together")
        if (self.data or self.network) is not None and len(self.tasks) != 1:
            raise ConfigError("--data and --network serve one task; give --task with them")
        if self.network is not None and not self.network.is_file():
            raise ConfigError(f"--network {self.network}: no such file")
        if self.side != SIDE and "face" in self.tasks:
            raise ConfigError(f"crops of {self.side}; the face embedder takes {SIDE}")

    def settings(self, task: str) -> dict[str, Any]:
        """What determines the files of a task; compared when a folder is used again."""
        sizes = SIZES[task].scaled(self.pictures, self.task_steps, self.metric_steps)
        data = None if self.data is None else {"data": self.data.name, "format": self.fmt, "limit": self.limit}
        return {
            "kind": task,
            "seed": self.seed,
            "side": self.side,
            "backbone": self.backbone,
            "data": data,
            "network": None if self.network is None else self.network.name,
            **asdict(sizes),
        }

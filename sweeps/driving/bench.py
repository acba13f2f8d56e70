"""What a worker process keeps between runs: networks, opened inputs, the workspace."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from encoder_bridge.config import CandidateConfig, CodingConfig, MapConfig, RunOptions
from encoder_bridge.console import Advance, Reporter
from encoder_bridge.errors import ConfigError, ModelError
from encoder_bridge.frames import Frame, FrameSource, VideoFormat
from models import default_model_path
from models.metadata import ModelOptions
from models.model_set import SetModel
from models.task_model import TaskModel
from sweeps.coding import Coder
from sweeps.executors.worker import share
from sweeps.judges import JudgeMaker
from sweeps.maps import MapMaker
from sweeps.plan.inputs import InputFile
from sweeps.run_one import Job, key_models
from sweeps.workspace import Workspace

if TYPE_CHECKING:
    from rdo_metrics.iqa import IqaMetric

SCRATCH = ".work"
"""Folder under the results for what lives only as long as a run."""
KEEP = ("all", "none", "failed")
_AS_IT_SAYS = ModelOptions()


@dataclass(frozen=True)
class Setup:
    """How the runs of a sweep are made; picklable, and the same for all of them.

    Attributes:
        folder: of the results; workers reach it under the same name.
        model: network that drives; None is the embedded one.
        model_options: what is stated about it.
        judges: networks or sets that only judge.
        metrics: image quality metrics beside PSNR.
        threads: None is the encoder's choice, and for networks as many as the worker has cores.
        timeout_s, device: see ``RunOptions``.
        keep: streams that stay: "all", "none", or those of "failed" runs.
        workdir: folder for temporary files; None is the worker's own.
    """

    folder: str
    model: str | None = None
    model_options: ModelOptions = _AS_IT_SAYS
    judges: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    threads: int | None = None
    timeout_s: float = 600.0
    device: str = "cpu"
    keep: str = "all"
    workdir: str | None = None


class Silent(Reporter):
    """A worker says nothing: what is to be said is in its record or its error."""

    def task(self, label: str, total: int | None) -> AbstractContextManager[Advance]:
        """No progress."""
        return nullcontext(lambda units: None)

    def note(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Digested:
    """A source whose digest is known already, so that it is not walked once more for it."""

    source: FrameSource
    known: str

    @property
    def format(self) -> VideoFormat:
        """Format of every frame."""
        return self.source.format

    @property
    def frame_count(self) -> int | None:
        """Number of frames where it is known."""
        return self.source.frame_count

    def __iter__(self) -> Iterator[Frame]:
        """Frames of the source."""
        return iter(self.source)

    def digest(self) -> str:
        """The digest that is known."""
        return self.known


class Bench:
    """Networks and coder of a process. Networks are opened when they are first needed.

    Raises:
        ModelError, DeviceError, ConfigError: networks that cannot be had, from whatever first needs them.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._threads = setup.threads or share()
        self._judges: dict[bool, list[TaskModel | SetModel]] = {}
        self._identities: dict[tuple[MapConfig | None, CandidateConfig | None, bool], dict[str, str]] = {}

    @functools.cached_property
    def driver(self) -> TaskModel:
        """The network that drives, which judges as well."""
        path = default_model_path() if self.setup.model is None else Path(self.setup.model)
        return TaskModel(path, self.setup.device, self._threads, self.setup.model_options)

    @functools.cached_property
    def options(self) -> RunOptions:
        """For encoders."""
        workdir = None if self.setup.workdir is None else Path(self.setup.workdir)
        return RunOptions(self.setup.threads, self.setup.timeout_s, self.setup.device, workdir)

    @functools.cached_property
    def workspace(self) -> Workspace:
        """Streams, maps and reference labels."""
        return Workspace(Path(self.setup.folder))

    @functools.cached_property
    def makers(self) -> tuple[MapMaker, JudgeMaker]:
        """Makers of maps and of judges of candidates."""
        return MapMaker(self.driver, self.setup.device), JudgeMaker(self.driver, self.setup.device)

    def makers_of(self, config: CodingConfig) -> tuple[MapMaker | None, JudgeMaker | None]:
        """The makers a configuration wants: plain coding needs no network."""
        return (None, None) if config.rdo == "psnr" else self.makers

    def coder(self, config: CodingConfig, workspace: Workspace | None = None) -> Coder:
        """Who codes ``config``."""
        return Coder(workspace or self.workspace, self.options, Silent(), *self.makers_of(config))

    def judges(self, gray: bool) -> list[TaskModel | SetModel]:
        """The driving network first; sets have other networks for grey pictures. ConfigError for two of one name."""
        if gray not in self._judges:
            networks = [self.driver, *(self._judge(Path(path), gray) for path in self.setup.judges)]
            names = [network.name for network in networks]
            if len(set(names)) != len(names):
                raise ConfigError(f"networks named {', '.join(names)}; expected different file names")
            self._judges[gray] = networks
        return self._judges[gray]

    def _judge(self, path: Path, gray: bool) -> TaskModel | SetModel:
        setup = self.setup
        if path.is_dir():
            return SetModel(path, gray=gray, device=setup.device, threads=self._threads)
        try:
            return TaskModel(path, setup.device, self._threads)
        except ModelError:
            return TaskModel(path, setup.device, self._threads, setup.model_options)

    @functools.cached_property
    def metrics(self) -> list[IqaMetric]:
        """Image quality metrics. Raises ToolNotFoundError where what they need is not here."""
        from sweeps.metric_scores import quality_metrics

        return quality_metrics(self.setup.metrics, self.setup.device, None)

    def models(self, config: CodingConfig, gray: bool, labels: str | None) -> dict[str, str]:
        """Name → digest of everything but the encoder that a result depends on; files are read once."""
        kind = (config.map, config.ctu, gray)
        if kind not in self._identities:
            self._identities[kind] = key_models(config, self.judges(gray), *self.makers_of(config), None)
        return {**self._identities[kind], **({} if labels is None else {"(labels)": labels})}

    def source(self, file: InputFile, signature: str) -> FrameSource:
        """An opened input. ConfigError where its files are not those the sweep began with."""
        return _opened(file, signature)

    def job(self, file: InputFile, signature: str, digest: str, config: CodingConfig) -> Job:
        """A run of this process."""
        source = self.source(file, signature)
        judges = self.judges(config.gray or source.format.chroma == "400")
        return Job(Digested(source, digest), file.name, config, judges, file.open_labels(source))


@functools.lru_cache(maxsize=2)
def bench_of(setup: Setup) -> Bench:
    """The process's bench for a sweep."""
    return Bench(setup)


@functools.lru_cache(maxsize=4)
def _opened(file: InputFile, signature: str) -> FrameSource:
    if file.signature() != signature:
        raise ConfigError(f"{file.path}: changed since the sweep began; start it again")
    return file.open()

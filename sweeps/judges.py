"""Judges of candidates from configurations: the metric, the networks it needs, what identifies its answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from encoder_bridge.config import CandidateConfig, CodingConfig
from encoder_bridge.errors import ConfigError, ModelError
from encoder_bridge.frames import VideoFormat
from models import block_model_path
from models.block_model import BlockModel
from models.features import FeatureModel, open_metric_network
from models.gradient import GradientModel
from models.local import LocalModel
from models.metadata import InputSpec
from models.task_model import TaskModel
from rdo_metrics.candidates import make_candidate_metric
from rdo_metrics.candidates.base import CandidateMetric, Networks
from sweeps.candidates import CandidateJudge, OnFrame
from sweeps.workspace import digest_of

N = TypeVar("N")
LEARNED = "learned"
"""The metric whose network is shipped, so that it needs no driving one."""
_IN_WINDOWS = {"log_probs", "features", "local"}
"""Networks that are run on windows, not on whole pictures."""


@dataclass(frozen=True)
class JudgeMaker:
    """Makes judges with one driving network.

    Attributes:
        driver: the network whose opinion counts; None allows only metrics that need none.
        device: where networks run.
        seed: of random draws in metrics.
    """

    driver: TaskModel | None = None
    device: str = "cpu"
    seed: int = 0
    _made: dict[tuple[str, int], CandidateMetric] = field(default_factory=dict, compare=False)
    _networks: dict[str, Any] = field(default_factory=dict, compare=False)

    def metric(self, config: CandidateConfig) -> CandidateMetric:
        """The metric a configuration names. ConfigError for an unknown one."""
        key = config.metric, config.context
        if key not in self._made:
            self._made[key] = make_candidate_metric(*key)
        return self._made[key]

    def prepare(self, config: CandidateConfig) -> None:
        """Fail now, before hours of encoding, where the metric's networks cannot be had or cannot see windows."""
        if not config.internal:
            self.networks(config)

    def needs_base(self, config: CandidateConfig) -> bool:
        """Whether the judge looks at a coded version of the picture around a CTU."""
        return not config.internal and config.metric != "sse"

    def identity(self, config: CandidateConfig) -> str:
        """Digest of what the answers depend on beside the pictures and the configuration: network, file, seed."""
        path = Path(config.metric) if is_file(config) else block_model_path() if config.metric == LEARNED else None
        file = None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
        network = self.driver.digest() if self.driver and needs_driver(config) else None
        return digest_of({"network": network, "file": file, "seed": self.seed})

    def networks(self, config: CandidateConfig) -> Networks:
        """What the metric needs, and no more.

        Raises:
            ConfigError: it needs a network and there is none.
            ModelError: the network cannot do what the metric asks.
            ToolNotFoundError: a package for gradients is absent.
        """
        needs = set(self.metric(config).needs)
        if not needs:
            return Networks()
        if is_file(config):
            return self._from_file(config)
        if needs == {"losses"}:
            return Networks(losses=self._losses())
        driver = self._driver(config, needs)
        return Networks(
            log_probs=driver.log_probs if "log_probs" in needs else None,
            logits=driver.logits if "log_probs" in needs else None,
            features=self._features(driver) if "features" in needs else None,
            signed_grad=self._gradient.logp_signed_grad if "signed_grad" in needs else None,
            local=self._local(driver) if "local" in needs else None,
        )

    def judge(self, config: CodingConfig, fmt: VideoFormat, on_frame: OnFrame | None = None) -> CandidateJudge | None:
        """Who answers an encode of pictures in ``fmt``; None where the encoder judges by itself."""
        assert config.ctu is not None
        if config.ctu.internal:
            return None
        metric = self.metric(config.ctu)
        return CandidateJudge(metric, config.ctu, self.networks(config.ctu), fmt, self.seed, on_frame, config.qp)

    def _driver(self, config: CandidateConfig, needs: set[str]) -> TaskModel:
        if self.driver is None:
            raise ConfigError(f"metric {config.metric!r} needs a network; give --model FILE.onnx")
        if self.driver.gives_labels and needs != {"features"}:
            raise ModelError(f"{self.driver.path}: its output is a label map; metric {config.metric!r} needs logits")
        if needs & _IN_WINDOWS:
            _expect_free(self.driver.path, self.driver.spec, config)
        return self.driver

    def _from_file(self, config: CandidateConfig) -> Networks:
        path = Path(config.metric)
        network = self._opened(config.metric, lambda: open_metric_network(path, self.device))
        if isinstance(network, BlockModel):
            return Networks(blocks=network)
        _expect_free(path, network.spec, config)
        return Networks(features=network)

    def _losses(self) -> BlockModel:
        path = block_model_path()
        if not path.is_file():
            raise ModelError(
                f"metric {LEARNED!r}: no file {path}; train one (mrdo train block) or use --metric FILE.onnx"
            )
        return self._opened("(losses)", lambda: BlockModel(path, self.device))

    def _features(self, driver: TaskModel) -> FeatureModel:
        return self._opened("(features)", lambda: FeatureModel(driver.path, device=self.device, options=driver.options))

    def _local(self, driver: TaskModel) -> LocalModel:
        # The judge asks from several threads: one each is the better use of the cores.
        return self._opened("(local)", lambda: LocalModel(driver.path, self.device, threads=1, options=driver.options))

    def _opened(self, key: str, make: Callable[[], N]) -> N:
        if key not in self._networks:
            self._networks[key] = make()
        made: N = self._networks[key]
        return made

    @cached_property
    def _gradient(self) -> GradientModel:
        assert self.driver is not None
        return GradientModel(self.driver.path, self.driver.options, self.device)


def is_file(config: CandidateConfig) -> bool:
    """Whether the metric is a network in a file of its own."""
    return config.metric.endswith(".onnx")


def needs_driver(config: CandidateConfig) -> bool:
    """Whether the metric asks the network that drives the encoder."""
    own = config.internal or is_file(config)
    return not own and bool(set(make_candidate_metric(config.metric).needs) - {"losses"})


def _expect_free(path: Path, spec: InputSpec, config: CandidateConfig) -> None:
    if spec.size is None:
        return
    height, width = spec.size
    raise ModelError(
        f"{path}: its input is fixed at {width}x{height}; metric {config.metric!r} shows it windows of a CTU and its "
        "context; export it with free height and width, or use --metric ssim"
    )

"""Which measures there are, and how each is made of networks and libraries that are here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.config import CandidateConfig
from encoder_bridge.console import Reporter
from encoder_bridge.errors import ConfigError, ModelError, ToolNotFoundError
from models import block_model_path, map_model_path
from models.block_model import BlockModel
from models.gradient import GradientModel
from models.map_model import MapModel
from models.task_model import TaskModel
from rdo_metrics.candidates import CANDIDATE_METRICS, make_candidate_metric
from rdo_metrics.iqa import IQA_METRICS, make_iqa_metric
from rdo_metrics.iqa.base import missing_of
from rdo_metrics.maps import MapContext
from rdo_metrics.maps.attribution import attribution
from rdo_metrics.maps.kl import kl_divergence
from sweeps.judges import JudgeMaker
from sweeps.study.measures import CandidateMeasure, MapMeasure, Measure, QualityMeasure, baselines
from sweeps.study.plan import qp_of
from sweeps.study.views import View

Maps = NDArray[np.float32]
MACHINE = ("learned", "learned-picture", "map-learned", "fisher", "features", "dct-ratio", "attribution", "kl")
"""Machine metrics of a study that names none."""
_QOMEX = ("psnr", "ssim", "ms-ssim", "fsim", "sr-sim", "gmsd", "ms-gmsd", "vsi", "haarpsi", "mdsi", "lpips", "dists")
"""The order of table II."""
_ANSWERS = ("task", "task-kl", "task-kl-window", "task-local", "task-flip", "task-iou")
"""Candidate metrics that run the driving network on what was coded."""
_STEPS = 1


@dataclass(frozen=True)
class Catalogue:
    """Makes measures.

    Attributes:
        driver: the network machine metrics ask.
        device: where networks and libraries run.
        weights: folder of learned quality metrics' weights.
    """

    driver: TaskModel
    device: str = "cpu"
    weights: Path | None = None

    def names(self) -> list[str]:
        """Every name that can be asked for."""
        own = [*_MAPS, *(measure.name for measure in baselines())]
        return [*IQA_METRICS.shown(), *own, *(name for name in CANDIDATE_METRICS.shown() if name not in IQA_METRICS)]

    def default(self, reporter: Reporter) -> list[Measure]:
        """Every quality metric, machine metric and baseline that is here; a note for what is not."""
        found: list[Measure] = []
        quality = sorted(IQA_METRICS.shown(), key=lambda name: (*_QOMEX, name).index(name))
        for name in [*quality, *MACHINE]:
            try:
                if name in IQA_METRICS and (missing := missing_of(name, self.weights)) is not None:
                    raise ToolNotFoundError(missing)
                if not (name in IQA_METRICS and IQA_METRICS.get(name).info.video):
                    found.append(self.make(name))
            except (ToolNotFoundError, ModelError) as error:
                reporter.warn(f"left out: {name}: {error}")
        return [*found, *baselines()]

    def chosen(self, names: Sequence[str]) -> list[Measure]:
        """Measures by name, or FILE.onnx. Raises ConfigError on another name, ToolNotFoundError on what is absent."""
        return [self.make(name) for name in dict.fromkeys(names)]

    def make(self, name: str) -> Measure:
        """One measure."""
        if name in IQA_METRICS:
            return QualityMeasure(make_iqa_metric(name, self.device, self.weights), f"{name}/{_version('piq')}")
        if name in _MAPS:
            return _MAPS[name](self)
        for measure in baselines():
            if measure.name == name:
                return measure
        if name in CANDIDATE_METRICS or name.endswith(".onnx"):
            return self._candidate(name)
        raise ConfigError(f"unknown metric {name!r}; known: {', '.join(self.names())}, or a FILE.onnx")

    def _candidate(self, name: str) -> Measure:
        metric = make_candidate_metric(name)
        config = CandidateConfig(metric=name, context=metric.context)
        judges = JudgeMaker(self.driver, self.device)
        kind = "answer" if name in _ANSWERS else "machine"
        return CandidateMeasure(name, metric, judges.networks(config), judges.identity(config) + f"/{name}", kind)


def _attribution(catalogue: Catalogue) -> Measure:
    network = GradientModel(catalogue.driver.path, catalogue.driver.options, catalogue.device)

    def loss_and_grad(rgb: Maps, labels: NDArray[np.int64]) -> tuple[Maps, Maps]:
        loss, gradient = network.loss_and_grad(rgb, labels)
        return loss.astype(np.float32), gradient

    def errors(view: View) -> Maps:
        context = MapContext(
            original_rgb=view.original,
            original_luma=view.lumas[0],
            log_probs=catalogue.driver.log_probs,
            reconstruction_rgb=view.coded,
            reconstruction_luma=view.lumas[1],
            loss_and_grad=loss_and_grad,
            cache=view.memory.setdefault("map", {}),
        )
        return attribution(context, _STEPS)

    return MapMeasure("attribution", errors, f"attribution/{_STEPS}/{catalogue.driver.digest()}", "answer")


def _kl(catalogue: Catalogue) -> Measure:
    def errors(view: View) -> Maps:
        if "answer" not in view.memory:
            view.memory["answer"] = catalogue.driver.log_probs(view.original)[0]
        return kl_divergence(view.memory["answer"], catalogue.driver.log_probs(view.coded)[0])

    return MapMeasure("kl", errors, f"kl/{catalogue.driver.digest()}", "answer")


def _learned_picture(catalogue: Catalogue) -> Measure:
    path = block_model_path()
    model = BlockModel(path, catalogue.device)

    def errors(view: View) -> Maps:
        cells = model.maps(view.original[None], view.coded[None])[0].astype(np.float32)
        return _spread(cells, model.cell, view.size)

    return MapMeasure("learned-picture", errors, f"learned-picture/{_digest(path)}", "machine")


def _map_learned(catalogue: Catalogue) -> Measure:
    path = map_model_path()
    model = MapModel(path, catalogue.device)

    def errors(view: View) -> Maps:
        height, width = view.size
        half = cv2.resize(view.original, (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA)
        weights = model.of_pictures(qp_of(view.config), np.asarray(half, np.uint8))
        return _spread(weights, 16, view.size) * view.squared_error

    return MapMeasure("map-learned", errors, f"map-learned/{_digest(path)}", "machine")


_MAPS: dict[str, Callable[[Catalogue], Measure]] = {
    "attribution": _attribution,
    "kl": _kl,
    "learned-picture": _learned_picture,
    "map-learned": _map_learned,
}


def _spread(cells: Maps, side: int, size: tuple[int, int]) -> Maps:
    return np.asarray(cells.repeat(side, axis=0).repeat(side, axis=1)[: size[0], : size[1]])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""

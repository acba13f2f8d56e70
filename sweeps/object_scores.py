"""How well metrics predict what coding does to objects: rank correlation with the task's own measure, and cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError
from models.block_model import BlockModel
from models.bound import BoundSession
from models.metadata import ModelOptions, resolve
from models.objects.types import Rgb
from models.task_model import prepare
from sweeps.object_baselines import baselines
from sweeps.object_data import CodedCrops

Floats = NDArray[np.float64]
_BATCH = 64
_FEWEST = 12
"""Crops in a group below which its correlation says nothing."""


@dataclass(frozen=True)
class Scored:
    """One metric's Spearman rank correlation with the task's loss, 1 at best.

    Attributes:
        metric: name; "specific" is trained for the task, "general" for all tasks.
        known: on coded pictures of the codecs it was trained on, held-out scenes.
        held_out: on held-out scenes and held-out codecs together.
        codecs: of each codec alone.
        alike: mean over codecs and levels of the correlation among crops of that codec and level: what is left when
            the strength of the coding is known anyway.
    """

    metric: str
    known: float | None
    held_out: float | None
    codecs: dict[str, float | None]
    alike: float | None


def rank_correlation(losses: Floats, predicted: Floats) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None where one side is constant or there are too few."""
    from scipy.stats import spearmanr

    if len(losses) != len(predicted):
        raise MetricInputError(f"{len(losses)} losses, {len(predicted)} predictions; expected as many")
    if len(losses) < _FEWEST or np.ptp(losses) == 0 or np.ptp(predicted) == 0:
        return None
    return float(spearmanr(losses, predicted).statistic)


def score(
    crops: CodedCrops, networks: Mapping[str, Path], known: Sequence[str], held_out: Sequence[str]
) -> list[Scored]:
    """Every baseline and every learned metric on coded crops of the test split.

    Args:
        networks: name → ``.onnx`` of a learned metric.
        known, held_out: codecs the learned metrics were, and were not, trained on.
    """
    originals = crops.originals[crops.index]
    predicted = {name: -metric(originals, crops.coded) for name, metric in baselines().items()}
    predicted |= {name: _by_network(path, originals, crops.coded) for name, path in networks.items()}
    return [_scored(name, crops, values, known, held_out) for name, values in predicted.items()]


def _scored(name: str, crops: CodedCrops, values: Floats, known: Sequence[str], held_out: Sequence[str]) -> Scored:
    def among(chosen: NDArray[np.bool_]) -> float | None:
        return rank_correlation(crops.loss[chosen], values[chosen])

    groups = [
        among((crops.codec == codec) & (crops.level == level))
        for codec in (*known, *held_out)
        for level in np.unique(crops.level[crops.codec == codec])
    ]
    certain = [g for g in groups if g is not None]
    return Scored(
        name,
        among(np.isin(crops.codec, known)),
        among(np.isin(crops.codec, held_out)),
        {codec: among(crops.codec == codec) for codec in (*known, *held_out)},
        float(np.mean(certain)) if certain else None,
    )


def _by_network(path: Path, originals: Rgb, coded: Rgb) -> Floats:
    model = BlockModel(path)
    parts = [model(originals[i : i + _BATCH], coded[i : i + _BATCH]) for i in range(0, len(coded), _BATCH)]
    return np.concatenate(parts)


def cost(network: Path, metric: Path, pictures: Rgb, crops: CodedCrops, repeats: int = 5) -> dict[str, float]:
    """Milliseconds on one thread: the task network per picture, the metric per crop, and their sizes in megabytes."""
    session = BoundSession(network, threads=1)
    spec = resolve(str(network), session.metadata, session.inputs[0].shape, ModelOptions())
    tensor = prepare(pictures[:8], spec)
    model = BlockModel(metric, threads=1)
    pair = crops.originals[crops.index[:32]], crops.coded[:32]
    task_ms = _least(lambda: session.run([tensor]), repeats) / len(tensor)
    metric_ms = _least(lambda: model(*pair), repeats) / len(pair[0])
    return {
        "task_ms": task_ms,
        "metric_ms": metric_ms,
        "ratio": task_ms / metric_ms,
        "task_mb": network.stat().st_size / 1e6,
        "metric_mb": metric.stat().st_size / 1e6,
    }


def _least(call: Callable[[], Any], repeats: int) -> float:
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)

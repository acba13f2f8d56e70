"""Metrics that are a network in a file of their own: ``--metric FILE.onnx``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError, ModelError
from rdo_metrics.candidates.base import CandidateFrame, CandidateMetric, Choice
from rdo_metrics.candidates.features import FeatureMetric
from rdo_metrics.candidates.stacks import cut_rgb, required, stacked
from rdo_metrics.candidates.windows import tiles, window_of

KINDS = {1: "features", 2: "blocks"}
"""Number of a file's inputs → the member of ``Networks`` that runs it."""
_AT_ONCE = 32
"""Windows of a whole picture per network run: bounds memory."""


class FileMetric:
    """A network as a metric: with one image input the squared error of its feature maps, with two a block metric.

    One input: ``FeatureMetric`` on all of the file's feature maps. Two: ``BlockMetric``. ``needs`` names what is to be
    opened from ``path``: ``features`` or ``blocks``.

    Args:
        path: the ``.onnx`` file.
        context: luma samples around a rectangle that it should see; None is what suits its kind.

    Raises MetricInputError for a number of inputs other than 1 or 2, ModelError where the file cannot be read.
    """

    def __init__(self, path: str | Path, context: int | None = None) -> None:
        self.path = Path(path)
        count = _inputs(self.path)
        if count not in KINDS:
            raise MetricInputError(
                f"{self.path}: {count} inputs; expected one image (feature maps) or two (original, reconstruction)"
            )
        self._metric: CandidateMetric = FeatureMetric() if count == 1 else BlockMetric(context or 0)
        self.needs: tuple[str, ...] = (KINDS[count],)
        self.context = self._metric.context if context is None else context

    def distortions(self, batch: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """See ``CandidateMetric.distortions``."""
        return self._metric.distortions(batch)

    def picture(self, frame: CandidateFrame) -> float:
        """See ``CandidateMetric.picture``."""
        return self._metric.picture(frame)


class BlockMetric:
    """What a full-reference block network predicts for (original window, window with the candidate pasted).

    Lower is better. The value is taken as it is, the loss of the window as a whole; a prediction below 0 counts as 0.
    For calibration it is summed over the windows of the picture's 64×64 tiles.

    Args:
        context: luma samples around a rectangle that the network should see.
    """

    needs: tuple[str, ...] = ("blocks",)

    def __init__(self, context: int = 0) -> None:
        self.context = context

    def distortions(self, batch: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """See ``CandidateMetric.distortions``. Raises MetricInputError where a network answers otherwise."""
        results: dict[int, NDArray[np.float64]] = {}
        for run, stack in stacked(batch, "blocks", originals=True):
            originals, trials = stack.pairs()
            for member, losses in stack.shares(_losses(run(originals, trials), len(trials))):
                results[member.index] = losses
        return [results[index] for index in range(len(batch))]

    def picture(self, frame: CandidateFrame) -> float:
        """See ``CandidateMetric.picture``."""
        run = required(frame.networks, "blocks")
        windows = [window_of(tile, self.context, frame.size) for tile in tiles(frame.size)]
        total = 0.0
        for start in range(0, len(windows), _AT_ONCE):
            some = windows[start : start + _AT_ONCE]
            original, base = (cut_rgb(frame, planes, some) for planes in (frame.original, frame.base))
            total += float(_losses(run(original, base), len(some)).sum())
        return total


def _losses(answer: Any, count: int) -> NDArray[np.float64]:
    found = np.asarray(answer, dtype=np.float64)
    if found.shape != (count,):
        raise MetricInputError(f"block metric gave an array of shape {found.shape}; expected ({count},)")
    return np.maximum(found, 0)


@lru_cache(maxsize=8)
def _inputs(path: Path) -> int:
    import onnxruntime

    if not path.is_file():
        raise ModelError(f"--metric {path}: no such file; expected a registered metric or an .onnx file")
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{path} is not a network ONNX Runtime can load: {str(error).splitlines()[0]}") from error
    return len(session.get_inputs())

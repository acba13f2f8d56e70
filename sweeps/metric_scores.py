"""Image quality metrics of a decoded video, frame by frame, beside what networks see in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from rdo_metrics.iqa import IqaMetric, MetricInfo, make_iqa_metric

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class QualityScore:
    """One metric of one video.

    Attributes:
        mean: of the frames; NaN where the frames are too small for the metric.
        frames: (T,) score of each.
        higher_is_better: direction.
        unit: "dB" or none.
    """

    mean: float
    frames: list[float]
    higher_is_better: bool
    unit: str

    @classmethod
    def of(cls, info: MetricInfo, scores: NDArray[np.float64]) -> QualityScore:
        """From the scores of the frames."""
        mean = float(scores.mean()) if len(scores) else float("nan")
        return cls(mean, scores.tolist(), info.higher_is_better, info.unit)

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes null when it is written."""
        return asdict(self)


class QualityWatch:
    """Takes the luma of a video's frames, scores it by several metrics; a context manager."""

    def __init__(self, metrics: Sequence[IqaMetric], bit_depth: int) -> None:
        self._stack = ExitStack()
        self._collectors = [self._stack.enter_context(metric.collector(bit_depth)) for metric in metrics]

    def add(self, original: NDArray[Any], decoded: NDArray[Any]) -> None:
        """Luma (H, W) of the next frame of both."""
        for collector in self._collectors:
            collector.add(original, decoded)

    def results(self) -> dict[str, QualityScore]:
        """Metric name → score, in the order asked for."""
        return {c.metric.info.name: QualityScore.of(c.metric.info, c.result()) for c in self._collectors}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def quality_metrics(names: Sequence[str], device: str, weights: Path | None) -> list[IqaMetric]:
    """The metrics of ``--metric``, each once. Raises as ``make_iqa_metric``."""
    return [make_iqa_metric(name, device, weights) for name in dict.fromkeys(names)]


def quality_table(scores: Mapping[str, QualityScore]) -> Table:
    """Mean, least and greatest score of the frames by each metric."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in ("metric on luma", "better", "mean", "least", "greatest"):
        table.add_column(name, justify="left" if name in ("metric on luma", "better") else "right")
    for name, score in scores.items():
        title = f"{name} {score.unit}".rstrip()
        span = (score.mean, min(score.frames, default=score.mean), max(score.frames, default=score.mean))
        better = "higher" if score.higher_is_better else "lower"
        table.add_row(title, better, *("too small" if np.isnan(value) else f"{value:.4f}" for value in span))
    return table

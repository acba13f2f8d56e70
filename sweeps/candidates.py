"""The judge behind ``--rdo ctu``: candidate reconstructions of a CTU in, what they are worth to a metric out."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.color import planes_to_rgb
from encoder_bridge.config import CandidateConfig
from encoder_bridge.errors import MetricInputError, PluginError
from encoder_bridge.frames import VideoFormat
from encoder_bridge.host import FrameRecord, HostStats
from encoder_bridge.judging import JudgeStats
from encoder_bridge.wire import ChoiceCall
from rdo_metrics.candidates.base import CandidateFrame, CandidateMetric, Choice, Networks, Planes, Rect
from rdo_metrics.candidates.calibration import calibrate, combine
from sweeps.windows import CodedPicture, WindowPlan

OnFrame = Callable[[FrameRecord], None]
_USUAL_QP = 32.0
_MOST_WORKERS = 4
_AROUND = 16
_HARMLESS = 0.002
"""Share of a CTU and its surroundings; with more damage in the first pass the CTU is judged."""


@dataclass(frozen=True)
class _OpenFrame:
    """A frame between its publication and the encoder's last word on it."""

    frame: CandidateFrame
    alpha: float
    picture: CodedPicture


class CandidateJudge:
    """Answers an encoder's questions about one video (``encoder_bridge.encoder.Judge``).

    A window shows the CTU's own trial, those neighbours that every run has coded already, and the frame's base
    elsewhere, so that what is answered does not depend on threads. The distortion is that of design §5.5.

    Args:
        metric: who judges.
        config: context, α's factor, guard.
        networks: what the metric needs.
        fmt: the pictures the encoder works on: padded, at the coding depth.
        seed: of random draws in metrics.
        on_frame: told of each finished frame.
        qp: of the encode, where it has one; calibration without a coded base supposes it.
    """

    def __init__(
        self,
        metric: CandidateMetric,
        config: CandidateConfig,
        networks: Networks,
        fmt: VideoFormat,
        seed: int = 0,
        on_frame: OnFrame | None = None,
        qp: float | None = None,
    ) -> None:
        self.seconds = 0.0
        """Time spent judging and calibrating so far."""
        self.stats = JudgeStats()
        """The host's counters, once the encode is finished."""
        self.workers = max(1, min(_MOST_WORKERS, os.cpu_count() or 1))
        """Threads that may ask at once; choices of one frame only ever meet over CTUs that are finished."""
        self._metric, self._config, self._networks = metric, config, networks
        self._fmt, self._seed, self._on_frame = fmt, seed, on_frame
        self._qp = _USUAL_QP if qp is None else qp
        # Context in units of what the network can be run on.
        self._align = networks.local.stride if networks.local is not None else 2
        # Squared error as a metric is the control: nothing to calibrate, nothing to add it to.
        self._control = config.metric == "sse"
        self._open: dict[int, _OpenFrame] = {}
        self._lock = threading.Lock()

    @property
    def wants_labels(self) -> bool:
        """Whether ``open`` saves a network run by being told the pseudo-ground truth."""
        return bool(getattr(self._metric, "labels", False))

    def open(self, index: int, original: Planes, base: Planes | None, labels: NDArray[Any] | None = None) -> None:
        """Get ready for questions about a frame; called before the encoder is told of it.

        Args:
            index: display order.
            original: planes the encoder is fed, in the judge's format.
            base: a coded version of the same picture (see ``CandidateFrame.base``), or None.
            labels: (H, W) the driving network's labels of the original, where they are known.
        """
        began = time.monotonic()
        known = original if base is None else base
        frame = CandidateFrame(
            original, known, self._to_rgb, self._fmt.bit_depth, self._networks, index=index, seed=self._seed
        )
        if labels is not None:
            frame.cache["labels"] = labels.astype(np.int64)
        alpha = 1.0 if self._control else calibrate(self._metric, frame, self._qp)
        with self._lock:
            self._open[index] = _OpenFrame(frame, alpha, CodedPicture(known))
            self.seconds += time.monotonic() - began

    def mask(self, index: int, ctu: int) -> NDArray[np.uint16] | None:
        """(rows, columns) bit masks of the candidates worth trying in each CTU of an open frame; None for all.

        Where the base, coarser than what will be coded, costs the metric next to nothing in a CTU and ``_AROUND``
        samples around it, the candidate of the highest QP is the only one.
        """
        damage = getattr(self._metric, "damage", None)
        if self._config.judge_all or damage is None:
            return None
        steps = [candidate.delta_qp for candidate in self._config.candidates]
        lost = _by_ctu(damage(self._open[index].frame), ctu)
        return np.where(lost, (1 << len(steps)) - 1, 1 << int(np.argmax(steps))).astype(np.uint16)

    def judge(self, calls: Sequence[ChoiceCall]) -> list[list[float]]:
        """One distortion per trial, in squared-error units, for each call; what wins is remembered as coded.

        Raises MetricInputError where the metric gives something else than finite numbers ≥ 0, PluginError for a frame
        that is not open or planes of the wrong size.
        """
        began = time.monotonic()
        opened = [self._frame(call) for call in calls]
        choices = [self._choice(call, held) for call, held in zip(calls, opened, strict=True)]
        answers = self._metric.distortions(choices)
        if len(answers) != len(choices):
            raise MetricInputError(f"metric {self._config.metric!r} answered {len(answers)} of {len(choices)} choices")
        costs = [
            self._cost(choice, answer, held.alpha)
            for choice, answer, held in zip(choices, answers, opened, strict=True)
        ]
        for choice, cost, held in zip(choices, costs, opened, strict=True):
            # The same sum in the same precision as the encoder's, and as there the first of equals.
            winner = int(np.argmin(cost + choice.rate_cost))
            held.picture.paste(choice.rect, choice.trials[winner])
        with self._lock:
            self.seconds += time.monotonic() - began
        return [cost.tolist() for cost in costs]

    def finished(self, stats: HostStats) -> None:
        """Keep what judging cost (``encoder_bridge.host.StatsListener``)."""
        self.stats = stats.judging

    def summary(self) -> dict[str, float]:
        """What judging cost: counts of choices, candidates and batches, seconds, latencies of a choice in milliseconds.

        ``judge_s`` includes calibration, ``transport_s`` is waiting for anything but the judge, summed over encoder
        threads. Without choices the latencies are 0.
        """
        stats = self.stats
        return {
            "choices": stats.calls,
            "trials": stats.trials,
            "batches": stats.batches,
            "judge_s": round(self.seconds, 3),
            "transport_s": round(stats.transport_s, 3),
            "latency_p50_ms": round(1000 * stats.latency(50), 3) if stats.calls else 0.0,
            "latency_p99_ms": round(1000 * stats.latency(99), 3) if stats.calls else 0.0,
        }

    def frame_done(self, record: FrameRecord) -> None:
        """Forget a frame."""
        with self._lock:
            self._open.pop(record.call.poc, None)
        if self._on_frame is not None:
            self._on_frame(record)

    def _frame(self, call: ChoiceCall) -> _OpenFrame:
        with self._lock:
            if call.poc not in self._open:
                raise PluginError(f"the encoder asked about frame {call.poc}, which is not being coded")
            return self._open[call.poc]

    def _choice(self, call: ChoiceCall, held: _OpenFrame) -> Choice:
        rect = Rect(call.x, call.y, call.width, call.height)
        plan = WindowPlan(held.frame.size, call.ctu_size, self._config.context, self._align)
        for trial in call.trials:
            held.picture.expect(rect, trial.planes)
        window = plan.window(rect)
        return Choice(
            frame=held.frame,
            rect=rect,
            window=window,
            context=held.picture.view(window, plan.coded(rect, call.neighbours)),
            trials=tuple(trial.planes for trial in call.trials),
            sse=np.array([trial.sse for trial in call.trials], np.float64),
            rate_cost=np.array([trial.rate_cost for trial in call.trials], np.float64),
            lambda_ratio=call.lambda_ / call.frame.lambda_ if call.frame is not None else 1.0,
        )

    def _cost(self, choice: Choice, values: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
        if self._control:
            return combine(replace(choice, lambda_ratio=1.0), values, 1.0, self._config.guard, share=1.0)
        return combine(choice, values, alpha, self._config.guard, self._config.share)

    def _to_rgb(self, planes: Planes) -> NDArray[np.uint8]:
        height, width = planes[0].shape
        return planes_to_rgb(planes, replace(self._fmt, width=width, height=height))


class Listener:
    """Hears of finished frames in an encode that has nothing to judge.

    Args:
        on_frame: told of each finished frame.
    """

    def __init__(self, on_frame: OnFrame) -> None:
        self._on_frame = on_frame

    def judge(self, calls: Sequence[ChoiceCall]) -> Sequence[Sequence[float]]:
        """Raises PluginError: no candidates were offered."""
        raise PluginError(f"the encoder asked about {len(calls)} choices, but no candidates were offered to it")

    def frame_done(self, record: FrameRecord) -> None:
        """Pass it on."""
        self._on_frame(record)


def _by_ctu(lost: NDArray[np.bool_], ctu: int) -> NDArray[np.bool_]:
    """Whether more than ``_HARMLESS`` of the samples in and around each CTU are set."""
    side = ctu + 2 * _AROUND
    rows, columns = (-(-length // ctu) for length in lost.shape)
    padded = np.zeros((rows * ctu + 2 * _AROUND, columns * ctu + 2 * _AROUND), np.bool_)
    padded[_AROUND : _AROUND + lost.shape[0], _AROUND : _AROUND + lost.shape[1]] = lost
    views = np.lib.stride_tricks.sliding_window_view(padded, (side, side))[::ctu, ::ctu]
    return np.asarray(views.sum(axis=(2, 3)) > _HARMLESS * side * side, np.bool_)

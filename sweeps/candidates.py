"""The judge behind ``--rdo ctu``: candidate reconstructions of a CTU in, what they are worth to a metric out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.color import planes_to_rgb
from encoder_bridge.config import CandidateConfig
from encoder_bridge.errors import MetricInputError, PluginError
from encoder_bridge.frames import CHROMA_SHIFTS, VideoFormat
from encoder_bridge.host import FrameRecord, HostStats
from encoder_bridge.judging import JudgeStats
from encoder_bridge.wire import ChoiceCall
from rdo_metrics.candidates.base import CandidateFrame, CandidateMetric, Choice, Networks, Planes, Rect
from rdo_metrics.candidates.calibration import calibrate, combine
from sweeps.windows import CodedPicture, WindowPlan

OnFrame = Callable[[FrameRecord], None]


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
    """

    def __init__(
        self,
        metric: CandidateMetric,
        config: CandidateConfig,
        networks: Networks,
        fmt: VideoFormat,
        seed: int = 0,
        on_frame: OnFrame | None = None,
    ) -> None:
        self.seconds = 0.0
        """Time spent judging and calibrating so far."""
        self.stats = JudgeStats()
        """The host's counters, once the encode is finished."""
        self._metric, self._config, self._networks = metric, config, networks
        self._fmt, self._seed, self._on_frame = fmt, seed, on_frame
        self._shifts = CHROMA_SHIFTS[fmt.chroma] or (0, 0)
        # Squared error as a metric is the control: nothing to calibrate, nothing to add it to.
        self._control = config.metric == "sse"
        self._open: dict[int, _OpenFrame] = {}
        self._lock = threading.Lock()

    def open(self, index: int, original: Planes, base: Planes | None) -> None:
        """Get ready for questions about a frame; called before the encoder is told of it.

        Args:
            index: display order.
            original: planes the encoder is fed, in the judge's format.
            base: a coded version of the same picture (see ``CandidateFrame.base``), or None.
        """
        began = time.monotonic()
        known = original if base is None else base
        frame = CandidateFrame(
            original, known, self._to_rgb, self._fmt.bit_depth, self._networks, index=index, seed=self._seed
        )
        alpha = 1.0 if self._control else calibrate(self._metric, frame, self._config.alpha)
        with self._lock:
            self._open[index] = _OpenFrame(frame, alpha, CodedPicture(known, self._shifts))
            self.seconds += time.monotonic() - began

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
        plan = WindowPlan(held.frame.size, call.ctu_size, self._config.context)
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
            return combine(replace(choice, lambda_ratio=1.0), values, 1.0, self._config.guard, share=0.0)
        return combine(choice, values, alpha, self._config.guard)

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

"""Level B on the host: choices of all encoder threads go to the judge in batches, and every answer is checked.

A worker thread asks the judge. It takes whatever is waiting at that moment: while a batch is judged, the next gathers,
so the batch follows the load and nobody waits for a timer. A judge that can be asked by several threads at once says so
by an attribute ``workers``; small networks use two cores better as two runs than as one run on two threads.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.encoder import Judge
from encoder_bridge.errors import PluginError
from encoder_bridge.wire import SPLIT_LEVEL, ChoiceCall

T = TypeVar("T")
_KEPT = 1 << 16
_BEAT_S = 1.0
_TICK_S = 0.25
"""The main thread waits no longer at a time: a Ctrl-C that comes just before a wait does not end it."""
_JOIN_S = 2.0


def _samples() -> deque[float]:
    return deque(maxlen=_KEPT)


@dataclass
class JudgeStats:
    """What judging cost; times in seconds. The lists hold the latest 65536 calls or batches.

    Attributes:
        calls: choices answered.
        trials: reconstructions judged.
        batches: times the judge was asked.
        judging_s: wall time spent in the judge.
        shared_bytes: reconstructions that came through shared memory, each copied once.
        latency_s: of each call, from the encoder's call to the answer being sent.
        queue_s: of each call, the part of it spent waiting for the judge to be free.
        judge_s: of each call, the part of it spent in the judge. What remains of ``latency_s`` is transport.
        transport_s: sum of that remainder over all calls and encoder threads.
        batch_sizes: calls in each batch.
    """

    calls: int = 0
    trials: int = 0
    batches: int = 0
    judging_s: float = 0.0
    transport_s: float = 0.0
    shared_bytes: int = 0
    latency_s: deque[float] = field(default_factory=_samples)
    queue_s: deque[float] = field(default_factory=_samples)
    judge_s: deque[float] = field(default_factory=_samples)
    batch_sizes: deque[float] = field(default_factory=_samples)

    def latency(self, percent: float) -> float:
        """Percentile of ``latency_s`` in seconds, as 50 or 99; NaN where nothing was judged."""
        return float(np.percentile(self.latency_s, percent)) if self.latency_s else float("nan")

    def add_batch(self, size: int, seconds: float) -> None:
        """Count a batch."""
        self.batches += 1
        self.judging_s += seconds
        self.batch_sizes.append(size)

    def add_call(self, call: ChoiceCall, latency_s: float, queue_s: float, judge_s: float) -> None:
        """Count an answered call."""
        self.calls += 1
        self.trials += len(call.trials)
        self.shared_bytes += call.shared_bytes
        self.transport_s += max(0.0, latency_s - queue_s - judge_s)
        self.latency_s.append(latency_s)
        self.queue_s.append(queue_s)
        self.judge_s.append(judge_s)


@dataclass(eq=False)
class _Ticket:
    call: ChoiceCall
    queued: float = field(default_factory=time.monotonic)
    taken: float = 0.0
    judged: float = 0.0
    answer: bytes = b""
    done: threading.Event = field(default_factory=threading.Event)


class JudgeQueue:
    """Hands choices to one judge in batches, from as many threads as its attribute ``workers`` says, one without.

    Args:
        judge: see ``Judge``.
        fail: called with the error when the judge throws, stalls, or answers with something unusable.
        timeout_s: a batch that takes longer is a stall.
        most: largest batch.
    """

    def __init__(
        self, judge: Judge, fail: Callable[[BaseException], None], timeout_s: float = 600.0, most: int = 64
    ) -> None:
        self.stats = JudgeStats()
        self._judge = judge
        self._fail = fail
        self._timeout_s = timeout_s
        self._most = most
        self._state = threading.Condition()
        self._waiting: deque[_Ticket] = deque()
        self._batches: list[list[_Ticket]] = []
        self._closed = False
        self._failure: PluginError | None = None
        count = int(getattr(judge, "workers", 1))
        self._workers = [threading.Thread(target=self._work, name="mrdo-judge", daemon=True) for _ in range(count)]
        for worker in self._workers:
            worker.start()

    @property
    def busy(self) -> bool:
        """True while the judge works on a batch and is not overdue."""
        with self._state:
            return bool(self._batches) and self._failure is None

    def ask(self, call: ChoiceCall) -> Iterator[bytes | None]:
        """Yields None about once a second while the judge works, then the distortions as a CHOSEN payload.

        Raises PluginError when the judge failed, when it stalls or when the queue was closed.
        """
        ticket = _Ticket(call)
        self._put(ticket)
        while not ticket.done.wait(min(_BEAT_S, self._timeout_s / 4)):
            self._check_stall()
            yield None
        if self._failure is not None and not ticket.answer:
            raise self._failure
        if not ticket.answer:
            raise PluginError("the host was closed")
        latency = time.monotonic() - (call.called_s or ticket.queued)
        with self._state:
            self.stats.add_call(call, latency, ticket.taken - ticket.queued, ticket.judged - ticket.taken)
        yield ticket.answer

    def close(self) -> None:
        """End the workers and release everybody who waits; a judge that hangs is left behind."""
        self._release(None)
        for worker in self._workers:
            worker.join(timeout=0.0 if self._failure else _JOIN_S)

    def _put(self, ticket: _Ticket) -> None:
        with self._state:
            if self._failure is not None:
                raise self._failure
            if self._closed:
                raise PluginError("the host was closed")
            self._waiting.append(ticket)
            self._state.notify()

    def _check_stall(self) -> None:
        with self._state:
            oldest = min((batch[0] for batch in self._batches), key=lambda ticket: ticket.taken, default=None)
        late = 0.0 if oldest is None else time.monotonic() - oldest.taken
        if oldest is not None and late > self._timeout_s:
            self._stop(PluginError(f"the judge has not answered for {late:.1f} s, asked about {_place(oldest.call)}"))

    def _stop(self, error: PluginError) -> None:
        self._release(error)
        self._fail(error)

    def _release(self, error: PluginError | None) -> None:
        with self._state:
            self._closed = True
            self._failure = self._failure or error
            released = [ticket for batch in [*self._batches, self._waiting] for ticket in batch]
            self._waiting.clear()
            self._state.notify_all()
        for ticket in released:
            ticket.done.set()

    def _work(self) -> None:
        while batch := self._take():
            try:
                answers = self._judged(batch)
            except PluginError as error:
                self._stop(error)
                return
            with self._state:
                self.stats.add_batch(len(batch), batch[0].judged - batch[0].taken)
                self._batches.remove(batch)
            for ticket, answer in zip(batch, answers, strict=True):
                ticket.answer = answer
                ticket.done.set()

    def _take(self) -> list[_Ticket]:
        with self._state:
            self._state.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return []
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most))]
            now = time.monotonic()
            for ticket in batch:
                ticket.taken = now
            self._batches.append(batch)
            return batch

    def _judged(self, batch: Sequence[_Ticket]) -> list[bytes]:
        calls = [ticket.call for ticket in batch]
        try:
            answers = list(self._judge.judge(calls))
        except BaseException as error:  # SystemExit too: nobody may wait for a worker that has gone
            raise PluginError(f"the judge failed on {_places(calls)}: {type(error).__name__}: {error}") from error
        now = time.monotonic()
        for ticket in batch:
            ticket.judged = now
        if len(answers) != len(calls):
            raise PluginError(f"the judge gave {len(answers)} answers for {_places(calls)}; expected {len(calls)}")
        return [checked(call, answer).tobytes() for call, answer in zip(calls, answers, strict=True)]


def guarded(work: Callable[[], T], place: str, timeout_s: float = 600.0) -> T:
    """What a judge's own ``work`` on ``place`` gives, outside its answers: a calibration may throw or stall as they do.

    Runs in a thread of its own, which is left behind when it stalls. Raises PluginError naming ``place``.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # SystemExit too: in a thread it would pass for success
            errors.append(error)

    thread = threading.Thread(target=run, name="mrdo-judge-work", daemon=True)
    thread.start()
    end = time.monotonic() + timeout_s
    while thread.is_alive() and (left := end - time.monotonic()) > 0:
        thread.join(min(left, _TICK_S))
    if errors:
        raise PluginError(f"the judge failed on {place}: {type(errors[0]).__name__}: {errors[0]}") from errors[0]
    if not results:
        raise PluginError(f"the judge has not answered for {timeout_s:.1f} s, asked about {place}")
    return results[0]


def checked(call: ChoiceCall, answer: Iterable[float]) -> NDArray[np.float64]:
    """(K,) float64 distortions of one call. Raises PluginError unless there is one finite number per trial."""
    wanted = f"expected {len(call.trials)} finite numbers"
    try:
        values = np.asarray(answer, np.float64)
    except (TypeError, ValueError) as error:
        raise PluginError(f"the judge answered {answer!r:.80} for {_place(call)}; {wanted}") from error
    if values.shape != (len(call.trials),):
        raise PluginError(f"the judge's answer for {_place(call)} has shape {values.shape}; {wanted}")
    if not np.isfinite(values).all():
        raise PluginError(f"the judge's answer for {_place(call)} is {values.tolist()}; {wanted}")
    return values


def _place(call: ChoiceCall) -> str:
    what = "CU" if call.level == SPLIT_LEVEL else "CTU"
    return f"frame {call.poc}, {what} at {call.x},{call.y} ({call.width}x{call.height})"


def _places(calls: Sequence[ChoiceCall]) -> str:
    more = f" and {len(calls) - 1} more" if len(calls) > 1 else ""
    return _place(calls[0]) + more

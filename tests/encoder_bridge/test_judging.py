"""The queue between encoder threads and a judge, without an encoder."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from encoder_bridge.errors import PluginError
from encoder_bridge.judging import JudgeQueue, JudgeStats, checked, guarded
from encoder_bridge.wire import ChoiceCall, Trial


def call_of(poc: int, trials: int = 2) -> ChoiceCall:
    return ChoiceCall(poc, 64, 128, 64, 32, tuple(Trial(k, 1.0, float(poc + k), ()) for k in range(trials)))


class Judge:
    """Answers with the trials' squared errors; waits for ``go`` before it answers."""

    def __init__(self, rule: Callable[[ChoiceCall], Sequence[float]] | None = None) -> None:
        self.go = threading.Event()
        self.asked = threading.Event()
        self.sizes: list[int] = []
        self.threads: set[int] = set()
        self._rule = rule or (lambda call: [trial.sse for trial in call.trials])

    def judge(self, calls: Sequence[ChoiceCall]) -> list[Sequence[float]]:
        self.sizes.append(len(calls))
        self.threads.add(threading.get_ident())
        self.asked.set()
        assert self.go.wait(30)
        return [self._rule(call) for call in calls]

    def frame_done(self, record: object) -> None:
        raise AssertionError("not here")


def answer_of(queue: JudgeQueue, call: ChoiceCall) -> list[float]:
    *beats, answer = queue.ask(call)
    assert beats == [None] * len(beats)
    return np.frombuffer(answer, np.float64).tolist()


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def in_threads(count: int, work: Callable[[int], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.parametrize(("most", "sizes"), [(64, [1, 9]), (4, [1, 4, 4, 1])])
def test_what_waits_is_judged_together(most, sizes):
    judge, got = Judge(), {}
    queue = JudgeQueue(judge, pytest.fail, most=most)
    threads = in_threads(1, lambda i: got.update({0: answer_of(queue, call_of(0))}))
    assert judge.asked.wait(10)
    threads += in_threads(9, lambda i: got.update({i + 1: answer_of(queue, call_of(10 * (i + 1)))}))
    wait_until(lambda: len(queue._waiting) == 9)
    judge.go.set()
    for thread in threads:
        thread.join(10)
    queue.close()
    assert got == {i: [10.0 * i, 10.0 * i + 1] for i in range(10)}
    assert judge.sizes == sizes == list(queue.stats.batch_sizes) and len(judge.threads) == 1
    assert (queue.stats.calls, queue.stats.trials, queue.stats.batches) == (10, 20, len(sizes))


def test_those_who_wait_are_heard_of_while_the_judge_works():
    judge = Judge()
    queue = JudgeQueue(judge, pytest.fail, timeout_s=1.0)
    asked = queue.ask(call_of(1))
    assert next(asked) is None and queue.busy
    judge.go.set()
    assert np.frombuffer(next(answer for answer in asked if answer), np.float64).tolist() == [1, 2]
    wait_until(lambda: not queue.busy)
    queue.close()


def test_a_stall_ends_every_call_and_is_told_once_per_waiter():
    judge, told, raised = Judge(), [], []
    queue = JudgeQueue(judge, told.append, timeout_s=0.2)

    def ask(i: int) -> None:
        with pytest.raises(PluginError) as error:
            answer_of(queue, call_of(i))
        raised.append(str(error.value))

    start = time.monotonic()
    for thread in in_threads(5, ask):
        thread.join(10)
    assert len(raised) == 5 and len(set(raised)) == 1 and "has not answered for " in raised[0]
    assert "CTU at 64,128 (64x32)" in raised[0] and not queue.busy
    assert isinstance(told[0], PluginError)
    queue.close()
    assert time.monotonic() - start < 8
    judge.go.set()
    with pytest.raises(PluginError, match="has not answered"):
        answer_of(queue, call_of(9))


def test_the_cause_is_kept_and_later_calls_fail_at_once():
    def rule(call: ChoiceCall) -> Sequence[float]:
        raise OSError("no network")

    judge, told = Judge(rule), []
    judge.go.set()
    queue = JudgeQueue(judge, told.append)
    for _ in range(2):
        with pytest.raises(PluginError, match=r"failed on frame 3, CTU at 64,128 .*OSError: no network") as error:
            answer_of(queue, call_of(3))
        assert isinstance(error.value.__cause__, OSError)
    assert len(told) == 1 and judge.sizes == [1]
    queue.close()


def test_closing_releases_those_who_wait():
    judge, raised = Judge(), []
    queue = JudgeQueue(judge, pytest.fail)

    def ask(i: int) -> None:
        with pytest.raises(PluginError, match="closed"):
            answer_of(queue, call_of(i))
        raised.append(i)

    threads = in_threads(3, ask)
    assert judge.asked.wait(10)
    threading.Timer(0.1, judge.go.set).start()
    queue.close()
    for thread in threads:
        thread.join(10)
    assert len(raised) >= 2  # the one being judged may still get its answer
    with pytest.raises(PluginError, match="closed"):
        answer_of(queue, call_of(4))


@pytest.mark.parametrize(
    "answer", [[1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]], 5.0, [1.0, np.inf], [np.nan, 1.0], ["a", "b"]]
)
def test_unusable_answers_name_the_place(answer):
    with pytest.raises(PluginError, match=r"frame 7, CTU at 64,128 \(64x32\).*expected 2 finite numbers"):
        checked(call_of(7), answer)


def test_what_a_judge_does_beside_answering_is_guarded_too():
    assert guarded(lambda: 5, "frame 2") == 5 and guarded(lambda: None, "frame 2") is None
    for error in (KeyError("layer"), SystemExit(0)):

        def work(error: BaseException = error) -> None:
            raise error

        with pytest.raises(PluginError, match=rf"failed on frame 2: {type(error).__name__}") as raised:
            guarded(work, "frame 2")
        assert raised.value.__cause__ is error
    release, start = threading.Event(), time.monotonic()
    with pytest.raises(PluginError, match=r"has not answered for 0\.2 s, asked about frame 2"):
        guarded(lambda: release.wait(30), "frame 2", timeout_s=0.2)
    release.set()
    assert time.monotonic() - start < 10


def test_an_interrupt_that_wakes_nobody_is_seen_soon():
    """A signal that comes just before the main thread begins to wait does not end the wait; nor does this one."""
    release, start = threading.Event(), time.monotonic()

    def work() -> None:
        time.sleep(0.5)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        release.wait(30)

    with pytest.raises(KeyboardInterrupt):
        guarded(work, "frame 2")
    release.set()
    assert time.monotonic() - start < 10


def test_usable_answers_become_float64():
    for answer in ((1, -2), np.array([1, -2], np.float32)):
        values = checked(call_of(7), answer)
        assert values.dtype == np.float64 and values.tolist() == [1.0, -2.0]


def test_counters_are_bounded_and_add_up():
    stats = JudgeStats()
    assert np.isnan(stats.latency(50))
    for i in range(70_000):
        stats.add_call(call_of(0), 0.5 + i * 1e-6, 0.2, 0.1)
    assert len(stats.latency_s) == 65536 and stats.calls == 70_000
    assert stats.latency(100) == 0.5 + 69_999e-6 and stats.latency(0) == pytest.approx(0.5 + 4464e-6)
    assert stats.transport_s == pytest.approx(70_000 * 0.2 + 1e-6 * 70_000 * 69_999 / 2)

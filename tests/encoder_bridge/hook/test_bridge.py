"""The whole way from a C caller through the shipped plugin to a judge in Python and back."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from encoder_bridge import wire
from encoder_bridge.config import Candidate
from encoder_bridge.encoder import SideInfo
from encoder_bridge.errors import ConfigError, PluginError
from encoder_bridge.host import PluginHost

# driver PLUGIN OPTIONS THREADS CALLS BYTES GROWTH: every thread begins a frame, asks CALLS times about three trials in
# samples of BYTES bytes, checks that each answer is the sum over its own samples, and ends the frame. The rectangle is
# 16x8, GROWTH samples wider with each call, cut out of rows that are longer.
DRIVER = r"""
#include "mrdo_plugin.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define ROW 4096
static const mrdo_plugin_table *t;
static void *s;
static int calls, bytes, growth;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int fail(const char *what) { printf("%s: %s\n", what, t->last_error(s)); fflush(stdout); _Exit(9); }
static unsigned sample(int thread, int call, int trial, int plane, unsigned y, unsigned x)
{
    const unsigned v = thread * 37 + call * 101 + trial * 5 + plane * 3 + y * 7 + x * 11;
    return bytes == 1 ? v & 255 : v * 3 & 1023;
}
static double fill(char *at, mrdo_plane *p, int thread, int call, int trial, int plane, unsigned w, unsigned h)
{
    const mrdo_plane out = { sizeof(out), w, h, bytes == 1 ? 8 : 10, bytes, 0, ROW * bytes, at };
    double sum = 0;
    memset(at, 0xEE, h * ROW * bytes);
    for (unsigned y = 0; y < h; y++)
        for (unsigned x = 0; x < w; x++)
        {
            const unsigned v = sample(thread, call, trial, plane, y, x);
            if (bytes == 1) ((uint8_t *)at)[y * ROW + x] = v; else ((uint16_t *)at)[y * ROW + x] = v;
            sum += v;
        }
    *p = out;
    return sum;
}
static void *run(void *arg)
{
    const int thread = (int)(size_t)arg;
    char *memory = malloc(9 * 8 * ROW * bytes);
    mrdo_plane source[3];
    double sums[3], d[3];
    for (int p = 0; p < 3; p++) fill(memory + p * 8 * ROW * bytes, &source[p], thread, 0, 0, p, p ? 8 : 16, p ? 4 : 8);
    mrdo_frame f = { sizeof(f), MRDO_SLICE_P, thread, 30.5, 42.0, 1, 3, { source[0], source[1], source[2] } };
    mrdo_side_info side;
    memset(&side, 0, sizeof(side));
    side.struct_size = sizeof(side);
    if (t->begin_frame(s, &f, &side)) fail("begin");
    pthread_mutex_lock(&lock);
    printf("{\"poc\": %d, \"weight\": %g, \"offset\": %g, ", thread, side.weight ? side.weight[1] : 0,
           side.qp_offset ? side.qp_offset[0] : 0);
    printf("\"lambda\": %g, \"splits\": %u, \"sse\": %u, \"mask\": [", side.lambda_scale, side.judge_splits,
           side.choose_by_sse);
    for (unsigned i = 0; side.candidate_mask && i < side.ctu_cols * side.ctu_rows; i++)
        printf("%s%u", i ? ", " : "", side.candidate_mask[i]);
    printf("], \"cols\": %u, \"candidates\": [", side.ctu_cols);
    for (unsigned i = 0; i < side.candidate_count; i++)
        printf("%s[%g, %g, %u]", i ? ", " : "", side.candidates[i].delta_qp, side.candidates[i].lambda_scale,
               side.candidates[i].min_cu);
    printf("]}\n");
    fflush(stdout);
    pthread_mutex_unlock(&lock);
    for (int call = 0; call < calls; call++)
    {
        const unsigned w = 16 + call * growth, h = 8;
        mrdo_trial trials[3];
        memset(trials, 0, sizeof(trials));
        for (int k = 0; k < 3; k++)
        {
            mrdo_trial *r = &trials[k];
            char *at = memory + k * 3 * 8 * ROW * bytes;
            r->struct_size = sizeof(*r); r->candidate = k; r->bits = 10 + k; r->sse = 100 + k; r->rate_cost = 0.5 + k;
            r->plane_count = 3;
            sums[k] = fill(at, &r->planes[0], thread, call, k, 0, w, h);
            sums[k] += fill(at + 8 * ROW * bytes, &r->planes[1], thread, call, k, 1, w / 2, h / 2);
            sums[k] += fill(at + 16 * ROW * bytes, &r->planes[2], thread, call, k, 2, w / 2, h / 2);
        }
        const unsigned beside = MRDO_LEFT | MRDO_ABOVE_RIGHT;
        mrdo_choice c = { sizeof(c), 8, 24, w, h, 3, thread, trials, MRDO_CHOICE_SPLIT, beside, 7.25 };
        if (t->choose(s, &c, d)) fail("choose");
        for (int k = 0; k < 3; k++)
            if (d[k] != sums[k]) { printf("thread %d call %d: %g, not %g\n", thread, call, d[k], sums[k]); _Exit(8); }
    }
    const mrdo_ctu ctus[6] = { { 16, 0, 1.5f, 30 }, { 16, 1, 2.5f, 31 }, { 16, 2, 3.5f, 32 }, { 16, 3, 4.5f, 33 },
                               { 16, 4, 5.5f, 34 }, { 16, 5, 6.5f, 35 } };
    mrdo_frame_result r = { sizeof(r), MRDO_SLICE_P, thread, 4321, 29.5, 3, 2, ctus };
    if (t->end_frame(s, &r)) fail("end");
    free(memory);
    return NULL;
}
int main(int argc, char **argv)
{
    void *library = dlopen(argv[1], RTLD_NOW);
    mrdo_plugin_get_fn get = (mrdo_plugin_get_fn)dlsym(library, MRDO_PLUGIN_SYMBOL);
    const int threads = atoi(argv[3]);
    pthread_t ids[64];
    calls = atoi(argv[4]); bytes = atoi(argv[5]); growth = atoi(argv[6]);
    if (get(MRDO_ABI + 1)) return 2;
    t = get(MRDO_ABI);
    mrdo_encoder_info e = { sizeof(e), 16, 8, 1, bytes == 1 ? 8 : 10, 32, 8, 25, 1, 0, "driver", "1" };
    mrdo_plugin_info info = { sizeof(info), 0, 0, 0 };
    if (!(s = t->open(argv[2], &e, &info))) fail("open");
    printf("[%u, %u]\n", info.flags, info.quant_group);
    for (int i = 0; i < threads; i++) pthread_create(&ids[i], NULL, run, (void *)(size_t)i);
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    t->close(s);
    puts("done");
    return 0;
}
"""


def sums(call: wire.ChoiceCall) -> list[float]:
    return [float(sum(int(plane.sum()) for plane in trial.planes)) for trial in call.trials]


def sample(thread: int, call: int, trial: int, plane: int, shape: tuple[int, int], deep: bool = False) -> np.ndarray:
    y, x = np.indices(shape)
    value = thread * 37 + call * 101 + trial * 5 + plane * 3 + y * 7 + x * 11
    return value * 3 & 1023 if deep else value & 255


@pytest.fixture
def drive(bridge_plugin, compile_plugin) -> Callable[..., subprocess.CompletedProcess[str]]:
    """(host, threads=1, calls=1, bytes_=1, growth=0) -> what the driver said."""
    program = compile_plugin(DRIVER, "-ldl", "-pthread", "-O1", name="driver")

    def run(host: PluginHost, threads: int = 1, calls: int = 1, bytes_: int = 1, growth: int = 0, pocs: bool = True):
        for poc in range(threads if pocs else 0):
            host.publish(poc, SideInfo())
        options = host.env()["MRDO_PLUGIN_OPTIONS"]
        words = [program, bridge_plugin, options, *map(str, (threads, calls, bytes_, growth))]
        return subprocess.run(words, capture_output=True, text=True, timeout=60)

    return run


def said(done: subprocess.CompletedProcess[str]) -> list:
    assert done.returncode == 0 and done.stdout.endswith("done\n"), done.stdout
    return [json.loads(line) for line in done.stdout.splitlines()[:-1]]


@pytest.mark.parametrize("bytes_", [1, 2])
def test_every_value_makes_the_whole_way(bytes_, bridge_plugin, drive, recorder):
    kept: list[wire.ChoiceCall] = []
    planes: list[list[np.ndarray]] = []

    def rule(call: wire.ChoiceCall) -> list[float]:
        kept.append(call)
        planes.extend([[plane.copy() for plane in trial.planes] for trial in call.trials])
        assert not any(plane.flags.writeable for trial in call.trials for plane in trial.planes)
        return sums(call)

    judge = recorder(rule)
    info = SideInfo(
        np.array([[1.0, 2.5]], np.float32),
        np.array([[-3.0]], np.float32),
        0.5,
        (Candidate(), Candidate(-3.5, 0.75, 16)),
        np.array([[1, 2, 3]], np.uint16),
        judge_splits=32,
    )
    with PluginHost(bridge_plugin, quant_group=16, wants_planes=True, judge=judge, wants_ctus=True) as host:
        host.publish(0, info)
        agreed, side = said(drive(host, bytes_=bytes_, pocs=False))
        host.check()
    assert agreed == [wire.WANTS_PLANES | wire.WANTS_CTUS, 16]
    assert side == {
        **{"poc": 0, "weight": 2.5, "offset": -3, "lambda": 0.5, "splits": 32, "sse": 0, "mask": [1, 2, 3]},
        **{"cols": 3, "candidates": [[0, 1, 0], [-3.5, 0.75, 16]]},
    }
    (call,) = kept
    assert (call.poc, call.x, call.y, call.width, call.height) == (0, 8, 24, 16, 8)
    assert (call.level, call.neighbours, call.lambda_) == (wire.SPLIT_LEVEL, wire.LEFT | wire.ABOVE_RIGHT, 7.25)
    assert call.ctu_size == 32
    assert [(t.candidate, t.bits, t.sse, t.rate_cost) for t in call.trials] == [
        (k, 10 + k, 100 + k, k + 0.5) for k in range(3)
    ]
    assert abs(time.monotonic() - call.called_s) < 60
    for k, trial in enumerate(planes):
        assert [plane.dtype for plane in trial] == [np.uint8 if bytes_ == 1 else np.uint16] * 3
        for p, shape in enumerate([(8, 16), (4, 8), (4, 8)]):
            assert np.array_equal(trial[p], sample(0, 0, k, p, shape, bytes_ == 2))
    (record,) = judge.records
    assert call.frame is record.call and (record.call.poc, record.call.slice_type, record.call.qp) == (0, "P", 30.5)
    assert (record.call.lambda_, record.call.keyframe, record.encoder.width) == (42.0, True, 16)
    assert all(np.array_equal(record.call.planes[p], planes[0][p]) for p in range(3))
    assert (record.result.bits, record.result.mean_qp, record.result.ctus.shape) == (4321, 29.5, (2, 3))
    assert record.result.ctus[1].tolist() == [(3, 4.5, 33), (4, 5.5, 34), (5, 6.5, 35)]
    assert judge.stats is host.stats


def test_ctus_and_planes_stay_where_nobody_asked_for_them(bridge_plugin, drive, recorder):
    judge = recorder(sums)
    with PluginHost(bridge_plugin, judge=judge) as host:
        assert said(drive(host))[0] == [0, 0]
    assert judge.records[0].result.ctus is None and judge.records[0].call.planes == ()


def test_threads_get_their_own_answers_in_batches(bridge_plugin, drive, recorder):
    class Slow(recorder):
        def judge(self, calls):
            time.sleep(0.01)
            return super().judge(calls)

    judge = Slow(sums)
    with PluginHost(bridge_plugin, judge=judge) as host:
        said(drive(host, threads=8, calls=25))
        host.check()
    stats, sizes = host.stats.judging, [len(batch) for batch in judge.batches]
    assert stats.calls == sum(sizes) == 200 and stats.trials == 600
    assert 4 <= max(sizes) <= 8 and stats.batches < 100
    assert list(stats.batch_sizes) == sizes
    assert stats.shared_bytes == 200 * 3 * 16 * 8 * 3 // 2
    assert len(stats.latency_s) == 200 and min(stats.judge_s) >= 0.01
    assert np.all(np.array(stats.latency_s) >= np.array(stats.queue_s) + np.array(stats.judge_s))
    assert 0.01 < stats.latency(50) <= stats.latency(99) < 5 and stats.judging_s >= 0.01 * stats.batches


@pytest.mark.parametrize("bytes_", [1, 2])
def test_memory_grows_with_the_rectangle_and_is_kept(bytes_, bridge_plugin, drive, recorder, monkeypatch):
    maps: list[int] = []
    real = wire.map_memory
    monkeypatch.setattr(wire, "map_memory", lambda fd: maps.append(fd) or real(fd))
    with PluginHost(bridge_plugin, judge=recorder(sums)) as host:
        said(drive(host, threads=2, calls=40, bytes_=bytes_, growth=100))
        host.check()
        largest = 3 * (16 + 39 * 100) * 8 * bytes_ * 3 // 2
        assert 0 < len(maps) <= 2 * -(-largest // (256 << 10)) < 40


def fails(how: str) -> Callable[[Sequence[wire.ChoiceCall]], object]:
    def judge(calls: Sequence[wire.ChoiceCall]) -> object:
        good = [sums(call) for call in calls]
        if how == "nan":
            good[0][1] = float("nan")
        elif how == "inf":
            good[-1][2] = float("inf")
        elif how == "short":
            good[0].pop()
        elif how == "fewer":
            good.pop()
        elif how == "text":
            return ["abc"] * len(calls)
        elif how == "none":
            return None
        elif how == "exit":
            raise SystemExit(3)
        else:
            raise ZeroDivisionError("no metric today")
        return good

    return judge


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("nan", "CU at 8,24 \\(16x8\\) is \\[.*nan.*expected 3 finite"),
        ("inf", "inf\\]; expected 3 finite"),
        ("short", "shape \\(2,\\); expected 3"),
        ("fewer", "answers for frame"),
        ("text", "'abc'"),
        ("none", "TypeError"),
        ("exit", "SystemExit: 3"),
        ("throw", "ZeroDivisionError: no metric today"),
    ],
)
def test_a_faulty_judge_ends_the_encoder_and_reaches_the_main_thread(how, says, bridge_plugin, drive, recorder):
    judge = recorder()
    judge.judge = fails(how)
    start = time.monotonic()
    with PluginHost(bridge_plugin, judge=judge) as host:
        done = drive(host, threads=4, calls=5)
        with pytest.raises(PluginError, match=says) as raised:
            host.check()
    assert time.monotonic() - start < 10
    assert done.returncode == 9 and "judge" in done.stdout
    assert "frame " in str(raised.value)
    if how == "throw":
        assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert judge.stats is None


@pytest.fixture
def stalled(recorder) -> Iterator[object]:
    release = threading.Event()

    class Stalled(recorder):
        def judge(self, calls):
            release.wait(60)
            return super().judge(calls)

    yield Stalled(sums)
    release.set()


def test_a_judge_that_stalls_is_an_error_and_is_not_waited_for(stalled, bridge_plugin, drive):
    start = time.monotonic()
    with PluginHost(bridge_plugin, judge=stalled, judge_timeout_s=0.5) as host:
        done = drive(host, threads=3)
        with pytest.raises(PluginError, match=r"not answered for \d\.\d s, asked about frame \d, CU at 8,24"):
            host.check()
    assert done.returncode == 9 and "the judge has not answered" in done.stdout
    assert time.monotonic() - start < 8


def test_a_slow_judge_is_not_a_dead_host(bridge_plugin, drive, recorder):
    class Slow(recorder):
        def judge(self, calls):
            time.sleep(2.5)
            return super().judge(calls)

    with PluginHost(bridge_plugin, judge=Slow(sums), silence_s=1.5) as host:
        said(drive(host, threads=2))
        host.check()


def test_progress_goes_on_while_the_judge_works(stalled, bridge_plugin, drive):
    with PluginHost(bridge_plugin, judge=stalled, judge_timeout_s=2) as host:
        driver = threading.Thread(target=drive, args=(host,))
        driver.start()
        end = time.monotonic() + 5
        while not host.stats.begun and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.2)
        first = host.progress()
        time.sleep(0.05)
        assert host.progress() != first
        driver.join()
        assert host.progress() == host.progress()


def test_closing_releases_an_encoder_whose_judge_works(stalled, bridge_plugin, drive):
    results: list[subprocess.CompletedProcess[str]] = []
    with PluginHost(bridge_plugin, judge=stalled) as host:
        driver = threading.Thread(target=lambda: results.append(drive(host)))
        driver.start()
        time.sleep(0.5)
        start = time.monotonic()
    assert time.monotonic() - start < 8
    driver.join()
    assert results[0].returncode == 9


def test_a_choice_without_a_judge_is_an_error(bridge_plugin, drive):
    with PluginHost(bridge_plugin) as host:
        assert "this host has no judge" in drive(host).stdout
        with pytest.raises(PluginError, match="no judge"):
            host.check()


TWO = (Candidate(), Candidate(3.0))


@pytest.mark.parametrize(
    ("info", "says"),
    [
        (SideInfo(candidates=TWO), "no judge"),
        (SideInfo(judge_splits=16), "no judge"),
        (SideInfo(candidates=(Candidate(),) * 17), "17 candidates"),
        (SideInfo(judge_splits=8), "splits down to 8"),
        (SideInfo(candidates=TWO, candidate_mask=np.array([[4]], np.uint16), choose_by_sse=True), "0x4"),
        (SideInfo(candidates=TWO, candidate_mask=np.array([[1, 0]], np.uint16), choose_by_sse=True), "0x0"),
        (SideInfo(candidates=TWO, candidate_mask=np.array([1], np.uint16), choose_by_sse=True), "shape"),
        (SideInfo(candidates=TWO, candidate_mask=np.array([[1.0]]), choose_by_sse=True), "float64"),
    ],
)
def test_useless_candidates_are_refused_when_published(info, says, tmp_path: Path):
    with PluginHost(tmp_path / "plugin.so") as host:
        with pytest.raises(ConfigError, match=says):
            host.publish(0, info)
        host.publish(1, SideInfo(candidates=TWO, choose_by_sse=True))
        host.publish(2, SideInfo(candidates=TWO[:1], candidate_mask=np.array([[1, 1]])))

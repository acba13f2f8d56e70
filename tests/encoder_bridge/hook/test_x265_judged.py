"""x265 with candidates and a judge in Python: the same streams as judged inside, and nothing left after a fault."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest

from encoder_bridge import toolchain
from encoder_bridge.config import Candidate, CandidateConfig, CodingConfig, MapConfig, RunOptions
from encoder_bridge.encoder import SideInfo
from encoder_bridge.encoders.x265 import X265
from encoder_bridge.errors import BridgeError, ConfigError, EncoderError, PluginError
from encoder_bridge.frames import Frame, VideoFormat
from encoder_bridge.hosted import quant_group
from encoder_bridge.wire import GROUP_CTU

THREE = (Candidate(), Candidate(lambda_scale=0.8), Candidate(lambda_scale=1.25, delta_qp=2.0))


def config_of(gop: str = "intra", splits: int = 0, internal: bool = False, **rest: object) -> CodingConfig:
    ctu = CandidateConfig(THREE, metric="sse", splits=splits, internal=internal)
    return CodingConfig(**{"preset": "medium", "gop": gop, "qp": 32, "rdo": "ctu", "ctu": ctu, **rest})


@pytest.fixture
def judged(clip, x265_hooked, tmp_path):
    """(config, judge, threads=None, timeout_s=60) -> the stream."""

    def run(config: CodingConfig, judge: object, threads: int | None = None, timeout_s: float = 60) -> bytes:
        side = SideInfo(candidates=THREE, judge_splits=config.ctu.splits, choose_by_sse=config.ctu.internal)
        feed = ((Frame(tuple(planes), i, Fraction(i, 25)), side) for i, planes in enumerate(clip.frames))
        output, fmt = tmp_path / "out" / "a.hevc", VideoFormat(clip.width, clip.height)
        output.parent.mkdir(exist_ok=True)
        X265().encode(feed, fmt, config, RunOptions(threads=threads, timeout_s=timeout_s), output, judge)
        return output.read_bytes()

    return run


@pytest.mark.parametrize("splits", [0, 16])
@pytest.mark.parametrize("gop", ["intra", "lowdelay", "randomaccess"])
def test_squared_error_judged_outside_gives_the_stream_judged_inside(gop, splits, clip, judged, recorder):
    inside = judged(config_of(gop, splits, internal=True), None)
    for threads in (1, 4):
        judge = recorder()
        assert judged(config_of(gop, splits), judge, threads) == inside
        assert sorted(record.call.poc for record in judge.records) == list(range(len(clip.frames)))
        assert judge.stats.judging.calls == sum(map(len, judge.batches)) >= 8 * 3 * 4
        assert all(record.result.ctus.shape == (3, 4) for record in judge.records)
    assert judged(config_of(gop, splits), recorder(lambda call: [trial.sse * 3 for trial in call.trials])) != inside


@pytest.mark.parametrize("how", ["nan", "short", "throw"])
def test_a_faulty_judge_stops_the_encode_and_leaves_nothing(how, judged, recorder, tmp_path):
    def rule(call):
        if call.poc < 2:
            return [trial.sse for trial in call.trials]
        if how == "throw":
            raise KeyError("no such layer")
        return [float("nan")] * 3 if how == "nan" else [1.0]

    start, judge = time.monotonic(), recorder(rule)
    with pytest.raises(PluginError, match=r"judge.*frame \d, CTU at") as error:
        judged(config_of(), judge)
    assert time.monotonic() - start < 10
    assert not list((tmp_path / "out").iterdir()) and judge.stats is None
    assert how != "throw" or isinstance(error.value.__cause__, KeyError)


def test_a_stalling_judge_stops_the_encode(judged, recorder, tmp_path):
    release = threading.Event()
    start, judge = time.monotonic(), recorder(lambda call: release.wait(60) or [0, 0, 0])
    with pytest.raises(PluginError, match="has not answered for "):
        judged(config_of(), judge, timeout_s=1)
    release.set()
    assert time.monotonic() - start < 10 and not list((tmp_path / "out").iterdir())


def test_a_slow_judge_does_not_time_out(judged, recorder):
    """Each answer takes a while, the whole longer than the limit."""
    judged(config_of(), recorder(lambda call: time.sleep(0.02) or [0, 1e9, 1e9]), timeout_s=1)


def children() -> list[int]:
    """Running x265 processes of this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, rest = path.read_text().rpartition(")")
            if head.endswith("(x265") and int(rest.split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


def test_an_encoder_killed_while_it_is_judged(judged, recorder, tmp_path):
    def rule(call):
        if call.poc >= 2:
            for pid in children():
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.3)
        return [trial.sse for trial in call.trials]

    start = time.monotonic()
    with pytest.raises(EncoderError, match="SIGKILL"):
        judged(config_of(), recorder(rule))
    assert time.monotonic() - start < 10 and not list((tmp_path / "out").iterdir())


HOST = """
import sys, time, pathlib
from encoder_bridge.host import PluginHost
from encoder_bridge.encoder import SideInfo
from encoder_bridge.config import Candidate

class Judge:
    def judge(self, calls):
        print("judging", flush=True)
        time.sleep(60)
    def frame_done(self, record):
        pass

with PluginHost(pathlib.Path(sys.argv[1]), judge=Judge(), silence_s=3) as host:
    for poc in range(8):
        host.publish(poc, SideInfo(candidates=(Candidate(), Candidate(lambda_scale=0.8))))
    print(host.env()["MRDO_PLUGIN_OPTIONS"], flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stalled"])
def test_an_encoder_ends_when_its_host_dies_while_judging(how, clip, x265_hooked, tmp_path):
    plugin, root, pipe = toolchain.plugin_path(x265_hooked), Path(toolchain.__file__).parents[1], subprocess.PIPE
    (tmp_path / "clip.y4m").write_bytes(clip.y4m)
    command = [sys.executable, "-c", HOST, plugin]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=root, text=True) as host:
        env = {**os.environ, "MRDO_PLUGIN": str(plugin), "MRDO_PLUGIN_OPTIONS": host.stdout.readline().strip()}
        words = [x265_hooked.path, str(tmp_path / "clip.y4m"), "--psy-rd", "0", "-o", str(tmp_path / "out.hevc")]
        with subprocess.Popen(words, stderr=pipe, env=env) as encoder:
            assert host.stdout.readline() == "judging\n"
            start = time.monotonic()
            host.send_signal(how)
            stderr = encoder.communicate(timeout=15)[1].decode()
        host.kill()
    assert time.monotonic() - start < 10 and encoder.returncode == 86
    assert "mrdo: error: " in stderr and ("gone" if how == signal.SIGKILL else "silent for 3 s") in stderr


@pytest.mark.parametrize(
    "option",
    [
        *("--nr-intra=100", "--nr-inter", "--dynamic-refine", "--rd-refine", "--opt-cu-delta-qp"),
        *("--vbv-maxrate", "--vbv-bufsize=1000", "--analysis-reuse-mode"),
    ],
)
def test_options_that_trials_do_not_survive_are_refused(option):
    fmt = VideoFormat(208, 144)
    with pytest.raises(ConfigError, match=option.partition("=")[0]):
        X265().check(config_of(extra=(option,)), fmt)
    X265().check(config_of(extra=("--pmode",)), fmt)
    if not option.startswith("--analysis"):
        X265().check(CodingConfig(qp=30, rdo="map", map=MapConfig(), extra=(option,)), fmt)


def test_blocks_larger_than_the_presets_ctu_are_refused():
    for config in (config_of(splits=64, preset="superfast"), config_of(preset="ultrafast", ctu=big_cu())):
        with pytest.raises(ConfigError, match=r"64 and preset .*fast, whose CTUs are 32x32"):
            X265().check(config, VideoFormat(208, 144))


def big_cu() -> CandidateConfig:
    return CandidateConfig((Candidate(), Candidate(min_cu=64)), metric="sse")


def test_the_quantisation_group_follows_what_varies():
    plain = CandidateConfig((Candidate(), Candidate(lambda_scale=0.8)), metric="sse")
    assert quant_group(config_of()) == GROUP_CTU
    assert quant_group(config_of(ctu=plain)) == 0
    assert quant_group(config_of(rdo="map+ctu", map=MapConfig(group=16))) == 16
    assert quant_group(config_of(rdo="map+ctu", map=MapConfig(qp_map=False, weights=True))) == GROUP_CTU


def test_candidates_without_a_judge_are_refused(judged):
    with pytest.raises(BridgeError, match="no judge to choose among them"):
        judged(config_of(), None)

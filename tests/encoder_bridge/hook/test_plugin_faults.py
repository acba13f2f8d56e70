"""Whatever goes wrong with the plugin or its host ends the encode with one line and status 86, never with a stream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from encoder_bridge import toolchain
from encoder_bridge.encoder import SideInfo
from encoder_bridge.errors import ConfigError, PluginError
from encoder_bridge.host import EXIT_STATUS, PluginHost

ARGS = ("--preset", "ultrafast", "--qp", "30", "--keyint", "1")
PLUGIN = """
#include "mrdo_plugin.h"
#include <string.h>
static void *open_(const char *o, const mrdo_encoder_info *e, mrdo_plugin_info *i) {{ {open} return (void *)o; }}
static int begin(void *s, const mrdo_frame *f, mrdo_side_info *side) {{ {begin} return 0; }}
static int end(void *s, const mrdo_frame_result *r) {{ {end} return 0; }}
static const char *last_error(void *s) {{ return "the reason given"; }}
static void close_(void *s) {{}}
static const mrdo_plugin_table table = {{
    {abi}, sizeof(table) - {short_by}, "test", open_, begin, 0, end, last_error, close_ }};
const mrdo_plugin_table *mrdo_plugin_get(uint32_t abi) {{ return {table}; }}
"""
PARTS = {"open": "", "begin": "", "end": "", "abi": "MRDO_ABI", "short_by": "0", "table": "&table"}
WEIGHTS = "static float w[26 * 18]; for (int i = 0; i < 26 * 18; i++) w[i] = 1; side->weight = w;"

TWO = "static mrdo_candidate c[2]; side->candidates = c; side->candidate_count = 2; c[0].lambda_scale = 1;"


def wait_for(condition: Callable[[], object], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


def assert_stopped(done, *says: str) -> None:
    assert done.returncode == EXIT_STATUS, done.stderr
    assert len(done.complaints) == 1, done.stderr
    assert all(text in done.complaints[0] for text in says), done.complaints


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"abi": "2"}, ("ABI 2", "speaks 1", "mrdo build x265")),
        ({"table": "0"}, ("ABI 0", "speaks 1")),
        ({"short_by": "8"}, ("table of", "expected")),
        ({"open": "return 0;"}, ("the reason given",)),
        ({"open": "i->quant_group = 24;"}, ("quantisation group 24", "16, 32 or 64")),
        ({"begin": "return f->poc == 2;"}, ("frame 2", "the reason given")),
        ({"end": "return 1;"}, ("frame 0", "the reason given")),
        ({"begin": TWO + "c[1].lambda_scale = 1;"}, ("no function to choose",)),
        ({"begin": TWO}, ("lambda scale 0",)),
        ({"begin": "side->lambda_scale = 0;"}, ("lambda scale 0",)),
        ({"begin": WEIGHTS + "side->weight_cols = 25; side->weight_rows = 18;"}, ("25x18", "208x144", "26x18")),
        ({"begin": WEIGHTS + "w[3] = -1; side->weight_cols = 26; side->weight_rows = 18;"}, ("weight -1 in block 3",)),
        (
            {"begin": "static float q[13 * 9]; memset(q, 255, sizeof(q)); side->qp_offset = q; side->qp_cols = 13;"
                      "side->qp_rows = 9;"},
            ("QP offset", "nan"),
        ),
    ],
    ids=[
        "abi", "no-table", "short-table", "open", "group", "begin", "end", "choose", "candidate", "lambda", "grid",
        "weight", "nan",
    ],
)  # fmt: skip
def test_a_faulty_plugin_stops_the_encoder(parts, says, clip, x265_hooked, encode, compile_plugin):
    library = compile_plugin(PLUGIN.format(**{**PARTS, **parts}))
    done = encode(x265_hooked, clip, ARGS, {"MRDO_PLUGIN": str(library)})
    assert_stopped(done, *says)


def test_a_well_behaved_plugin_does_not(clip, x265_hooked, x265_plain, encode, compile_plugin):
    library = compile_plugin(PLUGIN.format(**PARTS))
    done = encode(x265_hooked, clip, ARGS, {"MRDO_PLUGIN": str(library)})
    assert (done.returncode, done.complaints) == (0, [])
    assert done.stream == encode(x265_plain, clip, ARGS).stream


def test_missing_symbol(clip, x265_hooked, encode, compile_plugin):
    done = encode(x265_hooked, clip, ARGS, {"MRDO_PLUGIN": str(compile_plugin("int other;"))})
    assert_stopped(done, "no function mrdo_plugin_get")


@pytest.mark.parametrize("content", [None, b"not a library\n"], ids=["missing", "text"])
def test_what_is_no_library(content, clip, x265_hooked, encode, tmp_path):
    path = tmp_path / "gone.so"
    if content is not None:
        path.write_bytes(content)
    assert_stopped(encode(x265_hooked, clip, ARGS, {"MRDO_PLUGIN": str(path)}), "cannot load the plugin", "gone.so")


def test_no_host_at_the_socket(clip, x265_hooked, encode, tmp_path):
    env = {"MRDO_PLUGIN": str(toolchain.plugin_path(x265_hooked))}
    assert_stopped(encode(x265_hooked, clip, ARGS, env), "MRDO_PLUGIN_OPTIONS=socket=PATH")
    gone = encode(x265_hooked, clip, ARGS, {**env, "MRDO_PLUGIN_OPTIONS": f"socket={tmp_path / 's'}"})
    assert_stopped(gone, "cannot reach the host")
    odd = encode(x265_hooked, clip, ARGS, {**env, "MRDO_PLUGIN_OPTIONS": "socket=x;colour=blue"})
    assert_stopped(odd, "colour=blue", "expected")


@pytest.mark.parametrize(
    ("extra", "group", "says"),
    [
        (("--psy-rd", "1", "--rd", "3"), 0, ("--psy-rd 1", "use --psy-rd 0")),
        (("--ssim-rd", "--rd", "3"), 0, ("--ssim-rd",)),
        (("--ctu", "32"), 64, ("quantisation group 64", "32 (CTU)")),
        (("--min-cu-size", "32"), 16, ("quantisation group 16", "32 (smallest CU)")),
        (("--lossless",), 0, ("--lossless",)),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_settings_the_hook_cannot_serve(extra, group, says, clip, x265_hooked, encode_hosted):
    info = SideInfo(np.ones(clip.grid(8), np.float32), np.ones(clip.grid(16), np.float32))
    with pytest.raises(PluginError) if group else _nothing():
        assert_stopped(encode_hosted(x265_hooked, clip, (*ARGS, *extra), info, group=group), *says)
        raise PluginError("as it should")


def _nothing():
    return pytest.raises(PluginError, match="as it should")


def test_an_error_in_the_host_stops_the_encoder_and_reaches_the_main_thread(clip, x265_hooked, encode, recorder):
    class Judge(recorder):
        def frame_done(self, record):
            raise ZeroDivisionError("in the callback")

    with PluginHost(toolchain.plugin_path(x265_hooked), judge=Judge()) as host:
        for poc in range(len(clip.frames)):
            host.publish(poc, None)
        done = encode(x265_hooked, clip, ARGS, host.env())
        assert_stopped(done, "ZeroDivisionError: in the callback")
        with pytest.raises(PluginError, match="in the callback"):
            host.check()


def test_a_frame_beyond_the_announced_end_is_an_error(clip, x265_hooked, encode):
    with PluginHost(toolchain.plugin_path(x265_hooked)) as host:
        host.publish(0, None)
        host.finish(1)
        assert_stopped(encode(x265_hooked, clip, ARGS, host.env()), "the sequence has 1 frames")


@pytest.fixture
def slow_host(clip, x265_hooked, tmp_path):
    """A host in a process of its own that has published two frames, and an encoder that waits for the third."""
    script = (
        "import sys, json, pathlib\n"
        "from encoder_bridge.host import PluginHost\n"
        f"with PluginHost(pathlib.Path({str(toolchain.plugin_path(x265_hooked))!r}), silence_s=3) as host:\n"
        "    host.publish(0, None); host.publish(1, None)\n"
        "    print(json.dumps(host.env()), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    root = Path(toolchain.__file__).parents[1]
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, cwd=root, text=True) as host:
        env = json.loads(host.stdout.readline())
        source = tmp_path / "clip.y4m"
        source.write_bytes(clip.y4m)
        command = [x265_hooked.path, str(source), *ARGS, "--frame-threads", "1", "-o", str(tmp_path / "out.hevc")]
        with subprocess.Popen(command, stderr=pipe, env={**os.environ, **env}) as encoder:
            time.sleep(1.5)
            assert encoder.poll() is None
            yield host, encoder
            encoder.kill()
        host.kill()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stalled"])
def test_encoder_ends_within_10_s_without_its_host(how, slow_host):
    host, encoder = slow_host
    start = time.monotonic()
    host.send_signal(how)
    stderr = encoder.communicate(timeout=15)[1].decode()
    assert time.monotonic() - start < 10
    assert encoder.returncode == EXIT_STATUS
    assert ("mrdo: error: " in stderr) and (("gone" if how == signal.SIGKILL else "silent for 3 s") in stderr)


def test_a_waiting_encoder_outlives_the_silence_limit_of_a_living_host(slow_host):
    _, encoder = slow_host
    time.sleep(4)
    assert encoder.poll() is None


def test_a_killed_encoder_leaves_the_host_usable(clip, x265_hooked, encode, tmp_path):
    source = tmp_path / "clip.y4m"
    source.write_bytes(clip.y4m)
    with PluginHost(toolchain.plugin_path(x265_hooked)) as host:
        host.publish(0, None)
        command = [x265_hooked.path, str(source), *ARGS, "-o", str(tmp_path / "out.hevc")]
        with subprocess.Popen(command, env={**os.environ, **host.env()}, stderr=subprocess.DEVNULL) as encoder:
            assert wait_for(lambda: 1 in host.waiting)
            encoder.kill()
        host.check()
        for poc in range(1, len(clip.frames)):
            host.publish(poc, None)
        start = time.monotonic()
        host.close()
        assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    ("info", "says"),
    [
        (SideInfo(np.zeros((3, 3), np.float32)), "positive"),
        (SideInfo(np.ones(9, np.float32)), "shape"),
        (SideInfo(qp_offset=np.full((2, 2), np.nan, np.float32)), "nan"),
        (SideInfo(lambda_scale=-1.0), "lambda scale -1"),
    ],
)
def test_useless_side_information_is_refused_when_published(info, says, tmp_path):
    with PluginHost(tmp_path / "plugin.so") as host, pytest.raises(ConfigError, match=says):
        host.publish(0, info)


def test_memory_is_bounded_and_the_folder_goes(clip, x265_hooked, encode):
    with PluginHost(toolchain.plugin_path(x265_hooked)) as host:
        folder = Path(host.env()["MRDO_PLUGIN_OPTIONS"].split("=")[1].split(";")[0]).parent
        assert folder.stat().st_mode & 0o077 == 0
        for poc in range(len(clip.frames)):
            host.publish(poc, None)
        assert encode(x265_hooked, clip, ARGS, host.env()).returncode == 0
        assert (host.stats.begun, host.stats.ended, host.waiting) == (8, 8, [])
        assert host._published == {}
        assert host.stats.encoders[0].width == 208 and host.stats.encoders[0].encoder == "x265"
    assert not folder.exists()

"""The interface as C sees it: the header in both languages, one exported symbol, both ends agreeing on every layout."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from encoder_bridge import toolchain, wire
from encoder_bridge.encoder import SideInfo
from encoder_bridge.host import PluginHost
from encoder_bridge.wire import ChoiceCall

HOOK = Path(toolchain.__file__).parent / "hook"
WIRE_FORMATS = {
    "header": wire.HEADER,
    "hello": wire.HELLO,
    "hello_ok": wire.HELLO_OK,
    "plane": wire.PLANE,
    "begin": wire.BEGIN,
    "side": wire.SIDE,
    "candidate": wire.CANDIDATE,
    "end": wire.END,
    "choose": wire.CHOOSE,
    "trial": wire.TRIAL,
}
ABI_STRUCTS = (
    "encoder_info",
    "plugin_info",
    "plane",
    "frame",
    "candidate",
    "side_info",
    "trial",
    "choice",
    "frame_result",
)


@pytest.mark.parametrize("header", ["mrdo_plugin.h", "mrdo_wire.h"])
@pytest.mark.parametrize("language", [("cc", "-std=c99", "c"), ("g++", "-std=c++98", "c++")], ids=["c99", "c++98"])
def test_header_compiles_cleanly(header, language, tmp_path):
    compiler, standard, kind = language
    strict = ["-Wall", "-Wextra", "-pedantic", "-Werror", f"-I{HOOK}", "-fsyntax-only", "-x", kind, "-"]
    text = f"#include <{header}>\n#include <{header}>\nint used;\n"
    done = subprocess.run([compiler, standard, *strict], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_hook_compiles_as_gnu98(tmp_path):
    strict = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{HOOK}", str(HOOK / "mrdo_hook.cpp")]
    done = subprocess.run(["g++", "-std=gnu++98", *strict], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_conditions_inside_structs():
    body = (HOOK / "mrdo_plugin.h").read_text()
    structs = [part.split("}")[0] for part in body.split("typedef struct")[1:]]
    assert len(structs) >= 10
    assert not any("#if" in part for part in structs)
    assert all(part.split("{")[1].split(";")[0].strip().startswith("uint32_t ") for part in structs)


def test_both_ends_agree_on_the_size_of_every_message(compile_plugin):
    names = list(WIRE_FORMATS)
    prints = "".join(f'printf("%zu\\n", sizeof(wire_{name}));' for name in names)
    program = compile_plugin(
        f'#include <stdio.h>\n#include "mrdo_wire.h"\nint main(void) {{ {prints} return 0; }}', "-O0", name="sizes"
    )
    sizes = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    assert dict(zip(names, map(int, sizes), strict=True)) == {name: fmt.size for name, fmt in WIRE_FORMATS.items()}


def test_message_numbers_agree():
    text = (HOOK / "mrdo_wire.h").read_text().split("enum\n{")[1].split("}")[0]
    names = [line.split("=")[0].strip(" ,\n").removeprefix("MRDO_") for line in text.split(",")]
    assert names == [message.name for message in wire.Message]


@pytest.mark.parametrize("struct", ABI_STRUCTS)
def test_every_struct_opens_with_its_size(struct, compile_plugin):
    check = f'_Static_assert(__builtin_offsetof(mrdo_{struct}, struct_size) == 0, "{struct}");'
    compile_plugin(f'#include "mrdo_plugin.h"\n{check}\n')


def test_the_plugin_exports_one_symbol(bridge_plugin):
    done = subprocess.run(["nm", "-D", "--defined-only", bridge_plugin], capture_output=True, text=True, check=True)
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["mrdo_plugin_get"]


DRIVER = """
#include "mrdo_plugin.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static uint8_t luma[6][20]; static uint16_t deep[3][16];
int main(int argc, char **argv)
{
    void *library = dlopen(argv[1], RTLD_NOW);
    mrdo_plugin_get_fn get = (mrdo_plugin_get_fn)dlsym(library, MRDO_PLUGIN_SYMBOL);
    if (get(MRDO_ABI + 1)) return 2;
    const mrdo_plugin_table *t = get(MRDO_ABI);
    mrdo_encoder_info e = { sizeof(e), 16, 6, 1, 8, 64, 8, 25, 1, 0, "driver", "1" };
    mrdo_plugin_info info = { sizeof(info), 0, 0, 0 };
    void *s = t->open(argv[2], &e, &info);
    if (!s) { puts(t->last_error(0)); return 3; }
    for (int y = 0; y < 6; y++) for (int x = 0; x < 20; x++) luma[y][x] = (uint8_t)(20 * y + x);
    for (int y = 0; y < 3; y++) for (int x = 0; x < 16; x++) deep[y][x] = (uint16_t)(700 + 16 * y + x);
    mrdo_plane a = { sizeof(a), 16, 6, 8, 1, 0, 20, luma }, b = { sizeof(b), 8, 3, 10, 2, 0, 32, deep };
    mrdo_frame f = { sizeof(f), MRDO_SLICE_P, 5, 30.5, 42.0, 1, 2, { a, b } };
    mrdo_side_info side = { sizeof(side), 0, 0, 0, 0, 0, 1.0, 0, 0, 0 };
    if (t->begin_frame(s, &f, &side)) { puts(t->last_error(s)); return 4; }
    printf("[%u, %u, %u, %u, %g, %g, %g, ", info.flags, info.quant_group, side.weight_cols, side.weight_rows,
           side.weight[1], side.qp_offset[0], side.lambda_scale);
    mrdo_trial trials[2] = { { sizeof(mrdo_trial), 0, 10, 100, 1, 0, { a } }, { sizeof(mrdo_trial), 1, 5, 300, 2, 0, { a, b } } };
    mrdo_choice c = { sizeof(c), 8, 0, 16, 6, 2, 5, trials };
    double d[2];
    if (t->choose(s, &c, d)) { puts(t->last_error(s)); return 5; }
    printf("%g, %g]\\n", d[0], d[1]);
    mrdo_frame_result r = { sizeof(r), MRDO_SLICE_P, 5, 4321, 29.5 };
    if (t->end_frame(s, &r)) { puts(t->last_error(s)); return 6; }
    t->close(s);
    return 0;
}
"""  # noqa: E501


def test_planes_side_information_and_choices_make_the_whole_way(bridge_plugin, compile_plugin):
    seen: dict[str, object] = {}

    def choose(call: ChoiceCall) -> list[float]:
        seen["choice"] = call
        return [trial.sse + len(trial.planes) for trial in call.trials]

    program = compile_plugin(DRIVER, "-ldl", name="driver")
    records = []
    info = SideInfo(np.array([[1.0, 2.5]], np.float32), np.array([[-3.0]], np.float32), 0.5)
    with PluginHost(bridge_plugin, quant_group=16, wants_planes=True, choose=choose, on_frame=records.append) as host:
        host.publish(5, info)
        options = host.env()["MRDO_PLUGIN_OPTIONS"]
        done = subprocess.run([program, bridge_plugin, options], capture_output=True, text=True, timeout=30)
        host.check()
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout) == [wire.WANTS_PLANES, 16, 2, 1, 2.5, -3, 0.5, 101, 302]
    call, result = records[0].call, records[0].result
    luma, deep = call.planes
    assert np.array_equal(luma, np.arange(6)[:, None] * 20 + np.arange(16)) and luma.dtype == np.uint8
    assert np.array_equal(deep, 700 + np.arange(3)[:, None] * 16 + np.arange(8)) and deep.dtype == np.uint16
    assert (call.poc, call.slice_type, call.qp, call.lambda_, call.keyframe) == (5, "P", 30.5, 42.0, True)
    assert (result.bits, result.mean_qp) == (4321, 29.5)
    choice = seen["choice"]
    assert (choice.poc, choice.x, choice.width, choice.trials[1].candidate) == (5, 8, 16, 1)
    assert np.array_equal(choice.trials[1].planes[1], deep)


def test_source_planes_reach_the_host(clip, x265_hooked, encode):
    records = []
    plugin = toolchain.plugin_path(x265_hooked)
    with PluginHost(plugin, wants_planes=True, on_frame=records.append) as host:
        for poc in range(len(clip.frames)):
            host.publish(poc, None)
        assert encode(x265_hooked, clip, ("--preset", "ultrafast", "--qp", "30"), host.env()).returncode == 0
    for record in records:
        assert all(map(np.array_equal, record.call.planes, clip.frames[record.call.poc]))
    assert len(records) == len(clip.frames)

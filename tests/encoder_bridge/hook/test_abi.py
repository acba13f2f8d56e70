"""The interface as C sees it: the header in both languages, one exported symbol, both ends agreeing on every layout."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from encoder_bridge import toolchain, wire
from encoder_bridge.host import PluginHost

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
    "ctu": wire.CTU,
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
    "ctu",
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
    assert dict(zip(names, map(int, sizes), strict=True)) == {
        name: fmt.itemsize if isinstance(fmt, np.dtype) else fmt.size for name, fmt in WIRE_FORMATS.items()
    }


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


def test_source_planes_reach_the_host(clip, x265_hooked, encode, recorder):
    judge = recorder()
    with PluginHost(toolchain.plugin_path(x265_hooked), wants_planes=True, judge=judge) as host:
        for poc in range(len(clip.frames)):
            host.publish(poc, None)
        assert encode(x265_hooked, clip, ("--preset", "ultrafast", "--qp", "30"), host.env()).returncode == 0
    for record in judge.records:
        assert all(map(np.array_equal, record.call.planes, clip.frames[record.call.poc]))
    assert len(judge.records) == len(clip.frames)

"""Finding and building encoders, with small scripts in the place of the real programs."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from encoder_bridge import toolchain
from encoder_bridge.encoder import BuildInfo
from encoder_bridge.errors import BuildError, ConfigError, ToolNotFoundError

BANNER = (
    "x265 [info]: HEVC encoder version 3.5+1-f0c1022b6\nx265 [info]: build info [Linux][GCC 12.2.0][64 bit] {depth}\n"
)
HOOK = "x265 [info]: MRDO_HOOK abi=1 patch=0123456789abcdef depth=8\n"


def script(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def fake_x265(path: Path, text: str) -> Path:
    return script(path, f"cat >&2 <<'END'\n{text}END")


@pytest.fixture(autouse=True)
def bare(tmp_path, monkeypatch):
    """No encoder anywhere, and a cache of our own."""
    for name in ("MRDO_X265", "MRDO_X265_SOURCE", "MRDO_BRIDGE_PLUGIN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MRDO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/sbin")
    (tmp_path / "bin").mkdir()
    for needed in ("sh", "cat"):
        (tmp_path / "bin" / needed).symlink_to(f"/bin/{needed}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BANNER.format(depth="8bit") + HOOK, (True, 1, "0123456789abcdef", (8,))),
        (BANNER.format(depth="10bit"), (False, 0, "", (10,))),
        (BANNER.format(depth="8bit+10bit+12bit"), (False, 0, "", (8, 10, 12))),
    ],
    ids=["hooked", "10 bit", "multi"],
)
def test_probe_reads_the_banner(text, expected, tmp_path):
    info = toolchain.probe(fake_x265(tmp_path / "x265", text))
    assert (info.hooked, info.abi, info.patch_hash, info.depth) == expected
    assert info.version == "3.5+1-f0c1022b6"


def test_probe_of_something_else(tmp_path):
    with pytest.raises(ToolNotFoundError, match="does not look like x265"):
        toolchain.probe(script(tmp_path / "x265", "echo hello"))
    with pytest.raises(ToolNotFoundError, match="cannot run"):
        toolchain.probe(tmp_path / "gone")


def test_probe_ends_what_never_tells_its_version_and_its_children(tmp_path, monkeypatch):
    child = tmp_path / "child"
    silent = script(tmp_path / "x265", f"/bin/sleep 60 &\necho $! > {child}\nwait")
    monkeypatch.setattr(toolchain, "_VERSION_TIMEOUT_S", 1.0)
    with pytest.raises(ToolNotFoundError, match=f"^cannot run {silent}: it did not tell its version in 1 s; run: "):
        toolchain.probe(silent)
    assert ended(int(child.read_text()))


def ended(process):
    """Whether a process is gone, or merely waits to be buried, within a few seconds."""
    said, deadline = Path(f"/proc/{process}/stat"), time.monotonic() + 5
    while said.exists() and said.read_text().rpartition(")")[2].split()[0] != "Z":
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(
    ("name", "banner", "version", "least"),
    [
        ("vvenc", "vvencFFapp version 0.3.1 [Linux]", "0.3.1", "1.0"),
        ("vtm", "VVCSoftware: VTM Encoder Version 9.3 [Linux]", "9.3", "12.0"),
    ],
)
def test_a_version_before_the_drivers_is_refused(name, banner, version, least, tmp_path, monkeypatch):
    variable = f"MRDO_{name.upper()}_HOOKED"
    old = script(tmp_path / name, f"echo '{banner}'")
    monkeypatch.setenv(variable, str(old))
    with pytest.raises(ToolNotFoundError, match=f"^{variable}: {old} is .* {version}; expected {least} or newer; "):
        toolchain.find(name)


def test_where_find_looks(tmp_path, monkeypatch):
    with pytest.raises(ToolNotFoundError, match=r"run: mrdo build x265$"):
        toolchain.find("x265")
    on_path = fake_x265(tmp_path / "bin" / "x265", BANNER.format(depth="8bit"))
    assert toolchain.find("x265").path == str(on_path)
    with pytest.raises(ToolNotFoundError, match="run: mrdo build x265 --depth 10"):
        toolchain.find("x265", 10)
    cached = tmp_path / "cache" / f"x265-3.5-{toolchain.patch_hash()}-8bit" / "x265"
    fake_x265(cached, BANNER.format(depth="8bit") + HOOK)
    assert toolchain.find("x265").path == str(cached)
    named = fake_x265(tmp_path / "mine", BANNER.format(depth="8bit"))
    monkeypatch.setenv("MRDO_X265", str(named))
    assert toolchain.find("x265").path == str(named)
    with pytest.raises(ToolNotFoundError, match="codes 8 bit, not 10"):
        toolchain.find("x265", 10)


def test_the_plugin_lies_beside_the_binary(tmp_path):
    info = BuildInfo("x265", "3.5", str(tmp_path / "x265"), True, 1, "0" * 16)
    with pytest.raises(ToolNotFoundError, match=r"no plugin at .*bridge_plugin\.so; run: mrdo build x265"):
        toolchain.plugin_path(info)
    (tmp_path / "bridge_plugin.so").touch()
    assert toolchain.plugin_path(info) == tmp_path / "bridge_plugin.so"


def test_missing_tools_are_named_with_the_command_that_brings_them(tmp_path):
    for tool in ("cmake", "make", "g++", "cc"):
        script(tmp_path / "bin" / tool)
    with pytest.raises(BuildError, match="building needs nasm; run: apt install nasm"):
        toolchain.build("x265")


def test_unknown_names_and_depths():
    with pytest.raises(ConfigError, match=r"known: .*x265"):
        toolchain.build("x266")
    with pytest.raises(ConfigError, match="bit depth 12; expected 8 or 10"):
        toolchain.build("x265", depth=12)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Fake compilers; cmake fails, or make "builds" a fake x265."""
    for tool in ("nasm", "g++"):
        script(tmp_path / "bin" / tool)
    for tool in ("cp", "touch", "chmod"):
        (tmp_path / "bin" / tool).symlink_to(f"/bin/{tool}")
    fake_x265(tmp_path / "result", BANNER.format(depth="8bit"))
    script(tmp_path / "bin" / "cmake", "echo configured")
    script(
        tmp_path / "bin" / "make",
        "echo '[  7%] one'",
        "echo '[ 50%] two'",
        f"cp {tmp_path}/result x265",
        "touch libx265.a",
    )
    script(tmp_path / "bin" / "cc", 'while [ "$1" != -o ]; do shift; done', 'touch "$2"')
    monkeypatch.setattr(toolchain.patching, "apply_patches", lambda tree, name: None)

    def unpack(package, source, cache, target, progress):
        (target / "tree/source/encoder").mkdir(parents=True)
        return target / "tree"

    monkeypatch.setattr(toolchain, "unpack_source", unpack)
    return tmp_path / "bin"


def test_a_build_is_made_once_and_tells_how_far_it_is(tools, tmp_path):
    steps: list[str] = []
    info = toolchain.build("x265", progress=steps.append)
    assert steps[-2:] == ["compiling x265 8 bit: 7 %", "compiling x265 8 bit: 50 %"]
    assert toolchain.plugin_path(info).is_file()
    assert toolchain.build("x265", progress=steps.append) == info and len(steps) == 3
    toolchain.build("x265", force=True, progress=steps.append)
    assert len(steps) == 6
    left = [p.name for p in (tmp_path / "cache").iterdir() if not p.name.endswith(".lock")]
    assert left == [Path(info.path).parent.name]
    assert "two" in (Path(info.path).parent / "build.log").read_text()


def test_a_failed_build_shows_the_error_and_leaves_only_its_log(tools, tmp_path):
    script(tools / "make", "echo fine", "echo 'search.cpp:1: error: no such thing'", "echo done", "exit 2")
    with pytest.raises(BuildError, match=r"make ended with status 2: search.cpp:1: error: no such thing$"):
        toolchain.build("x265")
    left = [p.name for p in (tmp_path / "cache").iterdir() if not p.name.endswith(".lock")]
    assert left == [f"x265-3.5-{toolchain.patch_hash()}-8bit.failed.log"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache(tools, tmp_path):
    (tmp_path / "cache").mkdir(mode=0o500)
    with pytest.raises(BuildError, match="set MRDO_CACHE"):
        toolchain.build("x265")

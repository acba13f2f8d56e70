"""Everything that can go wrong with `mrdo encode`: one clear line, the right exit code, no file that looks finished."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from encoder_bridge.encoder import BuildInfo

SIZE = (96, 160)


def frames(count: int, height: int = SIZE[0], width: int = SIZE[1]) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(3)
    texture = rng.integers(0, 255, (height, width * 2, 3), dtype=np.uint8)
    for i in range(count):
        yield np.ascontiguousarray(texture[:, i * 2 % width : i * 2 % width + width])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 noisy frames: enough work for an encode to be caught in the middle."""
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for image in frames(120):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(params=["map", "ctu", "map+ctu"])
def arm(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[object, ...]:
    """Arguments of each way to code; neither a map in a file nor squared error needs a first pass."""
    drawn = np.random.default_rng(1).random((1, SIZE[0] // 16, SIZE[1] // 16), np.float32)
    np.save(tmp_path / "map.npy", drawn)
    map_file = ("--map", tmp_path / "map.npy") if "map" in request.param else ()
    metric = ("--metric", "sse") if "ctu" in request.param else ()
    return ("--rdo", request.param, *map_file, *metric)


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "sweeps.cli", *map(str, args)]


def mrdo(*args: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*args), capture_output=True, text=True, timeout=300, **kwargs)  # type: ignore[call-overload,no-any-return]


def assert_clean_failure(done: subprocess.CompletedProcess[str], kind: str, code: int, folder: Path) -> None:
    assert done.returncode == code, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and errors[0].startswith(f"error: {kind}: "), done.stderr
    assert "Traceback" not in done.stderr
    assert_nothing_left(folder)


def assert_nothing_left(folder: Path) -> None:
    left = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    assert left == []


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda p: p.write_text("this is not a video\n" * 50), "DecodeError", "video"),
        (lambda p: p.write_bytes(b""), "DecodeError", ""),
        (lambda p: None, "DecodeError", "clip.mp4"),
    ],
    ids=["text file", "empty file", "missing file"],
)
def test_what_is_no_video(make: Callable[[Path], object], kind: str, says: str, tmp_path: Path, out: Path):
    source = tmp_path / "clip.mp4"
    make(source)
    done = mrdo("encode", source, "-o", out / "a.mp4")
    assert_clean_failure(done, kind, 1, out)
    assert says in done.stderr


@pytest.mark.parametrize("rdo", ["psnr", "ctu"])
@pytest.mark.parametrize("keep", [0.4, 0.97], ids=["early", "late"])
def test_truncated_mp4(keep: float, rdo: str, tmp_path: Path, out: Path):
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    with av.open(str(whole), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for image in frames(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    data = whole.read_bytes()
    cut.write_bytes(data[: int(len(data) * keep)])
    metric = ("--metric", "sse") if rdo == "ctu" else ()
    assert_clean_failure(mrdo("encode", cut, "-o", out / "a.mp4", "--rdo", rdo, *metric), "DecodeError", 1, out)


def test_a_container_without_frames(tmp_path: Path, out: Path):
    (tmp_path / "none.y4m").write_bytes(b"YUV4MPEG2 W64 H64 F25:1 C420\n")
    assert_clean_failure(mrdo("encode", tmp_path / "none.y4m", "-o", out / "a.mp4"), "DecodeError", 1, out)


@pytest.mark.parametrize("content", [b"", b"not a network", os.urandom(4096)], ids=["empty", "text", "noise"])
def test_corrupt_onnx(content: bytes, clip: Path, tmp_path: Path, out: Path):
    (tmp_path / "net.onnx").write_bytes(content)
    done = mrdo("encode", clip, "-o", out / "a.mp4", "--model", tmp_path / "net.onnx")
    assert_clean_failure(done, "ModelError", 1, out)


def test_missing_output_folder_is_found_before_any_work(clip: Path, out: Path):
    began = time.monotonic()
    done = mrdo("encode", clip, "-o", out / "nowhere" / "a.mp4")
    assert_clean_failure(done, "OutputError", 1, out)
    assert time.monotonic() - began < 20


def test_read_only_output_folder(clip: Path, tmp_path: Path):
    with mounted(tmp_path / "ro", "size=1m,ro") as folder:
        done = mrdo("encode", clip, "-o", folder / "a.mp4")
        assert_clean_failure(done, "OutputError", 1, folder)


FAST = ("--qp", 10, "--preset", "ultrafast")
PLAIN, CANDIDATES = ("--rdo", "psnr"), ("--rdo", "ctu", "--metric", "sse")


@pytest.mark.parametrize(("name", "how"), [("a.hevc", PLAIN), ("a.mp4", PLAIN), ("a.mkv", CANDIDATES)])
def test_full_disk(name: str, how: tuple[str, ...], clip: Path, tmp_path: Path, x265_hooked: BuildInfo):
    with mounted(tmp_path / "full", "size=64k") as folder:
        done = mrdo("encode", clip, "-o", folder / name, *how, *FAST)
        assert_clean_failure(done, "OutputError", 1, folder)


@pytest.mark.parametrize("how", [PLAIN, CANDIDATES])
def test_full_working_folder(how: tuple[str, ...], clip: Path, tmp_path: Path, out: Path, x265_hooked: BuildInfo):
    with mounted(tmp_path / "full", "size=64k") as folder:
        done = mrdo("encode", clip, "-o", out / "a.mp4", *how, *FAST, "--workdir", folder)
        assert_clean_failure(done, "OutputError", 1, out)
        assert_nothing_left(folder)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small tmpfs; root passes permission bits, so only a mount can refuse it."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--qp", 63), 2, "0–51"),
        (("--qp", 30, "--crf", 20), 2, "one of --qp, --crf, --bitrate"),
        (("--preset", "warp"), 2, "ultrafast"),
        (("--codec", "mpeg1"), 2, "x265"),
        (("--scale", 3), 2, "scale"),
        (("--map", "magic"), 2, "kl"),
        (("--gop", "sideways"), 2, "lowdelay"),
        (("--device", "cuda"), 1, "cuda"),
        (("--extra", "--no-such-switch"), 1, "no-such-switch"),
        (("--extra", "--ctu 8"), 1, "ctu"),
        (("--extra", "--qp 20"), 2, "set by mrdo itself"),
        (("--preset", "ultrafast", "--group", 64), 2, "--group 32"),
        (("--sigma", "-1"), 2, "sigma"),
        (("--input-range", "0..1"), 2, "--model"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_bad_settings(args: tuple[object, ...], code: int, says: str, clip: Path, out: Path, x265_hooked: BuildInfo):
    done = mrdo("encode", clip, "-o", out / "a.mp4", *args)
    assert done.returncode == code, done.stderr
    assert says in done.stderr and "Traceback" not in done.stderr
    assert_nothing_left(out)


def test_output_that_is_the_input(clip: Path, tmp_path: Path):
    copy = tmp_path / "video.mkv"
    shutil.copyfile(clip, copy)
    done = mrdo("encode", copy, "-o", copy)
    assert done.returncode == 2 and "is the input" in done.stderr
    assert copy.read_bytes() == clip.read_bytes()


def test_missing_encoder_names_the_command_that_builds_it(clip: Path, tmp_path: Path, out: Path):
    env = {**os.environ, "MRDO_CACHE": str(tmp_path / "empty"), "PATH": "/nonexistent", "MRDO_X265": ""}
    done = mrdo("encode", clip, "-o", out / "a.mp4", env=env)
    assert_clean_failure(done, "ToolNotFoundError", 1, out)
    assert "mrdo build x265" in done.stderr
    for words in (("compare", clip, "--no-neutral", "--qps", "32,37"), ("demo",)):
        done = mrdo(*words, "-o", out / "deep" / "results", env=env)
        assert_clean_failure(done, "ToolNotFoundError", 1, out)


def test_json_errors_are_events_and_nothing_else_is_on_stdout(clip: Path, out: Path):
    done = mrdo("encode", clip, "-o", out / "nowhere" / "a.mp4", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [e["event"] for e in events] == ["error"] and events[0]["type"] == "OutputError"


@contextmanager
def running(*args: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def encoder_of(process: subprocess.Popen[str], plugin: bool = True) -> int:
    """PID of the x265 a command has started and that has begun its work; with the plugin loaded unless told."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        for child in _children(process.pid):
            if _is_x265(child) and (not plugin or _has_plugin(child)):
                time.sleep(0.3)
                return child
        time.sleep(0.02)
    raise AssertionError(f"no encoder started: {process.communicate()[1]}")


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in task.read_text().split()]
    return found


def _is_x265(pid: int) -> bool:
    """An encode, not the question for its version."""
    try:
        return b"--input" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _has_plugin(pid: int) -> bool:
    try:
        return "MRDO_PLUGIN=" in Path(f"/proc/{pid}/environ").read_text()
    except OSError:
        return False


SLOW = ("--preset", "placebo", "--qp", "12", "--threads", "1")


def finished(process: subprocess.Popen[str], within: float) -> tuple[subprocess.CompletedProcess[str], float]:
    began = time.monotonic()
    stdout, stderr = process.communicate(timeout=within)
    took = time.monotonic() - began
    return subprocess.CompletedProcess([], process.returncode, stdout, stderr), took


@pytest.mark.parametrize("how", [("--rdo", "map"), ("--rdo", "ctu", "--metric", "ssim")])
def test_encoder_killed_in_its_first_pass(how: tuple[str, ...], clip: Path, out: Path, x265_hooked: BuildInfo):
    with running("encode", clip, "-o", out / "a.mp4", *SLOW, *how) as process:
        os.kill(encoder_of(process, plugin=False), signal.SIGKILL)
        done, _ = finished(process, 30)
    assert_clean_failure(done, "EncoderError", 1, out)
    assert "SIGKILL" in done.stderr


def test_killed_encoder(arm: tuple[object, ...], clip: Path, out: Path, x265_hooked: BuildInfo):
    with running("encode", clip, "-o", out / "a.mp4", *SLOW, *arm) as process:
        os.kill(encoder_of(process), signal.SIGKILL)
        done, _ = finished(process, 30)
    assert_clean_failure(done, "EncoderError", 1, out)
    assert "SIGKILL" in done.stderr


def test_hanging_encoder(arm: tuple[object, ...], clip: Path, out: Path, x265_hooked: BuildInfo):
    with running("encode", clip, "-o", out / "a.mp4", "--timeout", 3, *SLOW, *arm) as process:
        encoder = encoder_of(process)
        os.kill(encoder, signal.SIGSTOP)
        done, took = finished(process, 60)
    assert_clean_failure(done, "EncoderTimeout", 1, out)
    assert took < 30
    with pytest.raises(ProcessLookupError):
        os.kill(encoder, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_nothing(
    number: signal.Signals, arm: tuple[object, ...], clip: Path, tmp_path: Path, out: Path, x265_hooked: BuildInfo
):
    work = tmp_path / "work"
    work.mkdir()
    with running("encode", clip, "-o", out / "a.mp4", "--workdir", work, *SLOW, *arm) as process:
        encoder = encoder_of(process)
        process.send_signal(number)
        done, took = finished(process, 30)
    assert done.returncode == 128 + number and "Traceback" not in done.stderr
    assert took < 10
    assert_nothing_left(out)
    assert_nothing_left(work)
    with pytest.raises(ProcessLookupError):
        os.kill(encoder, 0)


HOST_DIES = """
import sys, threading, time
from encoder_bridge.host import PluginHost
from sweeps.cli import main

hosts, enter = [], PluginHost.__enter__
PluginHost.__enter__ = lambda self: (hosts.append(self), enter(self))[1]

def kill():
    while not (hosts and hosts[0].stats.ended >= 2):
        time.sleep(0.02)
    print("closed at", time.time(), file=sys.stderr, flush=True)
    hosts[0].close()

threading.Thread(target=kill, daemon=True).start()
main()
"""


def test_host_that_dies_in_the_middle(arm: tuple[object, ...], clip: Path, out: Path, x265_hooked: BuildInfo):
    arguments = list(map(str, ("encode", clip, "-o", out / "a.mp4", *SLOW, *arm)))
    done = subprocess.run([sys.executable, "-c", HOST_DIES, *arguments], capture_output=True, text=True, timeout=180)
    ended = time.time()
    assert_clean_failure(done, "PluginError", 1, out)
    closed = next(float(line.split()[-1]) for line in done.stderr.splitlines() if line.startswith("closed at"))
    assert ended - closed < 10


def test_plugin_that_cannot_be_loaded(
    arm: tuple[object, ...], clip: Path, tmp_path: Path, out: Path, x265_hooked: BuildInfo
):
    (tmp_path / "plugin.so").write_bytes(b"not a library")
    env = {**os.environ, "MRDO_BRIDGE_PLUGIN": str(tmp_path / "plugin.so")}
    done = mrdo("encode", clip, "-o", out / "a.mp4", "--preset", "ultrafast", *arm, env=env)
    assert_clean_failure(done, "PluginError", 1, out)


def test_encoder_ends_when_the_command_and_its_host_are_killed(
    arm: tuple[object, ...], clip: Path, out: Path, x265_hooked: BuildInfo
):
    with running("encode", clip, "-o", out / "a.mp4", *SLOW, *arm) as process:
        encoder = encoder_of(process)
        process.kill()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and _is_x265(encoder):
            time.sleep(0.1)
    assert not _is_x265(encoder)
    assert not (out / "a.mp4").exists()

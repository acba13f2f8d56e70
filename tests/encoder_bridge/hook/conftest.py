"""Small moving textures, an encoder run on them, and plugins compiled on the spot."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from encoder_bridge import toolchain
from encoder_bridge.encoder import BuildInfo, SideInfo
from encoder_bridge.host import FrameRecord, HostStats, PluginHost
from encoder_bridge.wire import ChoiceCall

HOOK_SOURCES = Path(toolchain.__file__).parent / "hook"
NEUTRAL_RDO = ("--psy-rd", "0", "--psy-rdoq", "0", "--aq-mode", "0", "--no-cutree", "--ipratio", "1", "--no-info")
SUBSAMPLING = {"420": (2, 2), "422": (2, 1), "444": (1, 1), "mono": None}


@dataclass(frozen=True)
class Clip:
    """Planes of each frame and the Y4M bytes of them."""

    frames: list[list[np.ndarray]]
    y4m: bytes
    width: int
    height: int

    def grid(self, block: int) -> tuple[int, int]:
        return -(-self.height // block), -(-self.width // block)


@dataclass
class Encoded:
    """What one encoder run left."""

    stream: bytes
    returncode: int
    stderr: str
    recon: bytes = b""
    records: list[FrameRecord] = field(default_factory=list)

    @property
    def complaints(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("mrdo: error: ")]

    def decoded(self) -> list[list[np.ndarray]]:
        pictures = []
        with av.open(io.BytesIO(self.stream), format="hevc") as container:
            for frame in container.decode(video=0):
                dtype = np.uint16 if "10" in frame.format.name else np.uint8
                rows = [np.frombuffer(bytes(p), dtype).reshape(p.height, -1)[:, : p.width] for p in frame.planes]
                pictures.append(rows)
        return pictures


def make_clip(width: int = 208, height: int = 144, count: int = 8, depth: int = 8, chroma: str = "420") -> Clip:
    """A texture with fine and coarse detail that pans, with noise on top."""
    rng = np.random.default_rng(7)
    shape = (height + 2 * count, width + 4 * count)
    texture = 128 + 200 * gaussian_filter(rng.normal(size=shape), 3) + 30 * gaussian_filter(rng.normal(size=shape), 1)
    scale, dtype = (1 << depth) // 256, np.uint8 if depth == 8 else np.uint16
    frames = []
    for i in range(count):
        luma = texture[i : i + height, 2 * i : 2 * i + width]
        planes = [luma + rng.normal(0, 2, luma.shape)]
        if (step := SUBSAMPLING[chroma]) is not None:
            planes += [(128 + sign * (luma - 128) / 3)[:: step[1], :: step[0]] for sign in (1, -1)]
        frames.append([(np.clip(plane, 0, 255) * scale).astype(dtype) for plane in planes])
    tag = chroma + ("p10" if depth == 10 else "jpeg" if chroma == "420" else "")
    head = f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C{tag}\n".encode()
    body = b"".join(b"FRAME\n" + b"".join(plane.tobytes() for plane in frame) for frame in frames)
    return Clip(frames, head + body, width, height)


@dataclass
class Recorder:
    """A judge that keeps what it was asked and told, and answers as ``rule`` says: by squared error alone."""

    rule: Callable[[ChoiceCall], Sequence[float]] = lambda call: [trial.sse for trial in call.trials]
    batches: list[list[ChoiceCall]] = field(default_factory=list)
    records: list[FrameRecord] = field(default_factory=list)
    stats: HostStats | None = None

    def judge(self, calls: Sequence[ChoiceCall]) -> list[Sequence[float]]:
        self.batches.append(list(calls))
        return [self.rule(call) for call in calls]

    def frame_done(self, record: FrameRecord) -> None:
        self.records.append(record)

    def finished(self, stats: HostStats) -> None:
        self.stats = stats


@pytest.fixture
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture(scope="session")
def clip() -> Clip:
    return make_clip()


@pytest.fixture
def encode(tmp_path: Path) -> Callable[..., Encoded]:
    """(build, clip, args, env={}, recon=False) -> Encoded."""

    def run(
        build: BuildInfo, clip: Clip, args: Sequence[str], env: dict[str, str] | None = None, recon: bool = False
    ) -> Encoded:
        output, reconstruction = tmp_path / "out.hevc", tmp_path / "recon.yuv"
        output.unlink(missing_ok=True)
        extra = ["--recon", str(reconstruction)] if recon else []
        command = [build.path, "--y4m", "--input", "-", *NEUTRAL_RDO, *args, *extra, "-o", str(output)]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MRDO_PLUGIN")}
        done = subprocess.run(command, input=clip.y4m, capture_output=True, env={**clean, **(env or {})}, timeout=300)
        stream = output.read_bytes() if output.exists() else b""
        left = reconstruction.read_bytes() if recon and reconstruction.exists() else b""
        return Encoded(stream, done.returncode, done.stderr.decode(errors="replace"), left)

    return run


@pytest.fixture
def encode_hosted(encode: Callable[..., Encoded]) -> Callable[..., Encoded]:
    """(build, clip, args, infos, group=0, recon=False) -> Encoded; one SideInfo per frame, or one for all."""

    def run(
        build: BuildInfo,
        clip: Clip,
        args: Sequence[str],
        infos: SideInfo | Sequence[SideInfo],
        group: int = 0,
        recon: bool = False,
    ) -> Encoded:
        each = [infos] * len(clip.frames) if isinstance(infos, SideInfo) else list(infos)
        judge = Recorder()
        with PluginHost(toolchain.plugin_path(build), quant_group=group, judge=judge) as host:
            for poc, info in enumerate(each):
                host.publish(poc, info)
            host.finish(len(each))
            done = encode(build, clip, args, host.env(), recon)
        done.records = sorted(judge.records, key=lambda record: record.call.poc)
        return done

    return run


@pytest.fixture(scope="session", params=["distribution", pytest.param("4.1", marks=pytest.mark.slow)])
def x265_hooked(request: pytest.FixtureRequest) -> BuildInfo:
    """The patched 8-bit x265: what the distribution offers is built, 4.1 beside it taken where it is there already."""
    if request.param == "4.1":
        return built_already("4.1", plain=False)
    info: BuildInfo = request.getfixturevalue("x265_distribution")
    return info


@pytest.fixture(scope="session")
def x265_plain(x265_hooked: BuildInfo) -> BuildInfo:
    """The untouched x265 of the same version and depth."""
    version = x265_hooked.version.partition("+")[0]
    return (
        built_already("4.1", plain=True) if version == "4.1" else toolchain.build("x265", plain=True, version=version)
    )


def built_already(version: str, plain: bool) -> BuildInfo:
    """A build in the cache, or the program MRDO_X265_41 (_PLAIN) names; else the test is skipped."""
    variable, flag = ("MRDO_X265_41_PLAIN", " --plain") if plain else ("MRDO_X265_41", "")
    named = os.environ.get(variable)
    if named:
        return toolchain.probe(Path(named))
    kind = "plain" if plain else toolchain.patch_hash(f"x265-{version}")
    binary = toolchain.cache_folder() / f"x265-{version}-{kind}-8bit" / "x265"
    if not binary.is_file():
        pytest.skip(f"no x265 {version}: set {variable}, or run: mrdo build x265 --version {version}{flag}")
    return toolchain.probe(binary)


@pytest.fixture(scope="session")
def x265_plain_10(x265_hooked_10: BuildInfo) -> BuildInfo:
    return toolchain.build("x265", depth=10, plain=True)


@pytest.fixture
def compile_plugin(tmp_path: Path) -> Callable[..., Path]:
    """(C text, *flags, name="plugin.so") -> path of the shared library."""

    def compile_(text: str, *flags: str, name: str = "plugin.so") -> Path:
        source, target = tmp_path / f"{name}.c", tmp_path / name
        source.write_text(text)
        kind = flags or ("-shared", "-fPIC")
        subprocess.run(["cc", "-std=gnu99", f"-I{HOOK_SOURCES}", *kind, "-o", target, source], check=True)
        return target

    return compile_


@pytest.fixture
def bridge_plugin(tmp_path: Path) -> Path:
    """The shipped plugin, compiled alone as its first lines say."""
    target = tmp_path / "bridge_plugin.so"
    sources = [HOOK_SOURCES / "bridge_plugin.c", HOOK_SOURCES / "bridge_socket.c"]
    flags = ["-std=gnu99", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, "-o", target, *sources], check=True)
    return target


@pytest.fixture(scope="session")
def make_clip_of() -> Callable[..., Clip]:
    """(width=208, height=144, count=8, depth=8, chroma="420") -> Clip."""
    return make_clip

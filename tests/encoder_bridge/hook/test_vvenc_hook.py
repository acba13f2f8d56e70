"""The hooked VVenC writes plain VVenC's stream until somebody has something to say, and then only what was said.

Runs where MRDO_VVENC_HOOKED names a vvencFFapp built with patches/vvenc-1.14.0, bridge_plugin.so beside it, and
MRDO_VVENC one built without.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest

import patches
from encoder_bridge import patching, toolchain
from encoder_bridge.config import CodingConfig, RunOptions
from encoder_bridge.encoder import BuildInfo, SideInfo
from encoder_bridge.encoders.vvenc import VVenC
from encoder_bridge.frames import VideoFormat
from encoder_bridge.host import PluginHost
from encoder_bridge.tools import TOOLS

NAME = "vvenc-1.14.0"
TEXTS = patching.patch_texts(NAME)
PRESETS = ("faster", "fast", "medium")
GOPS = ("intra", "lowdelay", "randomaccess")
ONE, SAME = "0:1:0", "0:1:0,0:1:0,0:1:0"
MIXED = "0:1:0,-3:1:0,4:1.25:0,0:0.7:0"
PLUGIN = (Path(__file__).parent / "trials_plugin.c").read_text()


def program(variable: str) -> BuildInfo:
    if not os.environ.get(variable):
        pytest.skip(f"no VVenC to test: name a vvencFFapp in {variable}")
    return toolchain.probe(Path(os.environ[variable]), "vvenc")


@pytest.fixture(scope="module")
def hooked() -> BuildInfo:
    return program("MRDO_VVENC_HOOKED")


@pytest.fixture(scope="module")
def plain() -> BuildInfo:
    return program("MRDO_VVENC")


@pytest.fixture(scope="module")
def small(make_clip_of):
    """Whole and cut CTUs of 64 and of 128."""
    return make_clip_of(136, 72, count=4)


@pytest.fixture
def vvenc(tmp_path: Path) -> Callable[..., Run]:
    """(build, clip, config, env={}, threads=1, recon=False) -> Run, through the driver's own command line."""

    def run(
        build: BuildInfo,
        clip,
        config: CodingConfig,
        env: dict[str, str] | None = None,
        threads: int = 1,
        recon: bool = False,
    ) -> Run:
        fmt = VideoFormat(clip.width, clip.height)
        command = VVenC().command(config, fmt, RunOptions(threads=threads), build.path)
        left = tmp_path / "recon.yuv"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MRDO_PLUGIN")}
        command += ["-o", str(left), "--OutputBitDepth", str(config.bit_depth)] if recon else []
        done = subprocess.run(command, input=clip.y4m, capture_output=True, env={**clean, **(env or {})}, timeout=900)
        return Run(
            done.stdout, done.returncode, done.stderr.decode(errors="replace"), left.read_bytes() if recon else b""
        )

    return run


@pytest.fixture
def told(vvenc, recorder) -> Callable[..., Run]:
    """(build, clip, config, infos, group=0, ...) -> Run; one SideInfo per frame, or one for all."""

    def run(build: BuildInfo, clip, config: CodingConfig, infos: SideInfo | Sequence[SideInfo], group: int = 0, **how):
        each = [infos] * len(clip.frames) if isinstance(infos, SideInfo) else list(infos)
        judge = recorder()
        with PluginHost(toolchain.plugin_path(build), quant_group=group, judge=judge) as host:
            for poc, info in enumerate(each):
                host.publish(poc, info)
            host.finish(len(each))
            done = vvenc(build, clip, config, host.env(), **how)
        assert done.returncode == 0 and len(done.stream) > 200, done.stderr
        done.records = sorted(judge.records, key=lambda record: record.call.poc)
        return done

    return run


@pytest.fixture
def tried(vvenc, compile_plugin) -> Callable[..., Run]:
    """(build, clip, config, options, ...) -> Run, with the plugin of the x265 trials; checked to have succeeded."""
    plugin = compile_plugin(PLUGIN, "-shared", "-fPIC", "-O2", "-pthread")

    def run(build: BuildInfo, clip, config: CodingConfig, options: str, **how) -> Run:
        env = {"MRDO_PLUGIN": str(plugin), "MRDO_PLUGIN_OPTIONS": options}
        done = vvenc(build, clip, config, env, **how)
        assert done.returncode == 0 and len(done.stream) > 200, done.stderr
        assert "WRONG SSE" not in done.stderr
        return done

    return run


class Run:
    """What one encoder run left."""

    def __init__(self, stream: bytes, returncode: int, stderr: str, recon: bytes) -> None:
        self.stream, self.returncode, self.stderr, self.recon = stream, returncode, stderr, recon
        self.records: list = []

    def decoded(self) -> list[list[np.ndarray]]:
        pictures = []
        with av.open(io.BytesIO(self.stream), format="vvc") as container:
            for frame in container.decode(video=0):
                dtype = np.uint16 if "10" in frame.format.name else np.uint8
                rows = [np.frombuffer(bytes(p), dtype).reshape(p.height, -1)[:, : p.width] for p in frame.planes]
                pictures.append(rows)
        return pictures

    def pixels(self) -> bytes:
        return b"".join(plane.tobytes() for frame in self.decoded() for plane in frame)

    def error(self, clip, columns: slice) -> float:
        pairs = zip(self.decoded(), clip.frames, strict=True)
        return float(np.mean([(out[0][:, columns] - np.int32(src[0][:, columns])) ** 2 for out, src in pairs]))


def config(preset: str = "faster", gop: str = "intra", **changes) -> CodingConfig:
    return CodingConfig(codec="vvenc", preset=preset, gop=gop, **{"qp": 32, **changes})


def random_info(clip, seed: int, weights: bool = True) -> SideInfo:
    rng = np.random.default_rng(seed)
    weight = np.exp(rng.normal(0, 0.6, clip.grid(8))).astype(np.float32)
    offset = rng.uniform(-5, 5, clip.grid(16)).astype(np.float32)
    return SideInfo(weight / weight.mean() if weights else None, offset)


def halves(clip, block: int, left: float, right: float) -> np.ndarray:
    rows, columns = clip.grid(block)
    half = clip.width // 2 // block
    return np.concatenate([np.full((rows, half), left), np.full((rows, columns - half), right)], 1).astype(np.float32)


@pytest.mark.parametrize("file", TEXTS)
def test_insert_only_and_zero_context(file: str):
    lines = TEXTS[file].decode().splitlines()
    hunks = [line for line in lines if line.startswith("@@")]
    ours = [line for line in lines if line.startswith("+") and not line.startswith("+++ ")]
    assert all(re.fullmatch(r"@@ -\d+,0 \+\d+(,\d+)? @@", hunk) for hunk in hunks)
    assert {line[0] for line in lines} == {"-", "+", "@"}
    assert all(line.startswith("--- a/source/") for line in lines if line.startswith("-"))
    assert all("mrdo" in line or "Mrdo" in line for line in ours)
    assert 20 <= len(ours) <= 70


def test_every_touched_file_has_a_known_original():
    touched = {file for text in TEXTS.values() for file in patching.read_patch(text)}
    assert touched == set(patches.ORIGINALS[NAME])


def test_the_build_names_its_patches(hooked: BuildInfo, plain: BuildInfo):
    assert hooked.hooked and hooked.patch_hash == patching.patch_hash(NAME) == toolchain.current_patch(hooked)
    assert not plain.hooked and plain.version == hooked.version == "1.14.0"
    assert TOOLS.get("vvenc").depths("") == hooked.depth


@pytest.mark.parametrize("gop", GOPS)
@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_said_is_plain_vvenc(preset: str, gop: str, small, hooked, plain, vvenc, told):
    said = config(preset, gop)
    expected = vvenc(plain, small, said)
    assert expected.returncode == 0 and len(expected.stream) > 200, expected.stderr
    ones = SideInfo(np.ones(small.grid(8), np.float32))
    flat = SideInfo(qp_offset=np.zeros(small.grid(16), np.float32))
    assert vvenc(hooked, small, said).stream == expected.stream
    assert told(hooked, small, said, SideInfo()).stream == expected.stream
    assert told(hooked, small, said, ones).stream == expected.stream
    assert told(hooked, small, said, flat).stream == expected.stream


@pytest.mark.slow
@pytest.mark.parametrize("gop", ["intra", "randomaccess"])
@pytest.mark.parametrize("preset", ["slow", "slower"])
def test_nothing_said_is_plain_vvenc_with_slow_presets(preset: str, gop: str, small, hooked, plain, vvenc, told):
    said, ones = config(preset, gop), SideInfo(np.ones(small.grid(8), np.float32))
    assert told(hooked, small, said, ones).stream == vvenc(plain, small, said).stream


@pytest.mark.parametrize("gop", ["intra", "randomaccess"])
def test_nothing_said_is_plain_vvenc_at_10_bit(gop: str, small, hooked, plain, vvenc, told):
    said, ones = config("fast", gop, bit_depth=10), SideInfo(np.ones(small.grid(8), np.float32))
    assert told(hooked, small, said, ones).stream == vvenc(plain, small, said).stream


@pytest.mark.parametrize("group", [16, 32, 64])
@pytest.mark.parametrize("gop", GOPS)
def test_streams_decode_to_the_encoders_reconstruction(gop: str, group: int, small, hooked, told):
    infos = [random_info(small, seed, weights=seed % 2 == 0) for seed in range(4)]
    said = told(hooked, small, config("fast", gop), infos, group=group, recon=True)
    assert said.pixels() == said.recon


@pytest.mark.parametrize("gop", GOPS)
def test_large_ctus_and_10_bit_decode_to_the_encoders_reconstruction(gop: str, small, hooked, told):
    infos = [random_info(small, seed, weights=seed % 2 == 0) for seed in range(4)]
    said = told(hooked, small, config("medium", gop, bit_depth=10), infos, group=32, recon=True)
    assert said.pixels() == said.recon


@pytest.mark.parametrize("gop", GOPS)
def test_threads_do_not_change_the_stream(gop: str, small, hooked, told):
    infos = [random_info(small, seed) for seed in range(4)]
    runs = [told(hooked, small, config("fast", gop), infos, group=32, threads=threads) for threads in (1, 2, 4)]
    assert len({run.stream for run in runs}) == 1


def nal_types(stream: bytes) -> list[int]:
    return [unit[1] >> 3 for unit in re.split(b"\0\0\1", stream) if len(unit) > 1]


def test_delta_qp_is_signalled_by_the_frames_with_a_map_alone(small, hooked, plain, vvenc, told):
    infos = [SideInfo(qp_offset=random_info(small, 1).qp_offset) if i == 2 else SideInfo() for i in range(4)]
    said, expected = told(hooked, small, config("fast"), infos), vvenc(plain, small, config("fast"))
    same = [np.array_equal(a[0], b[0]) for a, b in zip(said.decoded(), expected.decoded(), strict=True)]
    assert same == [True, True, False, True]


def test_inter_streams_get_a_second_pps_when_first_needed(small, hooked, plain, vvenc, told):
    infos = [SideInfo(qp_offset=random_info(small, 1).qp_offset) if i >= 2 else SideInfo() for i in range(4)]
    said = nal_types(told(hooked, small, config("fast", "lowdelay"), infos).stream)
    expected = nal_types(vvenc(plain, small, config("fast", "lowdelay")).stream)
    assert said.count(16) == expected.count(16) + 1 == 2


@pytest.mark.parametrize("gop", GOPS)
def test_qp_offsets_arrive(gop: str, small, hooked, told):
    said = told(hooked, small, config("fast", gop), SideInfo(qp_offset=halves(small, 16, -4, 4)), group=16)
    left, right = said.error(small, slice(0, 60)), said.error(small, slice(76, 136))
    assert left < 0.55 * right
    assert len(said.records) == len(small.frames)
    if gop == "intra":
        assert all(abs(record.result.mean_qp - record.call.qp) < 1 for record in said.records)


@pytest.mark.parametrize("gop", GOPS)
def test_weights_move_error_to_where_it_weighs_little(gop: str, small, hooked, plain, vvenc, told):
    before = vvenc(plain, small, config("fast", gop))
    after = told(hooked, small, config("fast", gop), SideInfo(halves(small, 8, 4, 0.25)))
    ratio = [run.error(small, slice(0, 60)) / run.error(small, slice(76, 136)) for run in (before, after)]
    assert ratio[1] < 0.75 * ratio[0]
    assert after.error(small, slice(0, 60)) < before.error(small, slice(0, 60))


def test_weights_beside_a_map_do_not_count_twice(small, hooked, told):
    """A map's own weights, divided out by the host, leave ones: nearly the map alone, but for λ of other groups."""
    offset = halves(small, 16, -3, 3)
    ones = np.ones(small.grid(8), np.float32)
    full = np.exp2(-np.kron(offset, np.ones((2, 2), np.float32))[: small.grid(8)[0], : small.grid(8)[1]] / 3)
    infos = [SideInfo(qp_offset=offset), SideInfo(ones, offset), SideInfo(full, offset)]
    runs = [told(hooked, small, config("fast"), info, group=64) for info in infos]
    alone, both, twice = (run.error(small, slice(80, 136)) / run.error(small, slice(0, 48)) for run in runs)
    assert abs(both / alone - 1) < 0.15
    assert twice > 1.2 * alone


def test_lambda_scale_trades_bits_for_error(small, hooked, told):
    little, much = (told(hooked, small, config("fast"), SideInfo(lambda_scale=scale)) for scale in (0.25, 4.0))
    assert len(much.stream) < 0.9 * len(little.stream)
    assert much.error(small, slice(None)) > little.error(small, slice(None))


@pytest.mark.parametrize("gop", GOPS)
@pytest.mark.parametrize("preset", PRESETS)
def test_trials_that_are_all_the_same_leave_no_trace(preset: str, gop: str, small, hooked, plain, vvenc, tried):
    expected = vvenc(plain, small, config(preset, gop)).stream
    assert tried(hooked, small, config(preset, gop), f"candidates={ONE}").stream == expected
    for pick in ("first", "last", "hash"):
        got = tried(hooked, small, config(preset, gop), f"candidates={SAME};pick={pick}").stream
        assert got == expected, pick


@pytest.mark.parametrize("gop", GOPS)
def test_inside_and_outside_agree_on_squared_error(gop: str, small, hooked, tried):
    outside = tried(hooked, small, config("fast", gop), f"candidates={MIXED};pick=sse", recon=True)
    inside = tried(hooked, small, config("fast", gop), f"candidates={MIXED};inside=1")
    assert outside.stream == inside.stream
    assert outside.pixels() == outside.recon


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("gop", GOPS)
def test_chosen_trials_decode_to_the_encoders_reconstruction(gop: str, depth: int, make_clip_of, hooked, tried):
    clip = make_clip_of(134, 66, count=3, depth=depth)
    options = "candidates=0:1:0,-3:1:0,4:1.25:0;pick=hash;group=1"
    done = tried(hooked, clip, config("medium", gop, bit_depth=depth), options, recon=True)
    assert done.pixels() == done.recon


@pytest.mark.parametrize("gop", GOPS)
def test_trials_do_not_depend_on_threads(gop: str, small, hooked, tried):
    runs = [tried(hooked, small, config("fast", gop), f"candidates={MIXED}", threads=threads) for threads in (1, 3)]
    assert runs[0].stream == runs[1].stream


def test_choices_say_where_they_are_and_what_they_cost(make_clip_of, hooked, tried):
    clip = make_clip_of(198, 130, count=2)
    done = tried(hooked, clip, config("faster"), "candidates=0:1:0,-3:1:0,3:1:0;log=1;group=1")
    lines = [line.split()[1:] for line in done.stderr.splitlines() if line.startswith("CHOICE ")]
    rows = np.array(lines, np.float64).reshape(-1, 13)
    first = rows[rows[:, 0] == 0]
    assert len(first) == 3 * 12 and set(first[:, 1]) == {0, 64, 128, 192} and set(first[:, 2]) == {0, 64, 128}
    assert set(first[first[:, 1] == 192][:, 3]) == {6} and set(first[first[:, 2] == 128][:, 4]) == {2}
    corner = {(x, y): int(n) for x, y, n in first[:, [1, 2, 6]]}
    assert (corner[0, 0], corner[64, 0], corner[0, 64], corner[64, 64], corner[192, 64]) == (0, 1, 10, 15, 7)
    np.testing.assert_allclose(first[:, 10], first[:, 11] * first[:, 8])
    bits = first[:, 8].reshape(-1, 3).sum(0)
    sse = first[:, 9].reshape(-1, 3).sum(0)
    assert bits[1] > bits[0] > bits[2] and sse[1] < sse[0] < sse[2]


def test_a_mask_of_one_codes_that_candidate_without_asking(small, hooked, tried):
    alone = tried(hooked, small, config("faster"), "candidates=-3:1:0;group=1")
    masked = tried(hooked, small, config("faster"), "candidates=5:1:0,-3:1:0;mask=2;group=1;log=1")
    assert masked.stream == alone.stream and "CHOICE" not in masked.stderr


def test_squared_error_with_more_ways_to_code_costs_less(small, hooked, tried):
    def cost(options: str) -> float:
        run = tried(hooked, small, config("fast"), options)
        return len(run.stream) * 8, run.error(small, slice(None))

    one, four = cost(f"candidates={ONE}"), cost("candidates=0:1:0,0:0.7:0,0:1.4:0;pick=sse")
    slope = 0.57 * 2 ** ((32 - 12) / 3) / (small.width * small.height * len(small.frames))
    assert four[1] + slope * four[0] < 1.001 * (one[1] + slope * one[0])


@pytest.mark.parametrize(
    ("options", "changes", "says"),
    [
        (f"candidates={ONE};splits=16", {}, "splits to be judged, which VVenC's hook has not"),
        ("candidates=0:1:16", {}, "candidate with CUs of at least 16"),
        (
            f"candidates={ONE},-3:1:0",
            {"extra": ("--additional", "PerceptQPA=1")},
            "side information with PerceptQPA or BIM",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(options: str, changes: dict, says: str, small, hooked, vvenc, compile_plugin):
    plugin = compile_plugin(PLUGIN, "-shared", "-fPIC", "-O2", "-pthread")
    env = {"MRDO_PLUGIN": str(plugin), "MRDO_PLUGIN_OPTIONS": options}
    done = vvenc(hooked, small, config("faster", **changes), env)
    assert done.returncode == 86 and f"mrdo: error: {says}" in done.stderr

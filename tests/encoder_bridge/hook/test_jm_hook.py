"""The hook in JM: nothing said changes nothing, what is said arrives, candidates are tried and judged.

Runs where MRDO_JM names an untouched lencod of JM 19.1 and MRDO_JM_HOOKED a patched one.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import patches
from encoder_bridge import patching, toolchain
from encoder_bridge.config import Candidate, CandidateConfig, CodingConfig, MapConfig, RunOptions
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoder import SideInfo
from encoder_bridge.encoders.jm import JM
from encoder_bridge.errors import PluginError
from encoder_bridge.frames import Frame
from models.scenes import SceneConfig, SceneSource

NAME = "jm-19.1"
TEXTS = patching.patch_texts(NAME)
SCENE = SceneSource(SceneConfig(112, 80, 4, seed=4))
FRAMES: tuple[Frame, ...] = tuple(SCENE)
PLAIN = CodingConfig(codec="jm", preset="high", qp=30)
MAP = dataclasses.replace(PLAIN, rdo="map", map=MapConfig(group=16))
WEIGHTS = dataclasses.replace(PLAIN, rdo="map", map=MapConfig(group=16, weights=True, qp_map=False))
THREE = (Candidate(0.0), Candidate(-3.0), Candidate(3.0))
GOPS = ("intra", "lowdelay", "randomaccess")


@dataclass
class Coded:
    """A stream, what it decodes to, and the encoder's own reconstruction."""

    stream: bytes
    luma: list[np.ndarray]
    pictures: bytes
    recon: bytes

    def error(self, columns: slice) -> float:
        pairs = zip(self.luma, FRAMES, strict=True)
        return float(
            np.mean([(out[:, columns] - frame.planes[0][:, columns].astype(int)) ** 2 for out, frame in pairs])
        )

    @property
    def shift(self) -> float:
        """dB that the left half is better than the right one."""
        return 10 * float(np.log10(self.error(slice(64, 112)) / self.error(slice(0, 48))))


@pytest.fixture
def binaries() -> dict[str, str]:
    plain, hooked = os.environ.get("MRDO_JM"), os.environ.get("MRDO_JM_HOOKED")
    if not plain or not hooked:
        pytest.skip("no JM: name an untouched lencod in MRDO_JM and a patched one in MRDO_JM_HOOKED")
    return {"MRDO_JM": plain, "MRDO_JM_HOOKED": hooked}


@pytest.fixture
def encode(binaries: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Coded]:
    """(config, side=None, judge=None, use="MRDO_JM_HOOKED") -> Coded; one SideInfo for all frames, or one each."""

    def run(
        config: CodingConfig,
        side: SideInfo | Sequence[SideInfo | None] | None = None,
        judge: object = None,
        use: str = "MRDO_JM_HOOKED",
    ) -> Coded:
        for variable, path in binaries.items():
            monkeypatch.delenv(variable, raising=False)
            if variable == use:
                monkeypatch.setenv(variable, path)
        each = list(side) if isinstance(side, Sequence) else [side] * len(FRAMES)
        recon = tmp_path / "recon.yuv"
        wanted = dataclasses.replace(config, extra=("-p", f"ReconFile={recon}", *config.extra))
        made = JM().encode(
            zip(FRAMES, each, strict=True), SCENE.format, wanted, RunOptions(), tmp_path / "a.264", judge
        )
        decoded = list(decode_stream(made.path))
        pictures = b"".join(plane.tobytes() for frame in decoded for plane in frame.planes)
        return Coded(made.path.read_bytes(), [frame.planes[0] for frame in decoded], pictures, recon.read_bytes())

    return run


def grid(block: int) -> tuple[int, int]:
    return -(-SCENE.format.height // block), -(-SCENE.format.width // block)


def ones() -> SideInfo:
    return SideInfo(weight=np.ones(grid(8), np.float32))


def split_weight(left: float, right: float) -> SideInfo:
    weight = np.full(grid(8), right, np.float32)
    weight[:, : grid(8)[1] // 2] = left
    return SideInfo(weight=weight)


def split_qp(left: float, right: float) -> SideInfo:
    offset = np.full(grid(16), right, np.float32)
    offset[:, : grid(16)[1] // 2] = left
    return SideInfo(qp_offset=offset)


def random_info(seed: int) -> SideInfo:
    rng = np.random.default_rng(seed)
    weight = np.exp(rng.normal(0, 0.6, grid(8))).astype(np.float32)
    return SideInfo(weight / weight.mean(), rng.uniform(-6, 6, grid(16)).astype(np.float32))


class Recorder:
    """A judge that answers by squared error, or as ``rule`` says, and keeps what it was asked and told."""

    def __init__(self, rule: Callable[[object], list[float]] | None = None) -> None:
        self.calls: list[object] = []
        self.records: list[object] = []
        self.rule = rule or (lambda call: [trial.sse for trial in call.trials])

    def judge(self, calls: Sequence[object]) -> list[list[float]]:
        self.calls += calls
        return [self.rule(call) for call in calls]

    def frame_done(self, record: object) -> None:
        self.records.append(record)


def ctu(candidates: tuple[Candidate, ...], **changes: object) -> tuple[CodingConfig, SideInfo]:
    wanted = CandidateConfig(candidates=candidates, metric="sse")
    config = dataclasses.replace(PLAIN, rdo="ctu", ctu=wanted, **changes)
    return config, SideInfo(candidates=candidates)


@pytest.mark.parametrize("gop", GOPS)
@pytest.mark.parametrize("preset", ["main", "high-fast", "high"])
def test_nothing_said_is_plain_jm(preset, gop, encode):
    plain = dataclasses.replace(PLAIN, preset=preset, gop=gop)
    expected = encode(plain, use="MRDO_JM")
    assert len(expected.stream) > 1000 and expected.pictures == expected.recon
    assert encode(plain).stream == expected.stream
    assert encode(dataclasses.replace(plain, neutral=True)).stream == expected.stream
    weights, qp_map = (dataclasses.replace(c, preset=preset, gop=gop) for c in (WEIGHTS, MAP))
    assert encode(weights, ones()).stream == expected.stream
    assert encode(qp_map, split_qp(0, 0)).stream == expected.stream
    config, side = ctu((Candidate(0.0),), preset=preset, gop=gop)
    assert encode(config, side, Recorder()).stream == expected.stream


@pytest.mark.parametrize("extra", [("SymbolMode=0",), ("UseRDOQuant=0",), ("SliceMode=1", "SliceArgument=20")])
def test_weights_of_one_are_plain_jm_with_other_tools(extra, encode, monkeypatch):
    monkeypatch.setattr("encoder_bridge.encoders.jm._NOT_WITH_SIDE", set())
    extras = tuple(word for setting in extra for word in ("-p", setting))
    plain, weights = (dataclasses.replace(c, extra=extras, gop="lowdelay") for c in (PLAIN, WEIGHTS))
    assert encode(weights, ones()).stream == encode(plain, use="MRDO_JM").stream


@pytest.mark.parametrize("gop", GOPS)
@pytest.mark.parametrize("preset", ["main", "high"])
def test_streams_decode_to_the_encoders_reconstruction(preset, gop, encode):
    config = dataclasses.replace(MAP, preset=preset, gop=gop, map=MapConfig(group=16, weights=True))
    said = encode(config, [random_info(seed) for seed in range(len(FRAMES))])
    assert said.pictures == said.recon


def test_10_bit_streams_and_candidates(encode):
    config = dataclasses.replace(MAP, bit_depth=10, gop="lowdelay", map=MapConfig(group=16, weights=True))
    said = encode(config, [random_info(seed) for seed in range(len(FRAMES))])
    assert said.pictures == said.recon and len(said.pictures) == 2 * len(encode(PLAIN).pictures)
    config, side = ctu(THREE, bit_depth=10)
    depths: set[np.dtype] = set()

    def rule(call: object) -> list[float]:
        depths.update(plane.dtype for trial in call.trials for plane in trial.planes)
        return [trial.sse for trial in call.trials]

    judged = encode(config, side, Recorder(rule))
    assert judged.pictures == judged.recon and depths == {np.dtype(np.uint16)}


@pytest.mark.parametrize("gop", GOPS)
def test_weights_move_error_to_where_it_weighs_little(gop, encode):
    plain = encode(dataclasses.replace(PLAIN, gop=gop)).shift
    config = dataclasses.replace(WEIGHTS, gop=gop)
    left, right = encode(config, split_weight(4, 0.25)).shift, encode(config, split_weight(0.25, 4)).shift
    assert left > plain + 0.5 and right < plain - 0.5


@pytest.mark.parametrize("gop", GOPS)
def test_qp_offsets_arrive(gop, encode):
    config, judge = dataclasses.replace(MAP, gop=gop), Recorder()
    left, right = encode(config, split_qp(-4, 4), judge), encode(config, split_qp(4, -4))
    assert left.shift > right.shift + 4
    assert left.pictures == left.recon
    assert len(judge.records) == len(FRAMES)
    if gop == "intra":
        assert all(set(record.result.ctus["qp"].ravel()) == {26, 34} for record in judge.records)


def test_offsets_beyond_what_can_be_signalled_are_clipped(encode):
    rng = np.random.default_rng(2)
    side = SideInfo(qp_offset=rng.choice([-30.0, 21.0], grid(16)).astype(np.float32))
    said = encode(MAP, side)
    assert said.pictures == said.recon


def test_weights_beside_a_map_do_not_count_twice(encode):
    offset = split_qp(-3, 3).qp_offset
    config = dataclasses.replace(MAP, map=MapConfig(group=16, weights=True))
    alone = encode(MAP, SideInfo(qp_offset=offset)).shift
    both = encode(config, SideInfo(np.ones(grid(8), np.float32), offset)).shift
    twice = encode(config, SideInfo(np.exp2(-np.kron(offset, np.ones((2, 2), np.float32)) / 3)[: grid(8)[0]], offset))
    assert abs(both - alone) < 0.5 < twice.shift - alone


def test_lambda_scale_trades_bits_for_error(encode):
    small, large = (encode(MAP, SideInfo(lambda_scale=scale)) for scale in (0.25, 4.0))
    assert len(large.stream) < 0.95 * len(small.stream)
    assert large.error(slice(None)) > small.error(slice(None))


def test_a_map_in_one_frame_leaves_the_others_alone(encode):
    side = [None, None, split_qp(-4, 4), None]
    plain, said = encode(PLAIN), encode(MAP, side)
    size = len(plain.pictures) // len(FRAMES)
    same = [plain.pictures[i * size : (i + 1) * size] == said.pictures[i * size : (i + 1) * size] for i in range(4)]
    assert same == [True, True, False, True]


@pytest.mark.parametrize("gop", GOPS)
def test_candidates_are_tried_and_judged(gop, encode):
    config, side = ctu(THREE, gop=gop)
    judge = Recorder()
    said = encode(config, side, judge)
    assert said.pictures == said.recon
    assert len(judge.calls) == len(FRAMES) * grid(16)[0] * grid(16)[1]
    call = judge.calls[-1]
    assert [trial.candidate for trial in call.trials] == [0, 1, 2]
    assert call.trials[0].planes[0].shape == (16, 16) and call.trials[0].planes[1].shape == (8, 8)
    assert call.trials[0].planes[0].dtype == np.uint8
    kept = {int(kept) for record in judge.records for kept in record.result.ctus["candidate"].ravel()}
    assert len(kept) > 1 and kept <= {0, 1, 2}
    coded = sum(record.result.bits for record in judge.records)
    assert abs(coded / (8 * len(said.stream)) - 1) < 0.02


def squared_error(call: object, trial: object) -> float:
    """Of a trial's planes, which are there until the answer."""
    total = 0
    for plane, original, shift in zip(trial.planes, FRAMES[call.poc].planes, (0, 1, 1), strict=True):
        rows = slice(call.y >> shift, (call.y >> shift) + plane.shape[0])
        columns = slice(call.x >> shift, (call.x >> shift) + plane.shape[1])
        total += int(np.sum((plane.astype(int) - original[rows, columns]) ** 2))
    return float(total)


def test_a_trials_squared_error_is_that_of_its_planes(encode):
    config, side = ctu(THREE)
    pairs = []

    def rule(call: object) -> list[float]:
        pairs.extend((trial.sse, squared_error(call, trial)) for trial in call.trials)
        return [trial.sse for trial in call.trials]

    encode(config, side, Recorder(rule))
    assert len(pairs) > 300 and all(told == own for told, own in pairs)


def test_the_judge_decides(encode):
    config, side = ctu(THREE)
    fine, coarse = (
        encode(config, side, Recorder(lambda call, k=k: [0.0 if t.candidate == k else 1e12 for t in call.trials]))
        for k in (1, 2)
    )
    assert fine.error(slice(None)) < 0.75 * coarse.error(slice(None))
    assert len(fine.stream) > 1.3 * len(coarse.stream)
    lower = encode(dataclasses.replace(PLAIN, qp=27))
    assert abs(len(fine.stream) / len(lower.stream) - 1) < 0.05


def test_candidates_masked_out_are_not_tried(encode):
    config, side = ctu(THREE)
    mask = np.full(grid(16), 0b001, np.uint16)
    mask[:, 3:] = 0b110
    judge = Recorder()
    encode(config, dataclasses.replace(side, candidate_mask=mask), judge)
    assert {call.x >= 48 for call in judge.calls} == {True}
    assert {tuple(trial.candidate for trial in call.trials) for call in judge.calls} == {(1, 2)}


def test_equal_candidates_are_plain_jm_in_intra(encode):
    config, side = ctu((Candidate(0.0), Candidate(0.0)))
    assert encode(config, side, Recorder()).stream == encode(PLAIN, use="MRDO_JM").stream


def test_what_jm_cannot_do_stops_the_encode(encode, monkeypatch):
    monkeypatch.setattr("encoder_bridge.encoders.jm._NOT_WITH_SIDE", set())
    with pytest.raises(PluginError, match="RDOptimization=0"):
        encode(dataclasses.replace(MAP, extra=("-p", "RDOptimization=0", "-p", "UseRDOQuant=0")), split_qp(-1, 1))
    with pytest.raises(PluginError, match="RDPictureDecision"):
        encode(dataclasses.replace(MAP, extra=("-p", "RDPictureDecision=1")), split_qp(-1, 1))


@pytest.mark.parametrize("file", TEXTS)
def test_insert_only_and_zero_context(file):
    lines = TEXTS[file].decode().splitlines()
    hunks = [line for line in lines if line.startswith("@@")]
    ours = [line for line in lines if line.startswith("+") and not line.startswith("+++ ")]
    assert all(re.fullmatch(r"@@ -\d+,0 \+\d+(,\d+)? @@", hunk) for hunk in hunks)
    assert {line[0] for line in lines} == {"-", "+", "@"}
    assert all(line.startswith("--- a/source/app/lencod/") for line in lines if line.startswith("-"))
    assert 20 <= len(ours) <= 48


def test_every_touched_file_has_a_known_original():
    assert {file for text in TEXTS.values() for file in patching.read_patch(text)} == set(patches.ORIGINALS[NAME])


def test_git_applies_the_patch_to_the_untouched_tree(tmp_path):
    source = os.environ.get("MRDO_JM_SOURCE")
    if not source or shutil.which("git") is None:
        pytest.skip("no source tree of JM 19.1 in MRDO_JM_SOURCE")
    patching.check_originals(Path(source), NAME)
    for text in TEXTS.values():
        check = ["git", "apply", "--unidiff-zero", "--check", "-"]
        subprocess.run(check, input=text, cwd=source, check=True)
        counts = subprocess.run(
            [*check[:-2], "--numstat", "-"], input=text, cwd=source, capture_output=True, check=True
        )
        assert {line.split()[1] for line in counts.stdout.splitlines()} == {b"0"}


def test_the_build_names_its_patches(binaries):
    info = toolchain.probe(Path(binaries["MRDO_JM_HOOKED"]), "jm")
    assert (info.abi, info.hooked, info.version) == (1, True, "19.1")
    assert info.patch_hash == patching.patch_hash(NAME)
    assert not toolchain.probe(Path(binaries["MRDO_JM"]), "jm").hooked

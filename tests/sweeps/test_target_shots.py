"""Cuts are found, motion and flicker are none; streams of shots join into one that decodes as its parts do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from encoder_bridge.config import CodingConfig, RunOptions
from encoder_bridge.console import Reporter
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoder import BuildInfo
from encoder_bridge.errors import ConfigError, DecodeError
from encoder_bridge.frames import Frame, FrameSource, VideoFormat
from encoder_bridge.mux import mux
from encoder_bridge.source_base import BaseSource
from models.scenes import SceneConfig, SceneSource
from sweeps.coding import Coder
from sweeps.target.joining import can_join, join
from sweeps.target.shots import Memory, Shot, ShotSource, find_shots
from sweeps.workspace import Workspace


class Cuts(BaseSource):
    """Videos one after the other."""

    def __init__(self, parts: list[FrameSource]) -> None:
        super().__init__("cuts", parts[0].format, sum(part.frame_count or 0 for part in parts))
        self.parts = parts

    def __iter__(self) -> Iterator[Frame]:
        frames = (frame for part in self.parts for frame in part)
        return (replace(frame, index=i, pts=Fraction(i, 25)) for i, frame in enumerate(frames))


class Made(BaseSource):
    """Luma planes as a video."""

    def __init__(self, planes: list[np.ndarray], depth: int = 8) -> None:
        height, width = planes[0].shape
        super().__init__("made", VideoFormat(width, height, chroma="400", bit_depth=depth), len(planes))
        self.planes = [plane.astype(self.format.dtype) for plane in planes]

    def __iter__(self) -> Iterator[Frame]:
        return (Frame((plane,), i, Fraction(i, 30)) for i, plane in enumerate(self.planes))


def scene(seed: int, frames: int = 10, size: tuple[int, int] = (176, 128)) -> SceneSource:
    return SceneSource(SceneConfig(*size, frames, seed=seed))


def noise(seed: int, low: int, high: int, shape: tuple[int, int] = (90, 160)) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, shape)


def test_scenes_are_told_apart() -> None:
    video = Cuts([scene(1), scene(2, 12), scene(3)])
    assert find_shots(video) == [Shot(0, 10), Shot(10, 12), Shot(22, 10)]


def test_one_scene_is_one_shot() -> None:
    assert find_shots(scene(4, 20)) == [Shot(0, 20)]


def test_fast_steady_motion_is_no_cut() -> None:
    wide = noise(0, 0, 255, (90, 1600)).cumsum(axis=1) // np.arange(1, 1601)
    assert len(find_shots(Made([wide[:, 12 * i : 12 * i + 160] for i in range(20)]))) == 1


def test_ten_bit_luma_cuts_where_its_eight_bit_twin_does() -> None:
    planes = [noise(0, 20, 60)] * 10 + [noise(1, 160, 220)] * 10
    ten = find_shots(Made([plane * 4 for plane in planes], depth=10))
    assert ten == find_shots(Made(planes)) == [Shot(0, 10), Shot(10, 10)]


def test_short_parts_join_their_neighbours() -> None:
    dark, light = noise(0, 0, 40), noise(1, 180, 240)
    flash = [dark] * 10 + [light] * 2 + [dark] * 10
    assert sum(shot.count for shot in find_shots(Made(flash))) == 22
    assert all(shot.count >= 8 for shot in find_shots(Made(flash)))
    assert find_shots(Made([dark] * 10 + [light] * 4)) == [Shot(0, 14)]


def test_impossible_thresholds_and_empty_videos_are_errors() -> None:
    with pytest.raises(ConfigError, match="0 to 100"):
        find_shots(scene(1), threshold=101)
    empty = Made([noise(0, 0, 9)])
    empty.planes = []
    with pytest.raises(DecodeError, match="no frames"):
        find_shots(empty)


def test_a_shot_has_its_frames_and_times_of_its_own() -> None:
    video, memory = Cuts([scene(1), scene(2)]), Memory()
    first, second = (ShotSource(video, Shot(start, 10), memory) for start in (0, 10))
    frames, wanted = list(second), list(video)[10:]
    assert [frame.index for frame in frames] == list(range(10)) and second.frame_count == 10
    assert frames[0].pts == 0 and frames[3].pts == Fraction(3, 25)
    assert all(np.array_equal(a.planes[0], b.planes[0]) for a, b in zip(frames, wanted, strict=True))
    assert second.digest() == ShotSource(video, Shot(10, 10), Memory()).digest() != first.digest()


def test_one_shot_at_a_time_is_in_memory_and_none_that_does_not_fit() -> None:
    video, memory, none = Cuts([scene(1), scene(2)]), Memory(), Memory(most=1000)
    first, second = (ShotSource(video, Shot(start, 10), memory) for start in (0, 10))
    assert next(iter(first)) is next(iter(first))
    assert next(iter(second)) is memory.frames[0] and memory.owner is second
    large = ShotSource(video, Shot(10, 10), none)
    assert [frame.index for frame in large] == list(range(10)) and none.frames == []


@pytest.mark.parametrize("gop", ["intra", "lowdelay", "randomaccess"])
@pytest.mark.parametrize("suffix", [".hevc", ".mp4", ".mkv"])
def test_joined_streams_decode_as_their_parts_do(gop: str, suffix: str, tmp_path: Path, x265_hooked: BuildInfo) -> None:
    configs = [CodingConfig(preset="ultrafast", gop=gop, qp=qp) for qp in (28, 38)]
    coder = Coder(Workspace(tmp_path), RunOptions(threads=1), Reporter())
    sources = [scene(1, 5), scene(2, 6)]
    parts = [coder.encode(s, c).stream.path for s, c in zip(sources, configs, strict=True)]
    output = tmp_path / f"out{suffix}"
    joined = join(parts, configs, tmp_path / "joined.hevc")
    mux(joined, output, sources[0].format, [Fraction(i, 25) for i in range(11)])
    wanted = [frame.planes for part in parts for frame in decode_stream(part)]
    got = [frame.planes for frame in decode_stream(output)]
    assert len(got) == 11
    assert all(np.array_equal(a, b) for g, w in zip(got, wanted, strict=True) for a, b in zip(g, w, strict=True))


def test_what_no_stream_can_hold_is_refused(tmp_path: Path) -> None:
    part = tmp_path / "a.hevc"
    part.write_bytes(b"x")
    small, large = CodingConfig(qp=30, scale=0.5), CodingConfig(qp=30)
    with pytest.raises(ConfigError, match=r"0\.5, 1"):
        join([part, part], [small, large], tmp_path / "out.hevc")
    avc = CodingConfig(codec="x264", qp=30)
    assert not can_join(avc) and can_join(replace(avc, gop="lowdelay")) and can_join(large)
    with pytest.raises(ConfigError, match="all-intra"):
        join([part, part], [avc, avc], tmp_path / "out.264")
    assert join([part], [large], tmp_path / "out.hevc") == part

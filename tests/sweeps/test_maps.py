"""Maps of whole videos: interpolation in time, the grid of a scaled encode, reuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder_bridge.config import CodingConfig, MapConfig
from encoder_bridge.console import Reporter
from encoder_bridge.errors import ConfigError, MetricInputError
from models import default_model_path
from models.scenes import SceneConfig, SceneSource
from models.task_model import TaskModel
from sweeps.maps import MapMaker, MapTrack
from sweeps.workspace import Workspace


def track(raw: np.ndarray, **settings: object) -> MapTrack:
    return MapTrack(raw, MapConfig(tau=0, group=16, **settings), (48, 64), 16, 0.0)  # type: ignore[arg-type]


def test_bits_go_to_heavy_blocks():
    raw = np.ones((1, 3, 4), np.float32)
    raw[0, 1, 1] = 16
    offset = track(raw).side_info(0).qp_offset
    assert offset is not None and offset.argmin() == 5 and offset.mean() == pytest.approx(0, abs=0.5)


def test_a_map_every_fourth_frame_is_interpolated():
    raw = np.ones((2, 3, 4), np.float32)
    raw[0, 0, 0], raw[1, 2, 3] = 9, 9
    moving = track(raw, interval=4)
    first, middle, last = (moving.side_info(i).qp_offset for i in (0, 2, 4))
    assert first[0, 0] < middle[0, 0] < last[0, 0] and first[2, 3] > middle[2, 3] > last[2, 3]
    assert np.array_equal(moving.side_info(7).qp_offset, last)


def test_a_scaled_encode_has_a_grid_of_its_own():
    raw = np.ones((1, 6, 8), np.float32)
    raw[0, :2, 6:] = 20
    offset = MapTrack(raw, MapConfig(group=16), (48, 64), 16, 0.0).side_info(0).qp_offset
    assert offset is not None and offset.shape == (3, 4) and offset.argmin() == 3


def test_a_file_map_is_read_and_its_wrong_shape_refused(tmp_path: Path):
    source = SceneSource(SceneConfig(64, 48, 2))
    workspace, say = Workspace(tmp_path / "w"), Reporter()
    for shape, good in (((1, 3, 4), True), ((1, 2, 2), False)):
        np.save(tmp_path / "m.npy", np.random.default_rng(0).random(shape).astype(np.float32))
        config = CodingConfig(qp=30, rdo="map", map=MapConfig(str(tmp_path / "m.npy")))
        maker = MapMaker(None)
        if good:
            assert maker.track(source, None, config, {}, workspace, say).side_info(1).qp_offset.shape == (3, 4)
        else:
            with pytest.raises(MetricInputError, match="3, 4"):
                maker.track(source, None, config, {}, workspace, say)


def test_a_network_map_without_a_network():
    with pytest.raises(ConfigError, match="--model"):
        MapMaker(None).map(MapConfig("kl"))


def test_what_a_file_says_names_its_map(tmp_path: Path):
    identities = []
    for value in (1, 2):
        np.save(tmp_path / "m.npy", np.full((1, 3, 4), value, np.float32))
        identities.append(MapMaker(None).identity(MapConfig(str(tmp_path / "m.npy"))))
    assert len(set(identities)) == 2
    assert json.dumps(identities)


def test_maps_made_while_encoding_are_those_made_before(tmp_path: Path):
    source, say = SceneSource(SceneConfig(96, 80, 3)), Reporter()
    config = CodingConfig(qp=30, rdo="map", map=MapConfig("learned"))
    maker, before, beside = MapMaker(None), Workspace(tmp_path / "a"), Workspace(tmp_path / "b")
    made = maker.track(source, None, config, {}, before, say)
    live = maker.live(source.format, config, {}, beside)
    assert live is not None and maker.live(source.format, config, {}, before) is None
    followed = [(frame.index, side.qp_offset) for frame, side in live.follow(source)]
    assert [index for index, _ in followed] == [0, 1, 2]
    for index, offset in followed:
        assert np.array_equal(offset, made.side_info(index).qp_offset)
    assert np.array_equal(live.kept().raw, made.raw)


def test_maps_of_an_encode_that_is_given_up_leave_nothing(tmp_path: Path):
    source = SceneSource(SceneConfig(96, 80, 3))
    config = CodingConfig(qp=30, rdo="map", map=MapConfig("learned"))
    live = MapMaker(None).live(source.format, config, {}, Workspace(tmp_path))
    assert live is not None
    following = live.follow(source)
    next(following)
    following.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("settings", [{"interval": 2}, {"name": "kl"}])
def test_maps_that_look_ahead_are_made_before(tmp_path: Path, settings: dict[str, Any]):
    config = CodingConfig(qp=30, rdo="map", map=MapConfig(**{"name": "learned", **settings}))
    maker = MapMaker(TaskModel(default_model_path()))
    assert maker.live(SceneSource(SceneConfig(96, 80, 3)).format, config, {}, Workspace(tmp_path)) is None

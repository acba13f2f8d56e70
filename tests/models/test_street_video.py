"""Video of a street by a camera that stands still: what moves, what does not, and where the boxes are."""

from __future__ import annotations

import numpy as np
import pytest

from encoder_bridge.errors import ConfigError
from models.objects.streets import CLASSES, street_scenes, street_video

SIZE = (160, 128)


@pytest.fixture(scope="module")
def video():
    return street_video(3, 12, SIZE)


def test_every_frame_has_its_boxes_inside_the_picture(video):
    assert video.images.shape == (12, 128, 160, 3) and video.names == CLASSES
    assert set(video.image_of) <= set(range(12)) and len(video.boxes) > 12
    assert (video.boxes >= 0).all() and (video.boxes[:, 2] <= 160).all() and (video.boxes[:, 3] <= 128).all()
    assert (video.boxes[:, 2:] > video.boxes[:, :2]).all()
    assert 0 < video.judged.sum() < len(video.judged)


def test_the_camera_stands_still_and_things_move(video):
    change = np.abs(video.images[0].astype(int) - video.images[-1]).mean(axis=2)
    # Most of the street is there again but for the sensor's noise; where something moved it is not.
    assert np.median(change) < 12 < np.percentile(change, 99)
    first, last = (video.boxes[video.image_of == i] for i in (0, 11))
    assert not (len(first) == len(last) and np.allclose(first, last, atol=0.5))


def test_neighbours_in_time_look_alike(video):
    def distance(a: int, b: int) -> float:
        return float(np.abs(video.images[a].astype(int) - video.images[b]).mean())

    assert distance(0, 1) < distance(0, 11)


def test_the_same_seed_is_the_same_video_and_no_street_of_the_stills(video):
    again = street_video(3, 2, SIZE)
    assert (again.images == video.images[:2]).all()
    still = street_scenes(3, 1, SIZE).images[0]
    assert np.abs(still.astype(int) - again.images[0]).mean() > 10


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"seed": -1}, {"fps": 0.0}, {"size": (16, 16)}])
def test_refusals(wrong):
    with pytest.raises(ConfigError):
        street_video(**{"seed": 1, "frames": 1, "size": SIZE, **wrong})

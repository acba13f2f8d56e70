"""Scores of a decoded video: exact where the answer is known, errors where the pair does not fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from encoder_bridge.errors import MetricInputError, ModelError
from encoder_bridge.frames import Frame, VideoFormat
from sweeps.scoring import label_video, match_planes, score_video

FMT = VideoFormat(32, 16)


class Video:
    """Frames from luma planes, chroma flat."""

    def __init__(self, lumas: list[np.ndarray], fmt: VideoFormat = FMT) -> None:
        self.lumas, self.format = lumas, fmt

    @property
    def frame_count(self) -> int | None:
        return len(self.lumas)

    def __iter__(self) -> Iterator[Frame]:
        flat = np.full(self.format.plane_shapes[1], 128 << (self.format.bit_depth - 8), self.format.dtype)
        for i, luma in enumerate(self.lumas):
            yield Frame((luma, flat, flat), i, Fraction(i, 30))

    def digest(self) -> str:
        return "video"


class Threshold:
    """A network of two classes: dark and bright."""

    name = "threshold"
    classes: tuple[str, ...] = ("dark", "bright")

    def labels(self, rgb: np.ndarray) -> np.ndarray:
        return (rgb.mean(axis=2) > 127)[None].astype(np.uint8)


def halves(left: int, right: int) -> np.ndarray:
    luma = np.full((16, 32), left, np.uint8)
    luma[:, 16:] = right
    return luma


def scored(reference: Video, test: Video, labels: list[np.ndarray] | None = None):
    network = Threshold()
    pseudo = {"threshold": list(label_video(reference, network, lambda n: None))}
    return score_video(reference, test, [network], pseudo, labels, lambda n: None)


def test_identical_videos_agree_everywhere():
    video = Video([halves(40, 200)] * 3)
    scores = scored(video, video)
    assert scores.summary()["threshold"] == {"agreement": 1.0, "miou_pseudo": 1.0, "miou_labels": None}
    assert math.isinf(scores.psnr()["y"])


def test_known_disagreement_and_labels():
    reference, test = Video([halves(40, 200)]), Video([halves(40, 40)])
    truth = np.zeros((16, 32), np.uint8)
    truth[:, :8] = 11  # void: no class of this network
    summary = scored(reference, test, [truth]).summary()["threshold"]
    assert summary["agreement"] == 0.5
    assert summary["miou_pseudo"] == pytest.approx((0.5 + 0) / 2)
    assert summary["miou_labels"] == 1.0


def test_psnr_is_of_the_whole_sequence():
    reference = Video([halves(100, 100), halves(100, 100)])
    test = Video([halves(100, 100), halves(102, 102)])
    assert scored(reference, test).psnr()["y"] == pytest.approx(10 * math.log10(255**2 / 2))


@pytest.mark.parametrize("which", ["reference", "test"])
def test_videos_of_different_length(which: str):
    long, short = Video([halves(1, 2)] * 3), Video([halves(1, 2)] * 2)
    pair = (short, long) if which == "reference" else (long, short)
    with pytest.raises(MetricInputError, match=f"{which} video ends after 2 frames"):
        scored(*pair)


def test_labels_of_another_size_or_too_few():
    video = Video([halves(1, 200)] * 2)
    with pytest.raises(MetricInputError, match="label image"):
        scored(video, video, [np.zeros((8, 8), np.uint8)] * 2)
    with pytest.raises(MetricInputError, match="labels end after 1 of 2"):
        scored(video, video, [np.zeros((16, 32), np.uint8)])


def test_a_network_that_names_no_classes():
    video = Video([halves(1, 200)])
    network = Threshold()
    network.classes = ()
    with pytest.raises(ModelError, match="--classes"):
        score_video(video, video, [network], {"threshold": [np.zeros((16, 32), np.uint8)]}, None, lambda n: None)


def test_planes_of_another_size_depth_or_chroma_format():
    planes = tuple(np.full(shape, 100, np.uint8) for shape in FMT.plane_shapes)
    half = replace(FMT, width=16, height=8)
    up = match_planes(tuple(p[::2, ::2] for p in planes), half, FMT)
    assert [p.shape for p in up] == list(FMT.plane_shapes) and all((p == 100).all() for p in up)
    ten = match_planes(planes, FMT, replace(FMT, bit_depth=10))
    assert ten[0].dtype == np.uint16 and (ten[0] == 400).all()
    assert all((p == 100).all() for p in match_planes(ten, replace(FMT, bit_depth=10), FMT))
    with pytest.raises(MetricInputError, match="chroma"):
        match_planes(planes, FMT, replace(FMT, chroma="444"))


def test_padding_of_odd_sizes_is_cropped_not_resized():
    odd = VideoFormat(31, 15)
    luma = np.arange(16 * 32, dtype=np.uint16).reshape(16, 32).astype(np.uint8)
    chroma = np.full((8, 16), 128, np.uint8)
    cropped = match_planes((luma, chroma, chroma), FMT, odd)
    assert np.array_equal(cropped[0], luma[:15, :31])

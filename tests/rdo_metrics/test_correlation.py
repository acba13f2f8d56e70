"""Correlations of metrics with accuracy, against the published ones of QoMEX 2023."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from encoder_bridge.errors import MetricInputError
from rdo_metrics.correlation import correlate


def test_a_perfect_order_is_1_whatever_its_direction():
    x = np.arange(1.0, 20)
    for sign in (1, -1):
        found = correlate(sign * x**3, x)
        assert found.srocc == pytest.approx(1) and found.krocc == pytest.approx(1)
        assert 0.8 < found.plcc < 0.99 and found.count == 19


def test_values_that_are_not_known_are_left_out():
    x, y = np.array([1.0, 2, np.nan, 3, 4]), np.array([2.0, 1, 9, 3, 5])
    assert correlate(x, y) == correlate(x[[0, 1, 3, 4]], y[[0, 1, 3, 4]])
    assert correlate(x, y).count == 4


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [4, 4, 4]), ([1], [1, 2])])
def test_what_has_no_correlation_is_refused(x: list[float], y: list[float]):
    with pytest.raises(MetricInputError):
        correlate(x, y)


@pytest.mark.parametrize("side", [32, 64, 128])
def test_published_correlations_of_blocks_come_out(camvid: Path, side: int):
    folder = camvid.parent / "qomex2023"
    if not folder.is_dir():
        pytest.skip("the blocks of QoMEX 2023 are not here")
    values = json.loads((folder / f"{side}x{side}_metrics.json").read_text()).values()
    published = json.loads((folder / f"{side}x{side}_correlation.json").read_text())
    accuracy = [value["acc"] for value in values]
    compared = 0
    for metric, wanted in published.items():
        if not math.isnan(np.ravel(wanted["SROC"])[0]):
            found = correlate([value[metric] for value in values], accuracy)
            assert found.srocc == pytest.approx(abs(wanted["SROC"][0]), abs=5e-5), metric
            assert found.plcc == pytest.approx(abs(wanted["PLCC"][0]), abs=5e-5), metric
            assert found.krocc == pytest.approx(abs(wanted["KROCC"][0]), abs=5e-5), metric
            compared += 1
    assert compared >= 11

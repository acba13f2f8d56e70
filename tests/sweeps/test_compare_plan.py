"""What a comparison runs: each run once, the anchor before what is compared with it."""

from __future__ import annotations

from encoder_bridge.config import CodingConfig, MapConfig
from sweeps.compare import plan

PLAIN = CodingConfig(codec="x265", qp=32)
MAPPED = CodingConfig(codec="x265", qp=32, rdo="map", map=MapConfig("learned"))


def test_a_test_has_its_anchor_and_its_neutral_twin():
    runs = plan([MAPPED])
    assert [(run.rdo, run.neutral) for run in runs] == [("psnr", False), ("psnr", True), ("map", False)]
    assert plan([MAPPED], neutral=False) == [PLAIN, MAPPED]


def test_plain_coding_alone_runs_once():
    assert plan([PLAIN]) == [PLAIN]
    assert plan([PLAIN, MAPPED]).count(PLAIN) == 1

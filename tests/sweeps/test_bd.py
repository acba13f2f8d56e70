"""BD-rates from run records, and the plan of a comparison."""

from __future__ import annotations

import numpy as np
import pytest

from encoder_bridge.config import CandidateConfig, CodingConfig, MapConfig
from sweeps.bd import PSNR_NETWORK, bd_rows
from sweeps.coding import arm_name
from sweeps.compare import plan
from sweeps.records import RunRecord, pack_confusion

FRAMES = 6


def record(bits: int, accuracy: float, psnr: float) -> RunRecord:
    right = round(10_000 * accuracy)
    one = np.array([[right, 10_000 - right], [10_000 - right, right]])
    return RunRecord(
        key=f"{bits}-{accuracy}",
        bits=bits * FRAMES,
        frames=FRAMES,
        frame_bits=[bits] * FRAMES,
        frame_psnr=[psnr] * FRAMES,
        confusion={"net": {"pseudo": pack_confusion(np.stack([one] * FRAMES))}},
        scores={"net": {"agreement": accuracy, "miou_pseudo": 0.5, "miou_labels": None}},
    )


def arm(factor: float) -> list[RunRecord]:
    return [record(int(1000 * 2**i * factor), 0.7 + 0.05 * i, 30 + 2.0 * i) for i in range(5)]


def test_thirty_percent_fewer_bits_everywhere_is_minus_thirty():
    rows = bd_rows({"psnr": arm(1), "map:kl": arm(0.7)}, "psnr", 50)
    assert {(r.network, r.metric) for r in rows} == {
        ("net", "agreement"),
        ("net", "miou_pseudo"),
        (PSNR_NETWORK, "psnr_y"),
    }
    for row in rows:
        assert row.outcome is not None
        assert row.outcome.result.value_percent == pytest.approx(-30, abs=0.01)
        event = row.event()
        assert event["ci"] == pytest.approx([-30, -30], abs=0.01) and event["overlap"] == pytest.approx(1)


def test_curves_that_do_not_meet_have_a_reason_and_no_number():
    far = [record(1000 * 2**i, 0.1 + 0.01 * i, 10 + i) for i in range(5)]
    row = bd_rows({"psnr": arm(1), "map:kl": far}, "psnr", 20)[0]
    assert row.outcome is None and row.event()["value"] is None and "share 0.0 %" in row.reason


def test_a_plan_has_every_arm_at_every_rate_point_once():
    tests = [CodingConfig(qp=qp, rdo="map", map=MapConfig()) for qp in (22, 27)]
    runs = plan(tests)
    assert [(arm_name(c), c.qp) for c in runs] == [
        *(("psnr", 22), ("neutral", 22), ("map:learned", 22)),
        *(("psnr", 27), ("neutral", 27), ("map:learned", 27)),
    ]
    assert len({c.digest() for c in runs}) == 6
    same = {k: v for k, v in tests[0].as_dict().items() if k not in ("rdo", "map", "neutral")}
    assert all({k: c.as_dict()[k] for k in same} == same for c in runs[:3])


def test_a_network_metric_is_measured_against_its_controls():
    tried = CandidateConfig(metric="task", splits=16)
    runs = plan([CodingConfig(qp=30, rdo="map+ctu", map=MapConfig(), ctu=tried)], controls=True)
    assert [arm_name(c) for c in runs] == [
        *("psnr", "neutral", "map:learned+ctu:sse/16 inside", "map:learned", "map:learned+ctu:task/16"),
    ]
    control = runs[2].ctu
    assert control is not None and control.candidates == tried.candidates and control.splits == 16
    assert [arm_name(c) for c in plan([CodingConfig(qp=30, rdo="map", map=MapConfig())], False, True)] == [
        *("psnr", "map:learned"),
    ]


def test_the_interpolation_is_a_choice_and_a_fit_is_told():
    dented = [record(1000 * 2**i, a, 30 + i) for i, a in enumerate([0.7, 0.78, 0.77, 0.85, 0.9])]
    row = bd_rows({"psnr": arm(1), "map:kl": dented}, "psnr", 20, "vcm")[0]
    event = row.event()
    assert (event["method"], event["fitted"], event["dropped"]) == ("vcm", [False, True], [0, 0])
    plain = bd_rows({"psnr": arm(1), "map:kl": dented}, "psnr", 20)[0].event()
    assert (plain["method"], plain["dropped"]) == ("pchip", [0, 1]) and "fitted" not in plain

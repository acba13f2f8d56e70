import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from encoder_bridge.config import Candidate, CandidateConfig, CodingConfig, MapConfig
from encoder_bridge.encoder import BuildInfo
from encoder_bridge.errors import StoreError
from sweeps.coding import arm_name
from sweeps.present import record_arm
from sweeps.records import RunRecord, config_of, pack_confusion, run_key, unpack_confusion

BUILD = BuildInfo("x265", "3.5", "/a/x265", True, 1, "0123456789abcdef", (8,))
CONFIG = CodingConfig(qp=32, rdo="map", map=MapConfig())


def full_record() -> RunRecord:
    return RunRecord(
        key="k",
        config=CONFIG.as_dict(),
        input={"digest": "d", "name": "clip", "width": 64, "height": 48, "frames": 2, "fps": "30"},
        build=BUILD.key(),
        models={"default": "m"},
        bits=1000,
        frames=2,
        bpp=0.1,
        encode_s=1.5,
        psnr={"y": math.inf, "u": 40.0, "v": math.nan, "yuv": 41.0},
        scores={"default": {"agreement": 0.9, "miou_pseudo": 0.8, "miou_labels": None}},
        frame_bits=[600, 400],
        frame_psnr=[math.inf, 38.5],
        confusion={"default": {"pseudo": pack_confusion(np.ones((2, 3, 3), np.int64))}},
        stream="streams/k.hevc",
    )


def test_json_round_trip_keeps_everything_even_infinite_psnr() -> None:
    record = full_record()
    again = RunRecord.from_json(record.to_json())
    assert math.isnan(again.psnr.pop("v"))
    record.psnr.pop("v")
    assert again.to_json() == record.to_json()
    assert again.frame_psnr == record.frame_psnr


def test_json_is_strict_and_one_line() -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    text = full_record().to_json()
    assert "\n" not in text
    assert json.loads(text, parse_constant=refuse)["psnr"]["y"] == "Infinity"


def test_unknown_fields_survive() -> None:
    data = json.loads(full_record().to_json()) | {"energy_j": 3.5}
    record = RunRecord.from_json(json.dumps(data))
    assert record.extra == {"energy_j": 3.5}
    assert json.loads(record.to_json())["energy_j"] == 3.5


@pytest.mark.parametrize(
    ("field", "value"),
    [("bits", "12"), ("bits", 1.5), ("bits", True), ("psnr", [1]), ("frame_bits", {}), ("bpp", "much"), ("stream", 3)],
)
def test_wrong_types_name_the_field(field: str, value: object) -> None:
    data = json.loads(full_record().to_json()) | {field: value}
    with pytest.raises(StoreError, match=repr(field)):
        RunRecord.from_json(json.dumps(data))


def test_numpy_values_are_accepted() -> None:
    record = RunRecord(key="k", bits=np.int64(5), bpp=np.float32(0.5), frame_bits=list(np.arange(3)))  # type: ignore[arg-type]
    assert RunRecord.from_json(record.to_json()).frame_bits == [0, 1, 2]


def test_status_and_error_go_together() -> None:
    with pytest.raises(StoreError, match="together"):
        RunRecord(key="k", status="error")
    failed = RunRecord(key="k", status="error", error={"type": "EncoderError", "message": "m"})
    assert RunRecord.from_json(failed.to_json()).error == failed.error


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(hnp.arrays(np.int32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.integers(0, 2**31 - 1)))
def test_confusion_round_trip(counts: np.ndarray) -> None:
    again = unpack_confusion(pack_confusion(counts))
    assert again.dtype == np.int32
    np.testing.assert_array_equal(again, counts)


@pytest.mark.parametrize("text", ["", "i4z:2x2", "i4z:2x2:AAAA", "i4z:9x9:eJwDAAAAAAE=", "plain"])
def test_damaged_confusion_is_a_store_error(text: str) -> None:
    with pytest.raises(StoreError, match="damaged"):
        unpack_confusion(text)


def test_confusion_refuses_what_does_not_fit() -> None:
    with pytest.raises(StoreError, match="integers"):
        pack_confusion(np.ones((1, 2, 2)))
    with pytest.raises(StoreError, match="2147483647"):
        pack_confusion(np.full((1, 1, 1), 2**31))


def test_key_ignores_where_the_build_lies() -> None:
    moved = replace(BUILD, path="/elsewhere/x265")
    assert run_key(CONFIG, "d", BUILD, {"n": "m"}) == run_key(CONFIG, "d", moved, {"n": "m"})


@pytest.mark.parametrize(
    "other",
    [
        run_key(replace(CONFIG, qp=33), "d", BUILD, {"n": "m"}),
        run_key(replace(CONFIG, map=MapConfig(strength=0.5)), "d", BUILD, {"n": "m"}),
        run_key(CONFIG, "e", BUILD, {"n": "m"}),
        run_key(CONFIG, "d", replace(BUILD, patch_hash="f" * 16), {"n": "m"}),
        run_key(CONFIG, "d", BUILD, {"n": "other"}),
        run_key(CONFIG, "d", BUILD, {"n": "m", "judge": "j"}),
        run_key(CONFIG, "d", BUILD, {"n": "m"}, seed=1),
        run_key(CONFIG, "d", BUILD, {"n": "m"}, labels="l"),
    ],
)
def test_key_depends_on_all_that_matters(other: str) -> None:
    assert other != run_key(CONFIG, "d", BUILD, {"n": "m"})


def test_key_does_not_depend_on_the_order_of_networks() -> None:
    assert run_key(CONFIG, "d", BUILD, {"a": "1", "b": "2"}) == run_key(CONFIG, "d", BUILD, {"b": "2", "a": "1"})


TRIED = CandidateConfig((Candidate(), Candidate(-3), Candidate(0, 0.8, 16)), "nets/cut.onnx", 16, 32, 0.4, 1.5)


@pytest.mark.parametrize(
    ("config", "arm"),
    [
        (CodingConfig(qp=32), "psnr"),
        (CodingConfig(qp=32, neutral=True), "neutral"),
        (CONFIG, "map:learned"),
        (CodingConfig(crf=20.5, rdo="ctu", ctu=TRIED, extra=("--no-sao",)), "ctu:cut.onnx/32"),
        (
            CodingConfig(qp=32, rdo="map+ctu", map=MapConfig("a/b.npy"), ctu=CandidateConfig()),
            "map:b.npy+ctu:task-flip",
        ),
        (CodingConfig(qp=32, rdo="ctu", ctu=CandidateConfig(metric="sse", internal=True)), "ctu:sse inside"),
    ],
)
def test_a_record_gives_its_configuration_back(config: CodingConfig, arm: str) -> None:
    again = RunRecord.from_json(RunRecord(key="k", config=config.as_dict()).to_json())
    assert config_of(again) == config
    assert config_of(again).digest() == config.digest()
    assert record_arm(again) == arm_name(config) == arm


def test_records_from_before_candidates_are_read() -> None:
    config = CONFIG.as_dict()
    del config["ctu"]
    record = RunRecord.from_json(json.dumps({"key": "k", "config": config}))
    assert config_of(record) == CONFIG and record.judge_s == 0


def test_a_configuration_of_another_version_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="record kk has"):
        config_of(RunRecord(key="kk", config={**CONFIG.as_dict(), "unheard": 1}))
    with pytest.raises(StoreError, match="psychic"):
        config_of(RunRecord(key="kk", config={**CONFIG.as_dict(), "rdo": "psychic"}))

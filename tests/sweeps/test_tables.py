from dataclasses import replace

import pytest
from rich.console import Console

from rdo_metrics.bd_rate import BDResult
from rdo_metrics.bootstrap import BDInterval
from sweeps.bd import BDRow
from sweeps.records import RunRecord
from sweeps.tables import bd_table, kbit_s, points_table, rate_point, signed


def text_of(renderable: object, width: int = 80) -> str:
    console = Console(width=width, no_color=True, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def record(bits: int, encode_s: float, extra_s: float = 0.0) -> RunRecord:
    return RunRecord(
        key=str(bits),
        config={"qp": 32},
        input={"fps": "25"},
        bits=bits,
        frames=10,
        bpp=0.1,
        psnr={"y": 38.5},
        encode_s=encode_s,
        map_s=extra_s,
        scores={"net": {"agreement": 0.9, "miou_pseudo": 0.8, "miou_labels": None}},
    )


def row(value: float, interval: tuple[float, float] | None = (-28.0, -24.0), metric: str = "agreement") -> BDRow:
    result = BDResult(value, 0.875, (0, 1), "pchip", 0, 1)
    return BDRow("map:kl", "psnr", "net", metric, BDInterval(result.value_percent, interval, "", 0, 9, 0.9, 1, result))


def test_points_show_rate_psnr_accuracy_and_time_ratios() -> None:
    text = text_of(points_table({"psnr": [record(40_000, 2.0)], "map:kl": [record(30_000, 2.2, 1.0)]}))
    line = next(line for line in text.splitlines() if line.startswith("map:kl"))
    assert line.split() == ["map:kl", "QP", "32", "75.0", "0.1000", "38.50", "2.2", "1.10", "1.60"]
    assert "0.9000  0.8000" in text
    assert "labels" not in text


def test_an_arm_equal_to_the_anchor_is_one_row() -> None:
    anchor = [record(40_000, 2.0), record(20_000, 1.0)]
    neutral = [replace(r, encode_s=r.encode_s * 1.5) for r in anchor]
    text = text_of(points_table({"psnr": anchor, "neutral": neutral}))
    lines = [line.split() for line in text.splitlines() if line.startswith("neutral")]
    assert lines == [["neutral", "as", "psnr", "=", "=", "=", "4.5", "1.50", "1.50"]]


@pytest.mark.parametrize("width", [80, 200])
def test_tables_fit_80_columns_uncut(width: int) -> None:
    arms = {"psnr": [record(4_000_000, 12.0)], "map:attribution": [record(3_000_000, 13.0)]}
    text = text_of(points_table(arms), width) + text_of(bd_table([replace(row(-25.0), arm="map:attribution")]), width)
    assert "…" not in text
    assert "map:attribution" in text
    assert max(map(len, text.splitlines())) <= width


def test_bd_table_gives_value_interval_overlap_and_dropped_points() -> None:
    text = text_of(bd_table([row(-25.04)]))
    line = next(line for line in text.splitlines() if line.startswith("map:kl"))
    assert line.split() == ["map:kl", "net", "agreement", "−25.0", "%", "[−28.0,", "−24.0]", "88", "%", "0", "+", "1"]


def test_undefined_bd_rate_says_why() -> None:
    text = text_of(bd_table([BDRow("map:kl", "psnr", "net", "agreement", None, "undefined: 20 % [overlap]")]))
    assert "undefined: 20 % [overlap]" in text


def test_an_arm_of_zeros_is_one_row() -> None:
    text = text_of(bd_table([row(0.0, (0.0, 0.0)), row(0.0, (0.0, 0.0), "miou_pseudo")]))
    assert [line.split() for line in text.splitlines() if line.startswith("map:kl")] == [
        ["map:kl", "(all)", "(all)", "0.0", "%"]
    ]


def test_words() -> None:
    assert [signed(v) for v in (-25.64, 3.0, 0.0, -0.01)] == ["−25.6", "+3.0", "0.0", "0.0"]
    assert rate_point({"qp": None, "crf": 28.5}) == "CRF 28.5"
    assert rate_point({"bitrate": 500}) == "500 kbit/s"
    assert kbit_s(record(40_000, 1.0)) == pytest.approx(100.0)

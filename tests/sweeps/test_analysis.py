"""Tables from records: hand-made stores with known answers, seed 001's printed numbers, laws."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from support.sweep_records import HEIGHT, WIDTH, lossless, record, straight

from encoder_bridge.errors import ConfigError
from rdo_metrics.bd_rate import bd_rate
from sweeps.analysis import (
    Question,
    Series,
    SweepData,
    gains_by_input,
    iso_table,
    rd_curves,
    rdo_table,
    table_v,
    table_vi,
    table_vii,
)
from sweeps.analysis.table import Table
from sweeps.records import RunRecord
from sweeps.report.library import open_library
from sweeps.store import ResultStore

FAST = Question(draws=20)


def cell(table: Table, row: str | tuple[str, ...], column: str):
    heads = (row,) if isinstance(row, str) else row
    found = next(r for r in table.rows if r.heads[: len(heads)] == heads)
    return found.cells[table.columns.index(column)]


def test_curves_are_in_bits_a_pixel_and_know_their_series():
    curves = rd_curves([*straight("x265"), *straight("jpeg", 2, scale=0.5, gray=True)])
    assert list(curves) == [Series("JPEG", gray=True, scale=0.5), Series("x265")]
    assert curves[Series("x265")].rates[0] == pytest.approx(1_000_000 / (WIDTH * HEIGHT))
    assert curves[Series("x265")].metrics == pytest.approx([0.4, 0.5, 0.6, 0.7, 0.8], abs=1e-6)
    assert [s.label for s in curves] == ["JPEG ×0.5 grey", "x265"]


def test_failed_and_neutral_runs_do_not_count():
    failed = RunRecord(key="x", status="error", error={"type": "EncoderError", "message": "…"}, config={"codec": "jm"})
    neutral = straight("x265", 7, neutral=True)
    assert list(rd_curves([*straight("x265"), failed, *neutral])) == [Series("x265")]
    with pytest.raises(ConfigError, match="no finished run"):
        table_v([failed])


def test_table_v_of_scaled_curves():
    # JPEG needs twice the bits of x265; at half size x265 halves its own.
    table = table_v([*straight("jpeg", 2.0), *straight("x265"), *straight("x265", 0.5, scale=0.5)], FAST)
    assert table.columns == ("JPEG", "x265", "x265*")
    assert cell(table, "x265", "JPEG").value == pytest.approx(-50, abs=0.01)
    assert cell(table, "JPEG", "x265").value == pytest.approx(100, abs=0.01)
    assert cell(table, "x265*", "x265").value == pytest.approx(-50, abs=0.01)
    assert cell(table, "x265*", "JPEG").value == pytest.approx(-75, abs=0.01)
    assert cell(table, "JPEG", "JPEG").value == 0 and cell(table, "JPEG", "JPEG").interval is None
    assert cell(table, "x265", "JPEG").interval == (pytest.approx(-50, abs=0.01), pytest.approx(-50, abs=0.01))
    for row in table.columns:
        for column in table.columns:
            there, back = cell(table, row, column), cell(table, column, row)
            assert (1 + there.value / 100) * (1 + back.value / 100) == pytest.approx(1)


def test_the_inverse_is_the_bd_rate_the_other_way_round():
    records = [*straight("jpeg", 2.0, points=4), *straight("x265", 1.1, points=5)]
    curves = {s.coder: curve for s, curve in rd_curves(records).items()}
    table = table_v(records, FAST)
    for test, anchor in (("x265", "JPEG"), ("JPEG", "x265")):
        direct = bd_rate(curves[anchor], curves[test], method="pchip").value_percent
        assert cell(table, test, anchor).value == pytest.approx(direct, abs=1e-9)


def test_what_is_undefined_has_a_reason_and_no_number():
    table = table_v([*straight("jpeg", points=3), *straight("x265", points=3, lift=0.25)], FAST)
    found = cell(table, "JPEG", "x265")
    assert found.value is None and found.interval is None
    assert "share 0.0 % of their metric range" in found.reason
    assert table.reasons == [found.reason]
    one = cell(table_v([*straight("jpeg"), *straight("x265", points=1)], FAST), "x265", "JPEG")
    assert one.value is None and "1 point(s)" in one.reason


def test_versions_and_presets_of_one_codec_are_told_apart_in_tables_and_reports(tmp_path: Path):
    records = [*straight("x265", preset="slow"), *straight("x265", 1.2, preset="fast"), *straight("jpeg")]
    assert SweepData(records).coders == ["JPEG", "x265 slow", "x265 fast"]
    with ResultStore(tmp_path) as store:
        for one in records:
            store.append(one)
    assert {series.coder for series in open_library([tmp_path]).series} == {"JPEG", "x265 slow", "x265 fast"}


def test_records_of_several_judges_of_one_stream_are_one():
    first, second = (straight("jpeg"), [])
    for r in first:
        second.append(record("jpeg", int(r.config["qp"]), r.frame_bits, {"other": 0.5}))
    data = SweepData([*first, *second])
    assert data.networks == ["net", "other"] and len(list(data.each())) == 5


# Table VI of seed 001, and Table V between its hulls (JPEG 2000 has no other sizes).
SHARES = (0.975, 0.95, 0.9, 0.8, 0.7)
RAW, PNG_BYTES = 0.8027, 2_362_900
TABLE_VI = {
    "jpeg": (15.9, 33.2, 52.6, 172.0, 358.3),
    "jpeg2000": (5.6, 18.8, 56.4, 188.9, None),
    "jm": (None, 30.2, 66.4, 182.3, 313.0),
    "x265": (None, 39.9, 96.6, 231.9, 507.7),
    "vvenc": (None, 43.4, 107.3, 273.9, 529.3),
}
TABLE_V = {
    ("JM", "JPEG"): -21.6,
    ("x265", "JPEG"): -40.7,
    ("VVenC", "JPEG"): -42.2,
    ("x265", "JM"): -25.7,
    ("VVenC", "JM"): -27.1,
    ("VVenC", "x265"): -2.0,
    ("JPEG 2000", "JPEG"): 54.1,
    ("JPEG 2000", "JM"): 32.8,
    ("JPEG 2000", "x265"): 62.2,
    ("JPEG 2000", "VVenC"): 88.4,
}


def printed_store() -> list[RunRecord]:
    points = [
        record(codec, 10 * i + 5, [round(8 * PNG_BYTES / ratio)], SHARES[i] * RAW + 1e-5)
        for codec, ratios in TABLE_VI.items()
        for i, ratio in enumerate(ratios)
        if ratio is not None
    ]
    return [*points, lossless([8 * PNG_BYTES], RAW)]


def test_table_vi_of_the_paper_comes_back_from_its_own_points():
    table = table_vi(printed_store(), FAST)
    assert table.columns == ("JPEG", "JPEG 2000", "JM", "x265", "VVenC")
    assert [row.heads for row in table.rows] == [
        *(("97.5 %", "0.783"), ("95 %", "0.763"), ("90 %", "0.722"), ("80 %", "0.642"), ("70 %", "0.562"))
    ]
    for place, ratios in enumerate(TABLE_VI.values()):
        for row, (share, ratio) in enumerate(zip(SHARES, ratios, strict=True)):
            found = table.rows[row].cells[place]
            better = [r for s, r in zip(SHARES, ratios, strict=True) if r is not None and s >= share]
            if ratio is None and not better:
                assert (found.value, table.text(found)[:4]) == (None, "N.A.")
                assert found.reason == f"{table.columns[place]}: the best is 0.762575"
            else:
                assert found.value == pytest.approx(ratio or max(better), rel=1e-4)
    assert table.rows[0].cells[0].detail == "quality 5"


def test_bd_rates_of_those_points_read_as_the_papers_table_v():
    """Five points a codec are a sample of the hulls behind Table V: the same signs, nearly the same order and size."""
    table = table_v(printed_store(), Question(draws=0, min_overlap=0.4))
    ours = {pair: cell(table, *pair).value for pair in TABLE_V}
    assert all(
        value is not None and math.copysign(1, value) == math.copysign(1, TABLE_V[p]) for p, value in ours.items()
    )
    ordered = sorted(ours, key=ours.__getitem__)
    paper = sorted(TABLE_V, key=TABLE_V.__getitem__)
    assert max(abs(ordered.index(pair) - paper.index(pair)) for pair in ours) <= 2
    logs = [math.log1p(ours[p] / 100) - math.log1p(TABLE_V[p] / 100) for p in ours]
    assert max(map(abs, logs)) < 0.4


def test_table_vi_takes_any_size_and_grey_and_needs_the_originals():
    records = [*straight("jpeg"), *straight("jpeg", 0.5, scale=0.5), *straight("jpeg", 0.25, scale=0.5, gray=True)]
    table = table_vi([*records, lossless([64_000_000] * 4, 0.8)], FAST, shares=(0.749, 1.0))
    best = table.rows[0].cells[0]
    assert best.value == pytest.approx(64 / (0.25 * 4), rel=1e-6) and best.detail == "quality 30 ×0.5 grey"
    missing = table_vi(records, FAST, shares=(0.75,)).rows[0].cells[0]
    assert missing.value is None and missing.reason == "no lossless size of clip: give --png INPUT with --labels DIR"
    unlabelled = record("png", 0, [64_000_000] * 4, 0.8, kind="pseudo")
    assert table_vi([*records, unlabelled], FAST, shares=(0.75,)).rows[0].cells[0].reason == missing.reason
    with pytest.raises(ConfigError, match="psnr_y"):
        table_vi(records, Question(metric="psnr_y"))


def test_table_vii_by_criterion():
    """Every curve is a line over log-rate, so a BD-rate is the power of two between them."""

    def jpeg(factor: float, robust: float, **more: object) -> list[RunRecord]:
        two = zip(straight("jpeg", factor, **more), straight("jpeg", factor, lift=robust, **more), strict=True)
        values = [(a, a.scores["net"]["miou_labels"], b.scores["net"]["miou_labels"]) for a, b in two]
        return [
            record("jpeg", int(a.config["qp"]), a.frame_bits, {"net": m, "robust": n}, **more) for a, m, n in values
        ]

    vtm = [*straight("vtm"), *straight("vtm", 0.5, scale=0.5)]
    records = [
        *vtm,
        *jpeg(4, 0.1),
        *jpeg(2, 0.1, scale=0.5),
        *jpeg(3, 0.1, gray=True),
        *jpeg(1.5, 0.1, scale=0.5, gray=True),
    ]
    table = table_vii(records, Question(draws=0), trained="robust")
    # Over the anchor's half size, which is all of its hull: factor / 0.5, halved by the 0.1 that (I) brings.
    assert {row.heads: row.cells[0].value for row in table.rows} == {
        ("", "", ""): pytest.approx(700, abs=0.1),
        ("", "", "✓"): pytest.approx(500, abs=0.1),
        ("", "✓", ""): pytest.approx(300, abs=0.1),
        ("", "✓", "✓"): pytest.approx(200, abs=0.1),
        ("✓", "", ""): pytest.approx(300, abs=0.1),
        ("✓", "", "✓"): pytest.approx(200, abs=0.1),
        ("✓", "✓", ""): pytest.approx(100, abs=0.1),
        ("✓", "✓", "✓"): pytest.approx(50, abs=0.1),
    }
    without = table_vii(records, Question(draws=0))
    assert all(row.heads[0] == "" for row in without.rows)
    with pytest.raises(ConfigError, match="encoder 'hm' has no runs in the store; expected one of jpeg, vtm"):
        table_vii(records, FAST, anchor="hm")
    with pytest.raises(ConfigError, match="network 'mine'"):
        table_vii(records, FAST, trained="mine")


def test_rdo_table_by_encoder_and_judge():
    def coded(codec: str, arm: str, factor: float, judge: float) -> list[RunRecord]:
        base = straight(codec, factor, arm=arm)
        return [
            record(codec, int(r.config["qp"]), r.frame_bits, {"net": m, "judge": m + judge}, arm=arm, psnr=30 + i)
            for i, (r, m) in enumerate((r, 0.4 + 0.1 * i) for i, r in enumerate(base))
        ]

    records = [*coded("x265", "psnr", 1, 0), *coded("x265", "map:kl", 0.75, -0.02), *straight("jpeg")]
    table = rdo_table(records, FAST)
    assert table.columns == ("PSNR", "map:kl") and [row.heads for row in table.rows] == [
        *(("x265", "net"), ("x265", "judge"), ("x265", "PSNR-Y"))
    ]
    assert cell(table, ("x265", "net"), "map:kl").value == pytest.approx(-25, abs=0.01)
    # The judge sees 0.02 less: 0.2 doublings more bits for the same.
    assert cell(table, ("x265", "judge"), "map:kl").value == pytest.approx(100 * (0.75 * 2**0.2 - 1), abs=0.05)
    assert cell(table, ("x265", "PSNR-Y"), "map:kl").value == pytest.approx(-25, abs=0.01)
    assert [r.heads for r in rdo_table(records, Question(network="judge", draws=5), psnr=False).rows] == [
        ("x265", "judge")
    ]


def two_clips() -> list[RunRecord]:
    records = []
    for clip, size, gain in (("a", 1.0, 0.8), ("b", 4.0, 0.6)):
        records += [*straight("jpeg", size, clip=clip), *straight("x265", size * gain, clip=clip)]
    return records


def test_inputs_have_their_own_numbers_their_mean_and_the_mean_curves():
    table = gains_by_input(two_clips(), FAST)
    assert table.columns == ("a", "b", "mean", "mean curve")
    values = [c.value for c in table.rows[0].cells]
    # Mean rates: 2.5 against (0.8 + 2.4) / 2 = 1.6.
    assert values == pytest.approx([-20, -40, -30, -36], abs=0.01)
    assert cell(table_v(two_clips(), FAST), "x265", "JPEG").value == pytest.approx(-30, abs=0.01)
    pooled = table_v(two_clips(), Question(across="pool", draws=5))
    assert cell(pooled, "x265", "JPEG").value == pytest.approx(-36, abs=0.01)
    assert "8 frames of 2 inputs as one clip" in pooled.note


def test_single_pictures_are_pooled_by_themselves():
    records = [
        r
        for clip in "abc"
        for r in (*straight("jpeg", clip=clip, frames=1), *straight("x265", 0.5, clip=clip, frames=1))
    ]
    table = table_v(records, FAST)
    assert "3 frames of 3 inputs as one clip" in table.note
    assert cell(table, "x265", "JPEG").value == pytest.approx(-50, abs=0.01)


def test_an_input_without_a_number_is_named_beside_the_mean_of_the_others():
    records = [*two_clips(), *straight("jpeg", clip="c", points=3), *straight("x265", clip="c", points=3, lift=0.25)]
    found = cell(gains_by_input(records, FAST), "x265", "mean")
    assert found.value == pytest.approx(-30, abs=0.01)
    assert found.reason.startswith("mean of 2 of 3 inputs; c: JPEG and x265 share 0.0 %")
    elsewhere = [*two_clips(), *straight("jm", clip="d")]
    found = cell(gains_by_input(elsewhere, FAST), "x265", "mean")
    assert found.reason == "mean of 2 of 3 inputs; not all that is compared has runs on d"
    table = table_v(elsewhere, FAST)
    assert table.text(cell(table, "JM", "x265"))[:5] == "none "
    assert cell(table, "JM", "x265").reason == "no input has runs of all that is compared"


def test_points_that_an_input_lacks_are_left_out_where_inputs_are_pooled():
    records = [*straight("jpeg", clip="a", frames=1), *straight("jpeg", clip="b", frames=1, points=3)]
    assert rd_curves(records)[Series("JPEG")].rates.size == 3


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (Question(metric="ap"), "metric 'ap'; expected one of miou_labels"),
        (Question(network="other"), "network 'other'; expected one of net"),
        (Question(metric="miou_pseudo"), "not every record has miou_pseudo of net"),
    ],
)
def test_questions_the_records_cannot_answer(ask, words):
    with pytest.raises(ConfigError, match=words):
        table_v(straight("jpeg"), ask)


def test_intervals_follow_the_frames():
    """One frame costs x265 more than JPEG, the others less: the interval spans both and holds the value."""
    jpeg = [record("jpeg", i, [1000 * 2**i] * 8, 0.4 + 0.1 * i) for i in range(5)]
    x265 = [record("x265", i, [3000 * 2**i, *[500 * 2**i] * 7], 0.4 + 0.1 * i) for i in range(5)]
    found = cell(table_v([*jpeg, *x265], Question(draws=200)), "x265", "JPEG")
    assert found.interval is not None
    assert found.interval[0] == pytest.approx(-50, abs=0.01)
    assert found.interval[0] < found.value < found.interval[1]
    assert found.value == pytest.approx(100 * (3 + 3.5) / 8 - 100)


def test_bits_at_equal_accuracy() -> None:
    records = [*straight("jpeg", 2.0), *straight("x265"), *straight("x265", 0.5, scale=0.5)]
    table = iso_table(records, FAST, (0.55, 0.75, 0.9))
    pixel = 1_000_000 / (WIDTH * HEIGHT)
    assert cell(table, "0.55", "JPEG").value == pytest.approx(2 * 2**1.5 * pixel, rel=1e-4)
    assert cell(table, "0.55", "x265*").value == pytest.approx(0.5 * 2**1.5 * pixel, rel=1e-4)
    assert cell(table, "0.75", "x265").value == pytest.approx(2**3.5 * pixel, rel=1e-4)
    beyond = cell(table, "0.9", "x265")
    assert beyond.value is None and "no rate at 0.9: the metric spans 0.4 to 0.8" in beyond.reason
    assert [row.heads for row in iso_table(records, FAST).rows] == [
        *(("0.467",), ("0.533",), ("0.6",), ("0.667",), ("0.733",))
    ]

"""Tables as text, CSV and JSON; the figure; the lossless anchor; ``mrdo tables``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console
from support.sweep_records import lossless, record, straight

from encoder_bridge.errors import ConfigError, CurveError
from rdo_metrics.accuracy import confusion, miou
from sweeps.analysis import Cell, Question, Row, SweepData, Table, table_ii, table_v, table_vi
from sweeps.analysis.figure import figure_2
from sweeps.analysis.lossless import lossless_record
from sweeps.arrayfile import write_frames
from sweeps.cli import cli
from sweeps.plan import InputFile
from sweeps.records import RunRecord, pack_confusion, unpack_confusion
from sweeps.store import ResultStore
from sweeps.workspace import Workspace

TABLE = Table(
    "t",
    "Title",
    ("a", "b"),
    ("x|y", "z"),
    (
        Row(("r", "1"), (Cell(-58.34, (-60.1, -56.04)), Cell(None, reason="too few points"))),
        Row(("r", "2"), (Cell(0.04), Cell(None))),
    ),
    "A note.",
)


def text_of(table: Table, width: int = 100) -> str:
    console = Console(width=width, no_color=True, highlight=False)
    with console.capture() as capture:
        console.print(table.console())
    return capture.get()


def test_console_shows_values_intervals_reasons_and_note() -> None:
    lines = [line.rstrip() for line in text_of(TABLE).splitlines()]
    assert lines[1] == "Title"
    assert next(line for line in lines if line.startswith("r  1")).split() == ["r", "1", "−58.3", "undefined", "¹"]
    assert "−60…−56" in "".join(lines)
    assert next(line for line in lines if line.startswith("r  2")).split() == ["r", "2", "0.0", "—"]
    assert lines[-2:] == ["A note.", "¹ too few points"]


def test_markdown_is_a_table_with_escaped_cells() -> None:
    lines = TABLE.markdown().splitlines()
    assert lines[0] == "**Title**"
    assert lines[2:6] == [
        "| a | b | x\\|y | z |",
        "| --- | --- | ---: | ---: |",
        "| r | 1 | −58.3 [−60.1, −56.0] | undefined ¹ |",
        "| r | 2 | 0.0 | — |",
    ]
    assert lines[7] == "A note." and lines[9] == "¹ too few points"


def test_csv_and_json_hold_unrounded_numbers_and_reasons() -> None:
    rows = list(csv.DictReader(io.StringIO(TABLE.csv())))
    assert rows[0] == {
        "a": "r",
        "b": "1",
        "x|y": "-58.34",
        "x|y low": "-60.1",
        "x|y high": "-56.04",
        "z": "",
        "z reason": "too few points",
    }
    data = json.loads(json.dumps(TABLE.to_json()))
    assert data["rows"][0]["cells"] == [
        {"value": -58.34, "interval": [-60.1, -56.04]},
        {"value": None, "interval": None, "reason": "too few points"},
    ]
    assert data["rows"][1]["cells"][1] == {"value": None, "interval": None}


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        Cell(float("nan"))
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        Table("t", "", ("a",), ("x", "y"), (Row(("r",), (Cell(1.0),)),))


def full_store() -> list[RunRecord]:
    return [
        *straight("jpeg", 2),
        *straight("jpeg", 1.5, scale=0.5, points=4),
        *straight("jpeg", 1.2, scale=0.5, gray=True, points=3),
        *straight("x265"),
        *straight("x265", 0.8, arm="map:kl"),
        lossless([64_000_000] * 4, 0.8),
    ]


def test_figure_two_draws_a_panel_an_encoder_and_one_of_all_hulls(tmp_path: Path) -> None:
    figure_2(full_store(), tmp_path / "f.png")
    picture = cv2.imread(str(tmp_path / "f.png"))
    assert picture is not None and picture.shape[1] > 2.5 * picture.shape[0]
    for colour in ((0x00, 0x72, 0xB2), (0x7A, 0x7A, 0x7A), (0xD5, 0x5E, 0x00)):
        close = np.abs(picture[..., ::-1].astype(int) - colour).max(axis=2) < 24
        assert close.sum() > 100, colour
    figure_2(full_store(), tmp_path / "f.svg", Question(metric="psnr_y"), arm="map:kl")
    assert "x265" in (tmp_path / "f.svg").read_text() or (tmp_path / "f.svg").stat().st_size > 5000
    with pytest.raises(CurveError, match="no rate-accuracy curve of arm ctu"):
        figure_2(full_store(), tmp_path / "g.png", arm="ctu")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.png", "f.svg"]


@pytest.fixture
def coded_pictures(tmp_path: Path) -> tuple[InputFile, SweepData, Path, np.ndarray, np.ndarray]:
    """Three small PNG, labels, a store's folder with the pseudo-GT of a network, and a run on them."""
    rng = np.random.default_rng(0)
    for name in ("pictures", "labels"):
        (tmp_path / name).mkdir()
    truth = rng.integers(0, 3, (3, 32, 64)).astype(np.uint8)
    for i in range(3):
        picture = cv2.resize(rng.integers(0, 256, (8, 16, 3)).astype(np.uint8), (64, 32))
        cv2.imwrite(str(tmp_path / "pictures" / f"{i}.png"), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        cv2.imwrite(str(tmp_path / "labels" / f"{i}.png"), truth[i])
    file = InputFile(str(tmp_path / "pictures"), "pictures", labels=str(tmp_path / "labels"))
    digest = file.open().digest()
    seen = np.where(rng.random(truth.shape) < 0.8, truth, 0).astype(np.uint8)
    write_frames(Workspace(tmp_path / "store").labels({"input": digest, "network": "0" * 64}), iter(seen))
    run = record("jpeg", 50, [8000] * 3, 0.5, clip=digest)
    one = pack_confusion(np.ones((3, 3, 3), np.int32))
    run = RunRecord(**{**vars(run), "confusion": {"net": {"pseudo": one, "labels": one}}})
    return file, SweepData([run]), tmp_path / "store", seen, truth


def test_the_lossless_record_has_the_files_sizes_and_the_accuracy_on_the_originals(coded_pictures) -> None:
    file, data, folder, seen, truth = coded_pictures
    made = lossless_record(data, file, [folder])
    sizes = [8 * path.stat().st_size for path in sorted(Path(file.path).iterdir())]
    assert made.frames == 3 and made.bits == sum(made.frame_bits)
    assert made.frame_bits == sizes
    found = unpack_confusion(made.confusion["net"]["labels"])
    assert found.sum(axis=0).tolist() == confusion(seen.ravel(), truth.ravel(), 3).tolist()
    assert miou(unpack_confusion(made.confusion["net"]["pseudo"]).sum(axis=0)) == 1
    data.add(made)
    ratio = table_vi(data, Question(draws=5), shares=(0.1,)).rows[0].cells[0]
    assert ratio.value == pytest.approx(made.bits / 24_000)


def test_the_lossless_record_needs_the_input_and_what_the_network_saw(coded_pictures, tmp_path: Path) -> None:
    file, data, folder, *_ = coded_pictures
    with pytest.raises(ConfigError, match="run the same sweep again"):
        lossless_record(data, file, [tmp_path / "empty"])
    with pytest.raises(ConfigError, match="no run of this input in the store"):
        lossless_record(SweepData(straight("jpeg")), file, [folder])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with ResultStore(tmp_path / "out") as made:
        for item in full_store():
            made.append(item)
    return tmp_path / "out"


def run(*arguments: object):
    return CliRunner().invoke(cli, ["tables", *map(str, arguments)])


def test_command_shows_and_writes_what_the_store_can_fill(store: Path, tmp_path: Path) -> None:
    result = run(store, "-o", tmp_path / "t", "--bootstrap", 20)
    assert result.exit_code == 0, result.output
    assert "Table V" in result.stdout and "Table VI" in result.stdout and "RDO" in result.stdout
    assert "Table VII" not in result.stdout
    names = {path.name for path in (tmp_path / "t").iterdir()}
    assert names == {
        "figure_2.png",
        *(f"{n}.{s}" for n in ("table_v", "table_vi", "rdo") for s in ("md", "csv", "json")),
    }
    again = json.loads((tmp_path / "t" / "table_v.json").read_text())
    assert again == json.loads(json.dumps(table_v(full_store(), Question(draws=20)).to_json()))


def test_inputs_without_a_common_curve_have_a_figure_each(tmp_path: Path) -> None:
    with ResultStore(tmp_path / "out") as made:
        for item in (*straight("jpeg", clip="a/b c"), *straight("x265", clip="d")):
            made.append(item)
    result = run(tmp_path / "out", "-o", tmp_path / "t", "--bootstrap", 0)
    assert result.exit_code == 0, result.output
    assert {p.name for p in (tmp_path / "t").glob("*.png")} == {"figure_2_a_b_c.png", "figure_2_d.png"}


def test_command_as_events(store: Path) -> None:
    result = run(
        store, "--json", "--bootstrap", 0, "--table", "v", "--table", "rdo", "--hull", "convex", "--bd-method", "vcm"
    )
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(e["event"], e["name"]) for e in events] == [("table", "table_v"), ("table", "rdo")]
    assert "convex hull" in events[0]["note"] and "method vcm" in events[0]["note"]
    assert events[1]["rows"][0]["cells"][1]["value"] == pytest.approx(-20, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 1, "no such store"),
        (["STORE", "--table", "vii"], 1, "encoder 'vtm' has no runs in the store"),
        (["STORE", "--network", "x"], 1, "network 'x'; expected one of net"),
        (["STORE", "--table", "ix"], 2, "is not one of"),
        (["STORE", "--png", "absent.png"], 1, "absent.png"),
    ],
)
def test_command_refuses_in_words(store: Path, arguments: list[str], code: int, words: str) -> None:

    given = [str(store) if word == "STORE" else word for word in arguments]
    result = run(*given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        assert code == 1 and words in str(result.exception)
    else:
        assert result.exit_code == code and words in result.output


def study_rows() -> list[dict[str, object]]:
    """PSNR and MS-SSIM at two levels, numbers of QoMEX 2023."""
    found = {
        ("psnr", "image"): (0.5807, 0.6992, 0.5065),
        ("psnr", "32"): (0.0036, 0.0008, 0.0003),
        ("ms-ssim", "image"): (0.6527, 0.6975, 0.5038),
        ("ms-ssim", "32"): (None, None, None),
    }
    names = ("plcc", "srocc", "krocc")
    return [
        {"network": "net", "level": level, "metric": metric, "kind": "quality", "count": 4096}
        | dict(zip(names, values, strict=True))
        | {
            f"{name}_ci": None if value is None else [value - 0.01, value + 0.01]
            for name, value in zip(names, values, strict=True)
        }
        for (metric, level), values in found.items()
    ]


def test_table_two_of_a_study(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"rows": study_rows()}))
    result = run("--study", tmp_path, "-o", tmp_path / "t")
    assert result.exit_code == 0, result.output
    table = table_ii(path)
    assert table.columns[:4] == ("image PLCC", "image SROCC", "image KROCC", "32×32 PLCC")
    assert table.text(table.rows[0].cells[1]) == "0.6992"
    assert table.rows[0].cells[1].interval == pytest.approx((0.6892, 0.7092))
    assert table.text(table.rows[1].cells[4]) == "NaN ¹" and len(table.reasons) == 1
    assert {p.name for p in (tmp_path / "t").iterdir()} == {"table_ii.md", "table_ii.csv", "table_ii.json"}
    with pytest.raises(ConfigError, match="network 'x'; expected one of net"):
        table_ii(path, "x")
    path.write_text("{}")
    with pytest.raises(ConfigError, match=r"expected the table\.json of mrdo metrics correlate"):
        table_ii(path)
    assert run().exit_code == 2

"""Heads, means, exports, merges and checks of stores, by library and by ``mrdo store``."""

import csv
import importlib.util
import json
import math
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from encoder_bridge.config import CandidateConfig, CodingConfig, MapConfig
from encoder_bridge.errors import ConfigError
from encoder_bridge.shell import run_cli
from sweeps.aggregate import means
from sweeps.cli import cli
from sweeps.heads import HeadReader, head_of
from sweeps.records import RunRecord
from sweeps.store import ResultStore
from sweeps.store_export import COLUMNS, export_store
from sweeps.store_merge import check_store, merge_stores

Mrdo = Callable[..., tuple[int, str, str]]


def record(key: str, bits: int = 1000, config: CodingConfig | None = None, **more: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "config": (config or CodingConfig(qp=30)).as_dict(),
        "input": {"digest": "d", "name": "a.y4m", "width": 64, "height": 48, "frames": 2, "fps": "25"},
        "build": {"name": "x265", "version": "3.5", "abi": 1, "patch": "p"},
        "models": {"net": "m1", "(labels)": "l"},
        "frames": 2,
        "bpp": bits / 6144,
        "encode_s": 0.5,
        "psnr": {"y": math.inf, "u": 40.5, "v": 41.0, "yuv": 39.0},
        "scores": {"net": {"agreement": 0.5, "miou_pseudo": 0.25, "miou_labels": None}},
        "frame_bits": [bits // 2] * 2,
        "frame_psnr": [38.0, math.inf],
        "confusion": {"net": {"pseudo": "i4z:..."}},
        "created": "2026-01-01T00:00:00+00:00",
    }
    return RunRecord(key=key, bits=bits, **{**fields, **more})


def failure(key: str, message: str = "no", **more: Any) -> RunRecord:
    given = {"config": CodingConfig(qp=30).as_dict(), "created": "2026-01-01T00:00:00+00:00"}
    return RunRecord(key=key, status="error", error={"type": "EncoderError", "message": message}, **{**given, **more})


def make(folder: Path, *records: RunRecord) -> ResultStore:
    with ResultStore(folder) as store:
        for item in records:
            store.append(item)
    return ResultStore(folder, read_only=True)


@pytest.fixture
def mrdo(capsys: pytest.CaptureFixture[str]) -> Mrdo:
    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        return run_cli(cli, ["store", *map(str, words)]), *capsys.readouterr()

    return run


TRICKY = (
    record("plain"),
    record("map", config=CodingConfig(qp=1, rdo="map", map=MapConfig(name='a"b,"input":{'))),
    record("extra", extra={"bytes": 5}),
    record("ctu", config=CodingConfig(crf=1.5, rdo="ctu", ctu=CandidateConfig(metric="sse"), extra=('x,"bits":1,',))),
    failure("failed", 'said ,"config":{"frame_bits":[1],"stream":"x"'),
    record("nan", bpp=math.nan, encode_s=math.inf),
    record("none", scores={}, psnr={}, stream='s,"stream":".hevc'),
)


@pytest.mark.parametrize("item", TRICKY, ids=lambda item: item.key)
def test_a_head_is_that_of_the_whole_record(item: RunRecord) -> None:
    line = item.to_json().encode() + b"\n"
    head, whole = HeadReader().read(line), head_of(RunRecord.from_json(line.decode()))
    assert str(head) == str(whole)  # NaN equals nothing
    measured = HeadReader().measured(line)
    assert str(measured) == str(type(measured)(*(getattr(whole, name) for name in measured._fields)))


def test_heads_and_records_agree(tmp_path: Path) -> None:
    store = make(tmp_path, *TRICKY, record("plain", bits=2000))
    assert {head.key: head.bits for head in store.heads()} == {r.key: r.bits for r in store}


def test_means_are_those_of_the_records(tmp_path: Path) -> None:
    chance = random.Random(1)
    configs = [CodingConfig(qp=qp, scale=scale) for qp in (20, 30) for scale in (0.5, 1.0)]
    items = [
        record(f"{n}", chance.randrange(1, 999), config, scores={"net": {"agreement": chance.random()}})
        for n, config in enumerate(configs * 9)
    ]
    rows = means(make(tmp_path, *items, failure("f")).measured())
    assert [json.dumps(row.config) for row in rows] == [json.dumps(config.as_dict()) for config in configs]
    for number, row in enumerate(rows):
        own = items[number::4]
        assert row.runs == 9 and row.failed == ((row.config["qp"], row.config["scale"]) == (30, 1.0))
        assert row.bits == sum(r.bits for r in own) / 9
        assert row.scores["net"]["agreement"] == pytest.approx(sum(r.scores["net"]["agreement"] for r in own) / 9)  # type: ignore[misc]


def test_a_measure_that_some_runs_lack_is_averaged_over_the_others(tmp_path: Path) -> None:
    items = (
        record("a", scores={"net": {"map": 0.5}}),
        record("b", scores={"net": {"map": None}}),
        record("c", scores={}),
    )
    (row,) = means(make(tmp_path, *items).measured())
    assert row.runs == 3 and row.scores == {"net": {"map": 0.5}}


EXPORTED = (record("a", 1000), record("b", 3000, CodingConfig(codec="jpeg", qp=50, gray=True)), failure("c", "why, \n"))


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix in (".sqlite", ".db"):
        database = sqlite3.connect(path)
        rows = database.execute("SELECT * FROM runs").fetchall()
        names = [column[1] for column in database.execute("PRAGMA table_info(runs)")]
        database.close()
        return [dict(zip(names, row, strict=True)) for row in rows]
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return [{k: v or None for k, v in row.items()} for row in csv.DictReader(file)]
    if path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow.parquet")
        return list(pyarrow.read_table(path).to_pylist())
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(path), read_only=True) as connection:
        table = connection.execute("SELECT * FROM runs")
        names = [column[0] for column in table.description]
        return [dict(zip(names, row, strict=True)) for row in table.fetchall()]


@pytest.mark.parametrize("suffix", [".sqlite", ".csv", ".parquet", ".duckdb"])
def test_export(suffix: str, tmp_path: Path) -> None:
    if suffix in (".parquet", ".duckdb"):
        pytest.importorskip("pyarrow")
    target = tmp_path / f"out{suffix}"
    assert export_store(make(tmp_path / "s", *EXPORTED), target) == 7
    rows = rows_of(target)
    assert list(rows[0]) == list(COLUMNS) and len(rows) == 7
    first = {str(row["measure"]): row for row in rows if row["key"] == "a"}
    assert set(first) == {"agreement", "miou_pseudo", "miou_labels"}
    assert float(first["agreement"]["value"]) == 0.5 and first["miou_labels"]["value"] is None
    assert int(first["agreement"]["bits"]) == 1000 and first["agreement"]["network_digest"] == "m1"
    assert math.isinf(float(first["agreement"]["psnr_y"]))
    assert {row["codec"] for row in rows if row["key"] == "b"} == {"jpeg"}
    (failed,) = [row for row in rows if row["key"] == "c"]
    assert failed["error_message"] == "why, \n" and failed["network"] is None
    assert json.loads(str(failed["config"]))["qp"] == 30
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("suffix", [".sqlite", ".parquet"])
def test_an_empty_store_is_an_empty_table(suffix: str, tmp_path: Path) -> None:
    store = make(tmp_path / "s", record("a"))
    store.path.write_bytes(b"")
    assert export_store(ResultStore(store.path, read_only=True), tmp_path / f"o{suffix}") == 0
    assert rows_of(tmp_path / f"o{suffix}") == []


def test_export_to_what_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected one of \.parquet"):
        export_store(make(tmp_path / "s"), tmp_path / "out.xlsx")


def test_export_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mrdo: Mrdo) -> None:
    make(tmp_path / "s", record("a"))
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "duckdb" else found(name))
    code, _, said = mrdo("export", tmp_path / "s", "-o", tmp_path / "x.duckdb")
    assert code == 1 and said.startswith("error: ToolNotFoundError") and "machine-rdo[query]" in said


@pytest.mark.parametrize(("target", "said"), [("x.foo", "suffix '.foo'"), ("no/x.csv", "does not exist")])
def test_what_cannot_be_exported_to_is_said_before_the_store_is_read(
    target: str, said: str, tmp_path: Path, mrdo: Mrdo
) -> None:
    make(tmp_path / "s", record("a"))
    code, _, told = mrdo("export", tmp_path / "s", "-o", tmp_path / target)
    assert code != 0 and told.startswith("error: ") and said in told


def test_merged_newest_wins_and_a_success_before_a_failure(tmp_path: Path) -> None:
    newer, older = "2026-02-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00"
    first = make(tmp_path / "1", record("both", 1000, created=newer), record("one"), record("fails", 7, created=older))
    second = make(tmp_path / "2", record("both", 1001, created=older), record("two"), failure("fails", created=newer))
    merged = merge_stores([first, second], tmp_path / "m")
    result = {r.key: r for r in ResultStore(tmp_path / "m")}
    assert set(result) == {"both", "one", "two", "fails"}
    assert result["both"].bits == 1000 and result["fails"].status == "ok"
    assert merged.records == 4 and merged.taken == [3, 1]
    assert [(c.key, c.bits, c.taken) for c in merged.conflicts] == [("both", (1000, 1001), 0)]
    again = merge_stores([second, first], tmp_path / "n")
    assert {r.key: r for r in ResultStore(tmp_path / "n")} == result
    assert again.conflicts[0].bits == (1001, 1000)


def test_merged_streams_come_along(tmp_path: Path) -> None:
    for name, key in (("1", "a"), ("2", "b")):
        (tmp_path / name / "streams").mkdir(parents=True)
        (tmp_path / name / f"streams/{key}.hevc").write_bytes(b"x" * 125)
        (tmp_path / name / f"streams/{key}.json").write_text("{}")
    first = make(tmp_path / "1", record("a", stream="streams/a.hevc"), record("gone", stream="streams/gone.hevc"))
    second = make(tmp_path / "2", record("b", stream="streams/b.hevc"))
    merged = merge_stores([first, second], tmp_path / "m")
    assert sorted(p.name for p in (tmp_path / "m" / "streams").iterdir()) == ["a.hevc", "a.json", "b.hevc", "b.json"]
    assert merged.streams == 2 and merged.missing == ["streams/gone.hevc"]
    result = ResultStore(tmp_path / "m")
    gone = result.get("gone")
    assert gone is not None and gone.stream is None
    assert check_store(result).sound


def test_a_merge_refuses_what_it_would_overwrite(tmp_path: Path, mrdo: Mrdo) -> None:
    make(tmp_path / "1", record("a"))
    code, _, said = mrdo("merge", tmp_path / "1", "-o", tmp_path / "1")
    assert code == 2 and "is there already" in said


def test_a_stream_outside_the_store_is_not_copied(tmp_path: Path, mrdo: Mrdo) -> None:
    make(tmp_path / "1", record("a", stream="../secret"))
    code, _, said = mrdo("merge", tmp_path / "1", "-o", tmp_path / "m")
    assert code == 1 and "below the store" in said
    assert not (tmp_path / "m" / "results.jsonl").exists()


def test_check_finds_everything(tmp_path: Path, mrdo: Mrdo) -> None:
    (tmp_path / "s" / "streams").mkdir(parents=True)
    (tmp_path / "s/streams/good.hevc").write_bytes(b"x" * 125)
    (tmp_path / "s/streams/short.hevc").write_bytes(b"x" * 100)
    items = [record(name, stream=f"streams/{name}.hevc") for name in ("good", "short", "gone")]
    store = make(tmp_path / "s", *items, record("twice"), record("twice"), failure("f"))
    with store.path.open("ab") as file:
        file.write(b"junk\n")
    found = check_store(ResultStore(tmp_path / "s", read_only=True))
    assert (found.records, found.failed, found.superseded) == (5, 1, 1)
    assert [line.number for line in found.damaged] == [7]
    assert found.missing == ["streams/gone.hevc"] and found.altered == ["streams/short.hevc"]
    code, out, said = mrdo("check", tmp_path / "s", "--json")
    assert code == 1 and "StoreError" in said
    result = next(json.loads(line) for line in out.splitlines() if '"result"' in line)
    assert result["sound"] is False and result["missing"] == 1


def test_commands_say_what_they_did(tmp_path: Path, mrdo: Mrdo) -> None:
    make(tmp_path / "s", *EXPORTED)
    code, out, _ = mrdo("means", tmp_path / "s")
    assert code == 0 and "QP 30" in out and "net agreement" in out
    code, out, _ = mrdo("means", tmp_path / "s", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [row["runs"] for row in rows if row["event"] == "mean"] == [1, 1]
    code, out, _ = mrdo("export", tmp_path / "s", "-o", tmp_path / "x.sqlite")
    assert code == 0 and "7 rows of 3 runs" in out
    assert mrdo("check", tmp_path / "s")[0] == 0
    code, _, said = mrdo("check", tmp_path / "nowhere")
    assert code == 2 and "no such store" in said

"""A large store's index: it spares reading, and is never believed against the store itself."""

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from encoder_bridge.errors import OutputError
from sweeps import store as store_module
from sweeps.records import RunRecord
from sweeps.store import ResultStore
from sweeps.store_index import Places, glance

INDEX = ".r.jsonl.index"


def record(key: str, bits: int = 1, **more: object) -> RunRecord:
    return RunRecord(key=key, bits=bits, frame_bits=list(range(40)), **more)  # type: ignore[arg-type]


def failed(key: str) -> RunRecord:
    return RunRecord(key=key, status="error", error={"type": "EncoderError", "message": 'said "no"'})


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of 300 records with an index, whatever its size."""
    monkeypatch.setattr(store_module, "WORTH_BYTES", 1)
    with ResultStore(tmp_path / "r.jsonl") as store:
        for number in range(300):
            store.append(record(f"k{number}", number))
        store.append(failed("bad"))
    assert (tmp_path / INDEX).is_file()
    return tmp_path / "r.jsonl"


def state(path: Path) -> list[tuple[str, int]]:
    return [(r.key, r.bits) for r in ResultStore(path, read_only=True)]


def parsed(path: Path) -> list[tuple[str, int]]:
    """As the file itself says, without the index."""
    newest = {}
    for line in path.read_text().splitlines():
        data = json.loads(line)
        newest[data["key"]] = data["bits"]
    return list(newest.items())


def uses_index(path: Path) -> bool:
    return Places.load(path.with_name(INDEX), path) is not None


def test_with_it_the_store_is_the_same(path: Path) -> None:
    assert uses_index(path)
    assert state(path) == parsed(path)
    store = ResultStore(path, read_only=True)
    assert store.ok("k3") is True and store.ok("bad") is False and store.ok("none") is None


def test_records_added_later_are_found(path: Path) -> None:
    index = path.with_name(INDEX).read_bytes()
    with ResultStore(path) as store:
        store.append(record("k7", 7000))
        store.append(record("new", 1))
    path.with_name(INDEX).write_bytes(index)  # as a killed writer would leave it
    assert uses_index(path)
    assert state(path) == parsed(path) and dict(state(path))["k7"] == 7000


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_store_cut_short_is_read_again(path: Path, cut: int) -> None:
    os.truncate(path, path.stat().st_size - cut)
    assert not uses_index(path)
    whole = path.read_text().splitlines()[: 300 if cut > 1 else 301]
    expected = [json.loads(line)["key"] for line in whole if line.endswith("}")]
    assert [key for key, _ in state(path)] == expected[: len(state(path))]


def test_a_line_deleted_by_hand_is_gone(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:5] + lines[6:]))
    assert "k5" not in dict(state(path)) and len(state(path)) == 300


def test_a_line_edited_in_place_counts(path: Path) -> None:
    time.sleep(0.01)
    text = path.read_text()
    path.write_text(text.replace('"bits":17,', '"bits":71,'))
    assert dict(state(path))["k17"] == 71


def test_lines_swapped_before_it_grew_are_found_when_read(path: Path) -> None:
    """An edit that the samples miss: what is read is not what was asked for, and the store is read again."""
    lines = path.read_text().splitlines(keepends=True)
    lines[1], lines[2] = lines[2].replace('"k2"', '"kB"'), lines[1]
    path.write_text("".join(lines))
    with path.open("a") as file:
        file.write(record("later").to_json() + "\n")
    assert dict(state(path)) == dict(parsed(path))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "other"])
def test_a_damaged_index_is_not_believed(path: Path, damage: str) -> None:
    index = path.with_name(INDEX)
    data = bytearray(index.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    made = {"cut": data[:-9], "flip": data, "empty": b"", "text": b"not json\n", "other": b'{"magic": "other"}\n'}
    index.write_bytes(made[damage])
    assert not uses_index(path)
    assert state(path) == parsed(path)


def test_a_copied_store_may_take_its_index_along(path: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name in (path.name, INDEX):
        shutil.copyfile(path.with_name(name), tmp_path / "there" / name)
    assert state(tmp_path / "there" / path.name) == state(path)


def test_a_reader_leaves_no_index(path: Path) -> None:
    path.with_name(INDEX).unlink()
    ResultStore(path)
    ResultStore(path, read_only=True).verify()
    assert not path.with_name(INDEX).exists()
    with ResultStore(path):
        pass
    assert uses_index(path)


def test_small_stores_have_none(tmp_path: Path) -> None:
    with ResultStore(tmp_path / "r.jsonl") as store:
        store.append(record("a"))
    assert [p.name for p in tmp_path.iterdir() if "index" in p.name] == []


def test_a_temporary_index_of_a_killed_writer_goes(path: Path) -> None:
    part = path.with_name(f"{INDEX}.part")
    part.write_bytes(b"half")
    with ResultStore(path):
        pass
    assert not part.exists()


def test_damaged_lines_stay_known(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\x00\x00\n")
    with ResultStore(path) as store:
        store.append(record("after"))
    assert uses_index(path)
    again = ResultStore(path, read_only=True)
    assert [line.number for line in again.damaged] == [302]


def test_a_record_damaged_inside_is_found_when_it_is_read(path: Path) -> None:
    text = path.read_text()
    place = text.index('"frame_bits"', text.index('"k40"'))
    path.write_text(text[: place + 15] + "#" + text[place + 16 :])
    store = ResultStore(path, read_only=True)
    assert "k40" in store and store.get("k40") is None
    assert "k40" not in store
    assert [line.number for line in store.damaged] == [41]
    assert len(list(store)) == 300


def test_a_glued_line_is_no_record(path: Path) -> None:
    """A torn line with a whole one behind it, as no writer of ours leaves."""
    good = record("glued").to_json()
    with path.open("a") as file:
        file.write(good[:30] + good + "\n")
    store = ResultStore(path, read_only=True)
    assert len(store) == 301 and len(store.damaged) == 1


def test_a_full_disk_costs_the_index_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sweeps.store_index.os.fsync", refuse)
    with path.open("ab") as file:
        file.write(record("more").to_json().encode() + b"\n")
    with ResultStore(path) as store:
        assert len(store) == 302
    assert not path.with_name(f"{INDEX}.part").exists()
    assert len(ResultStore(path)) == 302


def test_a_record_that_does_not_fit_the_disk(tmp_path: Path) -> None:
    import subprocess

    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        with ResultStore(folder) as store:
            with pytest.raises(OutputError, match="No space left"):
                for number in range(1000):
                    store.append(record(f"k{number}", number))
            stored = len(store)
        assert 10 < stored < 1000
        again = ResultStore(folder, read_only=True)
        assert [r.bits for r in again] == list(range(stored)) and again.damaged == []
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (record("a").to_json() + "\n", ("a", True)),
        (failed("b").to_json() + "\n", ("b", False)),
        (record("a").to_json(), None),
        (record('quote"').to_json() + "\n", None),
        (record("a", extra={"new": 1}).to_json() + "\n", None),
        ('{"key":"a","status":"odd",}\n', None),
    ],
)
def test_what_a_glance_tells(line: str, seen: tuple[str, bool] | None) -> None:
    assert glance(line.encode()) == seen


def test_random_stores_open_alike_with_and_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "WORTH_BYTES", 1)
    chance, path = random.Random(5), tmp_path / "r.jsonl"
    for _ in range(30):
        with ResultStore(path) as store:
            for _ in range(chance.randrange(5)):
                key = f"k{chance.randrange(20)}"
                store.append(failed(key) if chance.random() < 0.2 else record(key, chance.randrange(99)))
        if chance.random() < 0.3:
            with path.open("ab") as file:
                file.write(b'{"key":"torn","status":"ok","bi')
        with_index = ResultStore(path, read_only=True)
        full = ResultStore(path, read_only=True)
        full.verify()
        assert list(with_index) == list(full)
        assert [with_index.ok(f"k{n}") for n in range(20)] == [full.ok(f"k{n}") for n in range(20)]

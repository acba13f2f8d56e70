import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from encoder_bridge.errors import OutputError, StoreError
from sweeps.records import RunRecord
from sweeps.store import ResultStore

WRITER = """
import sys
from sweeps.records import RunRecord
from sweeps.store import ResultStore
with ResultStore(sys.argv[1]) as store:
    number = int(sys.argv[2])
    while True:
        store.append(RunRecord(key=f"k{number}", bits=number, frame_bits=list(range(number % 400))))
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
        number += 1
"""

VISITOR = """
import os, sys, time
from encoder_bridge.errors import BridgeError
from sweeps.store import ResultStore
visits, end = 0, time.monotonic() + 1
while time.monotonic() < end:
    try:
        with ResultStore(sys.argv[1]):
            os.close(os.open(sys.argv[2], os.O_CREAT | os.O_EXCL))
            os.unlink(sys.argv[2])
            visits += 1
    except BridgeError:
        pass
print(visits)
"""


def record(key: str, bits: int = 1) -> RunRecord:
    return RunRecord(key=key, bits=bits)


def test_appended_records_are_read_back(tmp_path: Path) -> None:
    with ResultStore(tmp_path / "r.jsonl") as store:
        store.append(record("a", 1))
        store.append(record("b", 2))
        assert store.get("b") == ResultStore(tmp_path / "r.jsonl").get("b")
    again = ResultStore(tmp_path / "r.jsonl", read_only=True)
    assert [r.bits for r in again] == [1, 2]
    assert len(again) == 2
    assert "a" in again
    assert again.get("c") is None


def test_newest_record_of_a_key_wins_and_keeps_its_place(tmp_path: Path) -> None:
    with ResultStore(tmp_path / "r.jsonl") as store:
        for key, bits in (("a", 1), ("b", 2), ("a", 3)):
            store.append(record(key, bits))
    again = ResultStore(tmp_path / "r.jsonl")
    assert [(r.key, r.bits) for r in again] == [("a", 3), ("b", 2)]


def test_a_folder_holds_the_default_name(tmp_path: Path) -> None:
    with ResultStore(tmp_path / "new" / "folder") as store:
        store.append(record("a"))
    assert (tmp_path / "new" / "folder" / "results.jsonl").exists()
    assert store.folder == tmp_path / "new" / "folder"


def test_torn_last_line_is_ignored_and_removed_before_the_next_append(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(record("a").to_json().encode() + b"\n" + b'{"key":"torn","bits":12')
    assert len(ResultStore(path)) == 1
    with ResultStore(path) as store:
        store.append(record("b"))
    lines = path.read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["a", "b"]


def test_last_line_that_only_lacks_its_newline_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(record("a").to_json())
    with ResultStore(path) as store:
        store.append(record("b"))
    assert [r.key for r in ResultStore(path)] == ["a", "b"]


@pytest.mark.parametrize(
    "junk", [b"\x00\x00\x00\n", b"not json\n", b'{"key": 3}\n', b'{"bits": 3}\n', b"\xff\xfe\n", b"[]\n"]
)
def test_damaged_middle_line_is_named_and_skipped(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(record("a").to_json().encode() + b"\n" + junk + record("b").to_json().encode() + b"\n")
    store = ResultStore(path)
    assert [r.key for r in store] == ["a", "b"]
    assert [line.number for line in store.damaged] == [2]
    assert f"{path}:2:" in str(store.damaged[0])


def test_a_reader_sees_what_a_writer_adds(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    reader = ResultStore(path, read_only=True)
    with ResultStore(path) as writer:
        writer.append(record("a"))
        assert len(reader) == 0
        reader.refresh()
        assert reader.get("a") == record("a") or reader.get("a").key == "a"  # type: ignore[union-attr]


def test_second_writer_is_told_who_holds_the_store(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), "0"], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(StoreError, match=f"process {process.pid} on "):
            ResultStore(path).append(record("a"))
    finally:
        process.kill()
        process.communicate()
    with ResultStore(path) as store:  # a dead writer's lock does not stay
        store.append(record("a"))


def test_lock_is_free_after_close(tmp_path: Path) -> None:
    with ResultStore(tmp_path) as first:
        first.append(record("a"))
    with ResultStore(tmp_path) as second:
        second.append(record("b"))
    assert len(ResultStore(tmp_path)) == 2
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith("holder")] == []


def test_a_store_that_writes_already_may_be_a_context(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.append(record("a"))
    with store:
        store.append(record("b"))
    assert len(ResultStore(tmp_path)) == 2


def test_without_a_record_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    for folder in (tmp_path / "old", tmp_path / "new" / "deep"):
        with ResultStore(folder):
            assert [p.name for p in folder.iterdir() if p.name.endswith("lock")]
    assert list(tmp_path.rglob("*")) == [tmp_path / "old"]


def test_locks_that_come_and_go_let_one_writer_in_at_a_time(tmp_path: Path) -> None:
    """Each leaves without a record, so that the lock itself is removed while others are about to take it."""
    words = [sys.executable, "-c", VISITOR, str(tmp_path / "s" / "r.jsonl"), str(tmp_path / "inside")]
    visitors = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    visits = [int(visitor.communicate(timeout=60)[0]) for visitor in visitors]
    assert all(visitor.returncode == 0 for visitor in visitors) and sum(visits) > 20
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_read_only_refuses_to_write(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="reading only"), ResultStore(tmp_path, read_only=True) as store:
        store.append(record("a"))
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    quiet = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with ResultStore(path) as store:
        store.append(record("a"))
        size = path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, before[1]))
        try:
            with pytest.raises(OutputError, match=r"r\.jsonl"):
                store.append(record("b"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, quiet)
        assert path.stat().st_size == size
        store.append(record("c"))
    assert [r.key for r in ResultStore(path)] == ["a", "c"]


@pytest.mark.parametrize("whole", [True, False], ids=["flushed", "half written"])
def test_an_interrupted_append_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """A reader that has seen a record never sees it go."""
    path, seen, write = tmp_path / "r.jsonl", [], os.write

    def interrupted(descriptor: int, *data: bytes) -> None:
        for text in data:
            write(descriptor, text[: len(text) // 2])
        seen.extend(r.key for r in ResultStore(path, read_only=True))
        os.kill(os.getpid(), signal.SIGINT)

    with ResultStore(path) as store:
        store.append(record("a"))
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(os, "fsync" if whole else "write", interrupted)
            store.append(record("b"))
        store.append(record("c"))
        assert [r.key for r in store] == [*seen, "c"]
    assert seen == (["a", "b"] if whole else ["a"])
    again = ResultStore(path, read_only=True)
    assert [r.key for r in again] == [*seen, "c"] and again.damaged == []


def test_a_file_in_the_way_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    with pytest.raises(OutputError, match="result store"):
        ResultStore(tmp_path / "plain" / "r.jsonl").append(record("a"))


@pytest.mark.slow
def test_killed_writer_loses_no_acknowledged_record(tmp_path: Path) -> None:
    path, chance = tmp_path / "r.jsonl", random.Random(7)
    acknowledged = -1
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(acknowledged + 1)],
            stdout=subprocess.PIPE,
            cwd=Path.cwd(),
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(chance.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        said = [first, *process.communicate()[0].splitlines(keepends=True)]
        acknowledged = max(int(line) for line in said if line.endswith(b"\n"))
    store = ResultStore(path)
    missing = [n for n in range(acknowledged + 1) if (r := store.get(f"k{n}")) is None or r.bits != n]
    assert missing == []
    assert acknowledged >= 20
    assert store.damaged == []

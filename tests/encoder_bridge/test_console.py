import json
import math
import os
import pty
import subprocess
import sys
import threading
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from rich.table import Table

from encoder_bridge import console
from encoder_bridge.console import Reporter, clock

REPO = Path(console.__file__).parents[1]


@dataclass
class Point:
    qp: int
    where: Path


def test_event_is_one_strict_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    Reporter(json=True).event(
        "point",
        bits=np.int64(5),
        psnr=np.float32("inf"),
        lost=math.nan,
        rows=np.arange(2),
        point=Point(3, Path("a/b")),
        fps=Fraction(1, 2),
        name="Ünï\ncode",
    )
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {
        "event": "point",
        "bits": 5,
        "psnr": None,
        "lost": None,
        "rows": [0, 1],
        "point": {"qp": 3, "where": "a/b"},
        "fps": 0.5,
        "name": "Ünï\ncode",
    }


def test_stdout_has_events_or_tables_never_both(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (True, False):
        reporter = Reporter(json=as_json)
        reporter.event("result", value=1)
        reporter.show("a [red]table[/]")
        reporter.note("a note")
        reporter.warn("a warning")
        with reporter.task("step", 2) as advance:
            advance(2)
        captured = capsys.readouterr()
        assert captured.out == ('{"event":"result","value":1}\n' if as_json else "a [red]table[/]\n")
        assert captured.err.splitlines()[:2] == ["a note", "warning: a warning"]
        assert captured.err.splitlines()[2].startswith("step: 2/2 in ")


def test_piped_table_is_never_folded(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("word", "number")
    table.add_row("w" * 300, "[bold]7[/]")
    Reporter().show(table)
    out = capsys.readouterr().out
    assert "w" * 300 in out
    assert "\x1b" not in out
    assert "bold" not in out


def test_plain_progress_is_throttled(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("encoder_bridge.console.time.monotonic", lambda: now[0])
    with Reporter().task("encode", 100) as advance:
        for _ in range(100):
            now[0] += 0.12
            advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "encode: 42/100 (42 %), 7.0 s left",
        "encode: 84/100 (84 %), 1.9 s left",
        "encode: 100/100 in 12 s",
    ]


def test_quick_nested_tasks_stay_silent(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    with reporter.task("all", 1) as outer:
        with reporter.task("part", None) as inner:
            inner(7)
        outer(1)
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["all"]


def test_failed_task_says_where_it_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with Reporter().task("encode", 10) as advance:
            advance(3)
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert "encode: stopped at 3/10" in capsys.readouterr().err


def test_events_from_threads_do_not_mix(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(json=True)

    def work(name: str) -> None:
        with reporter.task(name, 50) as advance:
            for number in range(50):
                reporter.event("point", name=name, number=number)
                advance(1)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted((e["name"], e["number"]) for e in events) == [(n, i) for n in "abcd" for i in range(50)]


def test_bar_with_eta_on_a_terminal() -> None:
    code = (
        "import time\nfrom encoder_bridge.console import Reporter\nr = Reporter()\n"
        "with r.task('outer', 2) as a:\n"
        "    with r.task('inner', 30) as b:\n"
        "        for _ in range(30): b(1); time.sleep(0.03)\n"
        "        r.show('to stdout'); r.note('a note')\n"
        "    a(2)\n"
    )
    text = run_on_terminal(code)
    assert "ETA" in text
    assert "━" in text
    assert "/30" in text
    assert "outer: 2/2 in" in text
    assert "a note" in text


def run_on_terminal(code: str) -> str:
    """What a program writes to a terminal as its stderr."""
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=follower, cwd=REPO, env=environment
    )
    os.close(follower)
    chunks = []
    try:
        while chunk := os.read(leader, 65536):
            chunks.append(chunk)
    except OSError:
        pass
    os.close(leader)
    assert process.communicate()[0] == b"to stdout\n"
    return b"".join(chunks).decode()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (42.4, "42 s"), (187, "3:07 min"), (7500, "2:05 h")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text

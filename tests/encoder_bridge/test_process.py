"""The pipe around an encoder: order, back-pressure and every way a process can go wrong."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from encoder_bridge.errors import EncoderError, EncoderTimeout, OutputError, PluginError, ToolNotFoundError
from encoder_bridge.process import run_piped


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_all_bytes_pass_in_order_through_a_slow_reader_of_stdin():
    chunks = [os.urandom(300_000) for _ in range(8)]
    copy = "import sys,shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
    sink = io.BytesIO()
    result = run_piped(_python(copy), chunks, sink)
    assert sink.getvalue() == b"".join(chunks)
    assert result.written == sum(map(len, chunks))


def test_feed_is_walked_only_as_fast_as_the_encoder_reads():
    taken = []

    def feed():
        for i in range(50):
            taken.append(i)
            yield bytes(1 << 20)

    first = "import sys,time; sys.stdin.buffer.read(1<<20); time.sleep(0.6); sys.stdin.buffer.read(49<<20)"
    timer = threading.Timer(0.5, lambda: early.append(len(taken)))
    early: list[int] = []
    timer.start()
    run_piped(_python(first), feed(), io.BytesIO())
    assert early and early[0] < 6


def test_missing_program_names_the_remedy():
    with pytest.raises(ToolNotFoundError, match="mrdo doctor"):
        run_piped(["/nonexistent/encoder"], [], io.BytesIO())


def test_failure_carries_command_status_and_the_tail_of_stderr():
    with pytest.raises(EncoderError, match=r"exited with status 3.*line 39") as caught:
        code = "import sys\nfor i in range(40): print('line', i, file=sys.stderr)\nsys.exit(3)"
        run_piped(_python(code), [], io.BytesIO())
    assert caught.value.stderr_tail[-1] == "line 39"
    assert "line 5" not in str(caught.value)


def test_a_killed_encoder_is_reported_with_its_signal():
    with pytest.raises(EncoderError, match=r"SIGKILL.*last words"):
        code = "import os,sys; print('last words', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)"
        run_piped(_python(code), [b"x" * (1 << 20)], io.BytesIO())


def test_an_encoder_that_stops_reading_fails_even_with_status_zero():
    with pytest.raises(EncoderError, match="before it had read all"):
        run_piped(_python("import sys; sys.stdin.buffer.read(10)"), iter([bytes(1 << 22)] * 4), io.BytesIO())


def test_a_hang_ends_in_a_timeout_and_a_dead_process():
    began = time.monotonic()
    with pytest.raises(EncoderTimeout, match="no progress"):
        run_piped(_python("import time; time.sleep(60)"), [b"x"], io.BytesIO(), timeout_s=1)
    assert time.monotonic() - began < 10


def test_signs_of_life_put_off_the_timeout():
    signs = iter(range(10**6))
    code = "import time; time.sleep(2.5)"
    run_piped(_python(code), [b""], io.BytesIO(), timeout_s=1, alive=lambda: next(signs))


def test_what_alive_raises_kills_the_encoder(tmp_path: Path):
    pid_file = tmp_path / "pid"
    code = f"import os,time,pathlib; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid())); time.sleep(60)"

    def alive() -> None:
        if pid_file.exists() and pid_file.read_text():
            raise PluginError("host gone")

    with pytest.raises(PluginError, match="host gone"):
        run_piped(_python(code), [b"x"], io.BytesIO(), alive=alive)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_full_sink_is_an_output_error():
    with Path("/dev/full").open("wb", buffering=0) as sink, pytest.raises(OutputError, match="No space left"):
        run_piped(_python("import sys; sys.stdout.buffer.write(bytes(1<<20))"), [], sink)


def test_children_of_the_encoder_die_with_it():
    code = (
        "import subprocess,sys,time; p=subprocess.Popen(['sleep','60']); "
        "print(p.pid, file=sys.stderr, flush=True); time.sleep(60)"
    )
    with pytest.raises(EncoderTimeout) as caught:
        run_piped(_python(code), [], io.BytesIO(), timeout_s=1.5)
    child = int(caught.value.stderr_tail[0])
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _runs(child):
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_interrupt_kills_the_encoder():
    threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_piped(_python("import time; time.sleep(60)"), [], io.BytesIO())
    assert time.monotonic() - began < 5

"""Run an encoder as a pipe: frames into stdin, stream out of stdout, every failure an error with the tail of stderr."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO

from encoder_bridge.errors import EncoderError, EncoderTimeout, OutputError, ToolNotFoundError

Buffer = bytes | bytearray | memoryview

_TICK_S = 0.25
_CHUNK = 1 << 18
GRACE_S = 2.0
"""Seconds between a fatal message and the end of our patience."""
_STDERR_KEPT = 1 << 16


@dataclass
class PipeResult:
    """What a finished encoder left: its stderr text, bytes written to the sink and wall seconds.

    Without a sink the text is all it said, on both outputs.
    """

    stderr: str
    written: int
    seconds: float


@dataclass
class _Pipe:
    """One encoder process while it runs."""

    process: subprocess.Popen[bytes]
    command: Sequence[str]
    feed: Iterator[Buffer]
    sink: BinaryIO | None
    alive: Callable[[], object]
    timeout_s: float
    fatal: Sequence[str] = ()
    stderr: bytearray = field(default_factory=bytearray)
    written: int = 0
    pending: memoryview | None = None
    fed_all: bool = False
    last_progress: float = field(default_factory=time.monotonic)
    last_sign: object = None

    def touch(self) -> None:
        self.last_progress = time.monotonic()


def run_piped(
    command: Sequence[str],
    feed: Iterable[Buffer],
    sink: BinaryIO | None,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 600.0,
    alive: Callable[[], object] = lambda: None,
    fatal: Sequence[str] = (),
) -> PipeResult:
    """Feed ``command`` on stdin and write its stdout to ``sink`` until it ends by itself.

    Args:
        command: program and arguments.
        feed: buffers for stdin, in order; walked lazily, so memory stays bounded.
        sink: receives stdout; None for a program that writes files, whose stdout holds messages as stderr does.
        env: variables added to this process's environment.
        cwd: its working folder; None is this process's own.
        timeout_s: kill after this many seconds without any sign of progress (input taken, output or
            messages written, or a changed ``alive()`` value).
        fatal: an encoder that has said one of these has failed; it gets ``GRACE_S`` to end by itself, for some
            hang instead.
        alive: called a few times a second; its value is a sign of progress, and what it raises stops the encoder.

    Raises:
        ToolNotFoundError: the program cannot be started.
        EncoderError: it ended with a status other than 0, or stopped reading its input.
        EncoderTimeout: it hung.
        OutputError: the sink is full or cannot be written.
    """
    started = time.monotonic()
    with _start(command, env, cwd) as process:
        pipe = _Pipe(process, command, iter(feed), sink, alive, timeout_s, fatal)
        try:
            _pump(pipe)
            returncode = _wait(pipe)
        finally:
            _kill(process)
    text = pipe.stderr.decode(errors="replace")
    if returncode != 0:
        raise EncoderError(command, returncode, text)
    if not pipe.fed_all:
        raise EncoderError(command, returncode, text, reason="ended before it had read all its input")
    return PipeResult(text, pipe.written, time.monotonic() - started)


def _start(command: Sequence[str], env: Mapping[str, str] | None, cwd: Path | None) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [*_leash(command[0]), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
            bufsize=0,
        )
    except (FileNotFoundError, PermissionError) as exc:
        raise ToolNotFoundError(f"cannot start {command[0]}: {exc.strerror}; run: mrdo doctor") from exc


def _leash(program: str) -> list[str]:
    """Words before a command that have the kernel kill it when this process is killed.

    Encoders that work on files would go on for hours: they have no pipe to miss us by.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None or shutil.which(program) is None:
        return []
    return [setpriv, "--pdeathsig", "KILL", "--"]


def _pump(pipe: _Pipe) -> None:
    """Move bytes until stdout and stderr are both closed."""
    with selectors.DefaultSelector() as selector:
        stdin, stdout, stderr = _streams(pipe.process)
        for stream in (stdin, stdout, stderr):
            os.set_blocking(stream.fileno(), False)
        selector.register(stdin, selectors.EVENT_WRITE, _write_stdin)
        selector.register(stdout, selectors.EVENT_READ, _read_stdout)
        selector.register(stderr, selectors.EVENT_READ, _read_stderr)
        while selector.get_map():
            for key, _ in selector.select(_TICK_S):
                if not key.data(pipe):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
            _check(pipe)
            if pipe.process.poll() is not None and not stdin.closed:
                selector.unregister(stdin)
                stdin.close()


def _streams(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    assert process.stdin and process.stdout and process.stderr
    return process.stdin, process.stdout, process.stderr


def _check(pipe: _Pipe) -> None:
    sign = pipe.alive()
    if sign != pipe.last_sign:
        pipe.last_sign = sign
        pipe.touch()
    silent = time.monotonic() - pipe.last_progress
    if silent > GRACE_S and pipe.process.poll() is None and _said_fatal(pipe):
        _kill(pipe.process)
        reason = "failed and hung, and was killed"
        raise EncoderError(pipe.command, -signal.SIGKILL, pipe.stderr.decode(errors="replace"), reason=reason)
    if silent > pipe.timeout_s:
        _kill(pipe.process)
        text = pipe.stderr.decode(errors="replace")
        reason = f"made no progress for {silent:.0f} s and was killed (--timeout {pipe.timeout_s:g})"
        raise EncoderTimeout(pipe.command, -signal.SIGKILL, text, reason=reason)


def _said_fatal(pipe: _Pipe) -> bool:
    return any(text.encode() in pipe.stderr for text in pipe.fatal)


def _write_stdin(pipe: _Pipe) -> bool:
    """Hand over what the encoder takes; False once everything is fed or the encoder closed its end."""
    if pipe.pending is None and not _refill(pipe):
        return False
    assert pipe.pending is not None
    stdin = _streams(pipe.process)[0]
    try:
        taken = os.write(stdin.fileno(), pipe.pending[:_CHUNK])
    except BlockingIOError:
        return True
    except BrokenPipeError:
        return False
    pipe.pending = pipe.pending[taken:] if taken < len(pipe.pending) else None
    pipe.touch()
    return True


def _refill(pipe: _Pipe) -> bool:
    for buffer in pipe.feed:
        pipe.pending = memoryview(buffer).cast("B")
        pipe.touch()
        if len(pipe.pending):
            return True
    pipe.fed_all, pipe.pending = True, None
    return False


def _read_stdout(pipe: _Pipe) -> bool:
    if pipe.sink is None:
        return _read_messages(pipe, _streams(pipe.process)[1])
    data = os.read(_streams(pipe.process)[1].fileno(), _CHUNK)
    if not data:
        return False
    try:
        pipe.sink.write(data)
    except OSError as exc:
        raise OutputError(f"cannot write the stream: {exc.strerror}") from exc
    pipe.written += len(data)
    pipe.touch()
    return True


def _read_stderr(pipe: _Pipe) -> bool:
    return _read_messages(pipe, _streams(pipe.process)[2])


def _read_messages(pipe: _Pipe, stream: IO[bytes]) -> bool:
    data = os.read(stream.fileno(), _CHUNK)
    pipe.stderr += data
    del pipe.stderr[:-_STDERR_KEPT]
    if data:
        pipe.touch()
    return bool(data)


def _wait(pipe: _Pipe) -> int:
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return pipe.process.wait(_TICK_S)
        _check(pipe)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group: an encoder must not outlive the command that started it."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

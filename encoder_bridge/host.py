"""The Python end of the plugin: one process' side information for an encoder that runs in another.

The main thread publishes what it knows of each frame, in any order, before it feeds the frame; an encoder thread that
begins a frame waits here until that is there. An exception on either side ends the encode: the plugin is told, the
encoder exits with status 86, and ``check`` raises the PluginError in the main thread.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

from encoder_bridge import wire
from encoder_bridge.encoder import Judge, SideInfo
from encoder_bridge.errors import ConfigError, PluginError
from encoder_bridge.judging import JudgeQueue, JudgeStats
from encoder_bridge.side import asks, checked_side
from encoder_bridge.wire import EncoderHello, FrameCall, FrameResult, Memory, Message

EXIT_STATUS = 86
"""Exit status of an encoder that stopped because of its plugin; its stderr then has a line ``mrdo: error: …``."""

_LONGEST_SOCKET_PATH = 100
_HEARTBEAT_S = 1.0


@dataclass(frozen=True)
class FrameRecord:
    """What the encoder did with one frame.

    Attributes:
        call: how the frame was begun.
        result: how it came out.
        wait_s: how long the encoder waited for its side information, in seconds.
        encoder: whose frame it is.
    """

    call: FrameCall
    result: FrameResult
    wait_s: float
    encoder: EncoderHello | None = None


@dataclass
class HostStats:
    """Counters of one host; times in seconds. ``judging`` is what level B cost."""

    encoders: list[EncoderHello] = field(default_factory=list)
    begun: int = 0
    ended: int = 0
    wait_s: float = 0.0
    longest_wait_s: float = 0.0
    most_published: int = 0
    judging: JudgeStats = field(default_factory=JudgeStats)


@runtime_checkable
class StatsListener(Protocol):
    """A judge that also has ``finished`` is told a host's counters once its encode has ended without an error."""

    def finished(self, stats: HostStats) -> None:
        """Called from the main thread."""


@dataclass(eq=False)
class _Connection:
    socket: socket.socket
    encoder: EncoderHello | None = None
    memory: Memory | None = None


class PluginHost:
    """Serves side information to the plugin of one encoder process. Use as a context manager.

    Args:
        plugin: the plugin's shared library (``BuildInfo`` of a hooked build has it beside the binary).
        quant_group: side of a quantisation group in luma samples (16, 32, 64), ``wire.GROUP_CTU`` for one a CTU, 0 for
            the encoder's default.
        wants_planes: have the encoder send the source samples of each frame.
        judge: answers for the candidates of level B, and hears of finished frames from a serving thread.
        wants_ctus: have the encoder say how each CTU came out (``FrameResult.ctus``).
        judge_timeout_s: a judge that takes longer over one batch has stalled; the encode then stops.
        silence_s: the plugin gives up when the host shows no sign of life for so long.
    """

    def __init__(
        self,
        plugin: Path,
        *,
        quant_group: int = 0,
        wants_planes: bool = False,
        judge: Judge | None = None,
        wants_ctus: bool = False,
        judge_timeout_s: float = 600.0,
        silence_s: float = 30.0,
    ) -> None:
        if quant_group not in (0, wire.GROUP_CTU, 16, 32, 64):
            raise ConfigError(f"quantisation group {quant_group}; expected 0, 16, 32 or 64")
        self.plugin = plugin
        self.stats = HostStats()
        flags = (wire.WANTS_PLANES if wants_planes else 0) | (wire.WANTS_CTUS if wants_ctus else 0)
        self._agreed = wire.HELLO_OK.pack(flags, quant_group)
        self._judge = judge
        self._judge_timeout_s = judge_timeout_s
        self._queue: JudgeQueue | None = None
        self._silence_s = silence_s
        self._state = threading.Condition()
        self._published: dict[int, bytes] = {}
        self._open_frames: dict[int, tuple[FrameCall, float]] = {}
        self._last_poc: int | None = None
        self._failure: BaseException | None = None
        self._closing = False
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._folder: Path | None = None
        self._listener: socket.socket | None = None

    # ---- the main thread's side ----

    def __enter__(self) -> PluginHost:
        self._folder = _private_folder()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self._folder / "s"))
        self._listener.listen(64)
        if self._judge is not None:
            self._queue = JudgeQueue(self._judge, self.fail, self._judge_timeout_s)
            self.stats.judging = self._queue.stats
        self._start(self._accept, self._listener)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is None and self._failure is None and isinstance(self._judge, StatsListener):
            self._judge.finished(self.stats)

    def env(self) -> dict[str, str]:
        """The variables that make an encoder load the plugin and find this host."""
        if self._folder is None:
            raise PluginError("the plugin host is not open; use it as a context manager")
        options = f"socket={self._folder / 's'};timeout={self._silence_s:g}"
        return {"MRDO_PLUGIN": str(self.plugin), "MRDO_PLUGIN_OPTIONS": options}

    def publish(self, poc: int, info: SideInfo | None) -> None:
        """Give the side information of frame ``poc`` (display order from 0); None says there is none.

        Raises ConfigError for arrays that no encoder could use, PluginError when the host has failed already.
        """
        side = checked_side(poc, info or SideInfo())
        if self._judge is None and asks(side):
            raise ConfigError(f"candidates of frame {poc}, but no judge to choose among them; give encode() a judge")
        payload = wire.pack_side(side)
        self.check()
        with self._state:
            if poc in self._published:
                raise PluginError(f"side information of frame {poc} was published twice")
            self._published[poc] = payload
            self.stats.most_published = max(self.stats.most_published, len(self._published))
            self._state.notify_all()

    def finish(self, frames: int) -> None:
        """Say how many frames there are: a frame at or after that number is then an error, not a wait."""
        with self._state:
            self._last_poc = frames - 1
            self._state.notify_all()

    def fail(self, error: BaseException) -> None:
        """Stop the encode: every call of the plugin, waiting or to come, is answered with this error."""
        with self._state:
            self._failure = self._failure or error
            self._state.notify_all()

    def check(self) -> None:
        """Raise PluginError when a serving thread, a handler or ``fail`` reported an error."""
        if self._failure is not None:
            if isinstance(self._failure, PluginError):
                raise self._failure
            raise PluginError(f"plugin host: {_describe(self._failure)}") from self._failure

    def progress(self) -> object:
        """A value that changes whenever the encode has gone on, or is rightly waiting for the judge."""
        judging = time.monotonic() if self._queue is not None and self._queue.busy else 0.0
        return self.stats.begun, self.stats.ended, self.stats.judging.calls, judging

    @property
    def waiting(self) -> list[int]:
        """Frames the encoder has begun and not ended."""
        with self._state:
            return sorted(self._open_frames)

    def close(self) -> None:
        """Close all connections and remove the socket; an encoder that still runs stops with an error."""
        with self._state:
            self._closing = True
            self._state.notify_all()
            sockets = list(self._connections) + ([self._listener] if self._listener else [])
        for open_socket in sockets:
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()
        if self._queue is not None:
            self._queue.close()
        for thread in self._threads:
            thread.join(timeout=5)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    # ---- the serving threads ----

    def _start(self, target: Callable[[socket.socket], None], connection: socket.socket) -> None:
        thread = threading.Thread(target=target, args=(connection,), name="mrdo-host", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._closing:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._state:
                self._connections.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connected: socket.socket) -> None:
        connection = _Connection(connected)
        try:
            with connected:
                while (message := wire.receive(connected)) is not None and message[0] is not Message.BYE:
                    self._answer(connection, *message)
        except OSError as error:
            if not self._closing and not _is_disconnect(error):
                self.fail(error)
        except Exception as error:  # whatever goes wrong here must stop the encode and reach the main thread
            self.fail(error)
        finally:
            with self._state:
                self._connections.discard(connected)

    def _answer(self, connection: _Connection, kind: Message, payload: bytes, passed: int | None) -> None:
        try:
            memory = None if passed is None else wire.map_memory(passed)
            answer = self._handle(connection, kind, payload, memory)
        except Exception as error:
            if isinstance(error, OSError) and _is_disconnect(error):
                raise
            self.fail(error)
            wire.send(connection.socket, Message.ERROR, _describe(error).encode()[:480])
            return
        finally:
            wire.close(passed)
        wire.send(connection.socket, *answer)

    def _handle(
        self, connection: _Connection, kind: Message, payload: bytes, memory: Memory | None
    ) -> tuple[Message, bytes]:
        if kind is Message.CHOOSE:
            connection.memory = memory or connection.memory
            return Message.CHOSEN, self._choose(connection, payload)
        if kind is Message.BEGIN:
            return Message.SIDE, self._begin(connection.socket, wire.unpack_begin(payload, memory))
        if kind is Message.END:
            self._end(wire.unpack_end(payload), connection.encoder)
            return Message.ACK, b""
        if kind is Message.HELLO:
            connection.encoder = hello = EncoderHello.unpack(payload)
            with self._state:
                if all(known.encoder_id != hello.encoder_id for known in self.stats.encoders):
                    self.stats.encoders.append(hello)
            return Message.HELLO_OK, self._agreed
        raise PluginError(f"message {kind!r} from the plugin; expected a request")

    def _begin(self, connection: socket.socket, call: FrameCall) -> bytes:
        start = time.monotonic()
        with self._state:
            self.stats.begun += 1
            self._open_frames[call.poc] = (call, 0.0)
        for _ in self._until_published(call.poc):
            wire.send(connection, Message.WAIT)
        waited = time.monotonic() - start
        with self._state:
            self._open_frames[call.poc] = (call, waited)
            self.stats.wait_s += waited
            self.stats.longest_wait_s = max(self.stats.longest_wait_s, waited)
            return self._published[call.poc]

    def _until_published(self, poc: int) -> Iterator[None]:
        """Yields about once a second until the frame is there; raises when it never will be."""
        beat = time.monotonic() + _HEARTBEAT_S
        while True:
            with self._state:
                self._state.wait_for(lambda: self._decided(poc), timeout=max(0.0, beat - time.monotonic()))
                self.check()
                if poc in self._published:
                    return
                if self._closing:
                    raise PluginError("the host was closed")
                if self._last_poc is not None and poc > self._last_poc:
                    raise PluginError(f"frame {poc} was begun, but the sequence has {self._last_poc + 1} frames")
            if time.monotonic() >= beat:
                beat += _HEARTBEAT_S
                yield

    def _decided(self, poc: int) -> bool:
        past_end = self._last_poc is not None and poc > self._last_poc
        return poc in self._published or past_end or self._closing or self._failure is not None

    def _end(self, result: FrameResult, encoder: EncoderHello | None) -> None:
        self.check()
        with self._state:
            self._published.pop(result.poc, None)
            call, waited = self._open_frames.pop(result.poc, (None, 0.0))
            self.stats.ended += 1
        if call is None:
            raise PluginError(f"frame {result.poc} ended without having begun")
        if self._judge is not None:
            self._judge.frame_done(FrameRecord(call, result, waited, encoder))

    def _choose(self, connection: _Connection, payload: bytes) -> bytes:
        self.check()
        if self._queue is None:
            raise PluginError("the encoder asked for a choice, but this host has no judge")
        ctu_size = connection.encoder.ctu_size if connection.encoder is not None else 64
        call = wire.unpack_choice(payload, connection.memory, ctu_size, self._frame)
        for answer in self._queue.ask(call):
            if answer is not None:
                return answer
            wire.send(connection.socket, Message.WAIT)
        raise AssertionError("unreachable: ask() ends with an answer or an error")

    def _frame(self, poc: int) -> FrameCall:
        with self._state:
            if poc not in self._open_frames:
                raise PluginError(f"a choice in frame {poc}, which was not begun")
            return self._open_frames[poc][0]


def _private_folder() -> Path:
    """A folder only this user can enter, with a path short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="mrdo-"))
    if len(os.fsencode(folder)) + 2 > _LONGEST_SOCKET_PATH:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="mrdo-", dir="/tmp"))
    return folder


def _is_disconnect(error: OSError) -> bool:
    return isinstance(error, (ConnectionError, BrokenPipeError)) or error.errno == 9


def _describe(error: BaseException) -> str:
    return str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from encoder_bridge import wire
from encoder_bridge.encoder import SideInfo
from encoder_bridge.errors import ConfigError, PluginError
from encoder_bridge.wire import ChoiceCall, EncoderHello, FrameCall, FrameResult, Message

EXIT_STATUS = 86
"""Exit status of an encoder that stopped because of its plugin; its stderr then has a line ``mrdo: error: …``."""

_LONGEST_SOCKET_PATH = 100
_HEARTBEAT_S = 1.0

ChooseHandler = Callable[[ChoiceCall], Sequence[float]]
FrameHandler = Callable[["FrameRecord"], None]


@dataclass(frozen=True)
class FrameRecord:
    """What the encoder did with one frame: the call, the result, and how long it waited for side information (s)."""

    call: FrameCall
    result: FrameResult
    wait_s: float


@dataclass
class HostStats:
    """Counters of one host; times in seconds."""

    encoders: list[EncoderHello] = field(default_factory=list)
    begun: int = 0
    ended: int = 0
    choices: int = 0
    wait_s: float = 0.0
    longest_wait_s: float = 0.0
    most_published: int = 0


class PluginHost:
    """Serves side information to the plugin of one encoder process. Use as a context manager.

    Args:
        plugin: the plugin's shared library (``BuildInfo`` of a hooked build has it beside the binary).
        quant_group: side of a quantisation group in luma samples (16, 32, 64), 0 for the encoder's default.
        wants_planes: have the encoder send the source samples of each frame.
        choose: judges the candidates of level B: one distortion in squared-error units per trial (lower is better).
        on_frame: called from a serving thread when the encoder has finished a frame.
        silence_s: the plugin gives up when the host shows no sign of life for so long.
    """

    def __init__(
        self,
        plugin: Path,
        *,
        quant_group: int = 0,
        wants_planes: bool = False,
        choose: ChooseHandler | None = None,
        on_frame: FrameHandler | None = None,
        silence_s: float = 30.0,
    ) -> None:
        if quant_group not in (0, 16, 32, 64):
            raise ConfigError(f"quantisation group {quant_group}; expected 0, 16, 32 or 64")
        self.plugin = plugin
        self.stats = HostStats()
        self._agreed = wire.HELLO_OK.pack(wire.WANTS_PLANES if wants_planes else 0, quant_group)
        self._choose = choose
        self._on_frame = on_frame
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
        self._start(self._accept, self._listener)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
        payload = wire.pack_side(_checked(poc, info or SideInfo()))
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

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                while (message := wire.receive(connection)) is not None and message[0] is not Message.BYE:
                    self._answer(connection, *message)
        except OSError as error:
            if not self._closing and not _is_disconnect(error):
                self.fail(error)
        except Exception as error:  # whatever goes wrong here must stop the encode and reach the main thread
            self.fail(error)
        finally:
            with self._state:
                self._connections.discard(connection)

    def _answer(self, connection: socket.socket, kind: Message, payload: bytes, memory: int | None) -> None:
        try:
            answer = self._handle(connection, kind, payload, memory)
        except OSError:
            raise
        except Exception as error:
            self.fail(error)
            wire.send(connection, Message.ERROR, _describe(error).encode()[:480])
            return
        finally:
            wire.close(memory)
        wire.send(connection, *answer)

    def _handle(
        self, connection: socket.socket, kind: Message, payload: bytes, memory: int | None
    ) -> tuple[Message, bytes]:
        if kind is Message.HELLO:
            with self._state:
                hello = EncoderHello.unpack(payload)
                if all(known.encoder_id != hello.encoder_id for known in self.stats.encoders):
                    self.stats.encoders.append(hello)
            return Message.HELLO_OK, self._agreed
        if kind is Message.BEGIN:
            return Message.SIDE, self._begin(connection, wire.unpack_begin(payload, memory))
        if kind is Message.END:
            self._end(wire.unpack_end(payload))
            return Message.ACK, b""
        if kind is Message.CHOOSE:
            return Message.CHOSEN, self._judge(wire.unpack_choice(payload, memory))
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

    def _end(self, result: FrameResult) -> None:
        self.check()
        with self._state:
            self._published.pop(result.poc, None)
            call, waited = self._open_frames.pop(result.poc, (None, 0.0))
            self.stats.ended += 1
        if call is None:
            raise PluginError(f"frame {result.poc} ended without having begun")
        if self._on_frame is not None:
            self._on_frame(FrameRecord(call, result, waited))

    def _judge(self, call: ChoiceCall) -> bytes:
        self.check()
        if self._choose is None:
            raise PluginError("the encoder asked for a choice, but this host has no choose handler")
        distortion: NDArray[np.float64] = np.asarray(self._choose(call), np.float64)
        if distortion.shape != (len(call.trials),) or not np.isfinite(distortion).all():
            raise PluginError(f"choose handler returned {distortion}; expected {len(call.trials)} finite distortions")
        with self._state:
            self.stats.choices += 1
        return distortion.tobytes()


def _private_folder() -> Path:
    """A folder only this user can enter, with a path short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="mrdo-"))
    if len(os.fsencode(folder)) + 2 > _LONGEST_SOCKET_PATH:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="mrdo-", dir="/tmp"))
    return folder


def _checked(poc: int, info: SideInfo) -> SideInfo:
    for name, values, low in (("weights", info.weight, True), ("QP offsets", info.qp_offset, False)):
        if values is None:
            continue
        if values.ndim != 2 or not values.size:
            raise ConfigError(f"{name} of frame {poc} have shape {values.shape}; expected (rows, columns)")
        if not np.isfinite(values).all() or (low and not (values > 0).all()):
            wanted = "finite positive" if low else "finite"
            raise ConfigError(f"{name} of frame {poc} hold {_worst(values, low)}; expected {wanted} numbers")
    if not info.lambda_scale > 0:
        raise ConfigError(f"lambda scale {info.lambda_scale} of frame {poc}; expected a positive number")
    return info


def _worst(values: NDArray[np.float32], positive: bool) -> float:
    bad = ~np.isfinite(values) | ((values <= 0) if positive else False)
    return float(values[bad][0])


def _is_disconnect(error: OSError) -> bool:
    return isinstance(error, (ConnectionError, BrokenPipeError)) or error.errno == 9


def _describe(error: BaseException) -> str:
    return str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"

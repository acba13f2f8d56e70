"""Messages between the shipped plugin and its host: the layouts of ``hook/mrdo_wire.h`` as struct formats."""

from __future__ import annotations

import mmap
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from encoder_bridge.encoder import SideInfo
from encoder_bridge.errors import PluginError
from encoder_bridge.frames import Plane

VERSION = 1
MAX_SIZE = 64 << 20
MAX_CANDIDATES = 16
WANTS_PLANES = 1

HEADER = struct.Struct("=IHH")
HELLO = struct.Struct("=8I2IQ32s64s")
HELLO_OK = struct.Struct("=II")
PLANE = struct.Struct("=4IQ")
BEGIN = struct.Struct("=qddiIII72s")
SIDE = struct.Struct("=6Id")
CANDIDATE = struct.Struct("=ff")
END = struct.Struct("=qQdiI")
CHOOSE = struct.Struct("=q6I")
TRIAL = struct.Struct("=ddII72s")


class Message(IntEnum):
    """Message types; requests come from the plugin, each has one answer (WAIT may precede it, ERROR replace it)."""

    HELLO = 1
    HELLO_OK = 2
    BEGIN = 3
    SIDE = 4
    END = 5
    ACK = 6
    CHOOSE = 7
    CHOSEN = 8
    WAIT = 9
    ERROR = 10
    BYE = 11


@dataclass(frozen=True)
class EncoderHello:
    """What an encoder says of itself when it connects."""

    width: int
    height: int
    chroma_format_idc: int
    bit_depth: int
    ctu_size: int
    min_cu_size: int
    fps_num: int
    fps_den: int
    pid: int
    encoder_id: int
    encoder: str
    version: str

    @classmethod
    def unpack(cls, payload: bytes) -> EncoderHello:
        """From a HELLO payload."""
        width, height, chroma, depth, ctu, min_cu, num, den, pid, _, encoder_id, name, version = HELLO.unpack(payload)
        return cls(
            width, height, chroma, depth, ctu, min_cu, num, den, pid, encoder_id, _text(name), _text(version)
        )  # fmt: skip


@dataclass(frozen=True)
class FrameCall:
    """One begin_frame call.

    Attributes:
        poc: display order from 0.
        slice_type: "I", "P" or "B".
        qp: QP of the frame as rate control gave it, before offsets.
        lambda_: λ of D + λR at that QP, D in squared error at the coding depth, R in bits.
        keyframe: a decoder can start here.
        planes: source samples at the coding depth, empty unless the host asked for them.
    """

    poc: int
    slice_type: str
    qp: float
    lambda_: float
    keyframe: bool
    planes: tuple[Plane, ...] = ()


@dataclass(frozen=True)
class FrameResult:
    """One end_frame call: what the frame cost, and its mean QP after all offsets."""

    poc: int
    slice_type: str
    bits: int
    mean_qp: float


@dataclass(frozen=True)
class Trial:
    """One candidate reconstruction of a rectangle: ``planes`` hold the rectangle alone."""

    candidate: int
    bits: float
    sse: float
    planes: tuple[Plane, ...]


@dataclass(frozen=True)
class ChoiceCall:
    """One choose call: a rectangle in luma samples and the K ways to code it."""

    poc: int
    x: int
    y: int
    width: int
    height: int
    trials: tuple[Trial, ...]


def send(connection: socket.socket, kind: Message, payload: bytes = b"") -> None:
    """One message."""
    connection.sendall(HEADER.pack(len(payload), kind, VERSION) + payload)


def receive(connection: socket.socket) -> tuple[Message, bytes, int | None] | None:
    """The next message with the file descriptor passed along, if any; None when the plugin has gone."""
    head, descriptors, _, _ = socket.recv_fds(connection, HEADER.size, 1)
    passed = descriptors[0] if descriptors else None
    try:
        head += _exactly(connection, HEADER.size - len(head)) if head else b""
        if not head:
            return None
        size, kind, version = HEADER.unpack(head)
        if version != VERSION or size > MAX_SIZE:
            raise PluginError(
                f"message version {version}, {size} bytes; expected version {VERSION}: rebuild the plugin"
            )
        message = Message(kind), _exactly(connection, size), passed
    except BaseException:
        close(passed)
        raise
    return message


def close(descriptor: int | None) -> None:
    """Close a passed file descriptor, if there is one."""
    if descriptor is not None:
        os.close(descriptor)


def pack_side(info: SideInfo, candidates: Sequence[tuple[float, float]] = ()) -> bytes:
    """A SIDE payload. candidates are (ΔQP, λ multiplier) pairs."""
    weight = _grid(info.weight)
    offset = _grid(info.qp_offset)
    head = SIDE.pack(
        weight.shape[1], weight.shape[0], offset.shape[1], offset.shape[0], len(candidates), 0, info.lambda_scale
    )
    return head + weight.tobytes() + offset.tobytes() + b"".join(CANDIDATE.pack(*c) for c in candidates)


def unpack_begin(payload: bytes, memory: int | None) -> FrameCall:
    """From a BEGIN payload and its memory file."""
    poc, qp, lambda_, slice_type, keyframe, count, _, planes = BEGIN.unpack(payload)
    return FrameCall(poc, "BPI"[slice_type], qp, lambda_, bool(keyframe), _planes(planes, count, memory))


def unpack_end(payload: bytes) -> FrameResult:
    """From an END payload."""
    poc, bits, qp, slice_type, _ = END.unpack(payload)
    return FrameResult(poc, "BPI"[slice_type], bits, qp)


def unpack_choice(payload: bytes, memory: int | None) -> ChoiceCall:
    """From a CHOOSE payload and its memory file."""
    poc, x, y, width, height, count, _ = CHOOSE.unpack_from(payload)
    trials = []
    for i in range(count):
        bits, sse, candidate, plane_count, planes = TRIAL.unpack_from(payload, CHOOSE.size + i * TRIAL.size)
        trials.append(Trial(candidate, bits, sse, _planes(planes, plane_count, memory)))
    return ChoiceCall(poc, x, y, width, height, tuple(trials))


def _planes(descriptions: bytes, count: int, memory: int | None) -> tuple[Plane, ...]:
    if not count or memory is None:
        return ()
    mapped = mmap.mmap(memory, 0, prot=mmap.PROT_READ)
    planes: list[Plane] = []
    for width, height, _, sample, offset in list(PLANE.iter_unpack(descriptions))[:count]:
        dtype = np.uint8 if sample == 1 else np.uint16
        planes.append(np.frombuffer(mapped, dtype, width * height, offset).reshape(height, width))
    return tuple(planes)


def _grid(values: Plane | None) -> Plane:
    return np.zeros((0, 0), np.float32) if values is None else np.ascontiguousarray(values, np.float32)


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            raise ConnectionResetError("the plugin went away in the middle of a message")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")

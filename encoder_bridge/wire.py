"""Messages between the shipped plugin and its host: the layouts of ``hook/mrdo_wire.h`` as struct formats."""

from __future__ import annotations

import mmap
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.encoder import SideInfo
from encoder_bridge.errors import PluginError
from encoder_bridge.frames import Plane

VERSION = 3
MAX_SIZE = 64 << 20
WANTS_PLANES = 1
WANTS_CTUS = 2
GROUP_CTU = 1
"""As the side of a quantisation group: one group a CTU."""

CTU_LEVEL, SPLIT_LEVEL = 0, 1
LEFT, ABOVE, ABOVE_LEFT, ABOVE_RIGHT = 1, 2, 4, 8

HEADER = struct.Struct("=IHH")
HELLO = struct.Struct("=8I2IQ32s64s")
HELLO_OK = struct.Struct("=II")
PLANE = struct.Struct("=4IQ")
BEGIN = struct.Struct("=qddiIII72s")
SIDE = struct.Struct("=10Id")
CANDIDATE = struct.Struct("=ffII")
END = struct.Struct("=qQdi3I")
CHOOSE = struct.Struct("=qQd8I")
TRIAL = struct.Struct("=dddII72s")
CTU = np.dtype([("candidate", np.uint32), ("bits", np.float32), ("qp", np.float32)])
"""How one CTU came out: the candidate kept, bits as the encoder's decisions estimated them, mean QP where shown."""

Memory = mmap.mmap
"""Planes shared with the plugin, read-only."""


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


@dataclass(frozen=True, eq=False)
class FrameResult:
    """One end_frame call.

    Attributes:
        poc: display order from 0.
        slice_type: "I", "P" or "B".
        bits: of the whole access unit.
        mean_qp: over the blocks, after all offsets.
        ctus: (CTU rows, CTU columns) array of ``CTU``; None unless the host asked for it.
    """

    poc: int
    slice_type: str
    bits: int
    mean_qp: float
    ctus: NDArray[np.void] | None = None


@dataclass(frozen=True, eq=False)
class Trial:
    """One candidate reconstruction of a rectangle.

    Attributes:
        candidate: index into the frame's candidates; at split level 0 for one piece, 1 for four.
        bits: R.
        sse: squared error of luma and chroma together, of the part that is shown.
        planes: the rectangle alone, before the loop filters. Views of shared memory, read-only and valid until the
            choice is answered: copy what is to be kept.
        rate_cost: λR, what the encoder adds to the trial's distortion.
    """

    candidate: int
    bits: float
    sse: float
    planes: tuple[Plane, ...]
    rate_cost: float = 0.0


@dataclass(frozen=True, eq=False)
class ChoiceCall:
    """One choose call: a rectangle in luma samples and the K ways to code it.

    Attributes:
        poc: display order of the frame.
        x, y, width, height: the rectangle.
        trials: the K ways.
        level: ``CTU_LEVEL`` or ``SPLIT_LEVEL`` (one CU, in one piece or in four).
        neighbours: which CTUs beside the rectangle's own are coded already: a sum of ``LEFT``, ``ABOVE``,
            ``ABOVE_LEFT`` and ``ABOVE_RIGHT``; the same in every run, whatever the threads.
        lambda_: λ of this rectangle.
        ctu_size: side of the frame's CTUs in luma samples.
        frame: the frame's own call.
        called_s: when the encoder called, on the clock of ``time.monotonic``.
    """

    poc: int
    x: int
    y: int
    width: int
    height: int
    trials: tuple[Trial, ...]
    level: int = CTU_LEVEL
    neighbours: int = 0
    lambda_: float = 0.0
    ctu_size: int = 64
    frame: FrameCall | None = None
    called_s: float = 0.0

    @property
    def shared_bytes(self) -> int:
        """Size of all reconstructions."""
        return sum(plane.nbytes for trial in self.trials for plane in trial.planes)


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


def map_memory(descriptor: int) -> Memory:
    """A mapping of the memory file; it lives as long as anything looks into it."""
    return mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)


def pack_side(info: SideInfo) -> bytes:
    """A SIDE payload."""
    weight, offset = _grid(info.weight), _grid(info.qp_offset)
    mask = np.zeros((0, 0), np.uint16) if info.candidate_mask is None else info.candidate_mask.astype(np.uint16)
    sizes = (size for grid in (weight, offset, mask) for size in grid.shape[::-1])
    head = SIDE.pack(*sizes, len(info.candidates), info.judge_splits, info.choose_by_sse, 0, info.lambda_scale)
    candidates = b"".join(CANDIDATE.pack(c.delta_qp, c.lambda_scale, c.min_cu, c.keep) for c in info.candidates)
    return head + weight.tobytes() + offset.tobytes() + candidates + mask.tobytes()


def unpack_begin(payload: bytes, memory: Memory | None) -> FrameCall:
    """From a BEGIN payload and its memory file."""
    poc, qp, lambda_, slice_type, keyframe, count, _, planes = BEGIN.unpack(payload)
    return FrameCall(poc, "BPI"[slice_type], qp, lambda_, bool(keyframe), _planes(planes, count, memory))


def unpack_end(payload: bytes) -> FrameResult:
    """From an END payload."""
    poc, bits, qp, slice_type, cols, rows, _ = END.unpack_from(payload)
    ctus = np.frombuffer(payload, CTU, cols * rows, END.size).reshape(rows, cols) if cols * rows else None
    return FrameResult(poc, "BPI"[slice_type], bits, qp, ctus)


def unpack_choice(
    payload: bytes, memory: Memory | None, ctu_size: int, begun: Callable[[int], FrameCall]
) -> ChoiceCall:
    """From a CHOOSE payload and the connection's memory; ``begun`` knows the call that began a frame."""
    poc, called_ns, lambda_, x, y, width, height, count, level, neighbours, _ = CHOOSE.unpack_from(payload)
    trials = []
    for i in range(count):
        bits, sse, rate_cost, candidate, plane_count, planes = TRIAL.unpack_from(payload, CHOOSE.size + i * TRIAL.size)
        trials.append(Trial(candidate, bits, sse, _planes(planes, plane_count, memory), rate_cost))
    return ChoiceCall(
        poc, x, y, width, height, tuple(trials), level, neighbours, lambda_, ctu_size, begun(poc), called_ns / 1e9
    )  # fmt: skip


def _planes(descriptions: bytes, count: int, memory: Memory | None) -> tuple[Plane, ...]:
    if not count:
        return ()
    if memory is None:
        raise PluginError(f"{count} planes from the plugin without their memory")
    planes: list[Plane] = []
    for i in range(count):
        width, height, _, sample, offset = PLANE.unpack_from(descriptions, i * PLANE.size)
        dtype = np.uint8 if sample == 1 else np.uint16
        planes.append(np.frombuffer(memory, dtype, width * height, offset).reshape(height, width))
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

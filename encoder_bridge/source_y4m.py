"""Frames of a y4m file, or of y4m on standard input spooled to disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO

from encoder_bridge.errors import DecodeError, OutputError
from encoder_bridge.frames import Frame, VideoFormat
from encoder_bridge.source_base import DEFAULT_FPS, BaseSource, SourceOptions, check_sample_range, resolve_colour
from encoder_bridge.source_raw import frame_bytes, read_planes
from encoder_bridge.y4m import FRAME_MAGIC, MAGIC, Y4mHeader, parse_header, read_line

_SPOOL_CHUNK = 1 << 20


class Y4mSource(BaseSource):
    """A y4m file; every frame's presence is checked when it is opened, without reading samples."""

    def __init__(self, path: Path, options: SourceOptions, name: str | None = None) -> None:
        name = name or str(path)
        self._path = path
        with path.open("rb") as file:
            header = parse_header(read_line(file, name), name)
            fmt, notes = _format_of(header, options)
            self._data_start = file.tell()
            count = _count_frames(file, frame_bytes(fmt), name)
        super().__init__(name, fmt, count, notes)

    def __iter__(self) -> Iterator[Frame]:
        """Frames in file order, ``pts`` = index / fps."""
        with self._path.open("rb") as file:
            file.seek(self._data_start)
            for index in range(self._frame_count or 0):
                _frame_header(file, index, self.name)
                where = f"{self.name}: frame {index}"
                planes = read_planes(file, self.format, where)
                check_sample_range(planes, self.format, where)
                yield Frame(planes, index, index / self.format.fps)


class SpooledSource(Y4mSource):
    """y4m from a pipe, kept in a temporary file that goes when the source does."""

    def __init__(self, stream: IO[bytes], options: SourceOptions, workdir: Path | None = None) -> None:
        self._spool = tempfile.NamedTemporaryFile(prefix="mrdo-stdin-", suffix=".y4m", dir=workdir)  # noqa: SIM115
        try:
            self._fill(stream)
            super().__init__(Path(self._spool.name), options, "standard input")
        except BaseException:
            self._spool.close()
            raise

    def _fill(self, stream: IO[bytes]) -> None:
        head = stream.read(len(MAGIC))
        if head != MAGIC:
            found = "nothing" if not head else f"{head!r}"
            raise DecodeError(f"standard input: expected y4m beginning with YUV4MPEG2, got {found}")
        try:
            self._spool.write(head)
            shutil.copyfileobj(stream, self._spool, _SPOOL_CHUNK)
            self._spool.flush()
        except OSError as error:
            raise OutputError(f"standard input could not be kept in {self._spool.name}: {error.strerror}") from error


def _format_of(header: Y4mHeader, options: SourceOptions) -> tuple[VideoFormat, list[str]]:
    matrix, range_, notes = resolve_colour(header.height, header.chroma, (None, header.range), options)
    fps: Fraction | None = options.fps or header.fps
    if fps is None:
        notes.append(f"frame rate not stated; {DEFAULT_FPS} assumed; set --fps")
    if header.interlaced:
        notes.append("interlaced: each frame is coded as one progressive picture; deinterlace first if that is wrong")
    fmt = VideoFormat(
        width=header.width,
        height=header.height,
        chroma=header.chroma,
        bit_depth=header.bit_depth,
        fps=fps or DEFAULT_FPS,
        matrix=matrix,
        range=range_,
        sar=header.sar or Fraction(1),
    )
    return fmt, notes


def _frame_header(file: IO[bytes], index: int, name: str) -> bool:
    line = read_line(file, f"{name}: frame {index}")
    if line and line.split(b" ")[0] != FRAME_MAGIC:
        raise DecodeError(f"{name}: frame {index} begins with {line[:16]!r}; expected FRAME; the file is damaged")
    return bool(line)


def _count_frames(file: IO[bytes], payload: int, name: str) -> int:
    size = os.fstat(file.fileno()).st_size
    count = 0
    while _frame_header(file, count, name):
        have = size - file.tell()
        if have < payload:
            raise DecodeError(f"{name}: frame {count} has {have} of {payload} bytes; the file is cut short")
        file.seek(payload, os.SEEK_CUR)
        count += 1
    if count == 0:
        raise DecodeError(f"{name}: zero frames; expected at least one")
    return count

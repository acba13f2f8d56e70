"""Encoders that read and write files instead of pipes: a temporary folder to work in, filled before they start."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from encoder_bridge.errors import OutputError
from encoder_bridge.process import Buffer


@dataclass(frozen=True)
class WorkFiles:
    """What a program finds in its working folder and leaves there.

    Attributes:
        folder: where it runs; whatever else it writes there goes with the folder.
        input: name of the file that takes what the feed makes.
        stream: name of the file it writes the stream to.
        prepare: called with the number of frames once all are there, for what a program wants to be told about them.
    """

    folder: Path
    input: str
    stream: str
    prepare: Callable[[int], None] = lambda frames: None

    def fill(self, buffers: Iterable[Buffer]) -> None:
        """Write the input file. Raises OutputError where the disk does not take it, and what ``buffers`` raises."""
        with (self.folder / self.input).open("wb") as file:
            for buffer in buffers:
                with _for_want_of_space(self.folder):
                    file.write(buffer)
            with _for_want_of_space(self.folder):
                file.flush()

    def written(self) -> int:
        """Bytes of the stream so far: a sign of life."""
        try:
            return (self.folder / self.stream).stat().st_size
        except FileNotFoundError:
            return 0

    def deliver(self, sink: BinaryIO) -> int:
        """Copy the finished stream; returns its bytes, 0 where there is none. Raises OutputError."""
        if not self.written():
            return 0
        with (self.folder / self.stream).open("rb") as stream:
            try:
                shutil.copyfileobj(stream, sink)
            except OSError as error:
                raise OutputError(f"cannot write the stream: {error.strerror}") from error
            return stream.tell()


@contextmanager
def work_folder(workdir: Path | None) -> Iterator[Path]:
    """A folder that is gone when the block ends, however it ends.

    Args:
        workdir: where it is made; None is the system's place for temporary files.

    Raises OutputError where there is no such place or nothing can be written there.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="mrdo-", dir=workdir)
    except OSError as error:
        place = workdir or tempfile.gettempdir()
        raise OutputError(f"{place}: no temporary folder: {error.strerror}; choose another --workdir") from error
    with folder as name:
        yield Path(name)


@contextmanager
def _for_want_of_space(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder}: cannot keep the frames: {error.strerror}; choose another --workdir") from error

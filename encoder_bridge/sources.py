"""One way in: any path, glob or pipe becomes a FrameSource. A new kind of input is one registered opener."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

from encoder_bridge.errors import ConfigError, DecodeError
from encoder_bridge.registry import Registry
from encoder_bridge.source_av import AvSource
from encoder_bridge.source_base import BaseSource, RawSpec, SourceOptions
from encoder_bridge.source_images import IMAGE_SUFFIXES, ImageSource, find_images
from encoder_bridge.source_raw import RawSource
from encoder_bridge.source_y4m import SpooledSource, Y4mSource
from encoder_bridge.y4m import MAGIC

__all__ = ["SOURCES", "BaseSource", "RawSpec", "SourceOptions", "SourceRequest", "open_source"]

RAW_SUFFIXES = (".yuv", ".raw", ".i420", ".yuv420", ".gray")
_SELF_DESCRIBING = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".y4m", ".ts", *IMAGE_SUFFIXES)


@dataclass(frozen=True)
class SourceRequest:
    """What is to be opened.

    Attributes:
        path: as the user wrote it; "-" is standard input.
        raw: geometry of a headerless file, None for all others.
        options: the user's word over the metadata.
        stdin: where "-" reads from.
        workdir: where standard input is kept; None is the system's place for temporary files.
    """

    path: str
    raw: RawSpec | None
    options: SourceOptions
    stdin: IO[bytes] | None = None
    workdir: Path | None = None


Opener = Callable[[SourceRequest], BaseSource | None]
SOURCES: Registry[Opener] = Registry("source")
"""Openers by name, tried in the order of registration; one answers None when the input is not of its kind."""


def open_source(
    path: str | os.PathLike[str],
    raw: RawSpec | None = None,
    fps: Fraction | None = None,
    *,
    matrix: str | None = None,
    range: str | None = None,
    chroma: str | None = None,
    bit_depth: int | None = None,
    stdin: IO[bytes] | None = None,
    workdir: Path | None = None,
) -> BaseSource:
    """The video at ``path``, re-iterable, one frame in memory at a time.

    Args:
        path: any file libav reads (mp4, mkv, …, .hevc, .264, .266), .y4m, a headerless file with ``raw``, a folder or
            glob of images, or "-" for y4m on standard input (kept in a temporary file, for it is walked twice).
        raw: size and sample format of a headerless file.
        fps: constant rate instead of the input's time stamps.
        matrix, range: instead of the input's colour tags. What neither states is assumed (bt709 from 720 lines on,
            else bt601; limited) and said in ``notes``.
        chroma, bit_depth: what RGB input becomes; default "420", 8. Other input is not converted: with it these must
            be what the input is.
        stdin: stands in for standard input.
        workdir: folder for temporary files.

    Raises:
        ConfigError: options that do not fit the input. DecodeError: input missing, damaged, empty or not supported.
    """
    options = SourceOptions(fps, matrix, range, chroma, bit_depth)
    request = SourceRequest(os.fspath(path), raw, options, stdin, workdir)
    try:
        source = _open(request)
    except OSError as error:
        if isinstance(error, (ConfigError, DecodeError)) or error.filename is None:
            raise
        raise DecodeError(f"{request.path}: {error.strerror}") from error
    _check_conversion(source, options)
    return source


def _open(request: SourceRequest) -> BaseSource:
    for opener in _openers():
        source = opener(request)
        if source is not None:
            return source
    raise DecodeError(f"{request.path}: not readable as video")


def _openers() -> list[Opener]:
    """Built-in openers in their order, third-party ones before the last (libav takes whatever is left)."""
    builtin = ["stdin", "images", "raw", "y4m"]
    others = [name for name in SOURCES.names() if name not in (*builtin, "libav")]
    return [SOURCES.get(name) for name in (*builtin, *others, "libav")]


@SOURCES.register("stdin")
def _open_stdin(request: SourceRequest) -> BaseSource | None:
    if request.path != "-":
        return None
    if request.raw is not None:
        raise ConfigError(
            "raw video on standard input; expected y4m, which carries its size: ffmpeg … -f yuv4mpegpipe -"
        )
    return SpooledSource(request.stdin or sys.stdin.buffer, request.options, request.workdir)


@SOURCES.register("images")
def _open_images(request: SourceRequest) -> BaseSource | None:
    path = Path(request.path)
    found = find_images(request.path)
    if found:
        _refuse_raw_spec(request)
        return ImageSource(found, request.options, request.path)
    if path.is_dir():
        raise DecodeError(f"{path}: folder without images; expected files ending in {' '.join(IMAGE_SUFFIXES)}")
    if not path.exists():
        what = "no image matches" if glob.has_magic(request.path) else "no such file or folder"
        raise DecodeError(f"{path}: {what}")
    if not path.is_file():
        raise DecodeError(f"{path}: not a regular file; for a pipe use - and y4m")
    if path.stat().st_size == 0:
        raise DecodeError(f"{path}: zero frames; the file is empty")
    return None


@SOURCES.register("raw")
def _open_raw(request: SourceRequest) -> BaseSource | None:
    path = Path(request.path)
    if request.raw is None:
        if path.suffix.lower() in RAW_SUFFIXES:
            raise ConfigError(f"{path}: headerless video; give --size WIDTHxHEIGHT (and --format, --fps)")
        return None
    if path.suffix.lower() in _SELF_DESCRIBING:
        _refuse_raw_spec(request)
    return RawSource(path, request.raw, request.options)


@SOURCES.register("y4m")
def _open_y4m(request: SourceRequest) -> BaseSource | None:
    path = Path(request.path)
    with path.open("rb") as file:
        is_y4m = file.read(len(MAGIC)) == MAGIC
    if not is_y4m and path.suffix.lower() != ".y4m":
        return None
    return Y4mSource(path, request.options)


@SOURCES.register("libav")
def _open_libav(request: SourceRequest) -> BaseSource | None:
    return AvSource(Path(request.path), request.options)


def _refuse_raw_spec(request: SourceRequest) -> None:
    if request.raw is not None:
        raise ConfigError(f"{request.path}: --size given for an input that carries its own; leave it out")


def _check_conversion(source: BaseSource, options: SourceOptions) -> None:
    fmt = source.format
    if options.chroma not in (None, fmt.chroma) or options.bit_depth not in (None, fmt.bit_depth):
        wanted = f"{options.chroma or fmt.chroma} {options.bit_depth or fmt.bit_depth} bit"
        raise ConfigError(f"{source.name}: is {fmt.chroma} {fmt.bit_depth} bit; only RGB is converted, not to {wanted}")

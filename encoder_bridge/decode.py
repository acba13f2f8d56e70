"""The independent decoder: any stream to frames by PyAV, frames to files, and what each picture costs."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2

from encoder_bridge.atomic import check_target, replacing, replacing_folder
from encoder_bridge.av_input import open_video
from encoder_bridge.color import planes_to_rgb
from encoder_bridge.errors import DecodeError, OutputError
from encoder_bridge.frames import Frame, FrameSource, VideoFormat
from encoder_bridge.source_av import AvSource
from encoder_bridge.source_base import BaseSource, SourceOptions
from encoder_bridge.y4m import y4m_frame, y4m_header


def decode_stream(
    path: Path,
    fps: Fraction | None = None,
    matrix: str | None = None,
    range: str | None = None,
) -> BaseSource:
    """Frames of a coded stream (bare or in a container, ours or any), decoded by libav.

    Args:
        path: ``.hevc``, ``.264``, ``.266``, mp4, mkv, ….
        fps, matrix, range: instead of what the stream says; see ``open_source``.

    Raises:
        DecodeError: missing, damaged, empty or not video.
    """
    path = Path(path)
    if not path.is_file():
        raise DecodeError(f"{path}: no such file")
    return AvSource(path, SourceOptions(fps, matrix, range))


def picture_bytes(path: Path) -> list[int]:
    """Bytes of each coded picture, in display order; parameter sets count with the picture they precede."""
    sizes, order = coding_order(path)
    return [sizes[k] for k in order]


def coding_order(path: Path) -> tuple[list[int], list[int]]:
    """Bytes of each picture in coding order, and the place in that order of each picture shown.

    Pictures are decoded once: their display order is the decoder's word, not a guess from time stamps.

    Raises:
        DecodeError: damaged stream, or coded pictures that are never shown.
    """
    sizes: list[int] = []
    order: list[int] = []
    with open_video(Path(path)) as (container, stream):
        stream.thread_type = "AUTO"
        for packet in container.demux(stream):
            if packet.size:
                packet.pts = len(sizes)
                packet.dts = None
                sizes.append(packet.size)
            order.extend(int(picture.pts) for picture in packet.decode() if picture.pts is not None)
    if sorted(order) != [*builtins.range(len(sizes))]:
        raise DecodeError(f"{path}: {len(order)} of {len(sizes)} coded pictures are shown; the stream is damaged")
    return sizes, order


def write_video(source: FrameSource, path: Path, advance: Callable[[int], None] | None = None) -> int:
    """Write frames as ``.y4m``, headerless ``.yuv``, or a folder of PNG files (a path without suffix).

    Args:
        source: the video; its time stamps are not kept by any of these.
        path: target; appears only when complete. A folder must be new or empty.
        advance: called with 1 after each frame.

    Returns:
        Frames written.

    Raises:
        OutputError: unknown suffix, folder missing or read-only, disk full.
    """
    path = Path(path)
    check_video_target(path)
    if _is_folder(path):
        with replacing_folder(path) as folder:
            return _each(source, lambda frame: _write_png(frame, source.format, folder), advance)
    with replacing(path) as temporary, temporary.open("wb") as file:
        skip = 1 if path.suffix.lower() == ".yuv" else 0
        if not skip:
            file.write(y4m_header(source.format))
        return _each(source, lambda frame: file.writelines(y4m_frame(frame)[skip:]), advance)


def check_video_target(path: Path) -> None:
    """OutputError unless ``write_video`` could begin to write ``path`` now."""
    if not _is_folder(path) and path.suffix.lower() not in (".y4m", ".yuv"):
        raise OutputError(f"{path}: unknown kind {path.suffix!r}; expected .y4m, .yuv or a folder for PNG files")
    check_target(path, directory=_is_folder(path))


def _is_folder(path: Path) -> bool:
    return path.suffix == "" or path.is_dir()


def _each(source: FrameSource, write: Callable[[Frame], None], advance: Callable[[int], None] | None) -> int:
    count = 0
    for frame in source:
        write(frame)
        count += 1
        if advance is not None:
            advance(1)
    return count


def _write_png(frame: Frame, fmt: VideoFormat, folder: Path) -> None:
    done, data = cv2.imencode(".png", planes_to_rgb(frame.planes, fmt)[..., ::-1])
    if not done:
        raise OutputError(f"{folder}: frame {frame.index} could not be coded as PNG")
    (folder / f"frame_{frame.index:06d}.png").write_bytes(data.tobytes())

"""Peak memory of `mrdo encode` beside the encoder's own, on a long 1080p video made on the spot.

    python benchmarks/memory.py --frames 600

The clip is streamed into `mrdo encode` as Y4M on standard input, so the benchmark itself holds one frame.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import click
import numpy as np

from encoder_bridge.frames import Frame, VideoFormat
from encoder_bridge.y4m import y4m_frame, y4m_header


@click.command()
@click.option("--frames", default=600, show_default=True)
@click.option("--size", default="1920x1080", show_default=True)
@click.option("--interval", default=30, show_default=True, help="--map-interval: a map for every Nth frame.")
@click.option("--preset", default="ultrafast", show_default=True)
@click.option("--gop", default="lowdelay", show_default=True)
def main(frames: int, size: str, interval: int, preset: str, gop: str) -> None:
    """Encode and print the peak resident memory of mrdo and of its encoder, in MB."""
    width, height = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mp4"
        command = [sys.executable, "-m", "sweeps.cli", "encode", "-", "-o", str(out), "--gop", gop]
        command += ["--preset", preset, "--qp", "32", "--map-interval", str(interval), "--workdir", folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            peaks = {"mrdo": 0.0, "encoder": 0.0}
            watcher = threading.Thread(target=_watch, args=(process.pid, peaks), daemon=True)
            watcher.start()
            _feed(process, VideoFormat(width, height), frames)
            process.wait()
        if process.returncode:
            raise click.ClickException(f"mrdo encode ended with status {process.returncode}")
        click.echo(f"{frames} frames of {size}: peak mrdo {peaks['mrdo']:.0f} MB, encoder {peaks['encoder']:.0f} MB")


def _feed(process: subprocess.Popen[bytes], fmt: VideoFormat, count: int) -> None:
    assert process.stdin is not None
    process.stdin.write(y4m_header(fmt))
    for frame in _pictures(fmt, count):
        for part in y4m_frame(frame):
            process.stdin.write(part)
    process.stdin.close()


def _pictures(fmt: VideoFormat, count: int) -> Iterator[Frame]:
    """A textured field that moves two samples a frame."""
    rng = np.random.default_rng(0)
    (height, width), chroma, _ = fmt.plane_shapes
    field = rng.integers(16, 235, (height // 8 + 1, width // 4 + 1), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    flat = np.full(chroma, 128, np.uint8)
    for index in range(count):
        x = 2 * index % (field.shape[1] - width + 1)
        yield Frame((np.ascontiguousarray(field[:height, x : x + width]), flat, flat), index, Fraction(index, 30))


def _watch(pid: int, peaks: dict[str, float]) -> None:
    while Path(f"/proc/{pid}").exists():
        peaks["mrdo"] = max(peaks["mrdo"], _peak_mb(pid))
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in _words(children):
                peaks["encoder"] = max(peaks["encoder"], _peak_mb(int(child)))
        time.sleep(0.2)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _peak_mb(pid: int) -> float:
    words = _words(Path(f"/proc/{pid}/status"))
    return int(words[words.index("VmHWM:") + 1]) / 1024 if "VmHWM:" in words else 0.0


if __name__ == "__main__":
    main()

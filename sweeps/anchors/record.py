"""Records an anchor on the embedded clip: ``python -m sweeps.anchors.record vtm --gop intra``.

Needs the program (``MRDO_VTM``, …). Writes ``NAME-VERSION-GOP.json`` and the folder of its streams.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from encoder_bridge.atomic import replacing, replacing_folder
from encoder_bridge.config import GOPS, CodingConfig, RunOptions
from encoder_bridge.console import Reporter
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoder import BuildInfo
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.frames import FrameSource
from encoder_bridge.shell import run_cli
from models.task_model import TaskModel
from sweeps.anchors.clip import EMBEDDED, embedded_clip, samples_digest
from sweeps.anchors.recorded import FORMAT
from sweeps.anchors.resolve import anchor_config, build_name
from sweeps.coding import Coder
from sweeps.labels import OwnLabels
from sweeps.run_one import Job, run_one
from sweeps.workspace import Workspace

QPS = (32, 37, 42, 47)
_started: list[tuple[list[str], dict[str, str]]] = []


@click.command()
@click.argument("codec")
@click.option("--gop", type=click.Choice(GOPS), default="intra", show_default=True)
@click.option("--qps", default=",".join(map(str, QPS)), show_default=True)
@click.option("--timeout", default=3600.0, show_default=True, help="Seconds a program may be silent.")
@click.option("-o", "--output", default=str(Path(__file__).parent), type=click.Path(path_type=Path, file_okay=False))
def main(codec: str, gop: str, qps: str, timeout: float, output: Path) -> None:
    """Code the embedded clip with CODEC at each QP, score it with the shipped networks, and keep it all in OUTPUT."""
    clip = embedded_clip()
    configs = [anchor_config(codec, CodingConfig(codec=codec, gop=gop, qp=0), int(qp)) for qp in qps.split(",")]
    build = ENCODERS.get(codec)().build_info(configs[0])
    name = f"{build_name(build.key())}-{gop}"
    _note_commands()
    with tempfile.TemporaryDirectory() as folder:
        coder = Coder(Workspace(Path(folder)), RunOptions(timeout_s=timeout), Reporter())
        points = [_point(config, clip, coder, Path(folder)) for config in configs]
        _copy_streams(points, Path(folder), output / name)
    data = {**_head(build, configs[0], clip), "points": [{k: v for k, v in p.items() if k != "path"} for p in points]}
    with replacing(output / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _head(build: BuildInfo, config: CodingConfig, clip: FrameSource) -> dict[str, Any]:
    """What the points have in common."""
    fmt = clip.format
    return {
        "format": FORMAT,
        "name": build_name(build.key()),
        "build": {"name": build.name, "version": build.version},
        "decoder": ENCODERS.get(config.codec).codec,
        "coding": {key: value for key, value in config.as_dict().items() if key not in ("qp", "map", "ctu")},
        "input": {
            **{"name": EMBEDDED, "width": fmt.width, "height": fmt.height, "frames": clip.frame_count},
            **{"chroma": fmt.chroma, "bit_depth": fmt.bit_depth, "fps": str(fmt.fps), "samples": samples_digest(clip)},
        },
        "models": {network.name: network.digest() for network in _networks()},
        "recorded": time.strftime("%Y-%m-%d"),
    }


def _point(config: CodingConfig, clip: Any, coder: Coder, folder: Path) -> dict[str, Any]:
    _started.clear()
    record = run_one(Job(clip, "embedded clip", config, _networks(), OwnLabels(clip)), coder)
    assert record.stream is not None
    path = folder / record.stream
    command, written = max(_started, key=lambda started: len(started[0]))
    return {
        "qp": config.qp,
        "path": record.stream,
        "stream": f"qp{config.qp}{path.suffix}",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "decoded": samples_digest(decode_stream(path)),
        "bits": record.bits,
        "frames": record.frames,
        "frame_bits": record.frame_bits,
        "psnr": {key: round(value, 4) for key, value in record.psnr.items()},
        "scores": record.scores,
        "command": [_bare(word) for word in command],
        "files": written,
    }


def _networks() -> list[TaskModel]:
    from models import default_model_path, judge_model_path

    return [TaskModel(path) for path in (default_model_path(), judge_model_path())]


def _copy_streams(points: Sequence[dict[str, Any]], source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    with replacing_folder(target) as streams:
        for point in points:
            shutil.copy(source / point["path"], streams / point["stream"])


def _note_commands() -> None:
    """Take note of every program that is started: what is recorded is what ran, whatever the driver says."""

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            words = [str(word) for word in arguments[1]]
            _started.append((words, _written_for(words, Path(arguments[2] or "."))))

    sys.addaudithook(note)


def _written_for(words: Sequence[str], folder: Path) -> dict[str, str]:
    """Configuration that a driver wrote for a program, by file name; of the program's own files the SHA-256."""
    found = {}
    for word in words:
        if word.endswith(".cfg") and (folder / word).is_file():
            text = (folder / word).read_text(encoding="utf-8", errors="replace")
            own = Path(word).is_absolute()
            found[Path(word).name] = hashlib.sha256(text.encode()).hexdigest() if own else text
    return found


def _bare(word: str) -> str:
    """A word of a command without folders, which differ from machine to machine."""
    option, equals, value = word.partition("=")
    if equals and value.startswith("/"):
        return f"{option}={Path(value).name}"
    return Path(word).name if word.startswith("/") and not word.startswith("/dev/") else word


if __name__ == "__main__":
    sys.exit(run_cli(main))

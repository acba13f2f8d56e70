"""Video multi-method assessment fusion, by the program ``vmaf`` or an FFmpeg that was built with libvmaf.

The program is the one that ``MRDO_VMAF`` names, else ``vmaf`` or ``ffmpeg`` on the PATH, else that of the package
imageio-ffmpeg.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np

from encoder_bridge.errors import DeviceError, EncoderError, MetricInputError, ToolNotFoundError
from encoder_bridge.frames import Frame, Plane, VideoFormat
from encoder_bridge.y4m import y4m_frame, y4m_header
from rdo_metrics.iqa.base import IQA_METRICS, Collector, IqaMetric, MetricInfo, Pictures, Scores, check_pictures

VARIABLE = "MRDO_VMAF"
MODEL = "vmaf_v0.6.1"
_ORIGINAL, _CODED, _LOG = "original.y4m", "coded.y4m", "vmaf.json"
_ADVICE = (
    "VMAF needs the program vmaf or an ffmpeg with libvmaf, which Debian's lacks; run: pip install imageio-ffmpeg; "
    f"or put one on the PATH, or name it in {VARIABLE}"
)


@dataclass(frozen=True)
class VmafTool:
    """A program that computes VMAF; ``ffmpeg`` says which command line it takes."""

    path: str
    ffmpeg: bool

    def command(self, original: str, coded: str, log: str) -> list[str]:
        """Command line for two y4m files and the JSON it writes; plain names, to be run in their folder."""
        if self.ffmpeg:
            graph = f"libvmaf=log_fmt=json:log_path={log}:model=version={MODEL}:n_threads={_threads()}"
            quiet = ("-hide_banner", "-nostdin", "-v", "error")
            return [self.path, *quiet, "-i", coded, "-i", original, "-lavfi", graph, "-f", "null", "-"]
        inputs = ("--reference", original, "--distorted", coded, "--model", f"version={MODEL}")
        return [self.path, *inputs, "--json", "--output", log, "--threads", str(_threads()), "--quiet"]


@IQA_METRICS.register("vmaf")
class Vmaf(IqaMetric):
    """VMAF v0.6.1 of each frame, from luma. Higher is better; equal frames score 97 to 100, by how much they move.

    Not among the metrics of seed 000. Runs on the CPU alone: "cuda" is a DeviceError.
    """

    info = MetricInfo(
        name="vmaf",
        title="VMAF",
        range=(0.0, 100.0),
        higher_is_better=True,
        min_side=32,
        color="luma",
        paper="Li et al., Toward a practical perceptual video quality metric, 2016",
        equation="support vector regression of VIF at four scales, detail loss and motion",
        identity=None,
        video=True,
    )

    def __init__(self, device: str = "cpu", weights: Path | None = None) -> None:
        super().__init__(device, weights)
        if device != "cpu":
            raise DeviceError(f"device {device!r} for vmaf; expected cpu, its program knows no other")
        self.tool = find_vmaf()

    def collector(self, bit_depth: int = 8) -> Collector:
        """See ``IqaMetric.collector``; the frames wait in files."""
        return _VideoCollector(self, bit_depth)

    @classmethod
    def missing(cls, weights: Path | None = None) -> str | None:
        """See ``IqaMetric.missing``."""
        try:
            find_vmaf()
        except ToolNotFoundError as error:
            return str(error)
        return None

    def _scores(self, originals: Pictures, coded: Pictures, bit_depth: int) -> Scores:
        with _VideoCollector(self, bit_depth) as collector:
            for original, decoded in zip(originals, coded, strict=True):
                collector.add(original, decoded)
            return collector.result()


class _VideoCollector(Collector):
    """Writes both videos as y4m and has the program compare them."""

    def __init__(self, metric: Vmaf, bit_depth: int) -> None:
        super().__init__(metric, bit_depth)
        self._tool, self._shapes = metric.tool, list[tuple[int, ...]]()
        self._folder = tempfile.TemporaryDirectory(prefix="mrdo-vmaf-")
        self._files: list[IO[bytes]] = []

    def add(self, original: Plane, coded: Plane) -> None:
        """See ``Collector.add``."""
        check_pictures(original[None], coded[None], self.bit_depth)
        if self._shapes and original.shape != self._shapes[0]:
            raise MetricInputError(f"a frame {original.shape} after frames {self._shapes[0]}; expected one size")
        height, width = original.shape
        fmt = VideoFormat(width, height, "420", self.bit_depth)
        if not self._files:
            self._files = [(Path(self._folder.name) / name).open("wb") for name in (_ORIGINAL, _CODED)]
            for file in self._files:
                file.write(y4m_header(fmt))
        flat = np.full(fmt.plane_shapes[1], 1 << (self.bit_depth - 1), fmt.dtype)
        for file, plane in zip(self._files, (original, coded), strict=True):
            for part in y4m_frame(Frame((plane, flat, flat), len(self._shapes), Fraction(0))):
                file.write(part)
        self._shapes.append(original.shape)

    def result(self) -> Scores:
        """See ``Collector.result``. Raises EncoderError where the program fails."""
        count = len(self._shapes)
        if not count or min(self._shapes[0]) < self.metric.info.min_side:
            return np.full(count, np.nan)
        for file in self._files:
            file.flush()
        command = self._tool.command(_ORIGINAL, _CODED, _LOG)
        done = subprocess.run(command, cwd=self._folder.name, capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise EncoderError(command, done.returncode, done.stderr or done.stdout)
        frames = json.loads((Path(self._folder.name) / _LOG).read_text())["frames"]
        if len(frames) != count:
            raise EncoderError(command, 0, done.stderr, f"scored {len(frames)} of {count} frames")
        return np.clip([float(frame["metrics"]["vmaf"]) for frame in frames], *self.metric.info.range)

    def close(self) -> None:
        """See ``Collector.close``."""
        for file in self._files:
            file.close()
        self._folder.cleanup()


def find_vmaf() -> VmafTool:
    """The program to use. Raises ToolNotFoundError where there is none, or the one named has no VMAF."""
    named = os.environ.get(VARIABLE)
    if named:
        path = shutil.which(named)
        tool = None if path is None else _tool(path)
        if tool is None:
            raise ToolNotFoundError(f"{VARIABLE}={named}: no program with VMAF; {_ADVICE}")
        return tool
    for path in (shutil.which("vmaf"), shutil.which("ffmpeg"), _packaged()):
        tool = None if path is None else _tool(path)
        if tool is not None:
            return tool
    raise ToolNotFoundError(_ADVICE)


def _packaged() -> str | None:
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        return None
    try:
        return str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except RuntimeError:  # a package without its program
        return None


@lru_cache(maxsize=8)
def _tool(path: str) -> VmafTool | None:
    if Path(path).name.startswith("vmaf"):
        return VmafTool(path, ffmpeg=False)
    try:
        done = subprocess.run([path, "-hide_banner", "-filters"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return VmafTool(path, ffmpeg=True) if " libvmaf " in done.stdout else None


def _threads() -> int:
    return min(4, os.cpu_count() or 1)

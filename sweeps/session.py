"""From command-line options to the objects a command works with."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

from encoder_bridge.config import CodingConfig
from encoder_bridge.console import Reporter
from encoder_bridge.encoder import pads
from encoder_bridge.errors import ConfigError, ModelError, OutputError
from encoder_bridge.frames import Frame, FrameSource, VideoFormat
from encoder_bridge.padding import padded_format
from encoder_bridge.sources import RAW_SUFFIXES, open_source
from encoder_bridge.transform import slice_source
from models import default_model_path
from models.metadata import ModelOptions
from models.model_set import SetModel
from models.task_model import TaskModel
from sweeps.anchors.clip import EMBEDDED, embedded_clip
from sweeps.inspection import check_inspection_target
from sweeps.judges import JudgeMaker, needs_driver
from sweeps.labels import LabelFolder, LabelledVideo, LabelSource, OwnLabels
from sweeps.maps import MapMaker
from sweeps.options import Options, raw_spec, run_opts, source_options

_MODEL_FLAGS = ("layout", "color_order", "input_range", "mean", "std", "classes")


def open_input(options: Options, reporter: Reporter, name: str = "input") -> FrameSource:
    """The video of an option set; what had to be assumed about it is said once. "embedded" is the embedded clip."""
    if options[name] == EMBEDDED and not Path(EMBEDDED).exists():
        return embedded_clip(options["frames"])
    raw, stated = raw_spec(options), source_options(options)
    source = open_source(
        options[name],
        raw=raw,
        fps=stated.fps,
        matrix=stated.matrix,
        range=stated.range,
        chroma=None if raw else stated.chroma,
        bit_depth=None if raw else stated.bit_depth,
        workdir=run_opts(options).workdir,
    )
    for note in getattr(source, "notes", ()):
        reporter.warn(note)
    return slice_source(source, 0, options["frames"]) if options["frames"] else source


def open_test(options: Options, reporter: Reporter) -> FrameSource:
    """The second video of ``mrdo score``; INPUT's geometry is its own only if it is headerless too."""
    own = dict.fromkeys(("size", "format", "fps", "matrix", "range"))
    headerless = Path(options["test"]).suffix.lower() in RAW_SUFFIXES
    return open_input({**options, **({} if headerless else own), "input": options["test"]}, reporter)


def refuse_same_file(source: str, output: Path) -> None:
    """ConfigError where the output would replace the input."""
    if Path(source).exists() and output.exists() and output.samefile(source):
        raise ConfigError(f"{output}: is the input as well; give another output")


def note_padding(fmt: VideoFormat, config: CodingConfig, reporter: Reporter) -> None:
    """Say that an odd size is coded one sample larger."""
    padded = padded_format(fmt)
    if config.scale == 1 and not config.gray and padded is not fmt and pads(config.codec):
        reporter.warn(
            f"{fmt.width}x{fmt.height} cannot be coded in {fmt.chroma}: the stream is {padded.width}x{padded.height}, "
            "its last column or row repeated"
        )


def model_options_of(options: Options) -> ModelOptions:
    """What the flags say about the driving network."""
    return ModelOptions(
        layout=options["layout"],
        color=options["color_order"],
        range=options["input_range"],
        mean=options["mean"],
        std=options["std"],
        classes=options["classes"],
    )


def driver(options: Options) -> TaskModel:
    """The network that drives: ``--model`` with its flags, or the embedded one."""
    if options["model"] is None:
        stated = [f"--{name.replace('_', '-')}" for name in _MODEL_FLAGS if options[name] is not None]
        if stated and not options.get("judge"):
            raise ConfigError(f"{', '.join(stated)} without --model; the embedded network describes itself")
        return TaskModel(default_model_path(), device=options["device"])
    return TaskModel(Path(options["model"]), device=options["device"], options=model_options_of(options))


def judges(options: Options, driving: TaskModel, gray: bool = False) -> list[TaskModel | SetModel]:
    """The driving network first, then those that only judge; a folder is a set with a network a configuration.

    ``gray`` says that the video has no chroma, which such a set has networks of its own for.

    The flags are for the driving network; a judge is read with them only where its file does not describe itself.
    Raises ConfigError where two have the same name.
    """
    networks = [driving, *(_judge(Path(path), options, gray) for path in options["judge"])]
    names = [network.name for network in networks]
    if len(set(names)) != len(names):
        raise ConfigError(f"networks named {', '.join(names)}; expected different file names")
    return networks


def _judge(path: Path, options: Options, gray: bool) -> TaskModel | SetModel:
    if path.is_dir():
        return SetModel(path, gray=gray, device=options["device"])
    try:
        return TaskModel(path, device=options["device"])
    except ModelError:
        return TaskModel(path, device=options["device"], options=model_options_of(options))


def labels_of(options: Options, source: FrameSource) -> LabelSource | None:
    """The label images of ``--labels``, as many as the video has frames; without it those it brings along, if any."""
    if options["labels"] is None:
        return OwnLabels(cast(LabelledVideo, source)) if hasattr(source, "labels") else None
    folder, frames = LabelFolder(Path(options["labels"]), options["frames"]), source.frame_count
    if frames is not None and len(folder) != frames:
        raise ConfigError(f"--labels {options['labels']}: {len(folder)} label images for {frames} frames")
    return folder


def asks_driver(config: CodingConfig) -> bool:
    """Whether a configuration can be coded only with a network's opinion."""
    for_map = config.map is not None and not config.map.name.endswith(".npy")
    return for_map or (config.ctu is not None and needs_driver(config.ctu))


def inspection_folder(options: Options, config: CodingConfig) -> Path | None:
    """The folder of ``--inspect``; ConfigError or OutputError where nothing could be written there."""
    if options["inspect"] is None:
        return None
    if config.rdo == "psnr":
        raise ConfigError(
            "--inspect with --rdo psnr; expected --rdo map, ctu or map+ctu: a plain encoder tells nothing"
        )
    folder = Path(options["inspect"])
    check_inspection_target(folder)
    return folder


def judge_maker(options: Options, driving: TaskModel | None, config: CodingConfig) -> JudgeMaker | None:
    """The maker of judges of candidates; None without candidates. Says now what would fail later."""
    if config.ctu is None:
        return None
    maker = JudgeMaker(driving, options["device"])
    maker.prepare(config.ctu)
    return maker


def map_maker(options: Options, driving: TaskModel | None, config: CodingConfig) -> MapMaker | None:
    """The maker of the maps a configuration asks for; None without a map. Says now what would fail later."""
    if config.map is None:
        return None
    maker = MapMaker(driving, options["device"])
    maker.prepare(config.map)
    return maker


@contextlib.contextmanager
def scratch(options: Options) -> Iterator[Path]:
    """A folder for the time of a command, in ``--workdir`` or the system's temporary folder."""
    workdir = run_opts(options).workdir
    try:
        temporary = tempfile.TemporaryDirectory(prefix="mrdo-", dir=workdir)
    except OSError as error:
        where = f"--workdir {workdir}" if workdir is not None else "temporary folder"
        raise OutputError(f"{where}: {error.strerror}; give --workdir DIR, a folder to write in") from error
    with temporary as folder:
        yield Path(folder)


class Once:
    """A source for one command: remembers the times it handed out, and is named by its place, not by its samples.

    Hashing every sample would decode the whole video once more for a workspace that is thrown away.
    """

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self.pts: list[Fraction] = []

    @property
    def format(self) -> VideoFormat:
        """Format of every frame."""
        return self._source.format

    @property
    def frame_count(self) -> int | None:
        """Number of frames: exact after the first walk."""
        return len(self.pts) or self._source.frame_count

    def __iter__(self) -> Iterator[Frame]:
        """Frames of the source."""
        pts: list[Fraction] = []
        for frame in self._source:
            pts.append(frame.pts)
            yield frame
        self.pts = pts

    def digest(self) -> str:
        """A name for this object alone."""
        return f"once-{id(self)}"


def describe_input(source: FrameSource, name: Any) -> str:
    """One line: name, geometry, depth, rate."""
    fmt = source.format
    count = f", {source.frame_count} frames" if source.frame_count is not None else ""
    rate = f"{float(fmt.fps):.4g} fps"
    return f"{name}: {fmt.width}x{fmt.height} {fmt.chroma} {fmt.bit_depth} bit, {fmt.matrix} {fmt.range}, {rate}{count}"

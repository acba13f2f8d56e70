"""Options shared by the commands, and the values they become.

A command takes them as decorators and passes its keyword arguments on to the builders::

    @command("encode")
    @input_options
    @coding_options()
    @map_options
    @model_options
    @run_options
    def encode(**options): config = coding_config(options) ...
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from encoder_bridge.config import GOPS, RDO_MODES, CandidateConfig, CodingConfig, MapConfig, RunOptions
from encoder_bridge.console import Reporter
from encoder_bridge.encoder import default_preset_of, quality_of
from encoder_bridge.errors import BridgeError, ConfigError, PluginError
from encoder_bridge.frames import MATRICES, RANGES, VideoFormat
from sweeps.paramtypes import CANDIDATES, FLOATS, FORMAT, FPS, INTS, MODES, NAMES, SIZE, TRIPLE, format_candidates
from sweeps.sections import SectionedOption
from sweeps.sections import command as command

if TYPE_CHECKING:
    from encoder_bridge.source_base import RawSpec, SourceOptions

F = TypeVar("F", bound=Callable[..., Any])
Options = Mapping[str, Any]
_MAP = MapConfig()
_CTU = CandidateConfig()
_MAP_OPTIONS = {
    "map": "--map",
    "strength": "--strength",
    "tau": "--tau",
    "sigma": "--sigma",
    "clip": "--clip",
    "group": "--group",
    "weights": "--weights",
    "qp_map": "--qp-map",
    "map_interval": "--map-interval",
    "probe": "--probe",
}
_CTU_OPTIONS = {
    "candidates": "--candidates",
    "metric": "--metric",
    "metric_context": "--metric-context",
    "judge_all": "--judge-all",
    "metric_share": "--metric-share",
    "metric_inside": "--metric-inside",
    "guard": "--guard",
    "splits": "--splits",
}


def _options(section: str, *rows: tuple[tuple[str, ...], dict[str, Any]]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for names, settings in reversed(rows):
            function = click.option(*names, cls=SectionedOption, section=section, **settings)(function)
        return function

    return decorate


def _row(*names: str, **settings: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return names, settings


def input_options(function: F) -> F:
    """INPUT, and what a raw file does not say about itself."""
    return click.argument("input", metavar="INPUT")(stated_options(function))


def stated_options(function: F) -> F:
    """What a raw file does not say about itself."""
    return _options(
        "Input",
        _row("--size", type=SIZE, help="Raw input: width and height, as 1920x1080."),
        _row("--format", type=FORMAT, help="Samples of raw input, as yuv420p10le; of images: what they become."),
        _row("--fps", type=FPS, help="Frame rate of raw input and image folders, as 25 or 30000/1001."),
        _row("--matrix", type=click.Choice(MATRICES), help="Colour matrix, over what the input says."),
        _row("--range", type=click.Choice(RANGES), help="Sample range, over what the input says."),
        _row("--frames", type=click.IntRange(min=1), metavar="N", help="Take only the first N frames."),
    )(function)


_SCALE_HELP = "Code at this fraction of width and height, 0 to 1, bicubic down and up."
_QP_HELP = "JPEG: quality, 1-100, higher is finer; JPEG 2000: compression ratio, 0-500, 0 is lossless."


def coding_options(lists: bool = False, scale: Any = float) -> Callable[[F], F]:
    """How streams are coded; with ``lists`` the rate options take several values; ``scale`` is --scale's type."""
    rate: tuple[Any, ...]
    if lists:
        hint = "Several operating points: 22,27,32 or 22-47:5. Give one of --qps, --crf, --bitrate."
        rate = (
            _row("--qps", "--qp", "qp", type=INTS, help=f"{hint} {_QP_HELP}  [default: 22-47:5]"),
            _row("--crf", type=FLOATS, help="Constant rate factors, as 20,25,30."),
            _row("--bitrate", type=INTS, help="Average bit rates in kbit/s, as 500,1000."),
            _row(
                "--scales", "--scale", "scale", type=FLOATS, default="1", help=f"{_SCALE_HELP} Several, as 0.5,0.75,1."
            ),
        )
    else:
        rate = (
            _row("--qp", type=int, help=f"Fixed QP. Give one of --qp, --crf, --bitrate. {_QP_HELP}  [default: 32]"),
            _row("--crf", type=float, help="Constant rate factor."),
            _row("--bitrate", type=click.IntRange(min=1), help="Average bit rate in kbit/s."),
            _row("--scale", type=scale, default="1", help=_SCALE_HELP),
        )
    return _options(
        "Coding",
        _row("--codec", default="x265", help="Encoder; `mrdo doctor` lists them."),
        _row("--preset", help="The encoder's own preset; its first where it has no slow.  [default: slow]"),
        _row("--gop", type=click.Choice(GOPS), default="intra", help="Picture structure; lowdelay is P only."),
        *rate,
        _row("--gray/--color", default=False, help="Code BT.601 luma alone."),
        _row("--bit-depth", type=click.Choice(["8", "10"]), help="Coding depth.  [default: the input's]"),
        _row("--extra", multiple=True, metavar="ARGS", help="Further encoder arguments, as '--no-sao'; repeatable."),
    )


_RDO_HELP = "psnr codes plainly, map tells the encoder what the network needs, ctu asks about each CTU, or both."
_MAP_HELP = (
    "learned, learned-pass, learned-head, kl, attribution, fisher, both; or a file: weights (.npy) or a map network "
    "(.onnx).  [default: learned; kl with --model]"
)
_CANDIDATES_HELP = (
    "Ways to code a CTU: a QP change, x and a factor on lambda, @ and the side of the smallest CU, = to keep the "
    "partition and intra modes of the first, which is quick (intra slices); as +3,0=,-3x0.8@16."
)
_METRIC_HELP = (
    "Who judges: task-flip, task-iou, task-local, task, task-kl, task-kl-window, learned, features, dct-ratio, fisher, "
    "ssim, ms-ssim, sse, or a network."
)


def map_options(function: F) -> F:
    """What the encoder is told about the network."""
    return map_options_with(_row("--rdo", type=click.Choice(RDO_MODES), default="map", help=_RDO_HELP))(function)


def compared_map_options(function: F) -> F:
    """What the encoder is told about the network, in one arm or several."""
    several = f"{_RDO_HELP} Several, as psnr,map,map+ctu; psnr is always coded."
    return map_options_with(_row("--rdo", type=MODES, default="map", help=several))(function)


def map_options_with(rdo: Any) -> Callable[[F], F]:
    """The same with another ``--rdo``, as names and settings of a click option."""
    return _options(
        "Machine-aware RDO",
        rdo,
        _row("--map", default=None, metavar="NAME|FILE", help=_MAP_HELP),
        _row("--strength", type=float, default=_MAP.strength, help="s in: QP change = -3 s log2(weight)."),
        _row("--tau", type=float, help="Shrinkage of the weights towards their mean.  [default: the map's own]"),
        _row("--sigma", type=float, help="Smoothing in blocks.  [default: the map's own]"),
        _row("--clip", type=float, default=_MAP.clip, help="Largest QP change."),
        _row(
            "--group", type=click.Choice(["16", "32", "64"]), default=str(_MAP.group), help="Quantisation group's side."
        ),
        _row("--weights/--no-weights", default=_MAP.weights, help="Weigh the distortion of each 8x8 block as well."),
        _row("--qp-map/--no-qp-map", default=_MAP.qp_map, help="Change the QP of each group."),
        _row(
            "--map-interval",
            type=click.IntRange(min=1),
            default=_MAP.interval,
            metavar="N",
            help="Map every Nth frame.",
        ),
        _row(
            "--probe", type=int, metavar="N", help="Make the first pass N QP steps coarser.  [default: the map's own]"
        ),
    )


def candidate_options(function: F) -> F:
    """What is tried in each CTU and who judges."""
    return _options(
        "Candidates (--rdo ctu, map+ctu)",
        _row("--candidates", type=CANDIDATES, default=format_candidates(_CTU.candidates), help=_CANDIDATES_HELP),
        _row("--metric", default=_CTU.metric, metavar="NAME|FILE.onnx", help=_METRIC_HELP),
        _row(
            "--metric-context",
            type=click.IntRange(0, 512),
            metavar="N",
            help="Luma samples around the CTU that the metric sees.  [default: the metric's own]",
        ),
        _row(
            "--metric-share", type=float, default=_CTU.share, help="Share of the metric beside squared error, 0 to 1."
        ),
        _row("--metric-inside", is_flag=True, help="The encoder judges by its own squared error, as a control."),
        _row(
            "--judge-all", is_flag=True, help="Ask about CTUs, too, where a coarser first pass cost the metric nothing."
        ),
        _row("--guard", type=float, metavar="F", help="Never take what has more than F times the least squared error."),
        _row("--splits", type=click.Choice(["16", "32", "64"]), help="Judge CU splits down to this side as well."),
    )(function)


def judge_options(function: F) -> F:
    """Networks that only judge, and ground truth."""
    return _options(
        "Networks",
        _row("--judge", multiple=True, metavar="ONNX|DIR", help="Network (or set of them) that judges; repeatable."),
        _row("--labels", metavar="DIR", help="Folder of label images, one a frame, in the order of their names."),
    )(function)


def model_options(function: F) -> F:
    """The network that drives, and what its ONNX file may not say about itself."""
    return _options(
        "Networks",
        _row("--model", metavar="ONNX", help="Network that drives the encoder.  [default: the embedded one]"),
        _row("--classes", type=NAMES, help="Class names in label order, as sky,road,car."),
        _row("--input-range", type=click.Choice(["0..1", "0..255"]), help="Range of samples the network expects."),
        _row("--mean", type=TRIPLE, help="Subtracted from R, G, B before the division by --std."),
        _row("--std", type=TRIPLE, help="Divides R, G, B."),
        _row("--layout", type=click.Choice(["NCHW", "NHWC"]), help="Order of the network's input dimensions."),
        _row("--color-order", type=click.Choice(["RGB", "BGR"]), help="Order of the network's input channels."),
    )(function)


def run_options(function: F) -> F:
    """How the work is done; nothing here changes a stream's bits by intent."""
    return _options(
        "Running",
        _row("--threads", type=click.IntRange(min=1), help="Encoder threads.  [default: the encoder's choice]"),
        _row("--timeout", type=float, default=600.0, metavar="S", help="Stop an encoder silent for this many seconds."),
        _row("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where networks run."),
        _row(
            "--workdir", type=click.Path(file_okay=False), help="Folder for temporary files.  [default: the system's]"
        ),
        json_row(),
    )(function)


def json_row() -> tuple[tuple[str, ...], dict[str, Any]]:
    """The ``--json`` flag as a row of options."""
    return _row("--json", is_flag=True, help="NDJSON events on stdout, nothing else there.")


def json_option(function: F) -> F:
    """``--json`` alone."""
    return _options("Running", json_row())(function)


def reporter(options: Options) -> Reporter:
    """The command's voice."""
    return Reporter(json=bool(options["json"]))


def raw_spec(options: Options) -> RawSpec | None:
    """What ``--size``, ``--format``, … say about a headerless file; None without ``--size``."""
    from encoder_bridge.source_base import RawSpec

    if options["size"] is None:
        return None
    width, height = options["size"]
    chroma, depth = options["format"] or ("420", 8)
    return RawSpec(width, height, chroma, depth, options["fps"], options["matrix"], options["range"])


def source_options(options: Options) -> SourceOptions:
    """What the options state about any input; for images also what they become."""
    from encoder_bridge.source_base import SourceOptions

    chroma, depth = options["format"] or (None, None)
    return SourceOptions(options["fps"], options["matrix"], options["range"], chroma, depth)


def default_map(options: Options) -> str:
    """The learned map, but a network of the user's own is asked itself: the learned map knows nothing of it."""
    return "learned" if options.get("model") is None else "kl"


def map_config(options: Options) -> MapConfig | None:
    """The map asked for; None where ``--rdo`` has none, and then a map option on the command line is a ConfigError."""
    if "map" not in options["rdo"]:
        _refuse("map", _MAP_OPTIONS, options, "--rdo map, map+ctu or no map option")
        return None
    return MapConfig(
        name=options["map"] or default_map(options),
        strength=options["strength"],
        tau=options["tau"],
        sigma=options["sigma"],
        clip=options["clip"],
        group=int(options["group"]),
        weights=options["weights"],
        qp_map=options["qp_map"],
        interval=options["map_interval"],
        probe=options["probe"],
    )


def candidate_config(options: Options) -> CandidateConfig | None:
    """The candidates asked for; None where ``--rdo`` has none, and then an option for them is a ConfigError."""
    if "ctu" not in options["rdo"]:
        _refuse("ctu", _CTU_OPTIONS, options, "--rdo ctu, map+ctu or no option for candidates")
        return None
    if options["metric_inside"] and not is_given("metric"):
        options = {**options, "metric": "sse"}
    return CandidateConfig(
        candidates=options["candidates"],
        metric=options["metric"],
        context=_context(options),
        splits=int(options["splits"] or 0),
        share=options["metric_share"],
        guard=options["guard"],
        judge_all=options["judge_all"],
        internal=options["metric_inside"],
    )


def _context(options: Options) -> int:
    from rdo_metrics.candidates import make_candidate_metric

    asked: int | None = options["metric_context"]
    try:
        suits = int(make_candidate_metric(options["metric"]).context)
    except BridgeError:
        raise
    except (Exception, SystemExit) as error:  # another package's metric may do anything
        raise PluginError(f"--metric {options['metric']}: {type(error).__name__}: {error}") from error
    return suits if asked is None else asked


def _refuse(part: str, flags: Mapping[str, str], options: Options, expected: str) -> None:
    modes = options.get("modes", (options["rdo"],))
    given = [flag for name, flag in flags.items() if is_given(name)]
    if given and not any(part in mode for mode in modes):
        raise ConfigError(f"{', '.join(given)} with --rdo {','.join(modes)}; expected {expected}")


def coding_config(options: Options, fmt: VideoFormat | None = None) -> CodingConfig:
    """The one configuration asked for; ``fmt`` gives the depth where none is asked for (8 without it)."""
    listed = {n: None if options[n] is None else (options[n],) for n in ("qp", "crf", "bitrate")}
    return _configs({**options, **listed}, fmt, False)[0]


def coding_configs(options: Options, fmt: VideoFormat | None = None) -> list[CodingConfig]:
    """The configurations of ``coding_options(lists=True)``: for each scale one per operating point, both ascending.

    An arm's curve is the convex hull of seed 001 over them: points that another scale beats drop out. Of several RDO
    modes each has its own, but "psnr" has none beside others: it is every comparison's anchor.
    """
    modes = (options["rdo"],) if isinstance(options["rdo"], str) else options["rdo"]
    tests = [mode for mode in modes if mode != "psnr"] or ["psnr"]
    return [config for mode in tests for config in _configs({**options, "rdo": mode, "modes": modes}, fmt, True)]


def _configs(options: Options, fmt: VideoFormat | None, several: bool) -> list[CodingConfig]:
    given = {name: options[name] for name in ("qp", "crf", "bitrate") if options[name] is not None}
    if len(given) > 1:
        raise ConfigError(f"{' and '.join('--' + name for name in given)}; expected one of --qp, --crf, --bitrate")
    depth = options["bit_depth"] or (fmt.bit_depth if fmt else 8)
    common: dict[str, Any] = {
        "codec": options["codec"],
        "preset": options["preset"] or default_preset_of(options["codec"]),
        "gop": options["gop"],
        "gray": options["gray"],
        "bit_depth": int(depth),
        "rdo": options.get("rdo", "psnr"),
        "map": map_config(options) if "rdo" in options else None,
        "ctu": candidate_config(options) if "candidates" in options else None,
        "extra": tuple(word for text in options["extra"] for word in _words(text)),
    }
    quality = quality_of(options["codec"])
    ((name, values),) = (given or {"qp": quality.sweep if several else (quality.default,)}).items()
    scales = options["scale"] if several else (options["scale"],)
    return [CodingConfig(**common, scale=scale, **{name: value}) for scale in scales for value in values]


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"--extra {text!r}: {error}") from error


def run_opts(options: Options) -> RunOptions:
    """Threads, timeout, device, folder for temporary files."""
    if not options["timeout"] > 0:
        raise ConfigError(f"--timeout {options['timeout']}; expected more than 0 seconds")
    workdir = Path(options["workdir"]) if options["workdir"] else None
    return RunOptions(options["threads"], options["timeout"], options["device"], workdir)


def is_given(name: str) -> bool:
    """Whether an option stands on the command line."""
    context = click.get_current_context(silent=True)
    return context is not None and context.get_parameter_source(name) is ParameterSource.COMMANDLINE

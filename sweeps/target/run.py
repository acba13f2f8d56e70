"""``mrdo encode --target-accuracy``: search, then the stream of what was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from encoder_bridge.config import CodingConfig
from encoder_bridge.console import Reporter
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import ConfigError, OutputError
from encoder_bridge.frames import FrameSource
from encoder_bridge.mux import check_output, mux
from encoder_bridge.transform import resize_source
from sweeps import session
from sweeps.coding import Coder
from sweeps.driving.tidying import tidy, undone
from sweeps.options import Options, run_opts
from sweeps.store import DEFAULT_NAME, ResultStore
from sweeps.target.choose import Choice, Part, Tried, choose
from sweeps.target.joining import can_join, join
from sweeps.target.options import goal_of, space_of
from sweeps.target.present import choice_line, probes_table, tried_event
from sweeps.target.probing import SCALES, Prober, Space, accuracy_of
from sweeps.target.search import Goal
from sweeps.target.shots import Memory, Shot, ShotSource, find_shots
from sweeps.workspace import Workspace


@dataclass(frozen=True)
class _Job:
    """One call of the command.

    Attributes:
        options: as given.
        say: the command's voice.
        source: the video.
        timed: the same; remembers its time stamps once it was walked through.
        space, goal: what may be chosen, and what is wanted.
    """

    options: Options
    say: Reporter
    source: FrameSource
    timed: session.Once
    space: Space
    goal: Goal

    @property
    def configs(self) -> list[CodingConfig]:
        """A configuration of each RDO mode."""
        return list(self.space.templates.values())


def encode_to_target(options: Options, say: Reporter) -> None:
    """Search for the lowest rate at the wanted accuracy, write that stream, report what was tried.

    Raises:
        CurveError: the target cannot be reached. ConfigError: settings that contradict each other.
        OutputError: the output or the folder of probes cannot be written.
    """
    output, goal = Path(options["output"]), goal_of(options)
    session.refuse_same_file(options["input"], output)
    source = session.open_input(options, say)
    space = _codable(space_of(options, source.format), source, say)
    job = _Job(options, say, source, session.Once(source), space, goal)
    check_output(output, ENCODERS.get(job.configs[0].codec).codec, source.format.sar)
    say.note(session.describe_input(source, options["input"]))
    shots = _shots(job)
    folder = _probes_folder(options, output)
    with ResultStore(folder / DEFAULT_NAME) as store, undone(store):
        tidy(folder)
        parts = _parts(job, shots, store, folder)
        choices = _search(job, parts)
        result = _write(job, parts, choices, output)
    say.event("result", output=str(output), target=goal.accuracy, metric=options["target_metric"], **result)
    say.show(probes_table(choices, space, options["target_metric"]))
    for choice in choices:
        say.show(choice_line(choice, space, goal, len(choices) > 1))
    say.show(
        f"{output}: {result['frames']} frames, {result['bits'] // 8} bytes, {result['kbps']:.1f} kbit/s, "
        f"{options['target_metric']} {result['accuracy']:.4f}; {result['probes']} probes, kept in {folder}"
    )


def _codable(space: Space, source: FrameSource, say: Reporter) -> Space:
    """The space without the scales of ``auto`` at which pictures are too small; ConfigError where others are."""
    space.points()
    config = next(iter(space.templates.values()))
    encoder, refused, kept = ENCODERS.get(config.codec)(), "", []
    for scale in space.scales:
        coded = source.format if scale == 1 else resize_source(source, scale).format
        try:
            encoder.check(replace(config, scale=scale), coded)
            kept.append(scale)
        except ConfigError as error:
            if space.scales != SCALES or scale == 1:
                raise
            refused = str(error)
    if refused:
        say.warn(f"{refused}: scales from {kept[0]:g} on are tried")
    return replace(space, scales=kept)


def _probes_folder(options: Options, output: Path) -> Path:
    folder = Path(options["probes"] or f"{output}.probes")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"--probes {folder}: not a folder; give a writable folder")
    return folder


def _shots(job: _Job) -> list[Shot]:
    with job.say.task("find shots", job.source.frame_count) as advance:
        shots = find_shots(job.timed, job.options["shot_threshold"], advance=advance)
    whole = [Shot(0, sum(shot.count for shot in shots))]
    if not job.options["shots"]:
        return whole
    if len(shots) > 1 and not can_join(job.configs[0]):
        job.say.warn(f"{job.configs[0].codec}, all-intra: its {len(shots)} shots share one quality; see --no-shots")
        return whole
    return shots


def _parts(job: _Job, shots: Sequence[Shot], store: ResultStore, folder: Path) -> list[Part]:
    driving = session.driver(job.options)
    mapped = next((config for config in job.configs if config.map is not None), job.configs[0])
    judged = next((config for config in job.configs if config.ctu is not None), job.configs[0])
    makers = session.map_maker(job.options, driving, mapped), session.judge_maker(job.options, driving, judged)
    coder = Coder(Workspace(folder), run_opts(job.options), job.say, *makers)
    for point in (job.space.points()[0], job.space.points()[-1]):
        coder.check(job.source, job.space.config(point))
    session.note_padding(job.source.format, job.configs[0], job.say)
    name, metric, memory = Path(job.options["input"]).name, job.options["target_metric"], Memory()
    videos = [ShotSource(job.source, shot, memory) for shot in shots]
    return [
        Part(shot, Prober(video, name, job.space, driving, metric, coder, store))
        for shot, video in zip(shots, videos, strict=True)
    ]


def _search(job: _Job, parts: Sequence[Part]) -> list[Choice]:
    most = job.goal.max_probes * len(parts)
    with job.say.task("search", most) as advance:
        for found in choose(parts, job.goal):
            if not isinstance(found, Tried):
                return found
            advance(1)
            job.say.event("probe", **tried_event(found, job.space, job.source.format))
    raise AssertionError("a search ends with choices")


def _write(job: _Job, parts: Sequence[Part], choices: Sequence[Choice], output: Path) -> dict[str, Any]:
    """The output, and what is said of it."""
    configs = [job.space.config(choice.best.point) for choice in choices]
    coder = parts[0].prober.coder
    encoded = [coder.encode(part.prober.source, config) for part, config in zip(parts, configs, strict=True)]
    bits, frames = sum(e.stream.bits for e in encoded), sum(e.stream.frames for e in encoded)
    with session.scratch(job.options) as folder:
        joined = folder / f"joined{encoded[0].stream.path.suffix}"
        stream = join([e.stream.path for e in encoded], configs, joined)
        mux(stream, output, coder.coded_format(job.source, configs[0]), job.timed.pts)
    pts = job.timed.pts
    seconds = float(pts[-1] - pts[0] + 1 / job.source.format.fps)
    return {
        "bits": bits,
        "frames": frames,
        "kbps": bits / 1000 / seconds,
        "accuracy": accuracy_of([part.prober for part in parts], [choice.best.point for choice in choices]),
        "outcome": sorted({c.outcome for c in choices}),
        "probes": sum(len(c.probes) for c in choices),
        "shots": [tried_event(Tried(c.shot, 0, c.best), job.space, job.source.format) for c in choices],
        "build": encoded[0].build.key(),
    }

"""What is said of a sweep: events as runs end, a table and the failures at the end."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoder_bridge.config import CandidateConfig, CodingConfig, MapConfig
from encoder_bridge.console import Reporter
from sweeps.coding import describe
from sweeps.driving.drive import OnRecord, Tally
from sweeps.driving.schedule import Run
from sweeps.paramtypes import format_candidates
from sweeps.plan import InputFile
from sweeps.records import RunRecord


def event_of(say: Reporter, folder: Path) -> OnRecord:
    """Tells every record as it is stored: an event ``point`` or ``failure``."""
    from sweeps.present import point_event

    def tell(run: Run, record: RunRecord) -> None:
        name = run.input.file.name
        if record.status == "ok":
            say.event("point", input=name, **point_event(record, folder, run.config.codec))
        else:
            say.event("failure", input=name, what=describe(run.config), key=record.key, **(record.error or {}))

    return tell


def show_tally(say: Reporter, tally: Tally, store: Path) -> None:
    """The table of what was done, and every failure with its command."""
    from rich.table import Table

    table = Table("codec", "planned", "had", "done", "failed", box=None)
    failures = tally.failures()
    for codec, planned in tally.planned.items():
        row = (planned, tally.had[codec], tally.done[codec], failures[codec])
        table.add_row(codec, *map(str, row))
    say.show(table)
    if tally.skipped:
        say.note(f"{tally.skipped} runs have no kept stream; without --rescore they are encoded")
    for run, record in tally.failed.values():
        _show_failure(say, run, record.error or {})
    if tally.aborted:
        say.error("Aborted", f"{len(tally.failed)} failures are more than --abort-above allows; the rest was not run")
    if tally.failed and not tally.aborted:
        say.note(f"{len(tally.failed)} of {sum(tally.planned.values())} runs failed; to try them again: --retry failed")
    say.event(
        "result",
        store=str(store),
        planned=sum(tally.planned.values()),
        had=sum(tally.had.values()),
        done=sum(tally.done.values()),
        failed=len(tally.failed),
        skipped=tally.skipped,
        aborted=tally.aborted,
    )


def _show_failure(say: Reporter, run: Run, error: Mapping[str, str]) -> None:
    """The error, which ends with the encoder's command where that failed, and how to see it again."""
    say.note(f"failed: {run.input.file.name}: {describe(run.config)}: {error.get('type')}: {error.get('message')}")
    again = encode_command(run.input.file, run.config)
    if again:
        say.note(f"    {again}")


def encode_command(file: InputFile, config: CodingConfig, output: str = "OUT.mkv") -> str:
    """The ``mrdo encode`` that makes a run's stream by itself; empty where the input cannot be said there."""
    if file.every != 1:
        return ""
    words = ["mrdo", "encode", file.path, "--codec", config.codec, "--preset", config.preset, "--gop", config.gop]
    for name, value in (("qp", config.qp), ("crf", config.crf), ("bitrate", config.bitrate), ("frames", file.frames)):
        words += [] if value is None else [f"--{name}", f"{value:g}"]
    words += ["--scale", f"{config.scale:g}"] if config.scale != 1 else []
    words += ["--gray"] if config.gray else []
    words += ["--bit-depth", str(config.bit_depth), "--rdo", config.rdo]
    words += _changed(config.map, MapConfig(), _MAP) if config.map else []
    words += _candidate_words(config.ctu) if config.ctu else []
    words += [f"--extra={shlex.quote(argument)}" for argument in config.extra]
    return shlex.join([*words, "-o", output])


def _candidate_words(config: CandidateConfig) -> list[str]:
    return ["--candidates", format_candidates(config.candidates), *_changed(config, CandidateConfig(), _CTU)]


def _changed(config: Any, default: Any, flags: Mapping[str, str]) -> list[str]:
    words: list[str] = []
    for name, flag in flags.items():
        value = getattr(config, name)
        if value == getattr(default, name) and name not in ("name", "metric"):
            continue
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{flag}")
        elif value is not None:
            words += [f"--{flag}", f"{value:g}" if isinstance(value, float) else str(value)]
    return words


_MAP = {
    "name": "map",
    **{name: name for name in ("strength", "tau", "sigma", "clip", "group", "weights", "probe")},
    "qp_map": "qp-map",
    "interval": "map-interval",
}
_CTU = {
    "metric": "metric",
    "context": "metric-context",
    "splits": "splits",
    "share": "metric-share",
    "guard": "guard",
    "judge_all": "judge-all",
    "internal": "metric-inside",
}

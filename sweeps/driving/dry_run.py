"""``mrdo sweep --dry-run``: how many runs, what is missing, and about how long and how large."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from encoder_bridge.console import Reporter, clock
from sweeps.driving.bench import Bench, Setup
from sweeps.driving.estimate import PROBES, Extent, Rate, extent_of, probed_rates, recorded_rates
from sweeps.driving.keys import KeyMaker
from sweeps.driving.launch import files_of, missing_tools, setup_of
from sweeps.options import Options
from sweeps.plan import InputFile, Plan
from sweeps.store import ResultStore

_MEGA = 1e6


def show_dry_run(plan: Plan, options: Options, say: Reporter) -> None:
    """Counts by codec, missing tools with the command that brings them, and an estimate where there are inputs."""
    folder = Path(options["output"] or "sweep-out")
    setup = setup_of(plan, folder, options)
    bench = Bench(setup)
    missing = missing_tools(plan, KeyMaker(bench))
    files = files_of(plan, folder) if plan.inputs else []
    extent = extent_of(files) if files else None
    rates = _rates(plan, setup, bench, files[0], missing) if files else {}
    seconds, sizes = _estimate(plan, extent, rates)
    _show_table(plan, len(files), missing, seconds, sizes, say)
    for codec, advice in missing.items():
        say.warn(f"{codec} is missing: {advice}")
        say.event("missing", codec=codec, advice=advice)
    _show_total(plan, extent, rates, sum(seconds.values()), sum(sizes.values()), options, say)


def _rates(
    plan: Plan, setup: Setup, bench: Bench, first: InputFile, missing: Mapping[str, str]
) -> dict[tuple[str, str], Rate]:
    path = Path(setup.folder)
    known = recorded_rates(ResultStore(path, read_only=True).heads()) if path.is_dir() else {}
    return {**known, **probed_rates(plan, bench, first, known, missing)}


def _estimate(
    plan: Plan, extent: Extent | None, rates: Mapping[tuple[str, str], Rate]
) -> tuple[Counter[str], Counter[str]]:
    """Codec → seconds of one worker, codec → bytes."""
    seconds: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for config in plan.configs():
        rate = rates.get((config.codec, config.rdo))
        if extent is not None and rate is not None:
            seconds[config.codec] += rate.seconds(config, extent.samples)  # type: ignore[assignment]
            sizes[config.codec] += rate.size(config, extent.samples)  # type: ignore[assignment]
    return seconds, sizes


def _show_table(
    plan: Plan,
    inputs: int,
    missing: Mapping[str, str],
    seconds: Mapping[str, float],
    sizes: Mapping[str, float],
    say: Reporter,
) -> None:
    from rich.table import Table

    table = Table("codec", "configurations", "runs", "time (1 worker)", "streams", box=None)
    for codec, count in plan.counts().items():
        known = codec in seconds
        took = clock(seconds[codec]) if known else "missing" if codec in missing else "-"
        size = f"{sizes[codec] / _MEGA:.1f} MB" if known else "-"
        table.add_row(codec, str(count), str(count * inputs) if inputs else "-", took, size)
        say.event(
            "planned",
            codec=codec,
            configurations=count,
            runs=count * inputs,
            seconds=seconds.get(codec),
            bytes=sizes.get(codec),
        )
    say.show(table)


def _show_total(
    plan: Plan,
    extent: Extent | None,
    rates: Mapping[tuple[str, str], Rate],
    seconds: float,
    size: float,
    options: Options,
    say: Reporter,
) -> None:
    configurations = len(plan.configs())
    say.event(
        "result",
        plan=plan.name,
        configurations=configurations,
        inputs=0 if extent is None else extent.inputs,
        runs=0 if extent is None else configurations * extent.inputs,
        seconds=None if extent is None else seconds,
        bytes=None if extent is None else size,
        basis=sorted({rate.source for rate in rates.values()}),
    )
    if extent is None:
        say.show(f"{plan.name}: {configurations} configurations; with an input their time and size are estimated")
        return
    workers = options["workers"] or 1
    basis = (
        "probe encodes of two frames" if any(r.source == PROBES for r in rates.values()) else "the records kept there"
    )
    alike = "" if extent.exact else ", inputs taken to be like the first ones"
    plural = "s" if workers > 1 else ""
    runs = configurations * extent.inputs
    say.show(
        f"{plan.name}: {configurations} configurations x {extent.inputs} inputs = {runs} runs; "
        f"about {clock(seconds / workers)} with {workers} worker{plural}, {size / _MEGA:.1f} MB of streams "
        f"(from {basis}{alike})"
    )

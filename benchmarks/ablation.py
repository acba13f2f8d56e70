"""What each part of the side information is worth: QP map, 8×8 weights, both, neither, on one video.

    python benchmarks/ablation.py FRAMES --labels DIR --judge judge.onnx --map attribution -o OUT > table.md

FRAMES is anything `mrdo compare` takes. Results are kept in OUT and resumed. The table goes to stdout.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from encoder_bridge.config import CodingConfig, MapConfig
from encoder_bridge.console import Reporter
from sweeps import session
from sweeps.bd import BDRow, bd_rows
from sweeps.coding import Coder
from sweeps.compare import Comparison, compare, plan
from sweeps.options import (
    coding_configs,
    coding_options,
    input_options,
    judge_options,
    map_options,
    model_options,
    run_options,
    run_opts,
)
from sweeps.records import RunRecord
from sweeps.run_one import Job
from sweeps.store import ResultStore
from sweeps.workspace import Workspace

VARIANTS: dict[str, dict[str, Any]] = {
    "QP map 32×32": {"group": 32},
    "QP map 16×16": {"group": 16},
    "QP map 64×64": {"group": 64},
    "weights 8×8 alone": {"qp_map": False, "weights": True},
    "QP map 64×64 + weights": {"group": 64, "weights": True},
    "QP map 32×32 + weights": {"group": 32, "weights": True},
}


def variants(configs: Sequence[CodingConfig], chosen: Sequence[str]) -> dict[str, list[CodingConfig]]:
    """Variant name → one configuration a rate point."""
    return {
        name: [dataclasses.replace(c, map=dataclasses.replace(c.map or MapConfig(), **VARIANTS[name])) for c in configs]
        for name in chosen
    }


def run(job: Job, configs: Sequence[CodingConfig], coder: Coder, store: ResultStore) -> Comparison:
    """One variant's comparison; what is in the store is not run again."""
    items = list(compare(job, plan(configs), coder, store))
    result = items[-1]
    assert isinstance(result, Comparison)
    return result


def row(name: str, rows: Sequence[BDRow], ratio: float) -> str:
    """One line of the Markdown table."""
    cells = []
    for entry in rows:
        if entry.outcome is None:
            cells.append("undefined")
            continue
        interval = entry.outcome.interval
        text = f"{entry.outcome.result.value_percent:+.1f}"
        cells.append(text if interval is None else f"{text} [{interval[0]:.0f}, {interval[1]:.0f}]")
    return f"| {name} | {' | '.join(cells)} | {ratio:.2f} |"


def seconds(records: Sequence[RunRecord]) -> float:
    """Encode time of an arm, side information apart."""
    return sum(record.encode_s for record in records)


@click.command()
@input_options
@coding_options(lists=True)
@map_options
@model_options
@judge_options
@run_options
@click.option("--variant", "chosen", multiple=True, type=click.Choice(list(VARIANTS)), help="Default: all.")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False))
def main(**options: Any) -> None:
    """Print the ablation table of one input in Markdown."""
    say, folder = Reporter(json=False), Path(options["output"])
    source = session.open_input(options, say)
    configs = coding_configs(options, source.format)
    driving = session.driver(options)
    networks = session.judges(options, driving)
    coder = Coder(Workspace(folder), run_opts(options), say, session.map_maker(options, driving, configs[0]))
    job = Job(source, options["input"], configs[0], networks, session.labels_of(options, source.frame_count))
    head_done = False
    with ResultStore(folder) as store:
        for name, group in variants(configs, options["chosen"] or list(VARIANTS)).items():
            arms = run(job, group, coder, store).arms
            if not head_done:
                neither = bd_rows({"psnr": arms["psnr"], "neutral": arms["neutral"]}, "psnr", 10)
                click.echo(_head(neither))
                click.echo(row("neither (neutral plugin)", neither, seconds(arms["neutral"]) / seconds(arms["psnr"])))
                head_done = True
            test = next(arm for arm in arms if arm.startswith("map"))
            rows = bd_rows({"psnr": arms["psnr"], test: arms[test]}, "psnr")
            click.echo(row(name, rows, seconds(arms[test]) / seconds(arms["psnr"])))


def _head(rows: Sequence[BDRow]) -> str:
    names = [f"{r.network} {r.metric}" for r in rows]
    return f"| told to the encoder | {' | '.join(names)} | encode time |\n|{'---|' * (len(names) + 2)}"


if __name__ == "__main__":
    main()

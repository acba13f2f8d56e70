"""Metrics × granularity: what candidates judged by each metric add to the map, to the SSE control and to plain x265.

    python benchmarks/candidates.py FRAMES --judge judge.onnx -o OUT \
        --arm "map+ctu task-flip 0,-3,3" --arm "map+ctu sse 0,-3,3" --arm "map+ctu sse - 16" > table.md

An arm is "RDO METRIC CANDIDATES [SPLITS]"; "-" stands for one candidate, the encoder's own way. The map alone and plain
x265 are always run. Results are kept in OUT and resumed. The table goes to stdout.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from encoder_bridge.config import Candidate, CandidateConfig, CodingConfig, MapConfig
from encoder_bridge.console import Reporter
from rdo_metrics.candidates import make_candidate_metric
from sweeps import session
from sweeps.bd import PSNR_NETWORK, bd_rows
from sweeps.coding import Coder, arm_name
from sweeps.compare import Comparison, compare
from sweeps.judges import JudgeMaker
from sweeps.maps import MapMaker
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
from sweeps.paramtypes import CANDIDATES
from sweeps.records import RunRecord
from sweeps.run_one import Job
from sweeps.store import ResultStore
from sweeps.workspace import Workspace

MEASURES = ("agreement", "miou_pseudo")


def arm(text: str, base: CodingConfig, extra: dict[str, Any]) -> CodingConfig:
    """The configuration of ``--arm``."""
    rdo, metric, candidates, *splits = text.split()
    tried = (Candidate(),) if candidates == "-" else CANDIDATES.convert(candidates, None, None)
    settings = {"context": make_candidate_metric(metric).context, **extra}
    ctu = CandidateConfig(candidates=tried, metric=metric, splits=int(splits[0]) if splits else 0, **settings)
    spec = (base.map or MapConfig()) if "map" in rdo else None
    return dataclasses.replace(base, rdo=rdo, map=spec, ctu=ctu)


def value(test: Sequence[RunRecord], anchor: Sequence[RunRecord], network: str, metric: str) -> str:
    """BD-rate of one arm over another, in percent."""
    for row in bd_rows({"anchor": list(anchor), "test": list(test)}, "anchor", 2):
        if row.network == network and row.metric == metric:
            return "undefined" if row.outcome is None else f"{row.outcome.result.value_percent:+.1f}"
    return "undefined"


def seconds(records: Sequence[RunRecord]) -> float:
    """Encode time of an arm, judging included, map apart."""
    return sum(record.encode_s for record in records)


def line(name: str, arms: dict[str, list[RunRecord]], control: str | None) -> str:
    """One line of the Markdown table: gains over plain, over the map alone and over the control."""
    test, plain, alone = arms[name], arms["psnr"], next(arms[a] for a in arms if a.startswith("map") and "+" not in a)
    cells = [value(test, plain, network, m) for network in test[0].scores for m in MEASURES]
    cells += [value(test, alone, network, m) for network in test[0].scores for m in MEASURES]
    first = next(iter(test[0].scores))
    cells.append(value(test, arms[control], first, "miou_pseudo") if control else "")
    cells.append(value(test, plain, PSNR_NETWORK, "psnr_y"))
    cells.append(f"{seconds(test) / seconds(plain):.2f}")
    cells.append(f"{sum(r.judge_s for r in test) / seconds(test):.0%}")
    return f"| {name} | {' | '.join(cells)} |"


@click.command()
@input_options
@coding_options(lists=True)
@map_options
@model_options
@judge_options
@run_options
@click.option("--arm", "texts", multiple=True, required=True, metavar='"RDO METRIC CANDIDATES [SPLITS]"')
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Further fields of CandidateConfig.")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False))
def main(**options: Any) -> None:
    """Print the table of one input in Markdown."""
    say, folder = Reporter(json=False), Path(options["output"])
    source = session.open_input(options, say)
    extra = {name: ast.literal_eval(text) for name, _, text in (words.partition("=") for words in options["settings"])}
    bases = coding_configs({**options, "rdo": "map"}, source.format)
    driving = session.driver(options)
    coder = Coder(
        Workspace(folder),
        run_opts(options),
        say,
        MapMaker(driving, options["device"]),
        JudgeMaker(driving, options["device"]),
    )
    job = Job(source, options["input"], bases[0], session.judges(options, driving))
    groups = [[dataclasses.replace(b, rdo="psnr", map=None) for b in bases], bases]
    groups += [[arm(text, base, extra) for base in bases] for text in options["texts"]]
    arms: dict[str, list[RunRecord]] = {}
    with ResultStore(folder) as store:
        for group in groups:
            result = list(compare(job, [*groups[0], *group] if group is not groups[0] else group, coder, store, 2))[-1]
            assert isinstance(result, Comparison)
            arms |= result.arms
            name = arm_name(group[0])
            if name != "psnr":
                click.echo(line(name, arms, _control(name, arms)))


def _control(name: str, arms: dict[str, list[RunRecord]]) -> str | None:
    return next((a for a in arms if "sse" in a and a != name and a.split(":")[0] == name.split(":")[0]), None)


if __name__ == "__main__":
    main()

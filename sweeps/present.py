"""Run a comparison and show it: events as they come, tables and the RD plot at the end."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from encoder_bridge.config import CodingConfig
from rdo_metrics.curve import Method
from sweeps.anchors import Anchor, build_name
from sweeps.bd import METHOD
from sweeps.coding import Coder, arm_name
from sweeps.compare import Comparison, compare
from sweeps.records import RunRecord, config_of
from sweeps.run_one import Job
from sweeps.store import ResultStore


def run_and_show(
    job: Job,
    configs: Sequence[CodingConfig],
    coder: Coder,
    store: ResultStore,
    bootstrap: int,
    anchors: Sequence[Anchor] = (),
    method: Method = METHOD,
) -> Comparison:
    """Carry out a plan; NDJSON events or tables go to stdout, ``rd.png`` beside the store."""
    from sweeps.rd_panels import plot_arms
    from sweeps.tables import bd_table, points_table

    result: Comparison | None = None
    total = len(configs) + sum(len(anchor.points) for anchor in anchors)
    with coder.reporter.task("compare", total) as advance:
        for item in compare(job, configs, coder, store, bootstrap, anchors, method):
            if isinstance(item, Comparison):
                result = item
            else:
                coder.reporter.event("point", **point_event(item, store.folder, job.config.codec))
                advance(1)
    assert result is not None
    for row in result.rows:
        coder.reporter.event("bd_rate", **row.event())
    coder.reporter.show(points_table(result.arms))
    coder.reporter.show(bd_table(result.rows))
    plot = store.folder / "rd.png"
    plot_arms(result.arms, result.rows, plot, title=job.name)
    coder.reporter.event("result", store=str(store.path), plot=str(plot))
    coder.reporter.note(f"records: {store.path}   plot: {plot}")
    folder = shlex.quote(str(store.folder))
    coder.reporter.note(f"as one page with pictures: mrdo report {folder} -o {folder}/report")
    return result


def point_event(record: RunRecord, folder: Path, codec: str) -> dict[str, Any]:
    """Fields of the ``point`` event (design §7); a record of another codec than ``codec`` is an anchor's."""
    config = record.config
    rate = {name: config[name] for name in ("qp", "crf", "bitrate") if config[name] is not None}
    return {
        "codec": config["codec"],
        "rdo": config["rdo"],
        "arm": record_arm(record) if config["codec"] == codec else build_name(record.build),
        **{"qp": None, **rate},
        "scale": config["scale"],
        "bits": record.bits,
        "bpp": record.bpp,
        "psnr": record.psnr,
        "scores": record.scores,
        "encode_s": record.encode_s,
        "map_s": record.map_s,
        "first_pass_s": record.first_pass_s,
        "judge_s": record.judge_s,
        "stream": None if record.stream is None else str((folder / record.stream).absolute()),
        "key": record.key,
    }


def record_arm(record: RunRecord) -> str:
    """The arm a record belongs to."""
    return arm_name(config_of(record))

"""Run a comparison and show it: events as they come, tables and the RD plot at the end."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder_bridge.config import CodingConfig
from sweeps.bd import PSNR_NETWORK
from sweeps.coding import Coder
from sweeps.compare import ANCHOR, NEUTRAL, Comparison, arm_name, compare
from sweeps.records import RunRecord
from sweeps.run_one import Job
from sweeps.store import ResultStore

if TYPE_CHECKING:
    from sweeps.plots import Curve


def run_and_show(
    job: Job, configs: Sequence[CodingConfig], coder: Coder, store: ResultStore, bootstrap: int
) -> Comparison:
    """Carry out a plan; NDJSON events or tables go to stdout, ``rd.png`` beside the store."""
    from sweeps.tables import bd_table, points_table

    result: Comparison | None = None
    with coder.reporter.task("compare", len(configs)) as advance:
        for item in compare(job, configs, coder, store, bootstrap):
            if isinstance(item, Comparison):
                result = item
            else:
                coder.reporter.event("point", **point_event(item))
                advance(1)
    assert result is not None
    for row in result.rows:
        coder.reporter.event("bd_rate", **row.event())
    coder.reporter.show(points_table(result.arms))
    coder.reporter.show(bd_table(result.rows))
    plot = store.folder / "rd.png"
    plot_comparison(result, plot, job.name)
    coder.reporter.event("result", store=str(store.path), plot=str(plot))
    coder.reporter.note(f"records: {store.path}   plot: {plot}")
    return result


_METRIC_NAMES = {
    "agreement": "agreement with pseudo-GT",
    "miou_pseudo": "mIoU against pseudo-GT",
    "miou_labels": "mIoU against labels",
}


def plot_comparison(result: Comparison, path: Path, title: str) -> None:
    """RD curves of every network and measure, luma PSNR last, with the BD-rates written in."""
    from sweeps.plots import Panel, rd_plot

    first = next(iter(result.arms.values()))[0]
    panels = [
        Panel(network, _METRIC_NAMES[metric], _panel_curves(result, network, metric), _notes(result, network, metric))
        for network, values in first.scores.items()
        for metric, value in values.items()
        if value is not None
    ]
    psnr = _panel_curves(result, None, "psnr_y")
    panels.append(Panel("signal", "luma PSNR, dB", psnr, _notes(result, PSNR_NETWORK, "psnr_y")))
    rd_plot(panels, path, title=title)


def _panel_curves(result: Comparison, network: str | None, metric: str) -> list[Curve]:
    from sweeps.plots import Curve

    curves = []
    for arm, records in result.arms.items():
        rates = [kbit_s(record) for record in records]
        values = [r.psnr["y"] if network is None else float(r.scores[network][metric] or 0) for r in records]
        style = {ANCHOR: "anchor", NEUTRAL: "neutral"}.get(arm, "test")
        curves.append(Curve(arm, rates, values, style))
    return curves


def _notes(result: Comparison, network: str, metric: str) -> list[str]:
    rows = [r for r in result.rows if (r.network, r.metric) == (network, metric) and r.arm != NEUTRAL]
    return [row.text() for row in rows]


def kbit_s(record: RunRecord) -> float:
    """Average rate of a record's stream in kbit/s."""
    return record.bits / record.frames * float(Fraction(record.input["fps"])) / 1000


def point_event(record: RunRecord) -> dict[str, Any]:
    """Fields of the ``point`` event (design §7)."""
    config = record.config
    rate = {name: config[name] for name in ("qp", "crf", "bitrate") if config[name] is not None}
    return {
        "codec": config["codec"],
        "rdo": config["rdo"],
        "arm": record_arm(record),
        **{"qp": None, **rate},
        "scale": config["scale"],
        "bits": record.bits,
        "bpp": record.bpp,
        "psnr": record.psnr,
        "scores": record.scores,
        "encode_s": record.encode_s,
        "map_s": record.map_s,
        "first_pass_s": record.first_pass_s,
        "stream": record.stream,
        "key": record.key,
    }


def record_arm(record: RunRecord) -> str:
    """The arm a record belongs to."""
    from encoder_bridge.config import MapConfig

    config = dict(record.config)
    spec = config.pop("map")
    extra = tuple(config.pop("extra"))
    return arm_name(CodingConfig(**config, extra=extra, map=None if spec is None else MapConfig(**spec)))

"""A comparison as panels of RD curves: one per network and measure, PSNR beside the driving network's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweeps.bd import PSNR_NETWORK, BDRow
from sweeps.plots import Curve, Panel, rd_plot
from sweeps.records import RunRecord
from sweeps.tables import MEASURE_NAMES, kbit_s, signed

Arms = Mapping[str, Sequence[RunRecord]]


def plot_arms(
    arms: Arms, rows: Sequence[BDRow], path: Path, *, title: str = "", anchor: str = "psnr", neutral: str = "neutral"
) -> None:
    """RD plot of a comparison.

    Args:
        arms: arm → records; their first network is the one that drives.
        rows: BD-rates, noted in the panels.
        path: ``.png``, ``.svg`` or ``.pdf``.
        title: above the panels.
        anchor, neutral: names of those arms, for their looks.

    Raises:
        CurveError: no records. OutputError: ``path`` cannot be written.
    """
    panels = comparison_panels(arms, rows, anchor, neutral)
    measures = len({panel.metric for panel in panels})
    rd_plot(panels, path, title=title, columns=min(measures, 4) if len(panels) > 1 else 1)


def comparison_panels(arms: Arms, rows: Sequence[BDRow], anchor: str, neutral: str) -> list[Panel]:
    """The driving network's measures, PSNR, then the measures of each judge."""
    networks = list(dict.fromkeys(n for records in arms.values() for r in records for n in r.scores))
    panels: list[Panel] = []
    for place, network in enumerate(networks):
        role = "drives" if place == 0 else "judges"
        for metric in ("agreement", "miou_pseudo", "miou_labels"):
            panels += _panel(arms, rows, (network, metric), f"{network} ({role})", anchor, neutral)
        if place == 0:
            panels += _panel(arms, rows, (PSNR_NETWORK, "psnr_y"), "signal", anchor, neutral)
    return panels or _panel(arms, rows, (PSNR_NETWORK, "psnr_y"), "signal", anchor, neutral)


def _panel(
    arms: Arms, rows: Sequence[BDRow], what: tuple[str, str], title: str, anchor: str, neutral: str
) -> list[Panel]:
    curves = []
    for arm, records in arms.items():
        points = [(kbit_s(r), value) for r in records if (value := _value(r, *what)) is not None]
        if points:
            style = "anchor" if arm == anchor else "neutral" if arm == neutral else "test"
            rates, values = zip(*points, strict=True)
            curves.append(Curve(arm, rates, values, style))
    unit = ", dB" if what[1] == "psnr_y" else ""
    over = [row for row in rows if row.anchor == anchor and row.arm != neutral]
    notes = [_note(row) for row in over if (row.network, row.metric) == what]
    return [Panel(title, MEASURE_NAMES[what[1]] + unit, curves, notes)] if curves else []


def _value(record: RunRecord, network: str, metric: str) -> float | None:
    if network == PSNR_NETWORK:
        value = record.psnr.get("y")
        return value if value is not None and math.isfinite(value) else None
    return record.scores.get(network, {}).get(metric)


def _note(row: BDRow) -> str:
    if row.outcome is None:
        return f"{row.arm}  undefined"
    interval = row.outcome.interval
    span = f"  [{signed(interval[0])}, {signed(interval[1])}]" if interval else ""
    return f"{row.arm}  {signed(row.outcome.result.value_percent)} %{span}"

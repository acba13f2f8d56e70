"""Machine-aware arms over PSNR-RDO of the same encoder, by encoder and judging network."""

from __future__ import annotations

from dataclasses import replace

from sweeps.analysis.curves import Curves, Line
from sweeps.analysis.data import Question, Source, SweepData, data_of
from sweeps.analysis.matrix import across_note
from sweeps.analysis.series import Series
from sweeps.analysis.table import Cell, Row, Table
from sweeps.tables import MEASURE_NAMES

_PSNR = "PSNR-Y"


def rdo_table(source: Source, ask: Question | None = None, psnr: bool = True) -> Table:
    """BD-rates of every arm (map, ctu, map+ctu) over the plain one: a row for each encoder and network.

    Args:
        source: records; encoders without machine-aware arms are left out.
        ask: see ``Question``; a network asked for is the only judge.
        psnr: add a row of PSNR-Y for each encoder: what the gain costs a human eye.

    An arm that was coded at several sizes is a hull, and so is the plain arm it is compared with.
    """
    data, ask = data_of(source), ask or Question()
    arms = list(dict.fromkeys(s.arm for s in data.series if s.arm != "psnr"))
    settled = data.settle(replace(ask, metric=None if ask.metric == "psnr_y" else ask.metric))
    networks = [ask.network] if ask.network else data.networks
    asked = [(name, replace(settled, network=name)) for name in networks if name is not None]
    asked += [(_PSNR, replace(ask, network=None, metric="psnr_y"))] if psnr else []
    coders = [coder for coder in data.coders if any(s.coder == coder and s.arm != "psnr" for s in data.series)]
    known = {name: Curves(data, question) for name, question in asked}
    rows = [
        Row((coder, name), (Cell(0.0), *(_cell(curves, coder, arm) for arm in arms)))
        for coder in coders
        for name, curves in known.items()
    ]
    title = f"RDO: BD-rate over PSNR-RDO of the same encoder, {MEASURE_NAMES[str(settled.metric)]}"
    note = f"Percent of bits at equal measure, negative is better; {across_note(Curves(data, settled))}."
    return Table("rdo", title, ("encoder", "judge"), ("PSNR", *arms), tuple(rows), note)


def _cell(curves: Curves, coder: str, arm: str) -> Cell:
    tests = _colours(curves.data, coder, arm)
    if not tests:
        return Cell(None)
    sizes = {(s.scale, s.gray) for s in tests}
    plain = [s for s in _colours(curves.data, coder, "psnr") if (s.scale, s.gray) in sizes]
    return curves.bd(Line(f"{coder} psnr", tuple(plain)), Line(f"{coder} {arm}", tuple(tests)))


def _colours(data: SweepData, coder: str, arm: str) -> list[Series]:
    """In colour, or grey where there is no other."""
    return data.chosen(coder, arm) or data.chosen(coder, arm, gray=True)

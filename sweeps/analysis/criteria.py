"""Seed 001's Table VII: an old encoder over the hull of the VTM anchor, criterion by criterion.

(I) the network saw compressed pictures in its training; (III) several resolutions; (IV) grey as well as colour. The
anchor is coded at several resolutions and judged by the network that was trained on originals, as in the paper.
"""

from __future__ import annotations

from itertools import product

from encoder_bridge.errors import ConfigError
from sweeps.analysis.curves import Curves, Line
from sweeps.analysis.data import Question, Source, SweepData, data_of
from sweeps.analysis.matrix import across_note
from sweeps.analysis.table import Row, Table
from sweeps.tables import MEASURE_NAMES

YES = "✓"


def table_vii(
    source: Source,
    ask: Question | None = None,
    *,
    coder: str = "jpeg",
    anchor: str = "vtm",
    trained: str | None = None,
) -> Table:
    """BD-rates of one encoder over the anchor's hull, with and without criteria I, III and IV.

    Args:
        source: records.
        ask: see ``Question``; its network is the one trained on originals, and judges the anchor.
        coder: the encoder, by codec or by name in the tables.
        anchor: the anchor's codec or name.
        trained: the network trained on compressed pictures; None where there is none: then (I) cannot be met.

    Rows whose curves are not in the store are left out; one that has no BD-rate says why.
    Raises ConfigError where the encoder, the anchor or the network is unknown.
    """
    data = data_of(source)
    curves = Curves(data, ask or Question())
    test, reference = coder_named(data, coder), coder_named(data, anchor)
    if trained is not None and trained not in data.networks:
        raise ConfigError(f"network {trained!r}; expected one of {', '.join(data.networks)}")
    hull = Line(f"{reference} hull", tuple(data.chosen(reference)))
    rows = []
    for robust, sizes, gray in product((False, True), repeat=3):
        line = _line(data, test, trained if robust else curves.ask.network, sizes, gray)
        if line.series and (trained is not None or not robust) and _is_new(data, test, sizes, gray):
            marks = tuple(YES if met else "" for met in (robust, sizes, gray))
            rows.append(Row(marks, (curves.bd(hull, line),)))
    title = f"Table VII: {test} over the hull of {reference}, {MEASURE_NAMES[curves.metric]}"
    note = (
        f"BD-rate in percent, negative is better. (I) {trained or 'a network that saw coded pictures'} judges instead "
        f"of {curves.ask.network}; (III) {curves.ask.hull} hull over resolutions; (IV) grey as well as colour; "
        f"{across_note(curves)}."
    )
    return Table("table_vii", title, ("(I)", "(III)", "(IV)"), ("BD-rate",), tuple(rows), note)


def coder_named(data: SweepData, name: str) -> str:
    """The coder of that name or codec. Raises ConfigError where there is none."""
    exact = [coder for coder in data.coders if coder == name]
    found = exact or [coder for coder, codec in data.codecs.items() if codec == name]
    if not found:
        known = ", ".join(dict.fromkeys(data.codecs.values()))
        raise ConfigError(f"encoder {name!r} has no runs in the store; expected one of {known}")
    return found[0]


def _line(data: SweepData, coder: str, network: str | None, sizes: bool, gray: bool) -> Line:
    series = data.chosen(coder, gray=None if gray else False, scale=None if sizes else 1.0)
    return Line(coder, tuple(series), network)


def _is_new(data: SweepData, coder: str, sizes: bool, gray: bool) -> bool:
    """Whether the criteria change anything: there are other resolutions, there is grey."""
    series = data.chosen(coder, gray=None)
    return (not sizes or any(s.scale != 1 for s in series)) and (not gray or any(s.gray for s in series))

"""BD-rates of a report: arms over the same encoder's own rules, several sizes over one, encoders over an anchor."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from encoder_bridge.errors import ConfigError
from sweeps.bd import PSNR_NETWORK, BDRow, bd_rows
from sweeps.coding import ANCHOR
from sweeps.records import RunRecord
from sweeps.report.datasets import DataSet
from sweeps.report.library import Run
from sweeps.tables import signed

MEASURES = ("agreement", "miou_pseudo", "miou_labels")
TITLES = ("Agreement", "mIoU, pseudo-GT", "mIoU, labels", "PSNR-Y")
OWN, SIZES, OTHERS = "own", "sizes", "others"


@dataclass(frozen=True)
class Cell:
    """One BD-rate in a table: ``−25.3 %`` with its interval, or why there is none."""

    row: BDRow | None
    note: int = 0

    @property
    def value(self) -> str:
        """``−25.3 %``, "undefined", or nothing."""
        if self.row is None:
            return ""
        return "undefined" if self.row.outcome is None else f"{signed(self.row.outcome.result.value_percent)} %"

    @property
    def interval(self) -> str:
        """``[−28.0, −22.1]``, "no interval" where too many draws have no BD-rate, or nothing."""
        if self.row is None or self.row.outcome is None:
            return ""
        known = self.row.outcome.interval
        return "no interval" if known is None else f"[{signed(known[0])}, {signed(known[1])}]"

    @property
    def verdict(self) -> str:
        """ "better" or "worse" where the whole interval is, else "open"; "none" without a value."""
        if self.row is None or self.row.outcome is None:
            return "none"
        low, high = self.row.outcome.interval or (0.0, 0.0)
        return "better" if high < 0 else "worse" if low > 0 else "open"

    @property
    def overlap(self) -> str:
        """Shared interval of the measure where it is short: ``overlap 63 %``."""
        if self.row is None or self.row.outcome is None or self.row.outcome.result.overlap >= 0.8:
            return ""
        return f"overlap {100 * self.row.outcome.result.overlap:.0f} %"


@dataclass(frozen=True)
class Line:
    """One network's BD-rates of one arm.

    Attributes:
        arm: what is compared. network: who judges.
        cells: agreement, mIoU pseudo-GT, mIoU labels; the last, of PSNR-Y, only in the arm's first line.
        span: lines that share the arm's name; 0 in all but the first.
        time: encode time over the anchor's, in words; only in the first line.
    """

    arm: str
    network: str
    cells: list[Cell]
    span: int
    time: str = ""


@dataclass(frozen=True)
class RateTable:
    """BD-rates over one kind of anchor.

    Attributes:
        kind: "own", "sizes" or "others".
        title, about: what is compared with what.
        lines: in reading order. reasons: why some are undefined; notes in the cells count from 1.
        rows: the BD-rates themselves.
    """

    kind: str
    title: str
    about: str
    lines: list[Line]
    reasons: list[str]
    rows: list[BDRow]

    @property
    def columns(self) -> list[tuple[int, str]]:
        """Places and titles of the measures that any line has."""
        found = {place for line in self.lines for place, cell in enumerate(line.cells) if cell.value}
        return [(place, title) for place, title in enumerate(TITLES) if place in found]


def rate_tables(
    dataset: DataSet, anchor: str | None, n: int, advance: Callable[[int], None] = lambda _: None
) -> list[RateTable]:
    """The tables that a data set gives.

    Args:
        dataset: whose curves; those that were not scored, as a batch's are, are left out.
        anchor: coder that others are compared with; None takes the first.
        n: resamples of each interval.
        advance: called with 1 for each pair of curves.

    Raises:
        ConfigError: no coder of that name.
    """
    pairs = {
        OWN: list(own_pairs(dataset)),
        SIZES: list(size_pairs(dataset)),
        OTHERS: list(other_pairs(dataset, anchor)),
    }
    tables = []
    for kind, found in pairs.items():
        found = [pair for pair in found if all(run.record.frame_psnr for run in (*pair[1], *pair[2]))]
        rows: list[tuple[str, str, list[BDRow]]] = []
        for name, reference, test in found:
            rows.append((name, _time(reference, test), _compared(name, reference, test, n)))
            advance(1)
        if rows:
            tables.append(_table(kind, rows, anchor or _first_coder(dataset)))
    return tables


Pair = tuple[str, Sequence[Run], Sequence[Run]]


def own_pairs(dataset: DataSet) -> Iterator[Pair]:
    """Machine-aware arms over PSNR-RDO of the same coder."""
    plains = {series.coder: runs for series, runs in dataset.curves.items() if series.plain}
    several = len({series.coder for series in dataset.curves}) > 1
    for series, runs in dataset.curves.items():
        if not series.plain and series.coder in plains:
            yield (series.label if several else series.arm), plains[series.coder], runs


def size_pairs(dataset: DataSet) -> Iterator[Pair]:
    """The hull over all sizes over full size alone."""
    for series, runs in dataset.curves.items():
        full = [run for run in runs if run.config.scale == 1]
        if full and len(full) < len(runs):
            yield series.label, full, runs


def other_pairs(dataset: DataSet, anchor: str | None) -> Iterator[Pair]:
    """Every series of other coders over the anchor coder's PSNR-RDO. ConfigError where no coder has that name."""
    wanted = anchor or _first_coder(dataset)
    reference = next(
        (runs for s, runs in dataset.curves.items() if s.plain and wanted in (s.coder, s.config.codec)), None
    )
    if reference is None:
        plains = ", ".join(s.coder for s in dataset.curves if s.plain) or "none"
        if anchor is None:
            return
        raise ConfigError(f"--anchor {anchor}: no such encoder with PSNR-RDO in the store; expected one of {plains}")
    for series, runs in dataset.curves.items():
        if runs is not reference and wanted not in (series.coder, series.config.codec):
            yield series.label, reference, runs


def _first_coder(dataset: DataSet) -> str:
    return next((series.coder for series in dataset.curves if series.plain), "")


def _compared(name: str, reference: Sequence[Run], test: Sequence[Run], n: int) -> list[BDRow]:
    arms = _shared([run.record for run in reference], [run.record for run in test])
    return bd_rows({ANCHOR: arms[0], name: arms[1]}, ANCHOR, n)


def _shared(reference: list[RunRecord], test: list[RunRecord]) -> tuple[list[RunRecord], list[RunRecord]]:
    """Both with the networks and kinds of labels that all of them have, in the order of the test's."""
    everything = [*reference, *test]
    kept = {
        network: {kind for kind in kinds if all(kind in r.confusion.get(network, {}) for r in everything)}
        for network, kinds in test[0].confusion.items()
    }
    return _trimmed(reference, kept), _trimmed(test, kept)


def _trimmed(records: Iterable[RunRecord], kept: Mapping[str, set[str]]) -> list[RunRecord]:
    return [
        dataclasses.replace(
            record,
            confusion={
                n: {k: t for k, t in record.confusion[n].items() if k in kinds} for n, kinds in kept.items() if kinds
            },
        )
        for record in records
    ]


def _time(reference: Sequence[Run], test: Sequence[Run]) -> str:
    """``encode ×1.02, all ×1.35`` over the points both have; nothing where a time is not known."""
    points = {(run.config.qp, run.config.crf, run.config.bitrate, run.config.scale): run.record for run in reference}
    pairs = [(points.get((r.config.qp, r.config.crf, r.config.bitrate, r.config.scale)), r.record) for r in test]
    both = [(anchor, record) for anchor, record in pairs if anchor is not None and anchor.encode_s and record.encode_s]
    if not both or len(both) < len(test) or all(anchor is record for anchor, record in both):
        return ""
    base = sum(anchor.encode_s for anchor, _ in both)
    encode = sum(record.encode_s for _, record in both) / base
    whole = sum(record.encode_s + record.map_s + record.first_pass_s for _, record in both) / base
    return f"encode time ×{encode:.2f}" + (f", with map ×{whole:.2f}" if abs(whole - encode) > 0.005 else "")


_TITLES = {
    OWN: (
        "Machine-aware against PSNR-RDO of the same encoder",
        "Bits at equal measure; all sizes of an arm are one curve.",
    ),
    SIZES: ("What a choice of size brings", "The hull over all sizes against full size alone, same arm."),
    OTHERS: ("Against {anchor}", "Bits at equal measure against PSNR-RDO of {anchor}; all sizes are one curve."),
}


def _table(kind: str, found: Sequence[tuple[str, str, list[BDRow]]], anchor: str) -> RateTable:
    reasons: list[str] = []
    lines = [line for name, time, rows in found for line in _lines(name, time if kind == OWN else "", rows, reasons)]
    title, about = (text.format(anchor=anchor) for text in _TITLES[kind])
    return RateTable(kind, title, about, lines, reasons, [row for _, _, rows in found for row in rows])


def _lines(name: str, time: str, rows: Sequence[BDRow], reasons: list[str]) -> Iterator[Line]:
    by_place = {(row.network, row.metric): row for row in rows}
    networks = list(dict.fromkeys(row.network for row in rows if row.network != PSNR_NETWORK)) or [PSNR_NETWORK]
    for place, network in enumerate(networks):
        cells = [_cell(by_place.get((network, metric)), reasons) for metric in MEASURES]
        if place == 0:
            cells.append(_cell(by_place.get((PSNR_NETWORK, "psnr_y")), reasons))
        shown = "" if network == PSNR_NETWORK else network
        yield Line(name, shown, cells, len(networks) if place == 0 else 0, time if place == 0 else "")


def _cell(row: BDRow | None, reasons: list[str]) -> Cell:
    if row is None or row.outcome is not None:
        return Cell(row)
    if row.reason not in reasons:
        reasons.append(row.reason)
    return Cell(row, reasons.index(row.reason) + 1)

"""Tables of a comparison for the terminal, made to fit 80 columns: operating points, BD-rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sweeps.bd import BDRow
from sweeps.records import RunRecord
from sweeps.records import rate_point as rate_point

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

Arms = Mapping[str, Sequence[RunRecord]]
MEASURE_NAMES = {
    "agreement": "agreement",
    "miou_pseudo": "mIoU pseudo-GT",
    "miou_labels": "mIoU labels",
    "psnr_y": "PSNR-Y",
}
_SHORT = {"agreement": "agreement", "miou_pseudo": "mIoU", "miou_labels": "mIoU labels", "psnr_y": "PSNR-Y"}


def points_table(arms: Arms, anchor: str = "psnr") -> Group:
    """Operating points: one table of rates and times, one table of accuracies for each network.

    Args:
        arms: arm → records in the order of the rate points. An arm that equals the anchor in all but time is one row.
        anchor: arm the times are compared with; without it there are no ratios.
    """
    from rich.console import Group

    networks = list(dict.fromkeys(n for records in arms.values() for r in records for n in r.scores))
    distinct = {name: records for name, records in arms.items() if not _equals_anchor(arms, name, anchor)}
    return Group(_rates(arms, distinct, anchor), *(_accuracies(distinct, network) for network in networks))


def _rates(arms: Arms, distinct: Arms, anchor: str) -> Table:
    caption = "encode x: encode time over the anchor's; all x: with map and first pass"
    table = new_table(caption, "Rates and times")
    add_columns(table, ("arm", "rate point"), ("kbit/s", "bpp", "PSNR-Y", "encode s", "encode x", "all x"))
    references = arms.get(anchor, ())
    for arm, records in arms.items():
        if arm not in distinct:
            table.add_row(arm, f"as {anchor}", "=", "=", "=", *_times(records, references), end_section=True)
            continue
        for place, record in enumerate(records):
            reference = references[place] if place < len(references) else None
            table.add_row(*_head_cells(arm, place, record), *_rate_cells(record, reference))
        table.add_section()
    return table


def _accuracies(arms: Arms, network: str) -> Table:
    names = [name for name in ("agreement", "miou_pseudo", "miou_labels") if _has(arms, network, name)]
    table = new_table("", network)
    add_columns(table, ("arm", "rate point"), ("kbit/s", *(_SHORT[name] for name in names)))
    for arm, records in arms.items():
        for place, record in enumerate(records):
            scores = (_fraction(record.scores.get(network, {}).get(name)) for name in names)
            table.add_row(*_head_cells(arm, place, record), f"{kbit_s(record):,.1f}", *scores)
        table.add_section()
    return table


def _head_cells(arm: str, place: int, record: RunRecord) -> tuple[str, str]:
    return arm if place == 0 else "", rate_point(record.config)


def _rate_cells(record: RunRecord, reference: RunRecord | None) -> list[str]:
    luma = f"{record.psnr['y']:.2f}" if "y" in record.psnr else ""
    return [f"{kbit_s(record):,.1f}", f"{record.bpp:.4f}", luma, *_times([record], [reference] if reference else [])]


def _times(records: Sequence[RunRecord], references: Sequence[RunRecord]) -> list[str]:
    """Encode seconds and both ratios, of sums over the records; nothing for recorded streams."""
    encode = sum(r.encode_s for r in records)
    if not encode:
        return ["", "", ""]
    whole = encode + sum(r.map_s + r.first_pass_s for r in records)
    base = sum(r.encode_s for r in references)
    return [f"{encode:.1f}", f"{encode / base:.2f}" if base else "", f"{whole / base:.2f}" if base else ""]


def _equals_anchor(arms: Arms, name: str, anchor: str) -> bool:
    def result(records: Sequence[RunRecord]) -> list[Any]:
        return [(r.bits, r.psnr, r.scores) for r in records]

    return name != anchor and anchor in arms and result(arms[name]) == result(arms[anchor])


def kbit_s(record: RunRecord) -> float:
    """Mean bit rate of a record in kbit/s; 0 for one without frames."""
    rate = float(Fraction(str(record.input.get("fps", 0))))
    return record.bits / record.frames * rate / 1000 if record.frames else 0.0


def bd_table(rows: Sequence[BDRow]) -> Table:
    """BD-rates with their intervals; negative means fewer bits at the same accuracy.

    Why a BD-rate is undefined stands below the table. An arm that is 0 throughout is one row.
    """
    dropped = any(row.outcome is not None and any(row.outcome.result.dropped) for row in rows)
    caption = "BD-rate: bits at equal measure, negative is better"
    caption += "; dropped: beaten points of the anchor + of the arm" if dropped else ""
    nowhere = [row for row in rows if row.outcome is None]
    undefined = [f"{_arm_title(row, rows[0].anchor)}, {row.network}, {row.metric}: {row.reason}" for row in nowhere]
    table = new_table("\n".join([caption, *undefined]), "BD-rate")
    add_columns(table, ("arm", "network", "measure"), ("BD-rate", "interval", "overlap", *["dropped"] * dropped))
    for title in dict.fromkeys(_arm_title(row, rows[0].anchor) for row in rows):
        _add_arm(table, title, [row for row in rows if _arm_title(row, rows[0].anchor) == title], dropped)
    return table


def _arm_title(row: BDRow, first: str) -> str:
    return row.arm if row.anchor == first else f"{row.arm} over {row.anchor}"


def _add_arm(table: Table, arm: str, rows: Sequence[BDRow], dropped: bool) -> None:
    if all(row.outcome is not None and row.outcome.result.value_percent == 0 for row in rows):
        table.add_row(arm, "(all)", "(all)", "0.0 %", "", "", end_section=True)
        return
    before: BDRow | None = None
    for row in rows:
        network = row.network if before is None or before.network != row.network else ""
        cells = _bd_cells(row)
        table.add_row("" if before else arm, network, _SHORT.get(row.metric, row.metric), *cells[: 3 + dropped])
        before = row
    table.add_section()


def _bd_cells(row: BDRow) -> list[str]:
    from rich.markup import escape

    if row.outcome is None:
        return ["undefined", "", "", ""]
    result, interval = row.outcome.result, row.outcome.interval
    low, high = interval or (result.value_percent, result.value_percent)
    colour = "green" if high < 0 else "red" if low > 0 else "default"
    return [
        f"[{colour}]{signed(result.value_percent)} %[/]",
        escape(f"[{signed(low)}, {signed(high)}]") if interval else "none",
        f"{100 * result.overlap:.0f} %",
        f"{result.dropped[0]} + {result.dropped[1]}",
    ]


def signed(value: float) -> str:
    """``−25.6``, ``+3.0``, ``0.0``: one decimal with a sign that is as wide as a digit."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def _has(arms: Arms, network: str, name: str) -> bool:
    return any(r.scores.get(network, {}).get(name) is not None for records in arms.values() for r in records)


def _fraction(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def add_columns(table: Table, words: Sequence[str], numbers: Sequence[str]) -> None:
    """Columns of words, then columns of numbers."""
    for name in words:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)


def new_table(caption: str, title: str) -> Table:
    """A table in the commands' common looks."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    return Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title="\n" + escape(title),
        title_justify="left",
        title_style="bold",
        caption=escape(caption) or None,
        caption_justify="left",
        header_style="bold",
    )


def score_table(psnr: Mapping[str, float], scores: Mapping[str, Mapping[str, float | None]]) -> Table:
    """PSNR and what each network sees of one video against another."""
    table = new_table("agreement and mIoU in 0–1, higher is better", "")
    for name in ("network", "agreement", "mIoU pseudo-GT", "mIoU labels", "PSNR-Y dB", "PSNR-YUV dB"):
        table.add_column(name, justify="left" if name == "network" else "right")
    decibel = [f"{psnr[name]:.2f}" for name in ("y", "yuv")]
    for network, values in scores.items():
        table.add_row(network, *(_fraction(values.get(name)) for name in _SHORT), *decibel)
    return table

"""What the page says in words: title, main results, what was compared, what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from encoder_bridge.errors import StoreError
from sweeps.anchors import build_name
from sweeps.coding import arm_name
from sweeps.records import RunRecord, config_of, rate_point
from sweeps.report.cli_line import encode_line
from sweeps.report.datasets import DataSet
from sweeps.report.library import Library
from sweeps.report.rates import MEASURES, OWN, Line, RateTable

MOST_CARDS = 8
_SHORT = {"agreement": "agreement", "miou_pseudo": "mIoU, pseudo-GT", "miou_labels": "mIoU, labels"}


def title(library: Library) -> str:
    """The inputs, or how many there are."""
    names = list(dict.fromkeys(str(record.get("name", "input")) for record in library.inputs.values()))
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} inputs"


def lede(library: Library, dataset: DataSet) -> str:
    """One sentence: geometry, encoders, runs."""
    sizes = sorted({f"{r.get('width')}×{r.get('height')}" for r in library.inputs.values()})
    size = sizes[0] if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    coders = list(dict.fromkeys(series.coder for series in library.series))
    listed = ", ".join(coders) if len(coders) <= 6 else f"{len(coders)} encoders and settings"
    runs = sum(1 for _ in library.each())
    networks = len(library.networks)
    judged = f", judged by {networks} network{'s' if networks != 1 else ''}" if networks else ""
    frames = f"{dataset.frames} frame{'s' if dataset.frames != 1 else ''} of {size}"
    return f"{frames}, coded by {listed} in {runs} runs{judged}."


def cards(tables: Sequence[RateTable], networks: Mapping[str, str]) -> list[dict[str, Any]]:
    """The main results: each machine-aware arm over PSNR-RDO of its encoder, the driving network's word first."""
    own = next((table for table in tables if table.kind == OWN), None)
    if own is None or not networks:
        return []
    arms = list(dict.fromkeys(line.arm for line in own.lines))[:MOST_CARDS]
    return [_card([line for line in own.lines if line.arm == arm]) for arm in arms]


def _card(lines: Sequence[Line]) -> dict[str, Any]:
    first = lines[0]
    place = _main_measure(first)
    cell = first.cells[place]
    others = [(first.network, k) for k in range(len(MEASURES)) if k != place]
    others += [(line.network, place) for line in lines[1:]]
    by_network = {line.network: line for line in lines}
    more = []
    for network, k in others:
        other = by_network[network].cells[k]
        if other.value:
            more.append(f"{other.value} {_SHORT[MEASURES[k]]}" + ("" if network == first.network else f", {network}"))
    return {
        "arm": first.arm,
        "value": cell.value or "undefined",
        "verdict": cell.verdict,
        "interval": cell.interval,
        "what": f"bits at equal {_SHORT[MEASURES[place]]} of {first.network}, against PSNR-RDO",
        "more": more,
    }


def _main_measure(line: Line) -> int:
    """Place of mIoU against the pseudo-GT, or of the first measure that has a value."""
    order = (1, 0, 2)
    known = [k for k in order if line.cells[k].row is not None and line.cells[k].verdict != "none"]
    return known[0] if known else 1


def facts(library: Library) -> list[tuple[str, list[str]]]:
    """What was compared: pairs of a name and lines."""
    found = [
        ("Inputs", [_input(record) for record in list(library.inputs.values())[:12]] + _rest(len(library.inputs) - 12)),
        ("Encoders", list(dict.fromkeys(_build(run.record) for _, _, run in library.each()))),
        ("Arms", [series.label for series in library.series]),
        ("Sizes", [", ".join(f"{scale:g}" for scale in sorted({run.config.scale for _, _, run in library.each()}))]),
        ("Networks", [f"{name} {digest[:12]}" for name, digest in library.networks.items()]),
        ("Records", [*library.names, _dates(library)]),
    ]
    return [(name, lines) for name, lines in found if lines]


def _rest(count: int) -> list[str]:
    return [f"and {count} more"] if count > 0 else []


def _input(record: Mapping[str, Any]) -> str:
    count = int(record.get("frames", 0))
    frames = "1 frame" if count == 1 else f"{count} frames at {record.get('fps')} Hz"
    size = f"{record.get('width')}×{record.get('height')}, {frames}"
    return f"{record.get('name', 'input')}: {size}, samples {str(record.get('digest', ''))[:12]}"


def _build(record: RunRecord) -> str:
    config, build = record.config, record.build
    name = build_name(build) if build else str(config.get("codec"))
    hook = f", hook {str(build['patch'])[:8]}" if build.get("patch") else ""
    return f"{name} {config.get('preset')} {config.get('gop')}, {config.get('bit_depth')} bit{hook}"


def _dates(library: Library) -> str:
    days = sorted({run.record.created[:10] for _, _, run in library.each()})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def failures(library: Library, names: Mapping[str, str | None]) -> list[dict[str, str]]:
    """What failed, why, and the line that tries it again."""
    return [_failure(record, names) for record in library.failures]


def _failure(record: RunRecord, names: Mapping[str, str | None]) -> dict[str, str]:
    error = record.error or {}
    base = {"type": error.get("type", "error"), "message": error.get("message", "")}
    name = str(record.input.get("name", "INPUT"))
    try:
        config = config_of(record)
    except StoreError:
        return {**base, "what": name, "line": ""}
    driver = next(iter(record.models or names), None)
    line = encode_line(config, name, model=names.get(driver) if driver else None)
    return {**base, "what": f"{name}: {config.codec} {arm_name(config)} {rate_point(record.config)}", "line": line}

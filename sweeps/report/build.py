"""``mrdo report``: from stores to the page."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encoder_bridge.atomic import check_target, replacing
from encoder_bridge.console import Reporter
from encoder_bridge.errors import OutputError
from encoder_bridge.frames import FrameSource
from sweeps.records import now_iso
from sweeps.report.datasets import DataSet, curves_data, datasets, panels
from sweeps.report.gallery import Gallery, GalleryOptions
from sweeps.report.library import Library, drop_neutral, open_library
from sweeps.report.more import more_tables
from sweeps.report.originals import find_networks, find_originals, model_names
from sweeps.report.page import render
from sweeps.report.rates import OTHERS, OWN, SIZES, RateTable, other_pairs, own_pairs, rate_tables, size_pairs
from sweeps.report.shots import choose_shots
from sweeps.report.sides import SideFinder
from sweeps.report.words import cards, facts, failures, lede, title

PAGE = "index.html"


@dataclass(frozen=True)
class ReportRequest:
    """What a report is made of.

    Attributes:
        stores: folders or files of records.
        output: folder of ``index.html``, or an ``.html`` file.
        open_path: opens a video by its name.
        originals: names of the videos that were coded, where they are not embedded.
        models: ONNX files of the networks, where they are not embedded.
        anchor: coder that others are compared with; None takes the first.
        bootstrap: resamples of each interval.
        gallery: what the viewer may show.
        device: where networks run.
        line: the command, for the page's foot. version: of this software.
    """

    stores: Sequence[Path]
    output: Path
    open_path: Callable[[str], FrameSource]
    originals: Sequence[str] = ()
    models: Sequence[str] = ()
    anchor: str | None = None
    bootstrap: int = 1000
    gallery: GalleryOptions = field(default_factory=GalleryOptions)
    device: str = "cpu"
    line: str = "mrdo report"
    version: str = ""


def page_path(output: Path) -> Path:
    """The file a report is written to.

    Raises:
        OutputError: it could not be written there.
    """
    if output.suffix.lower() in (".html", ".htm"):
        check_target(output)
        return output
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: is a file; expected a folder for {PAGE}, or a name that ends in .html")
    check_target(output / PAGE if output.is_dir() else output, directory=False)
    return output / PAGE


def write_report(request: ReportRequest, reporter: Reporter) -> dict[str, Any]:
    """Write the page; returns the fields of the ``result`` event.

    Raises:
        StoreError: a store is missing, empty, damaged, or nothing in it was finished.
        OutputError: the page cannot be written. ConfigError: no such anchor.
        BridgeError: what opening originals and networks raises.
    """
    target = page_path(request.output)
    with reporter.task("read", None) as advance:
        library = open_library(request.stores, advance)
    drop_neutral(library)
    sets = datasets(library)
    tables = _tables(sets[0], request, reporter)
    names = model_names(library.networks)
    more, reasons = more_tables(library, request.anchor, request.bootstrap)
    shown, notes = _gallery(request, library, reporter)
    data = _data(library, sets, names)
    library.notes += reasons
    context = {**_context(request, library, sets, tables, names), "more": more, "gallery_notes": notes}
    text = render(context, data, shown)
    if not target.parent.exists():
        target.parent.mkdir()
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return {
        "output": str(target),
        "bytes": target.stat().st_size,
        "runs": sum(1 for _ in library.each()),
        "failed": len(library.failures),
        "streams_shown": 0 if shown is None else len(shown["streams"]),
        "frames_shown": 0 if shown is None else len(shown["shots"]),
    }


def _tables(dataset: DataSet, request: ReportRequest, reporter: Reporter) -> list[RateTable]:
    counts = {OWN: own_pairs(dataset), SIZES: size_pairs(dataset), OTHERS: other_pairs(dataset, request.anchor)}
    with reporter.task("BD-rates", sum(len(list(pairs)) for pairs in counts.values())) as advance:
        return rate_tables(dataset, request.anchor, request.bootstrap, advance)


def _gallery(request: ReportRequest, library: Library, reporter: Reporter) -> tuple[dict[str, Any] | None, list[str]]:
    """The viewer's content, and what to say about it."""
    if not request.gallery.frames:
        return None, []
    if not any(run.stream for _, _, run in library.each()):
        return None, ["The streams were not kept, so there is nothing to decode."]
    shots = choose_shots(library.inputs, request.gallery.frames)
    inputs = {shot.digest: library.inputs[shot.digest] for shot in shots}
    originals = find_originals(inputs, request.originals, request.open_path, reporter)
    digests = library.networks
    networks = find_networks(digests, request.models, request.device)
    notes = _absent(library, inputs, originals, networks)
    with tempfile.TemporaryDirectory(prefix="mrdo-report-") as scratch:
        driver = networks.get(next(iter(digests), ""))
        sides = SideFinder(originals, driver, Path(scratch), reporter, request.device)
        gallery = Gallery(originals, networks, sides, request.gallery)
        shown = gallery.data(library, shots, reporter)
    return shown, [*notes, *gallery.notes()]


def _absent(
    library: Library,
    inputs: Mapping[str, Mapping[str, Any]],
    originals: Mapping[str, object],
    networks: Mapping[str, object],
) -> list[str]:
    lost = [str(record.get("name")) for digest, record in inputs.items() if digest not in originals]
    unknown = [name for name in library.networks if name not in networks]
    notes = []
    if lost:
        some = ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")
        notes.append(f"no original of {some}: not shown, nor differences to it (give --original FILE)")
    if unknown:
        notes.append(f"network {', '.join(unknown)} is not here: what it sees is not shown (give --model FILE.onnx)")
    return notes


def _data(library: Library, sets: Sequence[DataSet], models: Mapping[str, str | None]) -> dict[str, Any]:
    series = library.series
    return {
        "series": [{"label": s.label, "coder": s.coder, "arm": s.arm, "plain": s.plain} for s in series],
        "machine": any(not s.plain for s in series),
        "sets": [
            {
                "name": one.name,
                "unit": one.unit,
                "panels": panels(one),
                "curves": curves_data(one, series, models),
            }
            for one in sets
        ],
    }


def _context(
    request: ReportRequest,
    library: Library,
    sets: Sequence[DataSet],
    tables: Sequence[RateTable],
    names: Mapping[str, str | None],
) -> dict[str, Any]:
    failed = failures(library, names)
    notes = [*library.notes, *sets[0].notes]
    if failed:
        runs = sum(1 for _ in library.each()) + len(failed)
        notes.insert(0, f"{len(failed)} of {runs} runs failed; see below, with commands that try again")
    undefined = sum(row.outcome is None for table in tables for row in table.rows)
    if undefined:
        what = (
            "1 BD-rate is undefined; the reason stands"
            if undefined == 1
            else f"{undefined} BD-rates are undefined; the reasons stand"
        )
        notes.append(f"{what} below the tables")
    return {
        "title": title(library),
        "lede": lede(library, sets[0]),
        "cards": cards(tables, library.networks),
        "notes": notes,
        "tables": tables,
        "level": "90 %",
        "frames": sets[0].frames,
        "draws": request.bootstrap,
        "rate_note": "" if len(sets) == 1 else f", all {len(library.inputs)} inputs together",
        "failures": failed,
        "facts": facts(library),
        "version": request.version,
        "created": now_iso().replace("T", " ").replace("+00:00", " UTC"),
        "line": request.line,
    }

"""``mrdo store``: the records of comparisons and sweeps, out of their file, together, and looked over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from encoder_bridge.console import Reporter
from encoder_bridge.errors import ConfigError, StoreError
from sweeps.options import command as new_command
from sweeps.options import json_option, reporter

if TYPE_CHECKING:
    from rich.table import Table

    from sweeps.aggregate import Mean
    from sweeps.store import ResultStore

_NAMED = 10


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def command() -> None:
    """Export, average, merge and check result stores.

    A store is the `results.jsonl` of `mrdo compare` or `mrdo sweep`, or the folder that holds it.
    """


_store_argument = click.argument("store", type=click.Path(path_type=Path))


@new_command("export")
@_store_argument
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="FILE.parquet, .duckdb, .sqlite or .csv; Parquet and DuckDB want the extra `query`.",
)
@json_option
def export(store: Path, output: Path, **options: Any) -> None:
    """Write STORE as one flat table `runs`, a row for each run, network and measure.

    For example: SELECT codec, qp, AVG(value) FROM runs WHERE measure = 'miou_labels' GROUP BY codec, qp
    """
    from sweeps.store_export import TABLE, check_export, export_store

    check_export(output)
    say, given = reporter(options), _opened(store)
    with say.task(f"export {output.name}", len(given)) as advance:
        rows = export_store(given, output, advance)
    say.event("result", output=str(output), table=TABLE, records=len(given), rows=rows)
    say.show(f"{output}: {rows} rows of {len(given)} runs in table {TABLE}")
    _warn_damage(given, say)


@new_command("means")
@_store_argument
@json_option
def means(store: Path, **options: Any) -> None:
    """Mean bits and accuracy of each configuration over the inputs of STORE."""
    from sweeps.aggregate import means as means_of
    from sweeps.store import stepwise

    say, given = reporter(options), _opened(store)
    with say.task("means", len(given)) as advance:
        rows = means_of(stepwise(given.measured(), advance))
    say.show(_means_table(rows))
    for row in rows:
        say.event("mean", **vars(row))
    say.event("result", store=str(given.path), configurations=len(rows), records=len(given))
    _warn_damage(given, say)


@new_command("merge")
@click.argument("stores", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the new store.")
@json_option
def merge(stores: tuple[Path, ...], output: Path, **options: Any) -> None:
    """Make one new store of the records and streams of STORES, of which each may come from another machine.

    Of several records of one run a success is taken before a failure, and of two alike the newer.
    """
    from sweeps.store_merge import merge_stores

    say, given = reporter(options), [_opened(path) for path in stores]
    with say.task(f"merge {output.name}", sum(map(len, given))) as advance:
        done = merge_stores(given, output, advance)
    for line in done.damaged:
        say.warn(str(line))
    for conflict in done.conflicts[:_NAMED]:
        sizes = " and ".join(map(str, conflict.bits))
        say.warn(f"run {conflict.key[:12]} has streams of {sizes} bits; took that of {given[conflict.taken].path}")
    if len(done.conflicts) > _NAMED:
        say.warn(f"and {len(done.conflicts) - _NAMED} more such runs")
    _warn_list("stream not there", done.missing, say)
    taken = {str(store.path): count for store, count in zip(given, done.taken, strict=True)}
    counts = {"conflicts": len(done.conflicts), "streams": done.streams, "missing": len(done.missing)}
    say.event("result", output=str(output), records=done.records, taken=taken, **counts)
    parts = ", ".join(f"{count} from {name}" for name, count in taken.items())
    say.show(f"{output}: {done.records} runs ({parts}), {done.streams} streams, {len(done.conflicts)} conflicts")


@new_command("check")
@_store_argument
@json_option
def check(store: Path, **options: Any) -> None:
    """Read every line of STORE and look for every stream; fails where something is damaged, missing or altered."""
    from sweeps.store_merge import check_store

    say, given = reporter(options), _opened(store)
    with say.task(f"check {given.path.name}", len(given)) as advance:
        found = check_store(given, advance)
    for line in found.damaged:
        say.warn(str(line))
    _warn_list("stream not there", found.missing, say)
    _warn_list("stream of another size than its record says", found.altered, say)
    counts = {"records": found.records, "failed": found.failed, "superseded": found.superseded}
    counts |= {"damaged": len(found.damaged), "missing": len(found.missing), "altered": len(found.altered)}
    say.event("result", store=str(given.path), sound=found.sound, **counts)
    say.show(", ".join(f"{count} {name}" for name, count in counts.items()))
    if not found.sound:
        raise StoreError(f"{given.path}: damage was found; runs without a sound record are made again by mrdo sweep")


for _command in (export, means, merge, check):
    command.add_command(_command)


def _opened(path: Path) -> ResultStore:
    from sweeps.store import ResultStore

    store = ResultStore(path, read_only=True)
    if not store.path.is_file():
        raise ConfigError(f"{store.path}: no such store; expected the output folder of mrdo compare or mrdo sweep")
    return store


def _warn_damage(store: ResultStore, say: Reporter) -> None:
    for line in store.damaged:
        say.warn(str(line))


def _warn_list(what: str, names: list[str], say: Reporter) -> None:
    for name in names[:_NAMED]:
        say.warn(f"{what}: {name}")
    if len(names) > _NAMED:
        say.warn(f"{what}: {len(names) - _NAMED} more")


def _means_table(rows: list[Mean]) -> Table:
    from rich.table import Table

    from sweeps.coding import arm_name
    from sweeps.records import RunRecord, config_of, rate_point

    names = list(dict.fromkeys((net, measure) for row in rows for net, part in row.scores.items() for measure in part))
    table = Table(box=None)
    for column in ("codec", "arm", "rate point"):
        table.add_column(column)
    for column in ("runs", "failed", "bits", "bpp", *(f"{net} {measure}" for net, measure in names)):
        table.add_column(column, justify="right")
    for row in rows:
        arm = arm_name(config_of(RunRecord("mean", config=dict(row.config))))
        scores = [row.scores.get(net, {}).get(measure) for net, measure in names]
        cells = (str(row.runs), str(row.failed), f"{row.bits:,.0f}", f"{row.bpp:.4f}")
        shown = ("" if score is None else f"{score:.4f}" for score in scores)
        table.add_row(row.config["codec"], arm, rate_point(row.config), *cells, *shown)
    return table

"""Commands that need no network: doctor, build, decode. The root that offers them is ``sweeps.cli``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from encoder_bridge.checks import ToolStatus, run_checks
from encoder_bridge.console import Reporter

if TYPE_CHECKING:
    from rich.table import Table

_SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 110}
_json_option = click.option("--json", "as_json", is_flag=True, help="NDJSON events on stdout, nothing else there.")


@click.command(context_settings=_SETTINGS)
@_json_option
def doctor(as_json: bool) -> None:
    """Say what is installed, what is missing and how to get it.

    Exit code 0 when the main job (encode, compare) can run, else 1. With --json one `tool` event a line: name, path,
    version, hooked, abi, ok, advice, needed.
    """
    reporter = Reporter(json=as_json)
    statuses = []
    with reporter.task("looking around", None) as advance:
        for status in run_checks():
            statuses.append(status)
            advance(1)
    for status in statuses:
        reporter.event("tool", **asdict(status))
    reporter.show(_table(statuses))
    missing = [status.name for status in statuses if status.needed and not status.ok]
    if missing:
        reporter.warn(f"the main job cannot run; missing: {', '.join(missing)}")
    reporter.event("result", ok=not missing, missing=missing)
    if missing:
        raise click.exceptions.Exit(1)


def _table(statuses: Sequence[ToolStatus]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "tool", "version", "hook", "remark"):
        table.add_column(name, overflow="fold")
    for status in statuses:
        mark = "[green]ok[/]" if status.ok else ("[bold red]MISSING[/]" if status.needed else "[yellow]absent[/]")
        table.add_row(mark, status.name, status.version, _hook(status), _plain(status.advice or status.path))
    return table


def _hook(status: ToolStatus) -> str:
    if status.hooked is None:
        return ""
    return (f"ABI {status.abi}" if status.abi else "built in") if status.hooked else "no"


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


@click.command(context_settings=_SETTINGS)
@click.argument("tool", metavar="TOOL", default="x265")
@click.option("--depth", type=click.Choice(["8", "10"]), default="8", help="Coding depth of the build.")
@click.option("--plain", is_flag=True, help="Build without our hook, for comparisons.")
@click.option("--version", metavar="VERSION", help="Version to build; the distribution's own where it is not given.")
@click.option("--source", metavar="DIR|TARBALL", help="Source tree or archive instead of the Debian source package.")
@click.option("--force", is_flag=True, help="Build again even if there is a build.")
@_json_option
def build(
    tool: str, depth: str, plain: bool, version: str | None, source: str | None, force: bool, as_json: bool
) -> None:
    """Build an encoder with the machine-RDO hook into your cache folder.

    TOOL is x265 (the default), x264 or hm. The source comes from the distribution's source package, from the pool of
    its Debian mirror where it has another version, or from --source.
    """
    from encoder_bridge import toolchain

    reporter = Reporter(json=as_json)
    place = Path(source) if source else None
    with reporter.task(f"build {tool} {depth} bit", None) as advance:

        def progress(line: str) -> None:
            reporter.note(line)
            advance(1)

        info = toolchain.build(
            tool, depth=int(depth), plain=plain, source=place, force=force, progress=progress, version=version
        )
    status = ToolStatus(f"{tool} {depth} bit", True, info.path, info.version, info.hooked, info.abi or None)
    reporter.event("tool", **asdict(status))
    reporter.show(f"{info.path}")


@click.command(context_settings=_SETTINGS)
@click.argument("stream", metavar="STREAM", type=click.Path(exists=True, dir_okay=False))
@click.option("-o", "--output", required=True, metavar="OUT", help="out.y4m, out.yuv, or a new folder for PNG images.")
@_json_option
def decode(stream: str, output: str, as_json: bool) -> None:
    """Turn a stream (ours or any video) back into pictures."""
    from encoder_bridge.decode import check_video_target, decode_stream, write_video

    reporter, target = Reporter(json=as_json), Path(output)
    check_video_target(target)
    source = decode_stream(Path(stream))
    with reporter.task(f"decode {Path(stream).name}", source.frame_count) as advance:
        frames = write_video(source, target, advance)
    fmt = source.format
    reporter.event("result", output=output, frames=frames, width=fmt.width, height=fmt.height, fps=str(fmt.fps))
    reporter.note(f"{frames} frames of {fmt.width}x{fmt.height} in {output}")

"""What a search tried, for the terminal and as events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from encoder_bridge.frames import VideoFormat
from sweeps.coding import arm_name
from sweeps.records import rate_point
from sweeps.tables import add_columns, new_table
from sweeps.target.choose import Choice, Tried
from sweeps.target.probing import Space
from sweeps.target.search import Goal, Probe

if TYPE_CHECKING:
    from rich.table import Table

_OUTCOMES = {
    "on target": "",
    "above": "; nothing cheaper that was tried{there} keeps the target",
    "below": "; below by less than the tolerance, since nothing tried{there} comes nearer",
}


def tried_event(tried: Tried, space: Space, fmt: VideoFormat) -> dict[str, Any]:
    """Fields of a ``probe`` event."""
    point, probe = tried.probe.point, tried.probe
    config = space.config(point)
    return {
        "first_frame": tried.shot.start,
        "frames": tried.shot.count,
        "number": tried.number,
        "codec": config.codec,
        "rdo": point.rdo,
        "scale": point.scale,
        "qp": point.quality,
        "bpp": probe.bpp,
        "kbps": probe.bpp * fmt.width * fmt.height * float(fmt.fps) / 1000,
        "accuracy": probe.accuracy,
    }


def probes_table(choices: Sequence[Choice], space: Space, metric: str) -> Table:
    """One row a probe, in the order tried; the chosen one is marked."""
    table = new_table("bpp: bits per luma sample of the input; > chosen", "Tried")
    add_columns(table, ("frames", "", "arm", "operating point"), ("bpp", metric))
    for choice in choices:
        frames = f"{choice.shot.start}–{choice.shot.start + choice.shot.count - 1}"
        for place, probe in enumerate(choice.probes):
            table.add_row(frames if place == 0 else "", *_cells(probe, choice, space))
        table.add_section()
    return table


def _cells(probe: Probe, choice: Choice, space: Space) -> tuple[str, ...]:
    config = space.config(probe.point)
    mark = ">" if probe == choice.best else ""
    return mark, arm_name(config), rate_point(vars(config)), f"{probe.bpp:.4f}", f"{probe.accuracy:.4f}"


def choice_line(choice: Choice, space: Space, goal: Goal, several: bool) -> str:
    """``frames 0–49: map:learned, QP 31 ×0.5, 0.9523 for a target of 0.95``."""
    config, last = space.config(choice.best.point), choice.shot.start + choice.shot.count - 1
    where = f"frames {choice.shot.start}–{last}: " if several else ""
    what = f"{arm_name(config)}, {rate_point(vars(config))}"
    outcome = _OUTCOMES[choice.outcome].format(there="" if choice.scale is None else " at this resolution")
    return f"{where}{what}: {choice.best.accuracy:.4f} for a target of {goal.accuracy:g}{outcome}"

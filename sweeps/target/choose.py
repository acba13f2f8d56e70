"""The choice for a whole video: each shot searched, all shots at one resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from encoder_bridge.errors import CurveError
from sweeps.target.curves import Point
from sweeps.target.probing import Prober
from sweeps.target.search import Goal, Probe, Search
from sweeps.target.shots import Shot

_LAST = 4
"""Probes of each shot that wait until the shots have agreed on a resolution."""


@dataclass(frozen=True)
class Part:
    """A shot and what can be tried on it."""

    shot: Shot
    prober: Prober


@dataclass(frozen=True)
class Tried:
    """One probe of one shot, just made."""

    shot: Shot
    number: int
    probe: Probe


@dataclass(frozen=True)
class Choice:
    """What a shot is coded with.

    Attributes:
        shot: the shot.
        best: the probe chosen.
        probes: everything tried, in order.
        outcome: "on target", "above" where nothing cheaper was on target, or "below" by at most the tolerance.
        scale: resolution that all shots have agreed on; None where there was nothing to agree on.
    """

    shot: Shot
    best: Probe
    probes: Sequence[Probe]
    outcome: str
    scale: float | None = None


def choose(parts: Sequence[Part], goal: Goal) -> Iterator[Tried | list[Choice]]:
    """Search every shot; yields each probe as it is made and the choices at the end.

    Shots have a quality and an RDO mode of their own but share one resolution, since a stream that changes it is
    refused by most receivers (MP4 cannot hold it). Where they would rather differ, the one of the least total rate is
    taken, as predicted after the first probes of each.

    Raises:
        CurveError: a shot does not come near the target, see ``judge``.
    """
    searches = [part.prober.search(goal) for part in parts]
    scale = None
    several = len(parts) > 1 and len({p.scale for p in searches[0].points}) > 1
    first = replace(goal, max_probes=max(1, goal.max_probes - _LAST)) if several else goal
    for part, search in zip(parts, searches, strict=True):
        search.goal = first
        if not several or goal.max_probes > 1:  # a single probe waits for the resolution
            yield from _exhaust(part, search, None)
    if several:
        scale = common_scale(parts, searches)
        for part, search in zip(parts, searches, strict=True):
            search.goal = goal
            yield from _exhaust(part, search, lambda point: point.scale == scale)
    yield [judge(part.shot, search, scale) for part, search in zip(parts, searches, strict=True)]


def common_scale(parts: Sequence[Part], searches: Sequence[Search]) -> float:
    """The resolution at which all shots together are expected to cost the least at the target."""

    def total(scale: float) -> float:
        return sum(
            part.shot.count * search.predicted_rate(lambda point: point.scale == scale)
            for part, search in zip(parts, searches, strict=True)
        )

    return min(sorted({p.scale for p in searches[0].points}, reverse=True), key=total)


def judge(shot: Shot, search: Search, scale: float | None = None) -> Choice:
    """The probe taken of a finished search; with ``scale`` only those at this resolution count.

    Raises:
        CurveError: nothing tried comes within the tolerance of the target, or above it; with a shortfall of 0, nothing
            tried reaches it.
    """
    best, goal = search.best(lambda point: scale in (None, point.scale)), search.goal
    assert best is not None
    if goal.on_target(best.accuracy):
        return Choice(shot, best, list(search.probes), "on target", scale)
    if goal.reached(best.accuracy):
        return Choice(shot, best, list(search.probes), "above", scale)
    if best.accuracy >= goal.accuracy - goal.tolerance and goal.shortfall != 0:
        return Choice(shot, best, list(search.probes), "below", scale)
    raise CurveError(_unreached(shot, search, best, scale))


def _unreached(shot: Shot, search: Search, best: Probe, scale: float | None) -> str:
    goal, point = search.goal, best.point
    where = f"scale {point.scale:g}, quality value {point.quality}, --rdo {point.rdo}"
    finest = min((p for p in search.points if scale in (None, p.scale)), key=lambda p: (p.qp, -p.scale))
    cause = (
        f"no finer setting is left: expected a target of at most {best.accuracy:.4f}"
        if any(p.point.qp == finest.qp and p.point.scale == finest.scale for p in search.probes)
        else f"--max-probes {goal.max_probes} ended the search: expected more, or a lower target"
    )
    return (
        f"target accuracy {goal.accuracy:g} not reached in frames {shot.start}–{shot.start + shot.count - 1}: "
        f"{best.accuracy:.4f} ({search.metric}) at {where} is the best of what was tried{_agreed(scale)}, and {cause}"
    )


def _agreed(scale: float | None) -> str:
    return "" if scale is None else " at the one resolution of all shots"


def _exhaust(part: Part, search: Search, allowed: Callable[[Point], bool] | None) -> Iterator[Tried]:
    while (point := search.ask(allowed)) is not None:
        probe = part.prober.measure(point)
        search.tell(probe)
        yield Tried(part.shot, len(search.probes), probe)

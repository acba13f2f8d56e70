"""Which frames and which streams the viewer shows, in the order of their worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.pictures import closest_pair
from sweeps.report.library import Library, Run, Series


@dataclass(frozen=True)
class Shot:
    """One frame of one input."""

    digest: str
    index: int


@dataclass(frozen=True)
class Shown:
    """One stream of the viewer: a series at a rate point, and its run for each input."""

    series: Series
    runs: Mapping[str, Run]

    @property
    def any_run(self) -> Run:
        """The run of one of the inputs."""
        return next(iter(self.runs.values()))


def choose_shots(inputs: Mapping[str, Mapping[str, Any]], count: int) -> list[Shot]:
    """``count`` frames evenly spread: over inputs where there are as many, else over the frames of each."""
    digests = [digest for digest, record in inputs.items() if record.get("width") and record.get("height")]
    if not digests:
        return []
    if len(digests) >= count:
        chosen = [digests[(2 * place + 1) * len(digests) // (2 * count)] for place in range(count)]
        return [Shot(digest, int(inputs[digest].get("frames", 1)) // 2) for digest in chosen]
    shots = []
    for place, digest in enumerate(digests):
        share = count // len(digests) + (place < count % len(digests))
        frames = int(inputs[digest].get("frames", 1))
        indices = [(2 * k + 1) * frames // (2 * share) for k in range(share)]
        shots += [Shot(digest, index) for index in dict.fromkeys(indices)]
    return shots


def choose_streams(library: Library, shots: Sequence[Shot]) -> list[Shown]:
    """Every stream of the inputs shown; first the pair of equal accuracy, then its neighbours, full size first."""
    digests = list(dict.fromkeys(shot.digest for shot in shots))
    found: dict[tuple[Series, Any], dict[str, Run]] = {}
    for digest in digests:
        for series, points in library.runs[digest].items():
            for point, run in points.items():
                found.setdefault((series, point), {})[digest] = run
    streams = [Shown(series, runs) for (series, _), runs in found.items()]
    pair = _first_pair(library, streams)
    return sorted(streams, key=lambda stream: _worth(stream, pair))


def _first_pair(library: Library, streams: Sequence[Shown]) -> list[Shown]:
    """PSNR-RDO and the last machine-aware arm of a coder at the most nearly equal accuracy; else a plain stream."""
    machine = next((s for s in reversed(library.series) if not s.plain), None)
    if machine is None:
        full = _full_size(streams)
        return full[len(full) // 2 :][:1]
    plains = [stream for stream in streams if stream.series.plain and stream.series.coder == machine.coder]
    arms = [list(_full_size(plains)), list(_full_size(s for s in streams if s.series == machine))]
    network = next(iter(library.networks), None)
    if not all(arms) or network is None:
        return list(streams[:1])
    records = [[stream.any_run.record for stream in arm] for arm in arms]
    if not all(network in record.scores for arm in records for record in arm):
        return [arm[len(arm) // 2] for arm in arms]
    best = closest_pair(records[0], records[1], network)
    return [
        arm[next(k for k, r in enumerate(have) if r is one)] for arm, have, one in zip(arms, records, best, strict=True)
    ]


def _full_size(streams: Iterable[Shown]) -> list[Shown]:
    found = list(streams)
    return [stream for stream in found if stream.any_run.config.scale == 1] or found


def _worth(stream: Shown, pair: Sequence[Shown]) -> tuple[bool, bool, float]:
    """Sorts first what is in the pair, then what is near it in rate."""
    if any(stream is one for one in pair) or not pair:
        return False, False, 0.0
    rates = stream.any_run.record.bits, pair[0].any_run.record.bits
    return True, stream.any_run.config.scale != 1, abs(rates[0] / max(rates[1], 1) - 1)

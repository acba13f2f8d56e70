"""Rate-accuracy curves of a store's records with their resamples: pooled over inputs, or the inputs' own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from encoder_bridge.errors import CurveError
from rdo_metrics.bd_rate import bd_rate
from rdo_metrics.curve import RDCurve, mean_curve
from rdo_metrics.hull import hull
from rdo_metrics.resampling import FrameBootstrap, PointStats, ResampledCurve
from sweeps.analysis.data import Question, Source, SweepData, data_of
from sweeps.analysis.series import Series
from sweeps.analysis.table import Cell
from sweeps.bd import aggregate_of, draw_block, kind_of, points_of
from sweeps.records import RunRecord


@dataclass(frozen=True)
class Line:
    """A row or column of a table: one curve, or the hull of several.

    Attributes:
        name: in the table.
        series: what is in it.
        network: judge; None for the question's.
    """

    name: str
    series: tuple[Series, ...]
    network: str | None = None


class NoRunsError(CurveError):
    """There is nothing a curve could go through: no such runs."""


class Curves:
    """Rate-accuracy curves with their resamples, each computed once.

    Args:
        data: the records.
        ask: see ``Question``.

    Attributes:
        groups: name → inputs' digests: one group where inputs are pooled, else one an input.

    Rates are in bits a luma sample of the input.
    """

    def __init__(self, data: SweepData, ask: Question) -> None:
        self.data, self.ask = data, data.settle(ask)
        self.groups = self._grouped()
        self._boots = {name: self._boot(place, digests) for place, (name, digests) in enumerate(self.groups.items())}
        self._known: dict[tuple[str, Line], ResampledCurve | CurveError] = {}

    @property
    def metric(self) -> str:
        """The measure asked for."""
        return str(self.ask.metric)

    def _grouped(self) -> dict[str, list[str]]:
        if self.ask.across == "pool":
            names = [str(i.get("name", "input")) for i in self.data.inputs.values()]
            return {names[0] if len(names) == 1 else f"all {len(names)} inputs": list(self.data.inputs)}
        taken: dict[str, list[str]] = {}
        for digest, info in self.data.inputs.items():
            name = str(info.get("name", "input"))
            taken[name if name not in taken else f"{name} {digest[:8]}"] = [digest]
        return taken

    def _boot(self, place: int, digests: Sequence[str]) -> FrameBootstrap:
        counts = [int(self.data.inputs[digest].get("frames", 0)) for digest in digests]
        block = draw_block(sum(counts)) if max(counts) > 1 else 1
        ask = self.ask
        return FrameBootstrap(sum(counts), n=max(ask.draws, 1), seed=ask.seed + place, level=ask.level, block=block)

    def curve(self, line: Line, group: str) -> ResampledCurve:
        """The line's curve, a hull where it has several series. Raises CurveError where there is none."""
        key = (group, line)
        if key not in self._known:
            try:
                self._known[key] = self._made(line, group)
            except CurveError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, CurveError):
            raise found
        return found

    def _made(self, line: Line, group: str) -> ResampledCurve:
        if len(line.series) > 1:
            parts = [self.curve(Line(s.label, (s,), line.network), group) for s in line.series]
            draws = tuple(self._hull(line.name, curves) for curves in zip(*(part.draws for part in parts), strict=True))
            full = self._hull(line.name, [part.full for part in parts])
            assert full is not None
            return ResampledCurve(full, draws)
        if not line.series:
            raise NoRunsError(f"no runs of {line.name}")
        return self._boots[group].curve(
            self._stats(line.series[0], group, line.network), aggregate_of(self.metric), label=line.name
        )

    def _hull(self, name: str, curves: Sequence[RDCurve | None]) -> RDCurve | None:
        whole = {str(i): curve for i, curve in enumerate(curves) if curve is not None}
        return hull(whole, shape=self.ask.hull, label=name).curve if len(whole) == len(curves) else None

    def _stats(self, series: Series, group: str, network: str | None) -> list[PointStats]:
        judge, digests = network or str(self.ask.network), self.groups[group]
        points = self.data.points(series, digests)
        if not points:
            of = "" if len(digests) == 1 else " that every input has"
            raise NoRunsError(f"no runs of {series.label}{of}")
        kind = None if self.metric == "psnr_y" else kind_of(self.metric)
        if kind and any(kind not in r.confusion.get(judge, {}) for records in points.values() for r in records):
            raise CurveError(f"{series.label}: not every run has {self.metric} of {judge}")
        samples = sum(self._samples(digest) for digest in digests)
        return [self._pooled(records, judge, samples) for records in points.values()]

    def _pooled(self, records: Sequence[RunRecord], judge: str, samples: float) -> PointStats:
        parts = points_of(records, judge, self.metric)
        return np.concatenate([bits for bits, _ in parts]) / samples, np.concatenate([stats for _, stats in parts])

    def _samples(self, digest: str) -> float:
        info = self.data.inputs[digest]
        return float(info.get("frames", 0)) * float(info.get("width", 0)) * float(info.get("height", 0)) or 1.0

    def full(self, line: Line) -> RDCurve:
        """The line's curve over all inputs: pooled, or the mean of the inputs' curves point by point.

        The hull of several series is then that of their mean curves. Raises CurveError where an input has no curve.
        """
        if len(self.groups) == 1:
            return self.curve(line, next(iter(self.groups))).full
        means = {s.label: self._mean(Line(s.label, (s,), line.network)) for s in line.series}
        if not means:
            raise NoRunsError(f"no runs of {line.name}")
        return hull(means, shape=self.ask.hull, label=line.name).curve if len(means) > 1 else next(iter(means.values()))

    def _mean(self, line: Line) -> RDCurve:
        shared = self.data.points(line.series[0], list(self.data.inputs))
        if not shared:
            raise NoRunsError(f"no runs of {line.name} that every input has")
        curves = []
        for group, (digest,) in self.groups.items():
            places = list(self.data.points(line.series[0], [digest]))
            curve = self.curve(line, group).full
            kept = [places.index(rate) for rate in shared]
            curves.append(RDCurve(curve.rates[kept], curve.metrics[kept], label=group))
        return mean_curve(curves, line.name)

    def lossless(self, group: str) -> ResampledCurve:
        """One point: the size without loss, and the accuracy on the originals. Raises CurveError without a record."""
        digests = self.groups[group]
        missing = [str(self.data.inputs[d].get("name", d)) for d in digests if not self.has_lossless(d)]
        if missing:
            hint = " with --labels DIR" if self.metric == "miou_labels" else ""
            raise CurveError(f"no lossless size of {', '.join(missing[:3])}: give --png INPUT{hint}")
        records = [self.data.lossless[digest] for digest in digests]
        samples = sum(self._samples(digest) for digest in digests)
        stats = [self._pooled(records, str(self.ask.network), samples)]
        return self._boots[group].curve(stats, aggregate_of(self.metric), label="lossless")

    def has_lossless(self, digest: str) -> bool:
        """Whether an input has a record without loss that holds the measure."""
        record = self.data.lossless.get(digest)
        return record is not None and kind_of(self.metric) in record.confusion.get(str(self.ask.network), {})

    def number(self, statistic: Callable[..., float], lines: Sequence[Line]) -> Cell:
        """A number of curves, one a line: of the one group, or the mean over the groups where it is defined."""
        return self._over_groups(statistic, lambda group: [self.curve(line, group) for line in lines])

    def over_lossless(self, statistic: Callable[..., float], lines: Sequence[Line]) -> Cell:
        """As ``number``; the statistic is given the point without loss first."""
        return self._over_groups(
            statistic, lambda group: [self.lossless(group), *(self.curve(line, group) for line in lines)]
        )

    def _over_groups(self, statistic: Callable[..., float], arms_of: Callable[[str], list[ResampledCurve]]) -> Cell:
        arms, reasons, without = [], [], []
        for group in self.groups:
            try:
                found = arms_of(group)
                statistic(*(curve.full for curve in found))
                arms.append(found)
            except NoRunsError as error:
                without.append((group, str(error)))
            except CurveError as error:
                reasons.append(_why(error) if len(self.groups) == 1 else f"{group}: {_why(error)}")
        reasons += _without(without, len(self.groups))
        if not arms:
            nowhere = len(without) == len(self.groups)
            return Cell(None, reason="; ".join(reasons), undefined="none" if nowhere else "undefined")
        return self._estimated(
            lambda *curves: _mean_of(statistic, curves, len(arms[0])), arms, reasons, len(self.groups)
        )

    def _estimated(
        self, statistic: Callable[..., float], arms: Sequence[Sequence[ResampledCurve]], reasons: Sequence[str], of: int
    ) -> Cell:
        boot = next(iter(self._boots.values()))
        found = boot.estimate(statistic, *(curve for group in arms for curve in group))
        left = f"mean of {len(arms)} of {of} inputs; {'; '.join(reasons)}" if reasons else ""
        if not self.ask.draws:
            return Cell(found.value, None, left)
        why = f"no interval: {found.reason}" if found.reason else ""
        return Cell(found.value, found.interval, "; ".join(filter(None, (left, why))))

    def bd(self, anchor: Line, test: Line) -> Cell:
        """BD-rate of test over anchor, in percent; negative is better."""
        return self.number(self._delta, (anchor, test))

    def bd_in(self, group: str, anchor: Line, test: Line) -> Cell:
        """BD-rate of test over anchor on one group's inputs."""
        try:
            found = [self.curve(line, group) for line in (anchor, test)]
            return self._estimated(self._delta, [found], [], 1)
        except NoRunsError:
            return Cell(None, reason="the input has no runs of all that is compared", undefined="none")
        except CurveError as error:
            return Cell(None, reason=f"{group}: {_why(error)}")

    def bd_of_mean(self, anchor: Line, test: Line) -> Cell:
        """BD-rate of the mean curves, without an interval."""
        try:
            return Cell(self._delta(self.full(anchor), self.full(test)))
        except NoRunsError:
            return Cell(None, reason="not every input has runs of all that is compared", undefined="none")
        except CurveError as error:
            return Cell(None, reason=_why(error))

    def _delta(self, anchor: RDCurve, test: RDCurve) -> float:
        ask = self.ask
        return bd_rate(anchor, test, method=ask.method, min_overlap=ask.min_overlap).value_percent


def _without(found: Sequence[tuple[str, str]], groups: int) -> list[str]:
    """One reason for all inputs that were simply not coded with what is compared."""
    if groups == 1 or len(found) == groups:
        said = list(dict.fromkeys(reason for _, reason in found))
        return said if groups == 1 else ["no input has runs of all that is compared"]
    names = [group for group, _ in found]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return [f"not all that is compared has runs on {shown}"] if found else []


def _why(error: CurveError) -> str:
    return str(error).removeprefix("undefined: ")


def _mean_of(statistic: Callable[..., float], curves: Sequence[RDCurve], arity: int) -> float:
    groups = [curves[start : start + arity] for start in range(0, len(curves), arity)]
    return float(np.mean([statistic(*group) for group in groups]))


def rd_curves(source: Source, ask: Question | None = None) -> dict[Series, RDCurve]:
    """The rate-accuracy curve of every series: bits a luma sample against the measure, over all inputs.

    Args:
        source: records.
        ask: network, metric, and how inputs are joined; intervals do not matter.

    Series without a curve that every input has are left out. Raises ConfigError for a question nobody can answer.
    """
    data = data_of(source)
    curves = Curves(data, replace(ask or Question(), draws=0))
    found = {}
    for series in data.series:
        try:
            found[series] = curves.full(Line(series.label, (series,)))
        except CurveError:
            continue
    return found

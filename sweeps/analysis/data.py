"""What is asked of a store's records, and the records by input, series and rate point."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from encoder_bridge.errors import ConfigError
from rdo_metrics.methods import Method, Shape
from sweeps.analysis.series import LOSSLESS, Series, Sorted, codec_rank, coder_names, merged, sort_record
from sweeps.bd import PSNR_NETWORK, kind_of
from sweeps.records import RunRecord
from sweeps.table_names import METRICS

_LEFT_OUT: dict[str, Any] = {"build": {}, "scores": {}, "psnr": {}, "extra": {}, "stream": None}


@dataclass(frozen=True)
class Question:
    """What is asked of the records.

    Attributes:
        network: judge; None for the first there is.
        metric: miou_labels, miou_pseudo, agreement or psnr_y; None for the first of these that every record has.
        method: interpolation of BD-rates.
        hull: shape of the hull over resolutions.
        across: "pool" takes the frames of all inputs as one clip; "mean" averages the inputs' own numbers; "auto" pools
            where every input is a single picture.
        draws: resamples of frames for intervals; 0 for none. seed: of the draws. level: of the intervals.
        min_overlap: as ``rdo_metrics.bd_rate.bd_rate``.
    """

    network: str | None = None
    metric: str | None = None
    method: Method = "pchip"
    hull: Shape = "pareto"
    across: Literal["auto", "pool", "mean"] = "auto"
    draws: int = 300
    seed: int = 0
    level: float = 0.9
    min_overlap: float = 0.5


class SweepData:
    """The finished records of one or several stores, by input and series.

    Args:
        records: any; of one input, series and rate point the last counts. Failed and neutral runs are left out.

    Raises ConfigError where nothing is left.
    """

    def __init__(self, records: Iterable[RunRecord]) -> None:
        self.inputs: dict[str, dict[str, Any]] = {}
        self.codecs: dict[str, str] = {}
        self._runs: dict[str, dict[Series, dict[tuple[Any, ...], RunRecord]]] = {}
        self._shared: dict[str, dict[str, Any]] = {}
        self.lossless: dict[str, RunRecord] = {}
        for record in records:
            self.add(record)
        if not self._runs:
            raise ConfigError("no finished run in the store; expected records of mrdo compare or mrdo sweep")
        self._name_coders()

    def add(self, record: RunRecord) -> None:
        """Take in one record; once the data is made only one without loss (``sweeps.analysis.lossless``)."""
        item = sort_record(record)
        if item is None:
            return
        digest = str(item.record.input.get("digest", ""))
        if item.codec == LOSSLESS:
            self.lossless[digest] = merged(self.lossless.get(digest), item.record)
            return
        self.codecs[item.series.coder] = item.codec
        points = self._runs.setdefault(digest, {}).setdefault(item.series, {})
        points[item.rate] = merged(points.get(item.rate), self._slim(item, digest))

    def of_input(self, digest: str) -> SweepData:
        """The records of one input alone; encoders keep their names."""
        found = object.__new__(SweepData)
        found.inputs, found.codecs, found._shared = {digest: self.inputs[digest]}, self.codecs, self._shared
        found._runs = {digest: self._runs[digest]}
        found.lossless = {key: record for key, record in self.lossless.items() if key == digest}
        return found

    def _name_coders(self) -> None:
        names = coder_names(self.codecs)
        ordered = sorted(self.codecs.items(), key=lambda item: codec_rank(item[1]))
        self.codecs = {names[key]: codec for key, codec in ordered}
        self._runs = {
            digest: {replace(series, coder=names[series.coder]): points for series, points in runs.items()}
            for digest, runs in self._runs.items()
        }

    def _slim(self, item: Sorted, digest: str) -> RunRecord:
        """The record without what no table asks for, sharing what many records say alike: stores are large."""
        record = item.record
        return replace(
            record,
            config=self._shared.setdefault(f"{item.series}{item.rate}", record.config),
            input=self.inputs.setdefault(digest, record.input),
            models=self._shared.setdefault(str(record.models), record.models),
            **_LEFT_OUT,
        )

    @cached_property
    def series(self) -> list[Series]:
        """Every series, encoders in the order of tables."""
        found = dict.fromkeys(series for runs in self._runs.values() for series in runs)
        coders = list(self.codecs)
        return sorted(found, key=lambda s: (coders.index(s.coder), s.arm != "psnr", s.arm, s.gray, -s.scale))

    @property
    def coders(self) -> list[str]:
        """Names of the encoders."""
        return list(self.codecs)

    @cached_property
    def networks(self) -> list[str]:
        """Judges, those that the first record knows first."""
        return list(dict.fromkeys(name for record in self.each() for name in record.confusion))

    def each(self) -> Iterable[RunRecord]:
        """Every record that counts, but those without loss."""
        return (record for runs in self._runs.values() for points in runs.values() for record in points.values())

    def chosen(
        self, coder: str, arm: str = "psnr", gray: bool | None = False, scale: float | None = None
    ) -> list[Series]:
        """The series of an encoder and arm; None takes all of that kind."""
        return [
            s
            for s in self.series
            if (s.coder, s.arm) == (coder, arm) and gray in (None, s.gray) and scale in (None, s.scale)
        ]

    def points(self, series: Series, inputs: Sequence[str]) -> dict[tuple[Any, ...], list[RunRecord]]:
        """Rate point → records of those inputs, in their order; points that one of them lacks are left out."""
        runs = [self._runs[digest].get(series, {}) for digest in inputs]
        shared = [rate for rate in runs[0] if all(rate in points for points in runs)]
        return {rate: [points[rate] for points in runs] for rate in shared}

    def settle(self, ask: Question) -> Question:
        """The question with what it leaves open filled in. Raises ConfigError for what the records do not have."""
        if ask.metric is not None and ask.metric not in METRICS:
            raise ConfigError(f"metric {ask.metric!r}; expected one of {', '.join(METRICS)}")
        network = PSNR_NETWORK if ask.metric == "psnr_y" else ask.network or next(iter(self.networks), PSNR_NETWORK)
        if network not in (*self.networks, PSNR_NETWORK):
            raise ConfigError(f"network {network!r}; expected one of {', '.join(self.networks) or 'none: no scores'}")
        metric = ask.metric or next(name for name in METRICS if self._has(network, name))
        if not self._has(network, metric):
            raise ConfigError(f"not every record has {metric} of {network}; expected another metric or network")
        single = all(int(i.get("frames", 0)) == 1 for i in self.inputs.values())
        across = ("pool" if single else "mean") if ask.across == "auto" else ask.across
        return replace(ask, network=network, metric=metric, across="pool" if len(self.inputs) == 1 else across)

    def _has(self, network: str, metric: str) -> bool:
        if metric == "psnr_y":
            return all(len(record.frame_psnr) == record.frames for record in self.each())
        kind = kind_of(metric)
        return any(kind in record.confusion.get(network, {}) for record in self.each())


Source = SweepData | Iterable[RunRecord]


def data_of(source: Source) -> SweepData:
    """Records as ``SweepData``, which is made only where it is not one yet."""
    return source if isinstance(source, SweepData) else SweepData(source)

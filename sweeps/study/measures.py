"""Everything that may predict a block's accuracy, behind one interface: quality metrics, machine metrics, baselines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rdo_metrics.block_sampling import Block
from rdo_metrics.candidates.base import CandidateMetric, Networks
from rdo_metrics.iqa.base import IqaMetric
from sweeps.study.plan import qp_of
from sweeps.study.views import View, by_view, choice

Values = NDArray[np.float64]
KINDS = ("quality", "machine", "answer", "baseline")
_TOGETHER = 32
"""Blocks given to a network at once."""
_BLOCK_SAMPLES = 1 << 20
"""Samples of blocks given to a quality metric at once."""


class Measure(ABC):
    """One column of the study.

    Attributes:
        name: unique in a study.
        title: as tables show it.
        kind: "quality" looks at pictures alone, "machine" asks a network or what was learned from one before the
            picture is coded or while it is, "answer" runs the driving network on the coded picture, "baseline" does not
            look at the block.
        identity: what its values depend on beside the pictures.
        higher_is_better: direction; correlations drop it.
    """

    name: str
    title: str
    kind: str
    identity: str
    higher_is_better: bool = False

    @abstractmethod
    def of_blocks(self, views: Sequence[View], blocks: Sequence[Block]) -> Values:
        """(n,) values of blocks of one configuration, whose views are among ``views``; NaN where there is none."""

    @abstractmethod
    def of_pictures(self, views: Sequence[View]) -> Values:
        """(N,) values of whole pictures."""


class QualityMeasure(Measure):
    """A metric of ``rdo_metrics.iqa``."""

    kind = "quality"

    def __init__(self, metric: IqaMetric, identity: str) -> None:
        self._metric = metric
        self.name, self.title = metric.info.name, metric.info.title
        self.higher_is_better = metric.info.higher_is_better
        self.identity = identity

    def of_blocks(self, views: Sequence[View], blocks: Sequence[Block]) -> Values:
        """See ``Measure.of_blocks``; blocks are scored alone, without their surroundings."""
        found = np.full(len(blocks), np.nan)
        lumas = {view.picture: view.lumas for view in views}
        for side in sorted({block.side for block in blocks}):
            members = [index for index, block in enumerate(blocks) if block.side == side]
            step = max(1, _BLOCK_SAMPLES // side**2)
            for part in (members[i : i + step] for i in range(0, len(members), step)):
                pairs = [[plane[blocks[i].place] for plane in lumas[blocks[i].picture]] for i in part]
                originals, coded = (np.stack(planes) for planes in zip(*pairs, strict=True))
                found[part] = self._metric.scores(originals, coded)
        return found

    def of_pictures(self, views: Sequence[View]) -> Values:
        """See ``Measure.of_pictures``."""
        originals, coded = (np.stack(planes) for planes in zip(*(view.lumas for view in views), strict=True))
        return np.asarray(self._metric.scores(originals, coded), np.float64)


class CandidateMeasure(Measure):
    """A metric that judges candidates in an encoder (``rdo_metrics.candidates``), as it would there."""

    kind = "machine"

    def __init__(self, name: str, metric: CandidateMetric, networks: Networks, identity: str, kind: str) -> None:
        self.name, self.title, self.identity, self.kind = name, name, identity, kind
        self._metric, self._networks = metric, networks

    def of_blocks(self, views: Sequence[View], blocks: Sequence[Block]) -> Values:
        """See ``Measure.of_blocks``; seen in a window of coded surroundings, as large as suits the metric."""
        found = np.full(len(blocks), np.nan)
        for view, members in by_view(views, blocks):
            frame = view.frame(self._networks)
            for part in (members[i : i + _TOGETHER] for i in range(0, len(members), _TOGETHER)):
                choices = [choice(frame, blocks[index], self._metric.context) for index in part]
                found[part] = [float(values[0]) for values in self._metric.distortions(choices)]
        return found

    def of_pictures(self, views: Sequence[View]) -> Values:
        """See ``Measure.of_pictures``."""
        return np.array([self._metric.picture(view.frame(self._networks)) for view in views], np.float64)


class MapMeasure(Measure):
    """The mean over a block of an error map of the whole picture."""

    def __init__(self, name: str, error_map: Callable[[View], NDArray[np.float32]], identity: str, kind: str) -> None:
        self.name, self.title, self.identity, self.kind = name, name, identity, kind
        self._map = error_map

    def of_blocks(self, views: Sequence[View], blocks: Sequence[Block]) -> Values:
        """See ``Measure.of_blocks``."""
        found = np.full(len(blocks), np.nan)
        for view, members in by_view(views, blocks):
            errors = self._errors(view)
            found[members] = [errors[blocks[index].place].mean(dtype=np.float64) for index in members]
        return found

    def of_pictures(self, views: Sequence[View]) -> Values:
        """See ``Measure.of_pictures``."""
        return np.array([self._errors(view).mean(dtype=np.float64) for view in views], np.float64)

    def _errors(self, view: View) -> NDArray[np.float32]:
        """One map serves blocks of every size, and the whole picture."""
        if self.name not in view.found:
            view.found[self.name] = self._map(view)
        return view.found[self.name]


class Baseline(Measure):
    """A number of the configuration: what can be said of a block without looking at it."""

    kind = "baseline"

    def __init__(self, name: str, title: str, value: Callable[[View], float], identity: str) -> None:
        self.name, self.title, self.identity = name, title, identity
        self._value = value

    def of_blocks(self, views: Sequence[View], blocks: Sequence[Block]) -> Values:
        """See ``Measure.of_blocks``."""
        known = {view.picture: self._value(view) for view in views}
        return np.array([known[block.picture] for block in blocks], np.float64)

    def of_pictures(self, views: Sequence[View]) -> Values:
        """See ``Measure.of_pictures``."""
        return np.array([self._value(view) for view in views], np.float64)


def baselines() -> list[Measure]:
    """QP, on the scale of QPs for every codec, and bits a pixel."""
    return [
        Baseline("qp", "QP", lambda view: qp_of(view.config), "qp"),
        Baseline("bpp", "bits per pixel", lambda view: view.bpp, "bpp"),
    ]

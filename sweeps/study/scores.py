"""Every measure on every pair of a study, one configuration after the other; what is finished is kept."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.atomic import replacing
from encoder_bridge.console import Advance
from encoder_bridge.errors import OutputError
from sweeps.study.coded import CodedPictures
from sweeps.study.measures import Measure
from sweeps.study.samples import Sample
from sweeps.study.views import View
from sweeps.workspace import digest_of

_REVISION = 1
"""Of how values are computed: raised where they change, so that kept ones are not taken for new."""
_SAMPLES = 1 << 23
"""Luma samples of the pictures looked at together."""
_MEMORY = 1 << 31
"""Bytes for what is found out about originals."""
_BYTES = 64
"""Of that a sample of a picture takes: a network's answer in a dozen classes, and maps."""


@dataclass(frozen=True)
class _Part:
    """The pairs of a sample in one configuration."""

    sample: Sample
    members: NDArray[np.int64]

    def digest(self) -> str:
        """Names the pairs; whole pictures are the same for every network."""
        blocks = [self.sample.blocks[index] for index in self.members] if self.sample.side else ()
        places = [(b.picture, b.x, b.y, b.side) for b in blocks] or self.sample.picture[self.members].tolist()
        return hashlib.sha256(repr(places).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class _Task:
    """A measure on the pairs of a part, and where its values are kept."""

    measure: Measure
    part: _Part
    path: Path
    values: NDArray[np.float64]

    def score(self, views: Sequence[View]) -> None:
        """Fill in the values of what is seen in ``views``, neighbouring pictures."""
        sample, members = self.part.sample, self.part.members
        pictures = sample.picture[members]
        here = np.flatnonzero((pictures >= views[0].picture) & (pictures <= views[-1].picture))
        if not len(here):
            return
        if sample.side:
            self.values[here] = self.measure.of_blocks(views, [sample.blocks[index] for index in members[here]])
        else:
            seen = [views[picture - views[0].picture] for picture in pictures[here]]
            self.values[here] = self.measure.of_pictures(seen)

    def keep(self) -> None:
        """Write the values."""
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            np.save(file, self.values)


@dataclass(frozen=True)
class Scorer:
    """Fills the values of samples.

    Attributes:
        made: the coded pictures.
        folder: where finished values are kept.
    """

    made: CodedPictures
    folder: Path
    _memory: dict[int, dict[Hashable, Any]] = field(default_factory=dict, compare=False)

    def fill(self, samples: Sequence[Sample], measures: Sequence[Measure]) -> None:
        """Set ``values`` of every sample for every measure. Raises what measures raise."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {self.folder}: {error.strerror}; give a writable folder") from error
        for sample in samples:
            sample.values = {measure.name: np.full(len(sample.accuracy), np.nan) for measure in measures}
        pictures = len(self.made.originals())
        with self.made.coder.reporter.task("score", len(self.made.configs) * pictures) as advance:
            for index in range(len(self.made.configs)):
                parts = [_Part(sample, np.flatnonzero(sample.configuration == index)) for sample in samples]
                self._configuration(index, [part for part in parts if len(part.members)], measures, advance)

    def _configuration(self, index: int, parts: list[_Part], measures: Sequence[Measure], advance: Advance) -> None:
        tasks: dict[Path, _Task] = {}
        for part, measure in itertools.product(parts, measures):
            path = self._path(index, measure, part)
            tasks.setdefault(path, _Task(measure, part, path, np.full(len(part.members), np.nan)))
        missing = [task for task in tasks.values() if not task.path.exists()]
        done = 0
        for views in self._views(index) if missing else ():
            for task in missing:
                task.score(views)
            advance(len(views))
            done += len(views)
        for task in missing:
            task.keep()
        advance(len(self.made.originals()) - done)
        for part, measure in itertools.product(parts, measures):
            part.sample.values[measure.name][part.members] = np.load(self._path(index, measure, part))

    def _path(self, index: int, measure: Measure, part: _Part) -> Path:
        identity = {
            "stream": self.made.identity(index),
            "measure": measure.identity,
            "pairs": part.digest(),
            "level": part.sample.level,
            "revision": _REVISION,
        }
        return self.folder / f"{digest_of(identity)}.npy"

    def _views(self, index: int) -> Iterator[list[View]]:
        """Some neighbouring pictures of a configuration at a time."""
        originals, stream = self.made.originals(), self.made.encoded(index).stream
        area = originals.shape[1] * originals.shape[2]
        bpp = stream.bits / (stream.frames * area)
        pictures = zip(itertools.count(), originals, self.made.decoded(index), strict=False)
        while some := list(itertools.islice(pictures, max(1, _SAMPLES // area))):
            yield [
                View(picture, self.made.configs[index], bpp, np.asarray(before), after, self._remembered(picture, area))
                for picture, before, after in some
            ]

    def _remembered(self, picture: int, area: int) -> dict[Hashable, Any]:
        # Every configuration walks through all pictures: what is kept are the first, as the latest would never be met.
        return self._memory.setdefault(picture, {}) if picture < _MEMORY // (area * _BYTES) else {}

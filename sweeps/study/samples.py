"""The pairs of a study: accuracies of whole pictures and of blocks drawn by them, for one network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ConfigError
from rdo_metrics.block_sampling import BINS, Block, BlockSampler, Population
from sweeps.study.coded import CodedPictures, Judge

IMAGE = "image"
AGAINST = ("pseudo", "labels")
Floats = NDArray[np.float64]


@dataclass
class Sample:
    """Pairs of one network at one level.

    Attributes:
        network: whose accuracy it is.
        side: of the blocks; 0 for whole pictures.
        accuracy: (n,), 0..1.
        picture, configuration: (n,) where each is from.
        blocks: the same as blocks; empty for whole pictures.
        values: measure → (n,), as they become known.
    """

    network: str
    side: int
    accuracy: Floats
    picture: NDArray[np.int64]
    configuration: NDArray[np.int64]
    blocks: tuple[Block, ...] = ()
    values: dict[str, Floats] = field(default_factory=dict)

    @property
    def level(self) -> str:
        """``image``, ``32``, …"""
        return str(self.side) if self.side else IMAGE

    def bins(self) -> list[int]:
        """Blocks in each of the k ranges of accuracy."""
        places = np.minimum((self.accuracy * BINS + 1e-9).astype(np.int64), BINS - 1)
        return [int(count) for count in np.bincount(places, minlength=BINS)]


def reference_labels(made: CodedPictures, against: str) -> NDArray[np.uint8] | None:
    """The ground truth, None where there is none; coding nothing. Raises ConfigError where ``against`` needs it."""
    if against not in AGAINST:
        raise ConfigError(f"accuracy against {against!r}; expected {' or '.join(AGAINST)}")
    if against == "labels" and made.truth is None:
        raise ConfigError("accuracy against labels without any; give --labels DIR, or --against pseudo")
    return made.truth_labels() if made.truth is not None else None


class Answers:
    """What one network says of originals and coded pictures, and where that counts as right.

    Args:
        made: the pictures.
        judge: the network.
        against: "pseudo" compares with its labels of the originals, "labels" with the ground truth.
    """

    def __init__(self, made: CodedPictures, judge: Judge, against: str = "pseudo") -> None:
        self._truth = reference_labels(made, against)
        self.made, self.judge, self.against = made, judge, against
        self._pseudo = made.pseudo(judge)
        self._coded = [made.labels(judge, index) for index in range(len(made.configs))]

    @property
    def pictures(self) -> int:
        """How many originals there are."""
        return len(self._pseudo)

    def agreement(self, picture: int, configuration: int) -> NDArray[np.bool_]:
        """M of Eq. (2), (H, W)."""
        reference = self._truth if self.against == "labels" and self._truth is not None else self._pseudo
        return np.asarray(self._coded[configuration][picture] == reference[picture])

    def known(self, picture: int) -> NDArray[np.bool_]:
        """(H, W) whether the ground truth has a label; true throughout where there is no ground truth."""
        if self._truth is None:
            return np.ones(self._pseudo.shape[1:], np.bool_)
        return np.asarray(self._truth[picture] < len(self.judge.classes))

    def labels(self, picture: int, configuration: int | None) -> NDArray[np.uint8]:
        """(H, W) of a coded picture, or of the original."""
        return np.asarray(self._pseudo[picture] if configuration is None else self._coded[configuration][picture])

    def population(self, exclude: bool = True) -> Population:
        """What blocks are drawn from; without ``exclude`` also where there is no ground truth (figure 3b)."""
        labelled = self.known if exclude and self._truth is not None else None
        return Population(self.pictures, len(self._coded), self.agreement, labelled)

    def image_sample(self, step: int = 1) -> Sample:
        """Section III-D: every ``step``-th picture in every configuration, pixel accuracy of the whole."""
        taken = np.arange(0, self.pictures, step)
        configuration, picture = (
            found.ravel() for found in np.meshgrid(np.arange(len(self._coded)), taken, indexing="ij")
        )
        accuracy = [self._share(int(p), int(c)) for c, p in zip(configuration, picture, strict=True)]
        return Sample(self.judge.name, 0, np.array(accuracy), picture, configuration)

    def block_sample(self, side: int, count: int, seed: int = 0) -> Sample:
        """Section III-E; ranges of accuracy that no block has are left out.

        Raises MetricInputError where no block can be drawn.
        """
        blocks = BlockSampler(self.population(), side, seed=seed).draw(count, skip_empty=True)
        columns: list[Sequence[Any]] = [
            [block.accuracy for block in blocks],
            [block.picture for block in blocks],
            [block.configuration for block in blocks],
        ]
        accuracy, picture, configuration = (np.array(column) for column in columns)
        return Sample(self.judge.name, side, accuracy, picture, configuration, tuple(blocks))

    def random_blocks(self, side: int, count: int, seed: int = 0) -> list[Block]:
        """Blocks drawn without regard to accuracy, as figures 3a and 4a show for comparison."""
        rng, found = np.random.default_rng(seed), []
        height, width = self._pseudo.shape[1:]
        for _ in range(count):
            picture, configuration = int(rng.integers(self.pictures)), int(rng.integers(len(self._coded)))
            x, y = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
            inside = self.agreement(picture, configuration)[y : y + side, x : x + side]
            found.append(Block(picture, configuration, x, y, side, float(inside.mean())))
        return found

    def _share(self, picture: int, configuration: int) -> float:
        right = self.agreement(picture, configuration)
        return float(right[self.known(picture)].mean() if self.against == "labels" else right.mean())

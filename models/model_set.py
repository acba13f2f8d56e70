"""A network for each coding configuration: a folder of ONNX files looked up by how a picture was coded (seed 001)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.atomic import replacing
from encoder_bridge.config import CodingConfig
from encoder_bridge.errors import ConfigError, ModelError
from models.task_model import TaskModel

INDEX = "networks.json"
_VERSION = 1


@dataclass(frozen=True, order=True)
class Configuration:
    """How a picture reaches the network (seed 001, figure 1): made grey, scaled down, coded, decoded, scaled up.

    Attributes:
        codec: registered encoder; "" for pictures that were not coded.
        quality: the codec's own parameter (QP; JPEG quality; …); 0 for pictures that were not coded.
        scale: linear resolution factor in (0, 1].
        gray: chroma dropped.
    """

    codec: str = ""
    quality: float = 0.0
    scale: float = 1.0
    gray: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 1:
            raise ConfigError(f"scale {self.scale}; expected 0 < scale <= 1")

    @property
    def is_pristine(self) -> bool:
        """Neither coded nor scaled."""
        return not self.codec and self.scale == 1

    def name(self) -> str:
        """Short name, also of files: ``x265_q30_s0.5_gray``; ``pristine``; ``s0.5``."""
        parts = [f"{self.codec}_q{self.quality:g}"] if self.codec else []
        if self.scale != 1:
            parts.append(f"s{self.scale:g}")
        if not parts:
            parts.append("pristine")
        return "_".join([*parts, *(["gray"] if self.gray else [])])

    @staticmethod
    def of(config: CodingConfig, gray: bool = False) -> Configuration:
        """What a coding configuration does to a picture. Raises ConfigError unless its quality is a fixed QP."""
        if config.qp is None:
            raise ConfigError("a set of networks is looked up by QP; expected --qps, not --crf or --bitrate")
        return Configuration(config.codec, float(config.qp), config.scale, gray)


class ModelSet:
    """A folder with ``networks.json``: configuration → ONNX file.

    Raises ModelError for a folder that is no such set, or names a file it does not hold.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.files, self.notes = _read_index(self.folder)

    def __len__(self) -> int:
        return len(self.files)

    def for_config(self, config: CodingConfig | Configuration, gray: bool = False) -> Path:
        """The network trained for a configuration, else that of the nearest quality (the lower of two as near).

        Codec, scale and grey must be the same: a network for another of them would not be the one asked for.
        Raises ConfigError where there is none.
        """
        wanted = Configuration.of(config, gray) if isinstance(config, CodingConfig) else config
        same = [c for c in self.files if (c.codec, c.gray) == (wanted.codec, wanted.gray) and _near(c, wanted)]
        if not same:
            known = sorted({(c.codec or "none", c.scale, c.gray) for c in self.files})
            raise ConfigError(
                f"{self.folder}: no network for {wanted.name()}; expected one of "
                + ", ".join(f"{codec} at scale {scale:g}{' gray' if grey else ''}" for codec, scale, grey in known)
            )
        return self.files[min(same, key=lambda c: (abs(c.quality - wanted.quality), c.quality))]

    def pristine(self, gray: bool = False) -> Path:
        """The network trained on pictures that were neither coded nor scaled; its labels are the reference."""
        return self.for_config(Configuration(gray=gray))

    def digest(self) -> str:
        """SHA-256 hex of the index and of all networks."""
        state = hashlib.sha256((self.folder / INDEX).read_bytes())
        for path in sorted(set(self.files.values())):
            state.update(path.read_bytes())
        return state.hexdigest()


class SetModel:
    """A model set as one judge: the network of a configuration looks at what was coded with it.

    The reference of the pseudo measures is the set's pristine network on the original: ``labels``. Seed 001 scores
    against ground truth (``miou_labels``), where every network of the set is held to the same truth; use that figure
    to compare sets, and the pseudo ones only where there are no labels.

    Args:
        folder: of the set.
        gray: the video has no chroma.
        device, threads: as ``TaskModel``.
    """

    def __init__(self, folder: Path | str, gray: bool = False, device: str = "cpu", threads: int | None = None) -> None:
        self.set = ModelSet(folder)
        place = Path(folder).resolve()
        self.name = place.parent.name if place.name == "networks" else place.name
        self._gray, self._device, self._threads = gray, device, threads
        self._open: dict[Path, TaskModel] = {}
        self.classes: tuple[str, ...] = self._network(self.set.pristine(gray)).classes
        # Grey and colour pictures have networks of their own: neither's labels may be taken for the other's.
        self._digest = hashlib.sha256(f"{self.set.digest()} gray".encode()).hexdigest() if gray else self.set.digest()

    def labels(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(N, H, W) uint8 labels of an original by the pristine network."""
        return self._network(self.set.pristine(self._gray)).labels(rgb)

    def digest(self) -> str:
        """SHA-256 hex of the whole set."""
        return self._digest

    def check(self, config: CodingConfig) -> None:
        """ConfigError where the set has no network for a configuration."""
        self.set.for_config(config, self._gray)

    def member(self, config: CodingConfig) -> SetMember:
        """The judge of pictures coded as ``config`` says. Raises ConfigError where the set has none."""
        return SetMember(self.name, self._network(self.set.for_config(config, self._gray)))

    def _network(self, path: Path) -> TaskModel:
        if path not in self._open:
            self._open[path] = TaskModel(path, device=self._device, threads=self._threads)
        return self._open[path]


@dataclass(frozen=True)
class SetMember:
    """One network of a set under the set's name.

    Attributes:
        name: the set's.
        network: of the configuration.
    """

    name: str
    network: TaskModel

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.network.classes

    def labels(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(N, H, W) uint8 labels."""
        return self.network.labels(rgb)


def is_model_set(path: Path | str) -> bool:
    """Whether ``path`` is a folder with an index of networks."""
    return (Path(path) / INDEX).is_file()


def write_index(folder: Path, files: Mapping[Configuration, str], notes: Mapping[str, Any] | None = None) -> None:
    """Write ``networks.json``; ``files`` are names inside ``folder``."""
    rows = [{**asdict(c), "file": files[c]} for c in sorted(files)]
    text = json.dumps({"version": _VERSION, **(notes or {}), "networks": rows}, indent=1)
    with replacing(folder / INDEX) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _near(one: Configuration, other: Configuration) -> bool:
    return abs(one.scale - other.scale) < 1e-6


def _read_index(folder: Path) -> tuple[dict[Configuration, Path], dict[str, Any]]:
    place = folder / INDEX
    try:
        index = json.loads(place.read_text(encoding="utf-8"))
        rows = index.pop("networks")
        files = {Configuration(**{k: v for k, v in row.items() if k != "file"}): folder / row["file"] for row in rows}
        version = index.pop("version")
    except OSError as error:
        raise ModelError(f"{place}: {error.strerror}; expected a folder made by mrdo train progressive") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{place}: damaged ({error}); expected an index made by mrdo train progressive") from error
    if version != _VERSION or not files:
        raise ModelError(f"{place}: version {version}, {len(files)} networks; expected version {_VERSION} and some")
    _check_files(files.values())
    return files, index


def _check_files(paths: Iterable[Path]) -> None:
    for path in paths:
        if not path.is_file():
            raise ModelError(f"{path}: named in {INDEX} but not there; run mrdo train progressive again")

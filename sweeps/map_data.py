"""Labels for the learned map (design §5.4): attribution of several networks at several operating points.

A set is coded as one all-intra clip at each QP; every network then says which blocks' coding errors cost it what.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.atomic import replacing
from encoder_bridge.color import planes_to_rgb, reduced_rgb, rgb_to_planes
from encoder_bridge.config import CodingConfig, MapConfig, RunOptions
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoder import SideInfo
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.frames import Frame, VideoFormat
from encoder_bridge.source_images import read_rgb
from models.gradient import GradientModel
from models.map_model import MapModel, statistics
from models.scenes import render_frame
from models.task_model import TaskModel
from models.train.pictures import fitted, varied
from rdo_metrics.maps import MapContext
from rdo_metrics.maps.attribution import attribution
from rdo_metrics.weights import QP_BLOCK, block_mean, side_info
from sweeps.workspace import digest_of

STEPS = 3
_ZOOM = (0.8, 2.5)
_SCENES = 500_000
Pictures = NDArray[np.uint8]
"""(T, H, W, 3) uint8 RGB, all of one size."""


@dataclass(frozen=True)
class Attributor:
    """One network that gives labels: its answers and its gradients."""

    model: TaskModel
    gradient: GradientModel

    @classmethod
    def open(cls, path: Path, threads: int | None = None, device: str = "cpu") -> Attributor:
        """Raises ModelError, DeviceError, or ToolNotFoundError without the extra ``exact``."""
        model = TaskModel(path, device, threads)
        return cls(model, GradientModel(path, model.options, device))

    def loss_and_grad(self, rgb: Any, labels: Any) -> Any:
        """See ``GradientModel.loss_and_grad``."""
        return self.gradient.loss_and_grad(rgb, labels)

    def label(self, context: MapContext, steps: int = STEPS) -> NDArray[np.float32]:
        """(ceil(H/16), ceil(W/16)) float32: mean attributed loss per pixel of each block, in nats; may be negative."""
        return block_mean(attribution(context, steps), QP_BLOCK)


@dataclass(frozen=True)
class LabelPlan:
    """What a learned map is taught from.

    Attributes:
        pictures: files of photographs.
        scenes: number of procedural scenes.
        networks: files of the networks that give labels; the first labels everything, the others the photographs as
            they are at the middle operating point.
        size: (H, W) all pictures are brought to.
        qps: operating points of the photographs as they are; those changed in scale and light, and the scenes, take
            two in between.
        seed: of scenes and changes.
        guide: a map network of an earlier round; the photographs are labelled once more as it has them coded.
        variations: further changes of every photograph, labelled at the coarser points, where most is lost.
    """

    pictures: tuple[Path, ...]
    scenes: int
    networks: tuple[Path, ...]
    size: tuple[int, int] = (360, 480)
    qps: tuple[int, ...] = (28, 36, 44, 50)
    seed: int = 0
    guide: Path | None = None
    variations: int = 0

    def requests(self) -> Iterator[LabelRequest]:
        """The sets one by one; pictures are read and rendered when their set is reached."""
        photographs = [read_rgb(path) for path in self.pictures]
        between = self.between
        first, *others = self.networks
        if photographs:
            plain = fitted(photographs, self.size)
            yield LabelRequest("plain", plain, self.qps, first)
            for network in others:
                yield LabelRequest(f"plain_{network.stem}", plain, (self.qps[(len(self.qps) - 1) // 2],), network)
            changed = varied(photographs, self.size, _ZOOM, self.seed)
            yield LabelRequest("varied", changed, between, first)
            for index in range(1, self.variations + 1):
                again = varied(photographs, self.size, _ZOOM, self.seed + 1000 * index)
                yield LabelRequest(f"varied{index}", again, between[len(between) // 2 :], first)
            if self.guide is not None:
                yield LabelRequest("plain", plain, self.qps[1:], first, guide=self.guide)
                yield LabelRequest("varied", changed, between[-1:], first, guide=self.guide)
        if self.scenes:
            height, width = self.size
            scenes = [render_frame(_SCENES + self.seed * 10_000 + i, width, height)[0] for i in range(self.scenes)]
            yield LabelRequest("scenes", np.stack(scenes), between[-1:], first)

    @property
    def between(self) -> tuple[int, ...]:
        """Operating points in between; of one, itself."""
        return tuple((a + b) // 2 for a, b in itertools.pairwise(self.qps)) or self.qps

    @property
    def total(self) -> int:
        """Pictures that are labelled, counted once for each operating point."""
        points = len(self.between)
        sets = len(self.qps) + len(self.networks) - 1 + points + self.variations * (points - points // 2)
        again = 0 if self.guide is None else len(self.qps)
        return len(self.pictures) * (sets + again) + self.scenes


@dataclass(frozen=True)
class LabelRequest:
    """What is labelled at once.

    Attributes:
        name: of the set, for its files.
        pictures: what is coded.
        qps: operating points.
        network: file of the network that gives labels.
        preset: the encoder's.
        guide: a map network that the encoder already listens to: labels then say what is left to gain.
    """

    name: str
    pictures: Pictures
    qps: tuple[int, ...]
    network: Path
    preset: str = "medium"
    guide: Path | None = None

    @property
    def file_name(self) -> str:
        """Name of its files, before operating point and digest."""
        return self.name if self.guide is None else f"{self.name}_guided"


def label_pictures(
    request: LabelRequest, out: Path, options: RunOptions, advance: Callable[[int], None]
) -> Iterator[Path]:
    """One ``.npz`` for each QP, made where it is not there yet.

    Each holds ``qp`` (T,); ``original`` and ``reconstruction`` (T, ceil(H/2), ceil(W/2), 3) uint8, the pictures after
    conversion to 4:2:0 at half their size; ``attribution`` (T, h, w), ``squared_error`` (T, h, w) and ``statistics`` of
    the network's answers (T, 8, h, w), float32 on 16×16 blocks. ``advance`` is called with 1 for each picture and QP.
    """
    attributor: Attributor | None = None
    for qp in request.qps:
        path = out / f"{request.file_name}_{qp}_{_identity(request)}.npz"
        if path.is_file():
            advance(len(request.pictures))
        else:
            attributor = attributor or Attributor.open(request.network, options.threads, options.device)
            _write(path, _labelled(request, qp, attributor, out, options, advance))
        yield path


def _identity(request: LabelRequest) -> str:
    pictures = hashlib.sha256(request.pictures.tobytes()).hexdigest()
    named = {"network": TaskModel(request.network).digest(), "preset": request.preset, "pictures": pictures}
    if request.guide is not None:
        named["guide"] = hashlib.sha256(request.guide.read_bytes()).hexdigest()
    return digest_of({**named, "steps": STEPS})[:12]


def _labelled(
    request: LabelRequest,
    qp: int,
    attributor: Attributor,
    out: Path,
    options: RunOptions,
    advance: Callable[[int], None],
) -> dict[str, NDArray[np.generic]]:
    height, width = request.pictures.shape[1:3]
    fmt = VideoFormat(width, height, matrix="bt601")
    stream = out / f"{request.file_name}_{qp}.{ENCODERS.get('x265').suffix.lstrip('.')}"
    rows: dict[str, list[NDArray[np.generic]]] = {}
    config = CodingConfig(codec="x265", preset=request.preset, gop="intra", qp=qp)
    sides = _Guided(request.guide, config, fmt, options)
    if request.guide is not None:
        config = replace(config, rdo="map", map=MapConfig(str(request.guide)))
    frames = [Frame(rgb_to_planes(rgb, fmt), index, index / fmt.fps) for index, rgb in enumerate(request.pictures)]
    ENCODERS.get("x265")().encode(((frame, sides.of(frame)) for frame in frames), fmt, config, options, stream)
    for original, decoded in zip(frames, decode_stream(stream), strict=True):
        for name, value in _row(original, decoded, fmt, attributor).items():
            rows.setdefault(name, []).append(value)
        advance(1)
    stream.unlink()
    return {"qp": np.full(len(frames), qp, np.float32), **{name: np.stack(values) for name, values in rows.items()}}


class _Guided:
    """Side information from a map network; none where there is no network."""

    def __init__(self, guide: Path | None, config: CodingConfig, fmt: VideoFormat, options: RunOptions) -> None:
        self._model = None if guide is None else MapModel(guide, options.device, options.threads)
        self._qp, self._format = float(config.qp or 0), fmt

    def of(self, frame: Frame) -> SideInfo | None:
        """What the encoder is told about a frame."""
        if self._model is None:
            return None
        weights = self._model.ask(self._qp, reduced_rgb(frame.planes, self._format))
        return side_info(weights, MapConfig(), (self._format.height, self._format.width))


def _row(original: Frame, decoded: Frame, fmt: VideoFormat, attributor: Attributor) -> dict[str, NDArray[np.generic]]:
    context = MapContext(
        original_rgb=planes_to_rgb(original.planes, fmt),
        original_luma=original.planes[0],
        log_probs=attributor.model.log_probs,
        loss_and_grad=attributor.loss_and_grad,
    ).with_reconstruction(planes_to_rgb(decoded.planes, fmt), decoded.planes[0])
    return {
        "original": reduced_rgb(original.planes, fmt),
        "reconstruction": reduced_rgb(decoded.planes, fmt),
        "attribution": attributor.label(context),
        "squared_error": context.squared_error(),
        "statistics": statistics(context.original_log_probs()),
    }


def _write(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)

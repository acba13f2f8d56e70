"""Maps of a whole video: the network and the first pass in, one ``SideInfo`` a frame out."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.atomic import replacing
from encoder_bridge.color import planes_to_rgb, reduced_rgb
from encoder_bridge.config import CodingConfig, MapConfig
from encoder_bridge.console import Reporter
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoder import SideInfo, quality_of
from encoder_bridge.errors import ConfigError, ModelError
from encoder_bridge.frames import Frame, FrameSource, Plane, VideoFormat
from models import map_model_path
from models.gradient import GradientModel
from models.map_model import MapModel
from models.task_model import TaskModel
from rdo_metrics.maps import LearnedMap, Map, MapContext, make_map
from rdo_metrics.weights import QP_BLOCK, WEIGHT_BLOCK, grid_shape, interpolate_maps, side_info
from sweeps.arrayfile import read_frames, write_frames, writing_frames
from sweeps.scoring import match_planes
from sweeps.workspace import Workspace, digest_of

MIDDLE_QP = 35.0
"""What a learned map is told where only a bit rate is known."""


@dataclass(frozen=True)
class MapTrack:
    """Raw weights of a video and how they become side information.

    Attributes:
        raw: (keys, h, w) float32, one map for every ``config.interval`` frames.
        config: strength, clip, group and the rest.
        size: (H, W) of the coded picture in luma samples.
        block: grid of the weights, 16 or 8.
        seconds: what the maps took before the encode, networks included; 0 where they were computed inside it.
    """

    raw: NDArray[Any]
    config: MapConfig
    size: tuple[int, int]
    block: int
    seconds: float

    def side_info(self, index: int) -> SideInfo:
        """What the encoder is told about frame ``index`` (display order)."""
        return side_info(self._weights(index), self.config, self.size, block=self.block)

    def follow(self, source: FrameSource) -> Generator[tuple[Frame, SideInfo | None]]:
        """Each frame of the coded video and what the encoder is told about it."""
        for frame in source:
            yield frame, self.side_info(frame.index)

    def _weights(self, index: int) -> NDArray[np.float32]:
        n = self.config.interval
        before = min(index // n, len(self.raw) - 1)
        keys = {k * n: self.raw[k] for k in (before, min(before + 1, len(self.raw) - 1))}
        weights = interpolate_maps(keys, index)
        expected = grid_shape(*self.size, self.block)
        return weights if weights.shape == expected else _resample(weights, expected)


@dataclass(frozen=True)
class LiveTrack:
    """Maps of a video that are computed as its frames pass on their way to the encoder: nothing is read twice.

    Attributes:
        weights: raw weights of one frame.
        path: where they are kept once the last frame has passed.
        config, size, block: as ``MapTrack``.
    """

    weights: Callable[[Frame], NDArray[np.float32]]
    path: Path
    config: MapConfig
    size: tuple[int, int]
    block: int

    def follow(self, source: FrameSource) -> Generator[tuple[Frame, SideInfo | None]]:
        """Each frame of the coded video and what the encoder is told about it."""
        with writing_frames(self.path) as add:
            for frame in source:
                raw = self.weights(frame)
                add(raw)
                yield frame, side_info(raw, self.config, self.size, block=self.block)
        _write_seconds(self.path, 0.0)

    def kept(self) -> MapTrack:
        """The same maps, from the disk."""
        return MapTrack(read_frames(self.path), self.config, self.size, self.block, 0.0)


def _resample(weights: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Maps are made at the network's resolution; a scaled encode has a grid of its own."""
    import cv2

    return np.maximum(cv2.resize(weights, shape[::-1], interpolation=cv2.INTER_AREA), 0).astype(np.float32)


@dataclass(frozen=True)
class MapMaker:
    """Computes maps with one driving network.

    Attributes:
        driver: the network whose opinion counts; None allows only maps from files.
        device: where gradients are computed.
        seed: of random draws in maps.
    """

    driver: TaskModel | None
    device: str = "cpu"
    seed: int = 0
    _made: dict[str, Map] = field(default_factory=dict, compare=False)
    _guides: dict[Path, MapModel] = field(default_factory=dict, compare=False)

    def map(self, config: MapConfig) -> Map:
        """The map a configuration names. ConfigError where it needs a network and there is none."""
        key = f"{config.name}:{config.sigma}"
        if key not in self._made:
            made = self._learned(Path(config.name)) if config.name.endswith(".onnx") else make_map(config)
            if made.needs_network and self.driver is None:
                raise ConfigError(f"map {config.name!r} needs a network; give --model FILE.onnx")
            self._made[key] = made
        return self._made[key]

    def _learned(self, path: Path) -> LearnedMap:
        return LearnedMap(MapModel(path, self.device).variant, path)

    def prepare(self, config: MapConfig) -> None:
        """Fail now, before hours of encoding, where the map or its gradients cannot be had."""
        made = self.map(config)
        if made.needs_network and self.driver is not None and self.driver.gives_labels:
            raise ModelError(f"{self.driver.path}: its output is a label map; map {config.name!r} needs logits")
        if made.needs_gradient:
            _ = self._gradient
        if isinstance(made, LearnedMap):
            self._guide(made)

    def needs_first_pass(self, config: MapConfig) -> bool:
        """Whether the map compares with a plain encode at the same operating point."""
        return self.map(config).needs_first_pass

    def probe(self, config: MapConfig) -> int:
        """QP steps by which the first pass is coarser than the encode."""
        return self.map(config).probe if config.probe is None else config.probe

    def resolved(self, config: MapConfig) -> MapConfig:
        """The configuration with the map's own defaults where it asks for none."""
        return replace(config, tau=self.map(config).tau if config.tau is None else config.tau)

    def identity(self, config: MapConfig) -> str:
        """Digest of what the raw weights depend on beside the pictures: network, file, seed."""
        if config.name.endswith(".npy"):
            self.map(config)
            return hashlib.sha256(Path(config.name).read_bytes()).hexdigest()
        network = self.driver.digest() if self.driver else None
        own: dict[str, object] = {"probe": self.probe(config), "tau": self.resolved(config).tau}
        made = self.map(config)
        if isinstance(made, LearnedMap):
            own["guide"] = hashlib.sha256(self._guide(made).path.read_bytes()).hexdigest()
            network = network if made.needs_network else None
        return digest_of({"network": network, "seed": self.seed, **own})

    def track(
        self,
        source: FrameSource,
        first_pass: Path | None,
        config: CodingConfig,
        identity: Mapping[str, object],
        workspace: Workspace,
        reporter: Reporter,
    ) -> MapTrack:
        """Maps of ``source``, from the workspace where they are there already.

        Args:
            source: the original at its own size.
            first_pass: plain stream at the target operating point, for maps that need one.
            config: with ``config.map`` set.
            identity: what determines the first pass.
        """
        assert config.map is not None
        made, block = self.map(config.map), _block(config.map)
        path = self._path(config, identity, workspace)
        if not path.exists():
            began = time.monotonic()
            with reporter.task(f"map {config.map.name}", source.frame_count) as advance:
                shots = self._shots(source, first_pass, config.map.interval, advance)
                contexts = (self._context(*shot, made, block, self._qp(config)) for shot in shots)
                write_frames(path, (made.weights(context) for context in contexts))
            _write_seconds(path, time.monotonic() - began)
        size = _coded_size(source.format, config.scale)
        return MapTrack(read_frames(path), self.resolved(config.map), size, block, _read_seconds(path))

    def live(
        self, fmt: VideoFormat, config: CodingConfig, identity: Mapping[str, object], workspace: Workspace
    ) -> LiveTrack | None:
        """Maps computed while encoding; None where they are kept already, or need more than the frame at hand.

        Args:
            fmt: the source's.
            config, identity: as ``track``.
        """
        assert config.map is not None
        path = self._path(config, identity, workspace)
        ahead = self.needs_first_pass(config.map) or config.map.interval > 1 or config.scale != 1
        if ahead or path.exists():
            return None
        made, block, qp = self.map(config.map), _block(config.map), self._qp(config)

        def weights(frame: Frame) -> NDArray[np.float32]:
            return made.weights(self._context(frame.index, _Shot(frame.planes, fmt), None, made, block, qp))

        return LiveTrack(weights, path, self.resolved(config.map), (fmt.height, fmt.width), block)

    def _path(self, config: CodingConfig, identity: Mapping[str, object], workspace: Workspace) -> Path:
        assert config.map is not None
        named = [config.map.name, config.map.sigma, config.map.interval, _block(config.map)]
        whole = {**identity, "driver": self.identity(config.map), "map": named}
        if isinstance(self.map(config.map), LearnedMap):
            whole["qp"] = operating_point(config)
        return workspace.map(whole)

    def _qp(self, config: CodingConfig) -> float:
        assert config.map is not None
        return operating_point(config) + self.probe(config.map)

    def _shots(
        self, source: FrameSource, first_pass: Path | None, interval: int, advance: Any
    ) -> Iterator[tuple[int, _Shot, _Shot | None]]:
        decoded = decode_stream(first_pass) if first_pass is not None else None
        pairs = itertools.zip_longest(source, decoded if decoded is not None else ())
        for original, coded in pairs:
            if original.index % interval == 0:
                after = None
                if coded is not None and decoded is not None:
                    after = _Shot(match_planes(coded.planes, decoded.format, source.format), source.format)
                yield original.index, _Shot(original.planes, source.format), after
            advance(1)

    def _context(self, index: int, before: _Shot, after: _Shot | None, made: Map, block: int, qp: float) -> MapContext:
        reduction = getattr(made, "reduction", 1)
        context = MapContext(
            original_rgb=before.rgb(reduction),
            original_luma=before.planes[0],
            log_probs=self.driver.log_probs if self.driver else None,
            loss_and_grad=self._loss_and_grad,
            logp_signed_grad=self._signed_grad,
            bit_depth=before.format.bit_depth,
            full_range=before.format.range == "full",
            block=block,
            index=index,
            seed=self.seed,
            reduction=reduction,
            qp=qp,
            guide=self._guide(made).ask if isinstance(made, LearnedMap) else None,
        )
        return context if after is None else context.with_reconstruction(after.rgb(reduction), after.planes[0])

    def _guide(self, made: LearnedMap) -> MapModel:
        path = made.path or map_model_path(made.variant)
        if path not in self._guides:
            self._guides[path] = MapModel(path, self.device)
        return self._guides[path]

    def _loss_and_grad(self, rgb: Any, labels: Any) -> Any:
        return self._gradient.loss_and_grad(rgb, labels)

    def _signed_grad(self, rgb: Any, labels: Any, signs: Any) -> Any:
        return self._gradient.logp_signed_grad(rgb, labels, signs)

    @cached_property
    def _gradient(self) -> GradientModel:
        assert self.driver is not None
        return GradientModel(self.driver.path, self.driver.options, self.device)


@dataclass(frozen=True)
class _Shot:
    """One frame's planes."""

    planes: tuple[Plane, ...]
    format: VideoFormat

    def rgb(self, reduction: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8, or half of it in both directions where ``reduction`` is 2."""
        if reduction == 1:
            return planes_to_rgb(self.planes, self.format)
        return reduced_rgb(self.planes, self.format)


def _block(config: MapConfig) -> int:
    return WEIGHT_BLOCK if config.weights else QP_BLOCK


def operating_point(config: CodingConfig) -> float:
    """The QP that a configuration is about: that of its quality, the constant rate factor, or a middle one."""
    if config.qp is not None:
        return quality_of(config.codec).to_qp(config.qp)
    return MIDDLE_QP if config.crf is None else float(config.crf)


def _coded_size(fmt: VideoFormat, scale: float) -> tuple[int, int]:
    from encoder_bridge.transform import scaled_size

    width, height = scaled_size(fmt, scale)
    return height, width


def _write_seconds(path: Path, seconds: float) -> None:
    with replacing(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({"seconds": seconds}))


def _read_seconds(path: Path) -> float:
    try:
        return float(json.loads(path.with_suffix(".json").read_text())["seconds"])
    except (OSError, ValueError, KeyError):
        return 0.0

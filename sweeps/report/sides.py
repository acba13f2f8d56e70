"""What encoders were told: maps as they were saved beside the streams, or computed again where that is possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.config import CodingConfig, RunOptions
from encoder_bridge.console import Reporter
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import BridgeError
from encoder_bridge.frames import FrameSource
from models.task_model import TaskModel
from rdo_metrics.weights import interpolate_maps, shrink_weights
from sweeps.coding import Coder, first_pass
from sweeps.maps import MapMaker, MapTrack
from sweeps.report.library import Run
from sweeps.workspace import Workspace, digest_of


class SavedMaps(Workspace):
    """A workspace that reads the store's maps and streams and writes only into a scratch folder.

    Attributes:
        saved: whether the last map asked for was there.
    """

    def __init__(self, store: Path, scratch: Path) -> None:
        super().__init__(scratch)
        self.store = store
        self.saved = False

    def map(self, identity: Mapping[str, object]) -> Path:
        """The store's map where it has it, else a place for a new one."""
        kept = self.store / "maps" / f"{digest_of(identity)}.npy"
        self.saved = kept.is_file()
        return kept if self.saved else super().map(identity)

    def stream(self, identity: Mapping[str, object], suffix: str) -> Path:
        """Place of a stream in the store."""
        return self.store / "streams" / f"{digest_of(identity)}{suffix}"


@dataclass
class SideFinder:
    """Finds the map of a run.

    Attributes:
        originals: input's digest → video.
        driver: the driving network; None where its file is not known.
        scratch: folder for maps computed again.
        reporter: progress.
        device: where networks run.
        seen: how many maps were saved, how many were computed again, and why others are missing.
    """

    originals: Mapping[str, FrameSource]
    driver: TaskModel | None
    scratch: Path
    reporter: Reporter
    device: str = "cpu"
    seen: dict[str, int] = field(default_factory=dict)

    def track(self, run: Run) -> MapTrack | None:
        """The side information of a run with a map; None where it cannot be had, which ``seen`` then says."""
        if run.config.map is None:
            return None
        source = self.originals.get(str(run.record.input.get("digest")))
        if source is None:
            self._note("not shown: the original is not here")
            return None
        try:
            return self._track(source, run)
        except BridgeError as error:
            self._note(f"not shown: {error}")
            return None

    def _track(self, source: FrameSource, run: Run) -> MapTrack | None:
        config, workspace = run.config, SavedMaps(run.folder, self.scratch)
        assert config.map is not None
        maker = MapMaker(self.driver, self.device)
        coder = Coder(workspace, RunOptions(), self.reporter, maker)
        seen, first, identity = coder.seen(source, config), None, _plain_identity(source, config)
        if maker.needs_first_pass(config.map):
            first = _first_pass_of(run, maker, workspace)
            if first is None:
                self._note("not shown: the first pass was not kept")
                return None
            identity = {"first_pass": first.name}
        track = maker.track(seen, first, config, identity, workspace, self.reporter)
        self._note("as saved beside the streams" if workspace.saved else "computed again for this page")
        return track

    def _note(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, 0) + 1


def _plain_identity(source: FrameSource, config: CodingConfig) -> dict[str, object]:
    return {"input": source.digest(), "scale": config.scale, "gray": config.gray}


def _first_pass_of(run: Run, maker: MapMaker, workspace: Workspace) -> Path | None:
    """The kept stream of the plain encode that a map was computed from."""
    assert run.config.map is not None
    config = first_pass(run.config, maker.probe(run.config.map))
    identity: dict[str, object] = {
        "input": run.record.input["digest"],
        "config": config.as_dict(),
        "build": run.record.build,
        "driver": None,
    }
    path = workspace.stream(identity, ENCODERS.get(config.codec).suffix)
    return path if path.is_file() else None


def weight_grid(track: MapTrack, index: int) -> NDArray[np.float32]:
    """(h, w) weights of a frame in blocks of ``track.block`` samples of the original, mean 1, after shrinkage."""
    n = track.config.interval
    before = min(index // n, len(track.raw) - 1)
    keys: dict[int, NDArray[Any]] = {k * n: track.raw[k] for k in (before, min(before + 1, len(track.raw) - 1))}
    tau = track.config.tau
    raw = interpolate_maps(keys, index)
    return shrink_weights(raw) if tau is None else shrink_weights(raw, tau)

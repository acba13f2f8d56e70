"""``mrdo encode --inspect``: what was decided in every CTU of a finished encode, as pictures and as numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.atomic import check_target, replacing_folder
from encoder_bridge.color import planes_to_rgb
from encoder_bridge.config import CodingConfig
from encoder_bridge.console import Reporter
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoder import SideInfo
from encoder_bridge.errors import DecodeError, OutputError
from encoder_bridge.frames import Frame, FrameSource
from encoder_bridge.host import FrameRecord
from encoder_bridge.plainjson import json_line
from models.task_model import TaskModel
from rdo_metrics.weights import block_mean
from sweeps.coding import Encoded, describe
from sweeps.inspection_view import FrameView, draw_frame
from sweeps.paramtypes import format_candidate
from sweeps.scoring import match_planes

NUMBERS = "frames.json"
_OURS = re.compile(r"frame_\d{6,}\.png|frames\.json")
_DEFAULT_CTU = 64


@dataclass
class FrameLog:
    """What an encoder said of its frames; pass ``log.add`` as ``on_frame``.

    Attributes:
        records: display order → record.
    """

    records: dict[int, FrameRecord] = field(default_factory=dict)

    def add(self, record: FrameRecord) -> None:
        """Keep one frame's record. Frames may come in any order and from any thread."""
        self.records[record.call.poc] = record


@dataclass(frozen=True)
class Inspection:
    """Everything the pictures are made of.

    Attributes:
        source: the original at its own size.
        coded: the same at the size it was coded in.
        config: how it was coded.
        encoded: the stream and the map.
        log: the encoder's words.
        driver: whose loss is shown; None shows none.
    """

    source: FrameSource
    coded: FrameSource
    config: CodingConfig
    encoded: Encoded
    log: FrameLog
    driver: TaskModel | None = None

    def views(self) -> Iterator[FrameView]:
        """One view a frame, in display order. Raises DecodeError where the stream is shorter than the source."""
        decoded = decode_stream(self.encoded.stream.path)
        frames = iter(decoded)
        for original in self.source:
            shown = next(frames, None)
            if shown is None:
                raise DecodeError(f"{self.encoded.stream.path}: ends before frame {original.index}")
            yield self._view(original, shown, decoded)

    def _view(self, original: Frame, shown: Frame, decoded: FrameSource) -> FrameView:
        fmt = self.coded.format
        record = self.log.records.get(original.index)
        result = None if record is None else record.result
        ctus = None if result is None else result.ctus
        encoder = None if record is None else record.encoder
        side = SideInfo() if self.encoded.track is None else self.encoded.track.side_info(original.index)
        return FrameView(
            index=original.index,
            rgb=planes_to_rgb(match_planes(shown.planes, decoded.format, fmt), fmt),
            ctu=_DEFAULT_CTU if encoder is None else encoder.ctu_size,
            names=tuple(format_candidate(c) for c in self.config.ctu.candidates) if self.config.ctu else (),
            slice_type="" if result is None else result.slice_type,
            bits=0 if result is None else result.bits,
            mean_qp=None if result is None else result.mean_qp,
            candidate=None if ctus is None or self.config.ctu is None else ctus["candidate"],
            qp=None if ctus is None else ctus["qp"],
            ctu_bits=None if ctus is None else ctus["bits"],
            qp_offset=side.qp_offset,
            weight=side.weight,
            loss=self._loss(original, shown, decoded),
        )

    def _loss(self, original: Frame, shown: Frame, decoded: FrameSource) -> NDArray[np.float32] | None:
        """(H, W) cross-entropy in nats: the network's answer to the decoded frame, its labels of the original."""
        if self.driver is None or self.driver.gives_labels:
            return None
        fmt = self.source.format
        labels = self.driver.labels(planes_to_rgb(original.planes, fmt))[0]
        seen = planes_to_rgb(match_planes(shown.planes, decoded.format, fmt), fmt)
        log_p = self.driver.log_probs(seen)[0]
        loss: NDArray[np.float32] = -np.take_along_axis(log_p, labels[None].astype(np.int64), axis=0)[0]
        width, height = self.coded.format.width, self.coded.format.height
        if loss.shape == (height, width):
            return loss
        return np.asarray(cv2.resize(loss, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def check_inspection_target(folder: Path) -> None:
    """OutputError unless ``write_inspection`` could fill ``folder``: absent, empty, or holding only its own files."""
    foreign = _foreign(folder)
    if foreign is not None:
        raise OutputError(f"--inspect {folder}: holds {foreign}, which is not ours; give a new folder")
    if not (folder.is_dir() and any(folder.iterdir())):
        check_target(folder, directory=True)


def write_inspection(inspection: Inspection, folder: Path, reporter: Reporter) -> None:
    """``frame_NNNNNN.png`` for every frame and ``frames.json`` in a folder that appears when all are there.

    Raises:
        OutputError: folder cannot be written or holds other files, disk full.
    """
    check_inspection_target(folder)
    if folder.is_dir():
        for path in folder.iterdir():
            path.unlink()
    config = inspection.config
    with (
        reporter.task(f"inspect {describe(config)}", inspection.source.frame_count) as advance,
        replacing_folder(folder) as temporary,
        (temporary / NUMBERS).open("w", encoding="utf-8") as file,
    ):
        file.write(_head(inspection))
        for place, view in enumerate(inspection.views()):
            draw_frame(view, temporary / f"frame_{view.index:06d}.png", title=describe(config))
            file.write((",\n" if place else "\n") + json_line(numbers(view)))
            advance(1)
        file.write("\n]}\n")


def numbers(view: FrameView) -> dict[str, Any]:
    """JSON-ready numbers of one frame: grids are lists of rows, one value a CTU; what is not known is None."""
    loss = None if view.loss is None else block_mean(view.loss, view.ctu)
    return {
        "index": view.index,
        "slice_type": view.slice_type,
        "bits": view.bits,
        "qp": view.mean_qp,
        "loss": None if view.loss is None else float(view.loss.mean()),
        "ctu_candidate": _rows(view.candidate, 0),
        "ctu_qp": _rows(view.qp, 3),
        "ctu_bits": _rows(view.ctu_bits, 1),
        "ctu_loss": _rows(loss, 5),
    }


def _head(inspection: Inspection) -> str:
    fmt, config = inspection.coded.format, inspection.config
    candidates = [] if config.ctu is None else [format_candidate(c) for c in config.ctu.candidates]
    head = {"width": fmt.width, "height": fmt.height, "config": config.as_dict(), "candidates": candidates}
    return json.dumps(head)[:-1] + ', "frames": ['


def _rows(grid: NDArray[Any] | None, digits: int) -> list[list[float]] | None:
    if grid is None:
        return None
    if np.issubdtype(grid.dtype, np.integer):
        return [[int(value) for value in row] for row in grid]
    return [[round(float(value), digits) for value in row] for row in grid]


def _foreign(folder: Path) -> str | None:
    if not folder.is_dir():
        return None
    return next((path.name for path in folder.iterdir() if path.is_dir() or not _OURS.fullmatch(path.name)), None)

"""The viewer's pictures as data URIs: streams decoded, what networks see in them, what encoders were told."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.color import planes_to_rgb
from encoder_bridge.console import Reporter
from encoder_bridge.decode import decode_stream
from encoder_bridge.errors import BridgeError, OutputError
from encoder_bridge.frames import Frame, FrameSource
from models.task_model import TaskModel
from rdo_metrics.weights import QP_BLOCK
from sweeps.maps import MapTrack
from sweeps.records import RunRecord, rate_point, unpack_confusion
from sweeps.report.library import Library, Run
from sweeps.report.shots import Shot, Shown, choose_streams
from sweeps.report.sides import SideFinder, weight_grid
from sweeps.scoring import match_planes
from sweeps.segmentation_view import palette_for

QUALITY = 82
"""Of WebP pictures."""
GAIN = 4
"""Of the difference to the original, around middle grey."""
_DIFFERENCE_QUALITY = 55


@dataclass(frozen=True)
class GalleryOptions:
    """What the viewer may show.

    Attributes:
        frames: pictures to choose from. width: of the pictures at most, in samples. budget: bytes of all of them.
    """

    frames: int = 4
    width: int = 640
    budget: int = 12_000_000


@dataclass
class Gallery:
    """Collects pictures until the budget is spent.

    Attributes:
        originals, networks: as far as they were found.
        sides: finds maps.
        options: see there.
        spent: bytes so far. full: a stream had no room. left_out: how many had none.
        gone: streams that were not kept. broken: why others are not shown.
    """

    originals: Mapping[str, FrameSource]
    networks: Mapping[str, TaskModel]
    sides: SideFinder
    options: GalleryOptions
    spent: int = 0
    full: bool = False
    left_out: int = 0
    gone: int = 0
    broken: list[str] = field(default_factory=list)
    _shots: dict[Shot, Frame] = field(default_factory=dict)

    def data(self, library: Library, shots: Sequence[Shot], reporter: Reporter) -> dict[str, Any] | None:
        """JSON-ready content of the viewer; None where there is nothing to show."""
        streams = choose_streams(library, shots)
        originals = [self._original(shot, library.inputs[shot.digest]) for shot in shots]
        views: dict[str, Any] = {}
        shown: list[Shown] = []
        with reporter.task("pictures", len(streams)) as advance:
            for stream in streams:
                made = self._views(stream, shots, len(shown))
                if made:
                    views.update(made)
                    shown.append(stream)
                advance(1)
        if not views:
            return None
        listed = [_stream_data(stream) for stream in shown]
        return {"shots": originals, "streams": listed, "views": views, "networks": self._legend(), "gain": GAIN}

    def notes(self) -> list[str]:
        """What is not shown, and where the maps come from."""
        notes = []
        if self.left_out:
            budget = self.options.budget / 1e6
            notes.append(f"{self.left_out} streams are not shown: the pictures fill {budget:g} MB (raise --budget)")
        if self.gone:
            notes.append(f"{self.gone} streams are not shown: they were not kept")
        notes += self.broken
        notes += [f"maps of {count} streams: {what}" for what, count in self.sides.seen.items()]
        return notes

    def _original(self, shot: Shot, record: Mapping[str, Any]) -> dict[str, Any]:
        name = f"{record.get('name', 'input')}, frame {shot.index}"
        size = _display(int(record["width"]), int(record["height"]), self.options.width)
        base = {"name": name, "width": size[0], "height": size[1], "picture": None, "labels": {}}
        source = self.originals.get(shot.digest)
        if source is None:
            return base
        rgb = planes_to_rgb(self._uncoded(source, shot).planes, source.format)
        return {**base, "picture": self._picture(rgb, size), "labels": self._labels(rgb, size)}

    def _uncoded(self, source: FrameSource, shot: Shot) -> Frame:
        if shot not in self._shots:
            (self._shots[shot],) = _frames(source, [shot.index])
        return self._shots[shot]

    def _views(self, stream: Shown, shots: Sequence[Shot], place: int) -> dict[str, Any]:
        """``stream|shot`` → view, for the shots of inputs whose stream is kept."""
        made: dict[str, Any] = {}
        for digest, run in stream.runs.items():
            wanted = {shot.index: k for k, shot in enumerate(shots) if shot.digest == digest}
            path, before = run.stream, self.spent
            if path is None:
                self.gone += 1
                continue
            views = [] if self.full else self._decoded(path, run, sorted(wanted))
            self.full = self.full or self.spent > self.options.budget
            if self.full:
                self.spent, self.left_out = before, self.left_out + 1
                continue
            made.update({f"{place}|{wanted[index]}": view for index, view in views})
        return made

    def _decoded(self, path: Path, run: Run, indices: Sequence[int]) -> list[tuple[int, dict[str, Any]]]:
        try:
            decoded = decode_stream(path)
            frames = list(_frames(decoded, indices))
            track = self.sides.track(run)
            return [(frame.index, self._view(frame, decoded, run, track)) for frame in frames]
        except BridgeError as error:
            if isinstance(error, OutputError):
                raise
            self.broken.append(f"not shown: {error}")
            return []

    def _view(self, frame: Frame, decoded: FrameSource, run: Run, track: MapTrack | None) -> dict[str, Any]:
        record = run.record
        width, height = int(record.input["width"]), int(record.input["height"])
        size = _display(width, height, self.options.width)
        source = self.originals.get(str(record.input.get("digest")))
        if source is None:
            rgb = _resized(planes_to_rgb(frame.planes, decoded.format), (width, height))
            difference = None
        else:
            planes = match_planes(frame.planes, decoded.format, source.format)
            rgb = planes_to_rgb(planes, source.format)
            original = self._uncoded(source, Shot(str(record.input["digest"]), frame.index))
            difference = self._difference(planes[0], original.planes[0], source.format.bit_depth, size)
        return {
            "picture": self._picture(rgb, size),
            "labels": self._labels(rgb, size),
            "difference": difference,
            **_facts(record, frame.index),
            **({} if track is None else _grids(track, frame.index, (width, height))),
        }

    def _picture(self, rgb: NDArray[np.uint8], size: tuple[int, int]) -> str:
        return self._encoded(_resized(rgb, size)[..., ::-1], QUALITY)

    def _difference(self, coded: NDArray[Any], original: NDArray[Any], depth: int, size: tuple[int, int]) -> str:
        error = (coded.astype(np.float32) - original.astype(np.float32)) / (1 << (depth - 8))
        shown = np.clip(np.rint(128 + GAIN * error), 0, 255).astype(np.uint8)
        return self._encoded(_resized(shown, size), _DIFFERENCE_QUALITY)

    def _encoded(self, picture: NDArray[np.uint8], quality: int) -> str:
        done, data = cv2.imencode(".webp", np.ascontiguousarray(picture), [cv2.IMWRITE_WEBP_QUALITY, quality])
        if not done:
            raise OutputError(f"a picture of {picture.shape} could not be coded as WebP")
        return self._counted("data:image/webp;base64," + base64.b64encode(data.tobytes()).decode("ascii"))

    def _labels(self, rgb: NDArray[np.uint8], size: tuple[int, int]) -> dict[str, str]:
        """Labels of each network at the size shown: base64 of deflated bytes, a label each."""
        packed = {}
        for name, network in self.networks.items():
            labels = cv2.resize(network.labels(rgb)[0], size, interpolation=cv2.INTER_NEAREST)
            body = zlib.compress(np.ascontiguousarray(labels, np.uint8).tobytes(), 9)
            packed[name] = self._counted(base64.b64encode(body).decode("ascii"))
        return packed

    def _counted(self, text: str) -> str:
        self.spent += len(text)
        return text

    def _legend(self) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "classes": list(network.classes),
                "palette": [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in palette_for(len(network.classes))],
            }
            for name, network in self.networks.items()
        ]


def _frames(source: FrameSource, indices: Sequence[int]) -> Iterator[Frame]:
    """The frames of these indices, ascending; those beyond the end are missing."""
    wanted, last = set(indices), max(indices)
    for frame in source:
        if frame.index in wanted:
            yield frame
        if frame.index >= last:
            return


def _display(width: int, height: int, most: int) -> tuple[int, int]:
    shrink = min(1.0, most / width)
    return round(width * shrink), round(height * shrink)


def _resized(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    smaller = picture.shape[1] > size[0]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC), np.uint8)


def _facts(record: RunRecord, index: int) -> dict[str, Any]:
    """What is known of one frame: bits, luma PSNR, agreement of each network."""
    agreement = {}
    for network, kinds in record.confusion.items():
        counts = unpack_confusion(kinds["pseudo"])[index] if "pseudo" in kinds else None
        if counts is not None and counts.sum():
            agreement[network] = round(float(np.trace(counts) / counts.sum()), 4)
    bits = record.frame_bits[index] if index < len(record.frame_bits) else None
    luma = record.frame_psnr[index] if index < len(record.frame_psnr) else None
    known = luma if luma is not None and np.isfinite(luma) else None
    return {"bits": bits, "psnr": known, "agreement": agreement}


def _grids(track: MapTrack, index: int, size: tuple[int, int]) -> dict[str, Any]:
    """Weights and QP offsets as grids over the picture; cells as fractions of its width and height."""
    side = track.side_info(index)
    coded_height, coded_width = track.size
    grids = {"weight": _grid(np.log2(np.maximum(weight_grid(track, index), 1e-3)), track.block, size)}
    if side.qp_offset is not None:
        grids["qp"] = _grid(side.qp_offset, QP_BLOCK, (coded_width, coded_height))
    return grids


def _grid(values: NDArray[Any], block: int, size: tuple[int, int]) -> dict[str, Any]:
    rows = [[round(float(value), 2) for value in row] for row in values]
    return {"rows": rows, "cell": [block / size[0], block / size[1]]}


def _stream_data(stream: Shown) -> dict[str, Any]:
    record = stream.any_run.record
    return {
        "label": stream.series.label,
        "coder": stream.series.coder,
        "plain": stream.series.plain,
        "point": rate_point(record.config),
    }

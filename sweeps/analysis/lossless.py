"""The anchor of Table VI: size of the originals as PNG, and what the networks see in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.color import planes_to_rgb
from encoder_bridge.config import CodingConfig
from encoder_bridge.errors import ConfigError
from encoder_bridge.frames import FrameSource
from encoder_bridge.source_images import find_images, natural_key, read_rgb
from rdo_metrics.accuracy import confusion
from sweeps.analysis.data import SweepData
from sweeps.analysis.series import LOSSLESS
from sweeps.arrayfile import read_frames
from sweeps.bd import kind_of
from sweeps.labels import LabelSource
from sweeps.plan import InputFile
from sweeps.records import RunRecord, pack_confusion, unpack_confusion
from sweeps.scoring import VOID
from sweeps.workspace import Workspace, digest_of

FILE = "lossless.jsonl"
"""Beside a store: its inputs' records without loss."""
_LEVEL = 9


def lossless_record(
    data: SweepData, file: InputFile, folders: Sequence[Path], advance: Callable[[int], None] = lambda _: None
) -> RunRecord:
    """The record of an input coded as PNG: sizes of its frames, and the networks' accuracy on the originals.

    The networks need not run: what they see in the originals lies in the stores' folders as the pseudo-GT.

    Args:
        data: records of the input.
        file: the input, as a plan or the command line names it.
        folders: of the stores.
        advance: called with 1 for each frame.

    Raises:
        ConfigError: the store has no run of that input, or no pseudo-GT of it is left there.
        DecodeError: the input cannot be read.
    """
    source = file.open()
    digest = source.digest()
    if digest not in data.inputs:
        known = ", ".join(str(info.get("name")) for info in data.inputs.values())
        raise ConfigError(f"--png {file.path}: no run of this input in the store; expected one of {known}")
    labels = file.open_labels(source)
    counts = {
        name: _confusions(data, name, _pseudo(data, digest, name, folders), labels) for name in _judges(data, digest)
    }
    bits = []
    for size in _sizes(file, source):
        bits.append(8 * size)
        advance(1)
    info = data.inputs[digest]
    samples = int(info["width"]) * int(info["height"]) * len(bits)
    return RunRecord(
        key=digest_of({"lossless": digest, "judges": _judges(data, digest), "labels": labels and labels.digest()}),
        config=CodingConfig(codec=LOSSLESS, qp=0).as_dict(),
        input=info,
        models=_judges(data, digest),
        bits=sum(bits),
        frames=len(bits),
        bpp=sum(bits) / samples,
        frame_bits=bits,
        confusion={n: {kind: pack_confusion(array) for kind, array in kinds.items()} for n, kinds in counts.items()},
    )


def _judges(data: SweepData, digest: str) -> dict[str, str]:
    """Network → digest, of those that judged this input."""
    records = [record for record in data.each() if record.input.get("digest") == digest]
    return {name: record.models[name] for record in records for name in record.confusion if name in record.models}


def _pseudo(data: SweepData, digest: str, network: str, folders: Sequence[Path]) -> NDArray[np.uint8]:
    identity = {"input": digest, "network": _judges(data, digest)[network]}
    for folder in folders:
        path = Workspace(folder).labels(identity)
        if path.exists():
            return np.stack(list(read_frames(path)))
    raise ConfigError(
        f"{folders[0]}: what {network} sees in the originals is not there any more (labels/{digest_of(identity)}.npy); "
        "run the same sweep again: it makes it anew"
    )


def _confusions(
    data: SweepData, network: str, seen: NDArray[np.uint8], labels: LabelSource | None
) -> dict[str, NDArray[np.int32]]:
    """The network's answer on the originals against itself and against the labels, (T, C, C) each."""
    record = next(record for record in data.each() if network in record.confusion)
    classes = unpack_confusion(next(iter(record.confusion[network].values()))).shape[-1]
    out = {kind_of("miou_pseudo"): _counted(seen, seen, classes)}
    if labels is not None:
        truth = [np.where(frame < classes, frame, VOID).astype(np.uint8) for frame in labels]
        out[kind_of("miou_labels")] = _counted(seen, truth, classes)
    return out


def _counted(
    seen: Sequence[Any] | NDArray[Any], truth: Sequence[Any] | NDArray[Any], classes: int
) -> NDArray[np.int32]:
    pairs = zip(seen, truth, strict=True)
    return np.stack([confusion(a, b, classes, ignore=VOID) for a, b in pairs]).astype(np.int32)


def _sizes(file: InputFile, source: FrameSource) -> Iterator[int]:
    """Bytes of each frame as PNG: of images the pictures themselves, of video the RGB a network sees."""
    import cv2

    for rgb in _pictures(file, source):
        yield len(cv2.imencode(".png", rgb[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, _LEVEL])[1])


def _pictures(file: InputFile, source: FrameSource) -> Iterator[NDArray[np.uint8]]:
    images = sorted(find_images(file.path), key=lambda path: natural_key(str(path)))
    if images:
        yield from map(read_rgb, images[:: file.every][: file.frames])
        return
    yield from (planes_to_rgb(frame.planes, source.format) for frame in source)

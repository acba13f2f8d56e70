"""What one finished (or failed) run leaves behind, and the key that names it."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.config import Candidate, CandidateConfig, CodingConfig, MapConfig
from encoder_bridge.encoder import BuildInfo, quality_of
from encoder_bridge.errors import StoreError
from encoder_bridge.plainjson import NONFINITE, json_line, spell_nonfinite

STATUSES = ("ok", "error")
_MAGIC = "i4z:"


def run_key(
    config: CodingConfig,
    input_digest: str,
    build: BuildInfo,
    model_digests: Mapping[str, str],
    seed: int = 0,
    **more: object,
) -> str:
    """SHA-256 hex digest that names a run by everything its result depends on.

    Args:
        config: what is coded how.
        input_digest: ``FrameSource.digest()`` of the frames coded.
        build: the encoder; its path does not count, its patch hash does.
        model_digests: network name → digest of its file; driving network and judges.
        seed: seed of whatever is random in the map.
        more: further JSON-ready things that matter, for example ``labels=<digest>``.
    """
    text = key_text(config, input_digest, build.key(), model_digests, seed, **more)
    return hashlib.sha256(text.encode()).hexdigest()


def key_text(
    config: CodingConfig,
    input_digest: str,
    build: Mapping[str, object],
    model_digests: Mapping[str, str],
    seed: int = 0,
    **more: object,
) -> str:
    """What ``run_key`` is the digest of; ``build`` is ``BuildInfo.key()``."""
    parts = {
        "config": config.as_dict(),
        "input": input_digest,
        "build": dict(build),
        "models": dict(model_digests),
        "seed": seed,
        "more": more,
    }
    return json.dumps(json.loads(json_line(parts)), sort_keys=True, separators=(",", ":"))


def pack_confusion(counts: NDArray[Any]) -> str:
    """Text of an integer array, here (T, C, C) confusion counts per frame: rows truth, columns prediction.

    Raises:
        StoreError: not integers, or a count beyond int32.
    """
    array = np.asarray(counts)
    if not np.issubdtype(array.dtype, np.integer):
        raise StoreError(f"confusion counts of dtype {array.dtype}; expected integers")
    if array.size and (array.min() < 0 or array.max() > np.iinfo(np.int32).max):
        raise StoreError(f"confusion counts {array.min()}–{array.max()}; expected 0–{np.iinfo(np.int32).max}")
    shape = "x".join(map(str, array.shape))
    body = base64.b64encode(zlib.compress(array.astype("<i4").tobytes(), 6)).decode("ascii")
    return f"{_MAGIC}{shape}:{body}"


def unpack_confusion(text: str) -> NDArray[np.int32]:
    """The array ``pack_confusion`` made text of, int32.

    Raises:
        StoreError: damaged text.
    """
    try:
        magic, shape, body = text[: len(_MAGIC)], *text[len(_MAGIC) :].split(":", 1)
        if magic != _MAGIC:
            raise ValueError(f"it starts with {magic!r}")
        values = np.frombuffer(zlib.decompress(base64.b64decode(body, validate=True)), "<i4")
        return values.reshape([int(side) for side in shape.split("x")]).astype(np.int32)
    except (ValueError, zlib.error) as error:
        raise StoreError(f"damaged confusion matrix in a record: {error}") from error


def now_iso() -> str:
    """The present moment in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class RunRecord:
    """Result of one run; JSON on one line of the store.

    Attributes:
        key: ``run_key`` of the run.
        status: "ok" or "error".
        error: {"type", "message"} when status is "error".
        config: ``CodingConfig.as_dict()``.
        input: {"digest", "name", "width", "height", "frames", "fps"}.
        build: ``BuildInfo.key()``.
        models: network name → digest.
        bits: size of the stream in bits.
        frames: pictures coded.
        bpp: bits per luma sample of the input.
        encode_s, map_s, first_pass_s, seconds: wall times in seconds: encoder, side information, first pass, all.
        judge_s: the part of ``encode_s`` in which candidates were judged.
        psnr: {"y", "u", "v", "yuv"} in dB, higher is better; may be infinite.
        scores: network → {"agreement", "miou_pseudo", "miou_labels" or None}, 0–1, higher is better.
        frame_bits, frame_psnr: per frame, display order; bits and dB of luma.
        confusion: network → {"pseudo" | "labels": text of ``pack_confusion``}.
        stream: path relative to the store's folder, None where the stream was not kept.
        created: ISO 8601 time.
        extra: fields this version does not know, kept as they are.
    """

    key: str
    status: str = "ok"
    error: dict[str, str] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    input: dict[str, Any] = field(default_factory=dict)
    build: dict[str, Any] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    bits: int = 0
    frames: int = 0
    bpp: float = 0.0
    encode_s: float = 0.0
    map_s: float = 0.0
    first_pass_s: float = 0.0
    judge_s: float = 0.0
    psnr: dict[str, float] = field(default_factory=dict)
    scores: dict[str, dict[str, float | None]] = field(default_factory=dict)
    frame_bits: list[int] = field(default_factory=list)
    frame_psnr: list[float] = field(default_factory=list)
    confusion: dict[str, dict[str, str]] = field(default_factory=dict)
    stream: str | None = None
    created: str = field(default_factory=now_iso)
    seconds: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise StoreError(f"record status {self.status!r}; expected one of {', '.join(STATUSES)}")
        if (self.status == "error") != (self.error is not None):
            raise StoreError(f"record of status {self.status!r} with error {self.error!r}; they must go together")

    def to_json(self) -> str:
        """One line of strict JSON; non-finite floats are spelled "NaN", "Infinity", "-Infinity"."""
        known = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"}
        return json_line({**self.extra, **known}, nonfinite=spell_nonfinite)

    @classmethod
    def from_json(cls, text: str) -> RunRecord:
        """The record of a line.

        Raises:
            StoreError: not JSON, a field missing or of the wrong type.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise StoreError(f"a record is not JSON: {error}") from error
        if not isinstance(data, dict) or "key" not in data:
            raise StoreError("a record is not a JSON object with a key")
        known = {name: _check(name, data.pop(name)) for name in _TYPES if name in data}
        return cls(**known, extra=data)


class Configured(Protocol):
    """A record, or the part of one that tells how it was made."""

    @property
    def key(self) -> str:
        """Of the run."""

    @property
    def config(self) -> Mapping[str, Any]:
        """``CodingConfig.as_dict()``."""


def config_of(record: Configured) -> CodingConfig:
    """The configuration a record was made with.

    Raises:
        StoreError: a configuration this version does not know.
    """
    parts = dict(record.config)
    try:
        parts["extra"] = tuple(parts["extra"])
        parts["map"] = MapConfig(**parts["map"]) if parts.get("map") else None
        parts["ctu"] = _candidates_of(parts["ctu"]) if parts.get("ctu") else None
        return CodingConfig(**parts)
    except (TypeError, KeyError, ValueError) as error:
        raise StoreError(f"record {record.key[:12]} has a configuration that cannot be read: {error}") from error


def _candidates_of(spec: Mapping[str, Any]) -> CandidateConfig:
    return CandidateConfig(**{**spec, "candidates": tuple(Candidate(**c) for c in spec["candidates"])})


def _number(value: Any) -> float:
    if isinstance(value, str):
        return NONFINITE[value]
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _exactly(kind: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise TypeError
        return value

    return check


def _or_none(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _values(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {_exactly(str)(name): check(item) for name, item in _exactly(dict)(value).items()}


def _items(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: [check(item) for item in _exactly(list)(value)]


_TEXT, _COUNT, _TABLE = _exactly(str), _exactly(int), _exactly(dict)
_TYPES: dict[str, Callable[[Any], Any]] = {
    "key": _TEXT,
    "status": _TEXT,
    "error": _or_none(_values(_TEXT)),
    "config": _TABLE,
    "input": _TABLE,
    "build": _TABLE,
    "models": _values(_TEXT),
    "bits": _COUNT,
    "frames": _COUNT,
    "bpp": _number,
    "encode_s": _number,
    "map_s": _number,
    "first_pass_s": _number,
    "judge_s": _number,
    "psnr": _values(_number),
    "scores": _values(_values(_or_none(_number))),
    "frame_bits": _items(_COUNT),
    "frame_psnr": _items(_number),
    "confusion": _values(_values(_TEXT)),
    "stream": _or_none(_TEXT),
    "created": _TEXT,
    "seconds": _number,
}


def _check(name: str, value: Any) -> Any:
    try:
        return _TYPES[name](value)
    except (TypeError, ValueError, KeyError) as error:
        raise StoreError(f"field {name!r} of a record holds {str(value)[:60]!r}, which it cannot") from error


def rate_point(config: Mapping[str, Any]) -> str:
    """``QP 32``, ``quality 50``, ``CRF 28``, ``500 kbit/s`` or, at half size, ``QP 32 ×0.5`` of a configuration."""
    scale = config.get("scale", 1)
    return _rate(config) + (f" ×{scale:g}" if scale != 1 else "")


def _rate(config: Mapping[str, Any]) -> str:
    if config.get("qp") is not None:
        return quality_of(config.get("codec", "x265")).describe(config["qp"])
    return f"CRF {config['crf']:g}" if config.get("crf") is not None else f"{config.get('bitrate')} kbit/s"

"""What can change a bit of a stream (CodingConfig, hashed) and what cannot (RunOptions, never hashed)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from encoder_bridge.errors import ConfigError

GOPS = ("intra", "lowdelay", "randomaccess")
RDO_MODES = ("psnr", "map")


@dataclass(frozen=True)
class MapConfig:
    """How side information is made and handed to the encoder (design §5.3).

    Attributes:
        name: registered map ("kl", "attribution", "fisher", "both") or a ``.npy`` file.
        strength: s in ΔQP = −3·s·log2 w.
        tau: τ of the shrinkage towards the mean weight; None is the map's own default.
        sigma: Gaussian of the smoothing, in blocks; None is the map's own default.
        clip: largest |ΔQP|.
        group: side of a quantisation group in luma samples (16, 32 or 64).
        weights: hand 8×8 distortion weights to the encoder as well (λ then fixed at the frame's QP).
        qp_map: hand QP offsets to the encoder.
        interval: compute a map for every n-th frame, interpolate the rest.
        probe: QP steps by which the first pass is coarser than the encode. A block whose QP will be raised is judged
            by what it does there, which a first pass at the target QP cannot show. None is the map's own default.
    """

    name: str = "kl"
    strength: float = 1.0
    tau: float | None = None
    sigma: float | None = None
    clip: float = 8.0
    group: int = 32
    weights: bool = False
    qp_map: bool = True
    interval: int = 1
    probe: int | None = None

    def __post_init__(self) -> None:
        if self.group not in (16, 32, 64):
            raise ConfigError(f"quantisation group {self.group}; expected 16, 32 or 64")
        if self.interval < 1:
            raise ConfigError(f"map interval {self.interval}; expected at least 1")
        if not (self.weights or self.qp_map):
            raise ConfigError("neither weights nor a QP map: nothing to tell the encoder; use --rdo psnr instead")
        _at_least("map sigma", 0.0 if self.sigma is None else self.sigma, 0.0)
        _at_least("map strength", self.strength, 0.0)
        if not self.strength <= 10 or not self.clip <= 51:
            raise ConfigError(f"map strength {self.strength:g}, clip {self.clip:g}; expected at most 10 and 51")
        _at_least("map tau", 0.0 if self.tau is None else self.tau, 0.0)
        _at_least("map clip", self.clip, 0.0)


@dataclass(frozen=True)
class CodingConfig:
    """Everything that can change one bit of a stream, and nothing else.

    Attributes:
        codec: registered encoder name.
        preset: the encoder's own preset name.
        gop: "intra", "lowdelay" (P only) or "randomaccess" (B pyramids).
        qp / crf / bitrate: exactly one is set; bitrate in kbit/s.
        scale: linear resolution factor in (0, 1]; frames are resized before coding.
        bit_depth: internal coding depth, 8 or 10.
        rdo: "psnr" (plain) or "map" (side information from a network).
        map: how the map is made; None unless rdo is "map".
        neutral: start the plugin with nothing to say (the third arm; the stream must equal plain).
        extra: further encoder arguments, verbatim.
    """

    codec: str = "x265"
    preset: str = "slow"
    gop: str = "intra"
    qp: int | None = None
    crf: float | None = None
    bitrate: int | None = None
    scale: float = 1.0
    bit_depth: int = 8
    rdo: str = "psnr"
    map: MapConfig | None = None
    neutral: bool = False
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.gop not in GOPS:
            raise ConfigError(f"gop {self.gop!r}; expected one of {', '.join(GOPS)}")
        if self.rdo not in RDO_MODES:
            raise ConfigError(f"rdo {self.rdo!r}; expected one of {', '.join(RDO_MODES)}")
        if sum(v is not None for v in (self.qp, self.crf, self.bitrate)) != 1:
            raise ConfigError("give exactly one of --qp, --crf, --bitrate")
        if not 0 < self.scale <= 1:
            raise ConfigError(f"scale {self.scale}; expected 0 < scale <= 1")
        if (self.rdo == "map") != (self.map is not None):
            raise ConfigError("a map belongs to rdo 'map', and only to it")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form; equal configurations give equal dictionaries."""
        return asdict(self)

    def digest(self) -> str:
        """SHA-256 hex of the canonical JSON form."""
        text = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out; never part of a key.

    Attributes:
        threads: encoder threads, None for the encoder's own choice.
        timeout_s: an encoder silent and taking no input for this long is killed.
        device: "cpu" or "cuda" for networks.
        workdir: where temporary files go; None is the system's.
    """

    threads: int | None = None
    timeout_s: float = 600.0
    device: str = "cpu"
    workdir: Path | None = None


def _at_least(what: str, value: float, low: float) -> None:
    if not value >= low:
        raise ConfigError(f"{what} {value}; expected at least {low:g}")

"""What can change a bit of a stream (CodingConfig, hashed) and what cannot (RunOptions, never hashed)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from encoder_bridge.errors import ConfigError

GOPS = ("intra", "lowdelay", "randomaccess")
RDO_MODES = ("psnr", "map", "ctu", "map+ctu")
MAX_CANDIDATES = 16


@dataclass(frozen=True)
class MapConfig:
    """How side information is made and handed to the encoder (design §5.3).

    Attributes:
        name: registered map ("learned", "kl", "attribution", "fisher", "both", …), a ``.npy`` file of weights or an
            ``.onnx`` map network.
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

    name: str = "learned"
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
class Candidate:
    """One way to code a CTU.

    Attributes:
        delta_qp: added to the QP the CTU has otherwise.
        lambda_scale: factor on λ in the decisions inside the CTU.
        min_cu: side of the smallest CU allowed, in luma samples; 0 for no limit.
        keep: code the partition and the intra modes of the CTU's first candidate again, which is quick; intra only.
    """

    delta_qp: float = 0.0
    lambda_scale: float = 1.0
    min_cu: int = 0
    keep: bool = False

    def __post_init__(self) -> None:
        if not abs(self.delta_qp) <= 51 or not 1 / 64 <= self.lambda_scale <= 64:
            raise ConfigError(
                f"candidate ΔQP {self.delta_qp:g}, λ × {self.lambda_scale:g}; expected -51 to 51 and 1/64 to 64"
            )
        if self.min_cu not in (0, 8, 16, 32, 64):
            raise ConfigError(
                f"candidate with CUs of at least {self.min_cu}; expected 8, 16, 32 or 64, or 0 for no limit"
            )


@dataclass(frozen=True)
class CandidateConfig:
    """How the candidates of a CTU are made and judged (design §5.5).

    Attributes:
        candidates: what is tried in each CTU; the first is searched in full.
        metric: registered candidate metric ("sse", "task", "features", …) or an ``.onnx`` file.
        context: luma samples around the CTU that the metric sees.
        splits: side of the smallest CU whose split decision is judged as well (16, 32, 64); 0 for none.
        share: s in D = s·α·D_metric + (1 − s)·SSE with the calibrated α, 0 to 1; 1 is the metric alone.
        guard: a candidate whose SSE exceeds this many times the least SSE of its CTU is never taken; None allows all.
        judge_all: ask about every CTU; else those around which the first pass cost the metric nothing are not judged
            and take the candidate of the highest QP.
        internal: the encoder judges by its own SSE and asks nobody (only metric "sse").
    """

    candidates: tuple[Candidate, ...] = (Candidate(3.0), Candidate(0.0, keep=True), Candidate(-3.0, keep=True))
    metric: str = "task-flip"
    context: int = 0
    splits: int = 0
    share: float = 0.7
    guard: float | None = None
    judge_all: bool = False
    internal: bool = False

    def __post_init__(self) -> None:
        if not 0 < len(self.candidates) <= MAX_CANDIDATES:
            raise ConfigError(f"{len(self.candidates)} candidates; expected 1 to {MAX_CANDIDATES}")
        if self.candidates[0].keep:
            raise ConfigError("the first candidate keeps the decisions of the first; expected = on later ones alone")
        if self.splits not in (0, 16, 32, 64):
            raise ConfigError(f"judged splits down to {self.splits}; expected 16, 32 or 64, or 0 for none")
        if not 0 <= self.context <= 512:
            raise ConfigError(f"metric context {self.context}; expected 0 to 512 luma samples")
        if self.guard is not None and not self.guard >= 1:
            raise ConfigError(f"guard {self.guard}; expected at least 1")
        if self.internal and self.metric != "sse":
            raise ConfigError(f"metric {self.metric!r} inside the encoder; expected 'sse', the only one it knows")
        if not 0 <= self.share <= 1:
            raise ConfigError(f"share of the metric {self.share}; expected 0 to 1")


@dataclass(frozen=True)
class CodingConfig:
    """Everything that can change one bit of a stream, and nothing else.

    Attributes:
        codec: registered encoder name.
        preset: the encoder's own preset name.
        gop: "intra", "lowdelay" (P only) or "randomaccess" (B pyramids).
        qp / crf / bitrate: exactly one is set; ``qp`` on the codec's own scale (``quality.QualityScale``), which is
            JPEG's quality and JPEG 2000's compression ratio; bitrate in kbit/s.
        scale: linear resolution factor δ in (0, 1]; frames are resized bicubically before coding (seed 001, III).
        bit_depth: internal coding depth, 8 or 10.
        rdo: "psnr" (plain), "map" (side information from a network), "ctu" (candidates judged by a metric), "map+ctu".
        map: how the map is made; None unless rdo has "map".
        ctu: what is tried in each CTU and who judges; None unless rdo has "ctu".
        neutral: start the plugin with nothing to say (the third arm; the stream must equal plain).
        extra: further encoder arguments, verbatim.
        gray: code BT.601 luma alone (seed 001, IV).
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
    ctu: CandidateConfig | None = None
    neutral: bool = False
    extra: tuple[str, ...] = ()
    gray: bool = False

    def __post_init__(self) -> None:
        if self.gop not in GOPS:
            raise ConfigError(f"gop {self.gop!r}; expected one of {', '.join(GOPS)}")
        if self.rdo not in RDO_MODES:
            raise ConfigError(f"rdo {self.rdo!r}; expected one of {', '.join(RDO_MODES)}")
        if sum(v is not None for v in (self.qp, self.crf, self.bitrate)) != 1:
            raise ConfigError("give exactly one of --qp, --crf, --bitrate")
        if not 0 < self.scale <= 1:
            raise ConfigError(f"scale {self.scale}; expected 0 < scale <= 1")
        if ("map" in self.rdo) != (self.map is not None):
            raise ConfigError("a map belongs to rdo 'map' and 'map+ctu', and only to them")
        if ("ctu" in self.rdo) != (self.ctu is not None):
            raise ConfigError("candidates belong to rdo 'ctu' and 'map+ctu', and only to them")

    @property
    def needs_plugin(self) -> bool:
        """Whether the encoder runs with the plugin: for all but the plain arm."""
        return self.rdo != "psnr" or self.neutral

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

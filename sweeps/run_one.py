"""One run, from key to record: encode, decode, score. What it returns depends on its arguments alone."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder_bridge.config import CodingConfig
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.frames import FrameSource
from models.model_set import SetMember, SetModel
from models.task_model import TaskModel
from sweeps.arrayfile import read_frames
from sweeps.coding import Coder, Encoded, describe
from sweeps.judges import JudgeMaker
from sweeps.labels import LabelSource
from sweeps.maps import MapMaker
from sweeps.pseudo import pseudo_labels
from sweeps.records import RunRecord, pack_confusion, run_key
from sweeps.scoring import VideoScores, score_video

if TYPE_CHECKING:
    from rdo_metrics.iqa import IqaMetric

METRICS = "metrics"


@dataclass(frozen=True)
class Job:
    """One point of a comparison.

    Attributes:
        source: the original video.
        name: what to call it in tables.
        config: how it is coded.
        judges: networks that score, the driving one among them; of a set, the one for the configuration scores.
        labels: ground truth, or None.
    """

    source: FrameSource
    name: str
    config: CodingConfig
    judges: Sequence[TaskModel | SetModel]
    labels: LabelSource | None = None


def job_key(job: Job, coder: Coder) -> str:
    """The run's key: what determines the stream, and what it is scored with."""
    build = ENCODERS.get(job.config.codec)().build_info(job.config)
    labels = None if job.labels is None else job.labels.digest()
    models = key_models(job.config, job.judges, coder.maker, coder.judges, labels)
    return run_key(job.config, job.source.digest(), build, models)


def key_models(
    config: CodingConfig,
    networks: Sequence[TaskModel | SetModel],
    maker: MapMaker | None,
    judges: JudgeMaker | None,
    labels: str | None,
) -> dict[str, str]:
    """Name → digest of everything but the encoder that a result depends on; ``labels`` is the digest of those."""
    models = {network.name: network.digest() for network in networks}
    if maker is not None and config.map is not None:
        models["(map)"] = maker.identity(config.map)
    if judges is not None and config.ctu is not None:
        models["(metric)"] = judges.identity(config.ctu)
    if labels is not None:
        models["(labels)"] = labels
    return models


def run_one(job: Job, coder: Coder) -> RunRecord:
    """Encode, decode with PyAV and score. Raises what any of these steps raises."""
    began = time.monotonic()
    key = job_key(job, coder)
    return score_stream(key, job, coder.encode(job.source, job.config), coder, began)


def score_stream(
    key: str, job: Job, encoded: Encoded, coder: Coder, began: float, metrics: Sequence[IqaMetric] = ()
) -> RunRecord:
    """The record of a stream in the workspace; ``began`` is when work on it did, on the monotonic clock.

    What image quality metrics say goes into the record's ``extra`` as "metrics": name → ``QualityScore.to_json()``.
    """
    scores, quality = _score(job, encoded.stream.path, coder, metrics)
    record = _record(key, job, encoded, scores, coder.workspace.folder, time.monotonic() - began)
    return dataclasses.replace(record, extra={METRICS: quality}) if quality else record


def _score(
    job: Job, stream: Path, coder: Coder, metrics: Sequence[IqaMetric]
) -> tuple[VideoScores, dict[str, dict[str, Any]]]:
    from sweeps.metric_scores import QualityWatch

    pseudo = {
        network.name: read_frames(pseudo_labels(job.source, network, coder.workspace, coder.reporter))
        for network in job.judges
    }
    with (
        coder.reporter.task(f"score  {describe(job.config)}", job.source.frame_count) as advance,
        QualityWatch(metrics, job.source.format.bit_depth) as watch,
    ):
        test, networks = decode_stream(stream), _networks(job)
        see = watch.add if metrics else None
        scores = score_video(job.source, test, networks, pseudo, job.labels, advance, see)
        return scores, {name: score.to_json() for name, score in watch.results().items()}


def _networks(job: Job) -> list[TaskModel | SetMember]:
    return [judge.member(job.config) if isinstance(judge, SetModel) else judge for judge in job.judges]


def _record(key: str, job: Job, encoded: Encoded, scores: VideoScores, folder: Path, seconds: float) -> RunRecord:
    fmt, stream = job.source.format, encoded.stream
    frames = len(scores.plane_sse)
    return RunRecord(
        key=key,
        config=job.config.as_dict(),
        input={
            "digest": job.source.digest(),
            "name": job.name,
            "width": fmt.width,
            "height": fmt.height,
            "frames": frames,
            "fps": str(fmt.fps),
        },
        build=encoded.build.key(),
        models={network.name: network.digest() for network in job.judges},
        bits=stream.bits,
        frames=frames,
        bpp=stream.bits / (frames * fmt.width * fmt.height),
        encode_s=stream.encode_s,
        map_s=encoded.map_s,
        first_pass_s=encoded.first_pass_s,
        judge_s=encoded.judge_s,
        psnr=scores.psnr(),
        scores=scores.summary(),
        frame_bits=frame_bits(stream.path, frames, stream.bits),
        frame_psnr=scores.frame_psnr(),
        confusion={
            name: {kind: pack_confusion(array) for kind, array in kinds.items()}
            for name, kinds in scores.confusion.items()
        },
        stream=str(stream.path.relative_to(folder)),
        seconds=seconds,
    )


def frame_bits(stream: Path, frames: int, total: int) -> list[int]:
    """Bits of each picture in display order; what belongs to no picture is spread evenly, so the sum is the total."""
    from encoder_bridge.decode import picture_bytes

    bits = [8 * size for size in picture_bytes(stream)]
    rest = total - sum(bits)
    share, left = divmod(rest, frames)
    return [b + share + (1 if i < left else 0) for i, b in enumerate(bits)]

"""One run, from key to record: encode, decode, score. What it returns depends on its arguments alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from encoder_bridge.config import CodingConfig
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.frames import FrameSource
from models.model_set import SetMember, SetModel
from models.task_model import TaskModel
from sweeps.arrayfile import read_frames
from sweeps.coding import Coder, Encoded, describe
from sweeps.labels import LabelSource
from sweeps.pseudo import pseudo_labels
from sweeps.records import RunRecord, pack_confusion, run_key
from sweeps.scoring import VideoScores, score_video


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
    models = {network.name: network.digest() for network in job.judges}
    if coder.maker is not None and job.config.map is not None:
        models["(map)"] = coder.maker.identity(job.config.map)
    if coder.judges is not None and job.config.ctu is not None:
        models["(metric)"] = coder.judges.identity(job.config.ctu)
    if job.labels is not None:
        models["(labels)"] = job.labels.digest()
    return run_key(job.config, job.source.digest(), build, models)


def run_one(job: Job, coder: Coder) -> RunRecord:
    """Encode, decode with PyAV and score. Raises what any of these steps raises."""
    began = time.monotonic()
    key = job_key(job, coder)
    return score_stream(key, job, coder.encode(job.source, job.config), coder, began)


def score_stream(key: str, job: Job, encoded: Encoded, coder: Coder, began: float) -> RunRecord:
    """The record of a stream in the workspace; ``began`` is when work on it did, on the monotonic clock."""
    scores = _score(job, encoded.stream.path, coder)
    return _record(key, job, encoded, scores, coder.workspace.folder, time.monotonic() - began)


def _score(job: Job, stream: Path, coder: Coder) -> VideoScores:
    pseudo = {
        network.name: read_frames(pseudo_labels(job.source, network, coder.workspace, coder.reporter))
        for network in job.judges
    }
    with coder.reporter.task(f"score  {describe(job.config)}", job.source.frame_count) as advance:
        return score_video(job.source, decode_stream(stream), _networks(job), pseudo, job.labels, advance)


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

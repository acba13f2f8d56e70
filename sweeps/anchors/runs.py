"""The records of an anchor: coded by the program that is here, or scored from the recorded streams."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from functools import partial

from encoder_bridge.atomic import replacing
from encoder_bridge.encoder import Bitstream
from encoder_bridge.encoders import ENCODERS
from sweeps.anchors.recorded import RecordedPoint
from sweeps.anchors.resolve import Anchor
from sweeps.coding import Coder, Encoded
from sweeps.records import RunRecord, run_key
from sweeps.run_one import Job, job_key, run_one, score_stream
from sweeps.store import ResultStore


def anchor_records(anchor: Anchor, template: Job, coder: Coder, store: ResultStore) -> Iterator[RunRecord]:
    """One record a point, made where the store does not hold it."""
    for point in anchor.points:
        if isinstance(point, RecordedPoint):
            yield recorded_run(point, template, coder, store)
        else:
            job = dataclasses.replace(template, config=point)
            yield kept_or_made(store, job_key(job, coder), partial(run_one, job, coder))


def recorded_run(point: RecordedPoint, template: Job, coder: Coder, store: ResultStore) -> RunRecord:
    """The record of a recorded stream, scored with the job's networks. Raises StoreError for a damaged recording."""
    job = dataclasses.replace(template, config=point.config)
    models = {network.name: network.digest() for network in job.judges}
    if job.labels is not None:
        models["(labels)"] = job.labels.digest()
    key = run_key(point.config, job.source.digest(), point.build, models, recorded=point.sha256)

    def score() -> RunRecord:
        began = time.monotonic()
        path = coder.workspace.stream({"recorded": point.sha256}, ENCODERS.get(point.config.codec).suffix)
        with replacing(path) as temporary:
            temporary.write_bytes(point.stream())
        # What coding took on another machine compares with nothing here.
        stream = Bitstream(path, point.codec, point.bits, point.frames, encode_s=0.0)
        return score_stream(key, job, Encoded(stream, point.build), coder, began)

    return kept_or_made(store, key, score)


def kept_or_made(store: ResultStore, key: str, make: Callable[[], RunRecord]) -> RunRecord:
    """The finished record of that key, or a new one, which the store then holds."""
    kept = store.get(key)
    if kept is not None and kept.status == "ok":
        return kept
    record = make()
    store.append(record)
    return record

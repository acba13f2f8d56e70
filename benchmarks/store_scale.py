"""How fast a store of seed 001's size is: 1486 configurations × 500 pictures = 743 000 records.

    python benchmarks/store_scale.py [--configs 1486] [--inputs 500] [--folder DIR] [--export]

Makes a store of records like those of `mrdo sweep` on single pictures with 19 classes and one network, then times:
opening without an index, opening with it, asking for every planned key (what a resumed sweep does), means of accuracy
and bits by configuration, and appending with fsync. Nothing is drawn from the page cache's mercy on purpose: the file
has just been written, so these are figures of the processor, whose seconds are given beside those of the clock.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from encoder_bridge.config import CodingConfig
from sweeps.aggregate import means
from sweeps.records import RunRecord, pack_confusion
from sweeps.store import ResultStore
from sweeps.store_export import export_store

CODECS = (("jpeg", 672, range(1, 101)), ("jpeg2000", 352, range(2, 200)), ("x265", 462, range(0, 52)))


def configurations(count: int) -> list[CodingConfig]:
    """As many different configurations, in the proportions of seed 001's."""
    found = []
    for codec, _, qualities in CODECS:
        for scale in (1.0, 0.9, 0.75, 0.6, 0.5, 0.4, 0.25):
            for gray in (False, True):
                found += [CodingConfig(codec=codec, qp=qp, scale=scale, gray=gray) for qp in qualities]
    return found[:: max(1, len(found) // count)][:count]


def records(configs: list[CodingConfig], inputs: int) -> Iterator[tuple[str, bytes]]:
    """Key and line of every run, picture after picture; written piecewise, which is what ``to_json`` gives."""
    drawn = np.random.default_rng(1)
    tables = [
        pack_confusion(drawn.integers(0, 4000, (1, 19, 19)) * (drawn.random((1, 19, 19)) < 0.3)) for _ in range(64)
    ]
    parts = [json.dumps(config.as_dict(), separators=(",", ":")) for config in configs]
    for picture in range(inputs):
        digest = hashlib.sha256(str(picture).encode()).hexdigest()
        given = {"digest": digest, "name": f"frankfurt_{picture:06d}", "width": 2048, "height": 1024, "frames": 1}
        for number, (config, part) in enumerate(zip(configs, parts, strict=True)):
            key = hashlib.sha256(f"{digest} {part}".encode()).hexdigest()
            bits, accuracy = int(drawn.integers(10_000, 900_000)), float(drawn.random())
            record = RunRecord(
                key=key,
                config={},
                input={**given, "fps": "25"},
                build={"name": config.codec, "version": "3.5", "patch_hash": digest[:16], "bit_depth": 8},
                models={"deeplab": digest},
                bits=bits,
                frames=1,
                bpp=bits / 2_097_152,
                encode_s=0.31,
                psnr={"y": 38.123456, "u": 41.2, "v": 41.9, "yuv": 39.1},
                scores={"deeplab": {"agreement": accuracy, "miou_pseudo": accuracy / 2, "miou_labels": accuracy / 3}},
                frame_bits=[bits],
                frame_psnr=[38.123456],
                confusion={"deeplab": {"pseudo": tables[number % 64], "labels": tables[(number + 7) % 64]}},
                stream=f"streams/{key[:32]}.hevc",
                created="2026-01-01T00:00:00+00:00",
                seconds=0.52,
            )
            yield key, line_of(record, part)


def line_of(record: RunRecord, config: str) -> bytes:
    """A record's line without ``to_json``'s care for foreign types, which takes most of its time."""
    text = json.dumps({k: v for k, v in vars(record).items() if k != "extra"}, separators=(",", ":"))
    return text.replace('"config":{}', f'"config":{config}', 1).encode() + b"\n"


def timed(name: str, call: Callable[[], object]) -> object:
    """Call, say how long it took by the clock and by the processor, and hand the result on."""
    began, busy = time.perf_counter(), time.process_time()
    result = call()
    wall, used = time.perf_counter() - began, time.process_time() - busy
    print(f"{name:44s} {wall:8.3f} s  ({used:.3f} s of processor)", flush=True)
    return result


def write(path: Path, configs: list[CodingConfig], inputs: int) -> list[str]:
    """Make the store's file; the keys in it."""
    keys = []
    with path.open("wb", buffering=1 << 22) as file:
        for key, line in records(configs, inputs):
            keys.append(key)
            file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return keys


def close_with_index(path: Path) -> None:
    """What any writer does at its end."""
    with ResultStore(path):
        pass


def append(path: Path, count: int) -> None:
    """Records one by one, each on the disk before the next."""
    template = RunRecord.from_json(path.open("rb").readline().decode())
    with ResultStore(path) as store:
        began = time.perf_counter()
        for number in range(count):
            store.append(RunRecord(**{**vars(template), "key": f"{number:064x}"}))
        seconds = time.perf_counter() - began
    print(f"{'append, each with fsync':44s} {count / seconds:8.0f} a second")


def measure(path: Path, configs: list[CodingConfig], inputs: int, export: bool) -> None:
    """All figures."""
    keys = timed("make the records (not a figure of the store)", lambda: write(path, configs, inputs))
    assert isinstance(keys, list)
    size = path.stat().st_size
    print(f"{len(keys)} records, {size / 1e9:.2f} GB, {size / len(keys):.0f} bytes each")
    timed("open, no index", lambda: ResultStore(path, read_only=True))
    timed("open to write, no index, and leave one", lambda: close_with_index(path))
    store = timed("open, with the index", lambda: ResultStore(path, read_only=True))
    assert isinstance(store, ResultStore)
    done = timed("resume: is every planned run done and well?", lambda: sum(store.ok(key) is True for key in keys))
    assert done == len(keys), done
    rows = timed("means by configuration", lambda: means(store.measured()))
    assert isinstance(rows, list) and len(rows) == len(configs)
    assert all(row.runs == inputs for row in rows)
    timed("read one record", lambda: store.get(keys[len(keys) // 2]))
    append(path, 300)
    if export:
        for suffix in (".parquet", ".sqlite"):
            target = path.with_suffix(suffix)
            timed(f"export to {suffix[1:]}", lambda target=target: export_store(store, target))
            print(f"{'':44s} {target.stat().st_size / 1e6:.0f} MB")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--configs", type=int, default=1486)
    parser.add_argument("--inputs", type=int, default=500)
    parser.add_argument("--folder", type=Path, help="where the store is made, and stays; default: a temporary one")
    parser.add_argument("--export", action="store_true", help="time the exports too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        measure(folder / "results.jsonl", configurations(args.configs), args.inputs, args.export)


if __name__ == "__main__":
    sys.exit(main())

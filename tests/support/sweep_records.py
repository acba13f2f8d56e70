"""Records of sweeps that never ran, with accuracies and sizes to order."""

from __future__ import annotations

import numpy as np

from encoder_bridge.config import CodingConfig, MapConfig
from sweeps.records import RunRecord, pack_confusion

WIDTH, HEIGHT, PIXELS = 64, 32, 2_000_000


def confusion_of(miou: float, frames: int) -> str:
    """Two classes of equal size and errors, whose mIoU is the given one: a / (2N − a) with N pixels a class."""
    right = round(2 * PIXELS * miou / (1 + miou))
    one = np.array([[right, PIXELS - right], [PIXELS - right, right]])
    return pack_confusion(np.stack([one] * frames))


def record(
    codec: str,
    qp: int,
    frame_bits: list[int],
    miou: float | dict[str, float],
    *,
    scale: float = 1.0,
    gray: bool = False,
    arm: str = "psnr",
    clip: str = "clip",
    kind: str = "labels",
    psnr: float = 30.0,
    **config: object,
) -> RunRecord:
    """One finished run; ``miou`` of one network "net" or of several."""
    frames = len(frame_bits)
    mapped = {"rdo": "map", "map": MapConfig(arm.partition(":")[2])} if arm != "psnr" else {}
    settings = CodingConfig(codec=codec, qp=qp, scale=scale, gray=gray, **mapped, **config).as_dict()
    values = miou if isinstance(miou, dict) else {"net": miou}
    bits = sum(frame_bits)
    return RunRecord(
        key=f"{clip}-{codec}-{qp}-{scale}-{gray}-{arm}-{config}-{list(values)}",
        config=settings,
        input={"digest": clip, "name": clip, "width": WIDTH, "height": HEIGHT, "frames": frames, "fps": "30"},
        models=dict.fromkeys(values, "0" * 64),
        bits=bits,
        frames=frames,
        bpp=bits / (frames * WIDTH * HEIGHT),
        frame_bits=frame_bits,
        frame_psnr=[psnr] * frames,
        scores={
            name: {"agreement": None, "miou_pseudo": None, f"miou_{kind}": value} for name, value in values.items()
        },
        confusion={name: {kind: confusion_of(value, frames)} for name, value in values.items()},
    )


def straight(codec: str, factor: float = 1.0, *, frames: int = 4, points: int = 5, lift: float = 0.0, **more: object):
    """Points on a line of mIoU over log2 rate: 0.4, 0.5, … at 1000·factor, 2000·factor, … bits a frame."""
    return [
        record(
            codec, 40 - 5 * i, [round(1_000_000 * factor * 2**i)] * frames, 0.4 + 0.1 * i + lift, psnr=30 + i, **more
        )
        for i in range(points)
    ]


def lossless(bits: list[int], miou: float, clip: str = "clip") -> RunRecord:
    """The record of the originals as PNG."""
    return record("png", 0, bits, miou, clip=clip)

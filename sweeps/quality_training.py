"""One training of the no-reference predictor of seed 003: coded pictures, training, export, held-out correlations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.config import CodingConfig
from encoder_bridge.console import Reporter
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import ConfigError, MetricInputError
from encoder_bridge.extras import need
from models import default_model_path
from models.features import first_layer_model
from models.quality import QualityModel
from rdo_metrics.correlation import correlate
from rdo_metrics.dct_ratio import DctRatio
from sweeps.quality_data import FIRST_SEED, LEVELS, TEST_SEED, Clip, Coded, QualityMaker, from_folder, generated
from sweeps.settings import same_settings, write_json

_HELD_OUT = 5
"""Of a folder without val/, every fifth group of pictures is held out."""


@dataclass(frozen=True)
class QualityRequest:
    """What ``mrdo train quality`` was asked for; names as its options."""

    out: Path
    data: Path | None = None
    limit: int | None = None
    clips: int = 80
    test_clips: int = 10
    frames: int = 9
    codecs: tuple[str, ...] = tuple(LEVELS)
    share: int = 3
    features: Path | None = None
    layer: str | None = None
    form: str = "ratio"
    width: float = 0.25
    steps: int = 2000
    batch: int = 32
    lr: float = 0.02
    optimizer: str = "sgd"
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None
    minutes: float | None = None
    resume: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> QualityRequest:
        """From the command's options."""
        return cls(**{k: v for k, v in given.items() if k in cls.__dataclass_fields__})

    @property
    def network(self) -> Path:
        """Whose first layer the full-reference metric looks at."""
        return self.features or default_model_path()

    def made_of(self) -> dict[str, Any]:
        """What determines the coded pictures and their targets."""
        data = None if self.data is None else self.data.name
        named = ("limit", "clips", "test_clips", "frames", "share", "layer", "form", "seed")
        chosen = {name: getattr(self, name) for name in named}
        return {"data": data, "codecs": list(self.codecs), "features": self.network.name, **chosen}


@dataclass(frozen=True)
class Fidelity:
    """How well predictions go with the full-reference metric on held-out pictures (tables 3 and 4 of the paper).

    Attributes:
        lcc, srocc, krcc: correlations, 0..1, higher is better; NaN where they are not defined.
        mse, mae: errors in the metric's unit, lower is better.
        count: pictures.
    """

    lcc: float
    srocc: float
    krcc: float
    mse: float
    mae: float
    count: int


def fidelity(predicted: NDArray[np.float64], wanted: NDArray[np.float64]) -> Fidelity:
    """Compare predictions with what they predict."""
    error = predicted - wanted
    try:
        found = correlate(predicted, wanted)
        values = (found.plcc, found.srocc, found.krocc)
    except MetricInputError:
        values = (float("nan"),) * 3
    return Fidelity(*values, float(np.square(error).mean()), float(np.abs(error).mean()), len(error))


def run_quality_training(request: QualityRequest, say: Reporter) -> dict[str, Any]:
    """Code pictures, train, write ``quality.onnx`` and ``results.json``; returns what the latter holds.

    Raises what encoders, networks and the training raise; ToolNotFoundError for a missing extra or encoder.
    """
    need("train", "torch", "onnx")
    for codec in request.codecs:
        _expect_encoder(codec)
    from models.train.quality import QualityTraining

    config = QualityTraining(
        request.width, request.steps, request.batch, request.lr, optimizer=request.optimizer, seed=request.seed
    )
    request.out.mkdir(parents=True, exist_ok=True)
    same_settings(request.out / "settings.json", request.made_of())
    train, test = _coded(request, say)
    path, done = _train(request, train, config, say)
    result = {"network": str(path), "steps": done, "pictures": len(train.pictures), **judged(path, test, request)}
    write_json(request.out / "results.json", result)
    return result


def _expect_encoder(codec: str) -> None:
    config = CodingConfig(codec=codec, qp=LEVELS[codec][0]) if codec in LEVELS else None
    if config is None:
        raise ConfigError(f"codec {codec!r}; expected {', '.join(LEVELS)}")
    ENCODERS.get(codec)().build_info(config)


def _coded(request: QualityRequest, say: Reporter) -> tuple[Coded, Coded]:
    layer = first_layer_model(request.network, request.layer, request.device, request.threads)
    metric = DctRatio(layer, request.form)
    train, test = _clips(request)
    made = []
    for name, clips, share in (("train", train, request.share), ("test", test, 1)):
        maker = QualityMaker(request.out / name, metric, request.codecs, share)
        with say.task(f"code {name} pictures", len(clips)) as advance:
            made.append(maker.make(clips, advance))
    return made[0], made[1]


def _clips(request: QualityRequest) -> tuple[list[Clip], list[Clip]]:
    """Those that train and those that only judge."""
    if request.data is None:
        train = generated(FIRST_SEED + 1000 * request.seed, request.clips, request.frames)
        return train, generated(TEST_SEED + 1000 * request.seed, request.test_clips, request.frames)
    if (request.data / "train").is_dir() and (request.data / "val").is_dir():
        held_out = None if request.limit is None else max(1, request.limit // 4)
        return from_folder(request.data / "train", request.limit), from_folder(request.data / "val", held_out)
    clips = from_folder(request.data, request.limit)
    if len(clips) < 2:
        raise ConfigError(f"{request.data}: too few pictures; expected at least 9, some of which are held out")
    return [c for i, c in enumerate(clips) if (i + 1) % _HELD_OUT and i + 1 < len(clips)], [
        c for i, c in enumerate(clips) if not (i + 1) % _HELD_OUT or i + 1 == len(clips)
    ]


def _train(request: QualityRequest, made: Coded, config: Any, say: Reporter) -> tuple[Path, int]:
    from models.train.optim import load_checkpoint, open_device
    from models.train.quality import CodedPictures, export_quality, train_quality
    from models.train.trainer import CHECKPOINT, LoopOptions

    with say.task("train predictor", config.steps) as advance:

        def report(event: dict[str, Any]) -> None:
            advance(1)
            say.event(**{("kind" if k == "event" else k): v for k, v in event.items()})

        folder = request.out / "training"
        options = LoopOptions(
            folder, request.device, request.threads, request.minutes, request.resume, save_every=200, report=report
        )
        network = train_quality(CodedPictures(made.pictures, made.targets.astype(np.float32)), config, options)
    path, done = request.out / "quality.onnx", int(load_checkpoint(folder / CHECKPOINT, open_device("cpu"))["step"])
    if done < config.steps:
        say.note(f"stopped after {done} of {config.steps} steps; the same command with --resume goes on")
    notes = {"seed": config.seed, "steps": done, "pictures": len(made.pictures), "form": request.form}
    export_quality(network, path, {**notes, "predicts": f"DCT ratio of {request.network.name}"})
    return path, done


def judged(path: Path, test: Coded, request: QualityRequest) -> dict[str, Any]:
    """``Fidelity`` of the predictor on held-out pictures, all together and of each codec."""
    model = QualityModel(path, request.device, request.threads)
    predicted = np.array([model(picture)[0] for picture in test.pictures])
    codecs = np.array([name.partition("-")[0] for name in test.ways])
    rows = {name: fidelity(predicted[codecs == name], test.targets[codecs == name]) for name in request.codecs}
    return {"held_out": vars(fidelity(predicted, test.targets)), "codecs": {k: vars(v) for k, v in rows.items()}}

"""The chain of arXiv 2411.06776: pictures, task network, coding, metric, evaluation. Nothing finished is repeated."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from encoder_bridge.config import CodingConfig
from encoder_bridge.console import Reporter
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import ConfigError
from encoder_bridge.extras import need
from models.objects.types import ObjectSet
from sweeps.object_codecs import CODECS, HELD_OUT, TRAINED, through_420
from sweeps.object_data import HARMS, CodedCrops, code_objects, load_objects, quantiles, save_objects
from sweeps.object_plan import SIZES, SPLITS, ObjectRequest
from sweeps.object_scores import Scored, cost, score
from sweeps.settings import same_settings, write_json

GENERAL = "general"


class TimeIsUp(Exception):
    """The minutes are over; what is finished is kept."""


class _Clock:
    def __init__(self, minutes: float | None) -> None:
        self._end = None if minutes is None else time.monotonic() + minutes * 60

    def left(self) -> float | None:
        """Minutes left. Raises TimeIsUp when there are none."""
        if self._end is None:
            return None
        left = (self._end - time.monotonic()) / 60
        if left <= 0:
            raise TimeIsUp
        return left


def run_objects(request: ObjectRequest, reporter: Reporter) -> dict[str, Any] | None:
    """The whole chain; the results as a dictionary (also ``results.json``), None where the minutes were too few.

    Raises ConfigError for settings or a folder that does not fit, ToolNotFoundError for a missing encoder or extra.
    """
    _check_tools()
    request.out.mkdir(parents=True, exist_ok=True)
    clock = _Clock(request.minutes)
    try:
        works = [TaskWork(request, task, reporter, clock) for task in request.tasks]
        for work in works:
            work.prepare()
        general = _general(request, works, reporter, clock) if len(works) > 1 else None
        results = {work.task: work.evaluate(general) for work in works}
    except TimeIsUp:
        return None
    write_json(request.out / "results.json", results)
    return results


def _check_tools() -> None:
    """Say now what would be missing after minutes of rendering."""
    need("train,objects,iqa", "torch", "onnx", "rapidfuzz", "piq")
    ENCODERS.get("x265")().build_info(CodingConfig(qp=32))


class TaskWork:
    """The files of one task, in a folder of its own."""

    def __init__(self, request: ObjectRequest, task: str, reporter: Reporter, clock: _Clock) -> None:
        self.request, self.task, self.reporter, self.clock = request, task, reporter, clock
        self.folder = request.out / task
        self.sizes = SIZES[task].scaled(request.pictures, request.task_steps, request.metric_steps)
        self.folder.mkdir(exist_ok=True)
        same_settings(self.folder / "settings.json", request.settings(task))

    def prepare(self) -> None:
        """Pictures, task network, coded crops, metric."""
        self.network()
        for split in ("train", "test"):
            self.crops(split)
        self.metric()

    @cached_property
    def data(self) -> dict[str, ObjectSet]:
        """The three splits; originals are what is left in 4:2:0."""
        paths = {split: self.folder / f"{split}.npz" for split in SPLITS}
        if not all(p.is_file() for p in paths.values()):
            self.reporter.note(f"{self.task}: pictures")
            for split, found in zip(SPLITS, self._pictures(), strict=True):
                save_objects(replace(found, images=through_420(found.images)), paths[split])
                self.clock.left()
        return {split: load_objects(path) for split, path in paths.items()}

    def network(self) -> Path:
        """The task network in ONNX: the user's, or one trained here."""
        if self.request.network is not None:
            return self.request.network
        path = self.folder / "network.onnx"
        if path.is_file():
            return path
        from models.train import objects

        data = self.data["task"]
        training = objects.TaskTraining(
            self.sizes.task_steps, self.sizes.task_batch, self.sizes.task_lr, self.request.seed
        )
        notes: dict[str, Any] = {"steps": training.steps, "seed": training.seed}

        def train(options: Any) -> Any:
            if self.task == "detection":
                notes["classes"] = ",".join(data.names)
                return objects.train_detector(data, training, options)
            if self.task == "face":
                return objects.train_embedder(data, training, options)
            notes["alphabet"] = self._alphabet()
            return objects.train_reader(data, notes["alphabet"], training, options)

        trained = _trained(
            self.request,
            f"{self.task} network",
            training.steps,
            self.folder / "network",
            train,
            self.reporter,
            self.clock,
        )
        height, width = data.images.shape[1:3]
        objects.export_task(trained, path, self.task, (width, height), notes)
        return path

    def crops(self, split: str) -> CodedCrops:
        """Coded crops with their losses; those of the test split also by the codecs that are held out."""
        path = self.folder / f"crops_{split}.npz"
        if path.is_file():
            return CodedCrops.load(path)
        data = self.data[split]
        harm = HARMS[self.task](self.network(), data)
        codecs = TRAINED if split == "train" else (*TRAINED, *HELD_OUT)
        each = self.sizes.per_picture
        points = sum(len(CODECS[name].levels) for name in codecs)
        with self.reporter.task(f"{self.task}: code {split}", points) as advance:
            found = code_objects(data, harm, codecs, each, self.request.seed, self.request.side, advance)
        if not len(found.coded):
            raise ConfigError(
                f"{self.task}: the network finds none of the objects in {len(data.images)} pictures; train it longer"
            )
        found.save(path)
        self.clock.left()
        return found

    def source(self) -> Any:
        """Training pairs, losses as quantiles: one scale for every task."""
        from models.train.objects import CodedObjects

        crops = self.crops("train")
        targets = quantiles(crops.loss, crops.loss)
        return CodedObjects(crops.originals, crops.coded, crops.index, targets, self.task != "plate")

    def metric(self) -> Path:
        """The task's own metric in ONNX."""
        path = self.folder / "metric.onnx"
        if not path.is_file():
            steps = self.sizes.metric_steps
            _train_metric(self.request, [self], steps, self.sizes.metric_batch, self.folder, self.reporter, self.clock)
        return path

    def evaluate(self, general: Path | None) -> dict[str, Any]:
        """Accuracy of the task network, SRCC of every metric on the test split, cost."""
        data = self.data["test"]
        harm = HARMS[self.task](self.network(), data)
        metrics = {"specific": self.metric(), **({} if general is None else {"general": general})}
        scores: list[Scored] = score(self.crops("test"), metrics, TRAINED, HELD_OUT)
        return {
            "accuracy": harm.accuracy(),
            "scores": [asdict(s) for s in scores],
            "cost": cost(self.network(), self.metric(), data.images, self.crops("test")),
        }

    def _pictures(self) -> Sequence[ObjectSet]:
        request, sizes = self.request, self.sizes
        if request.data is not None and request.fmt is not None:
            from models.objects.datasets import load_split

            return load_split(
                request.data, request.fmt, self.task, request.limit, (0.5, 0.35, 0.15), request.seed, request.side
            )
        counts = (sizes.task, sizes.train, sizes.test)
        return [
            _generated(self.task, split, 3 * request.seed + k, n, request.side)
            for k, (split, n) in enumerate(zip(SPLITS, counts, strict=True))
        ]

    def _alphabet(self) -> str:
        from models.objects.datasets import CCPD_ALPHABET
        from models.objects.plates import ALPHABET

        return ALPHABET if self.request.fmt is None else CCPD_ALPHABET


def _generated(task: str, split: str, seed: int, count: int, side: int) -> ObjectSet:
    if task == "detection":
        from models.objects.streets import street_scenes

        return street_scenes(seed, count)
    if task == "face":
        from models.objects.faces import face_pictures

        each = 12 if split == "task" else 4
        return face_pictures(seed, max(2, count // each), each, side)
    from models.objects.plates import plate_pictures

    return plate_pictures(seed, count, side)


def _general(request: ObjectRequest, works: Sequence[TaskWork], reporter: Reporter, clock: _Clock) -> Path:
    """One metric for all tasks."""
    folder = request.out / GENERAL
    folder.mkdir(exist_ok=True)
    same_settings(folder / "settings.json", {"tasks": [request.settings(work.task) for work in works]})
    path = folder / "metric.onnx"
    if not path.is_file():
        steps = 3 * max(work.sizes.metric_steps for work in works) // 2
        batch = max(work.sizes.metric_batch for work in works)
        _train_metric(request, works, steps, batch, folder, reporter, clock)
    return path


def _train_metric(
    request: ObjectRequest,
    works: Sequence[TaskWork],
    steps: int,
    batch: int,
    folder: Path,
    reporter: Reporter,
    clock: _Clock,
) -> None:
    from models.train.full_reference import FullReferenceConfig, export_full_reference
    from models.train.objects import train_metric

    config = FullReferenceConfig(request.backbone, request.side, steps=steps, batch=batch, seed=request.seed)
    sources = [work.source() for work in works]
    name = works[0].task if len(works) == 1 else GENERAL
    trained = _trained(
        request, f"{name} metric", steps, folder / "metric", lambda o: train_metric(config, sources, o), reporter, clock
    )
    tasks = ",".join(work.task for work in works)
    notes = {"predicts": "share of training crops harmed less", "tasks": tasks, "steps": steps, "seed": request.seed}
    export_full_reference(trained, folder / "metric.onnx", notes)


def _trained(
    request: ObjectRequest,
    label: str,
    steps: int,
    folder: Path,
    train: Callable[[Any], Any],
    reporter: Reporter,
    clock: _Clock,
) -> Any:
    """Run one training with its progress; raises TimeIsUp where it could not be finished."""
    from models.train.trainer import CHECKPOINT, LoopOptions

    reached = {"step": 0, "of": -1}
    with reporter.task(label, steps) as advance:

        def report(event: Mapping[str, Any]) -> None:
            reached.update(step=int(event["step"]), of=int(event["of"]))
            advance(1)
            if event["step"] % 50 == 0:
                reporter.event("step", training=label, **{k: event[k] for k in ("step", "of", "loss", "s")})

        resume = (folder / CHECKPOINT).is_file()
        options = LoopOptions(
            folder, request.device, request.threads, clock.left(), resume=resume, save_every=50, report=report
        )
        trained = train(options)
    if reached["of"] >= 0 and reached["step"] < reached["of"]:
        raise TimeIsUp
    return trained

"""One training of the learned map from pictures to ONNX: labels, training, export, card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from encoder_bridge.config import RunOptions
from encoder_bridge.console import Reporter
from encoder_bridge.errors import ConfigError
from encoder_bridge.extras import need
from encoder_bridge.source_images import find_images
from models import default_model_path
from sweeps.map_data import LabelPlan, label_pictures


@dataclass(frozen=True)
class MapRequest:
    """What ``mrdo train map`` was asked for; names as its options."""

    data: Path
    out: Path
    networks: tuple[Path, ...]
    variant: str
    scenes: int
    limit: int | None
    variations: int
    guide: Path | None
    init: Path | None
    steps: int
    batch: int
    lr: float
    seed: int
    device: str
    threads: int | None
    minutes: float | None
    resume: bool

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> MapRequest:
        """From the command's options."""
        names = cls.__dataclass_fields__
        return cls(**{k: v for k, v in given.items() if k in names})

    def plan(self) -> LabelPlan:
        """What is labelled. Raises ConfigError where there are no pictures."""
        folder = self.data / "train" if (self.data / "train").is_dir() else self.data
        pictures = tuple(find_images(str(folder)) if folder.is_dir() else ())
        if not pictures and not self.scenes:
            raise ConfigError(f"no images in {folder}; expected a folder of pictures, or --scenes for procedural ones")
        chosen = pictures[:: max(1, len(pictures) // self.limit)][: self.limit] if self.limit else pictures
        return LabelPlan(
            chosen,
            self.scenes,
            self.networks or (default_model_path(),),
            seed=self.seed,
            guide=self.guide,
            variations=self.variations,
        )


def run_map_training(request: MapRequest, say: Reporter) -> dict[str, Any]:
    """Train and write ``map.onnx`` and ``map.md``; returns network path, steps, number of labelled pictures.

    Raises what the encoder, the networks and the training raise; ToolNotFoundError without the extras.
    """
    need("exact,train", "torch", "onnx", "onnx2torch")
    plan = request.plan()
    files = _labels(request, plan, say)
    from models.train.map_training import MapLabels, MapTraining, export_map, train_map
    from models.train.trainer import LoopOptions

    config = MapTraining(
        variant=request.variant,
        steps=request.steps,
        batch=request.batch,
        lr=request.lr,
        seed=request.seed,
        init=None if request.init is None else str(request.init),
    )
    done = 0
    with say.task(f"train {request.variant} map", request.steps) as advance:

        def report(event: dict[str, Any]) -> None:
            nonlocal done
            done = max(done, int(event.get("step", 0)))
            advance(1)
            say.event(**{("kind" if k == "event" else k): v for k, v in event.items()})

        folder = request.out / request.variant
        options = LoopOptions(folder, request.device, request.threads, request.minutes, request.resume, report=report)
        labels = MapLabels(files, config.sigma)
        network = train_map(labels, config, options)
    path = folder / "map.onnx"
    done = done or config.steps
    notes = {"seed": config.seed, "steps": done, "labels": len(labels)}
    export_map(network, request.variant, path, notes)
    _write_card(path, replace(request, steps=done), plan, len(labels))
    return {"network": str(path), "step": done, "labels": len(labels)}


def _labels(request: MapRequest, plan: LabelPlan, say: Reporter) -> list[Path]:
    folder = request.out / "labels"
    folder.mkdir(parents=True, exist_ok=True)
    options = RunOptions(threads=request.threads or 0, device=request.device)
    files: list[Path] = []
    with say.task("attribution", plan.total) as advance:
        for part in plan.requests():
            files += label_pictures(part, folder, options, advance)
    return files


def _write_card(path: Path, request: MapRequest, plan: LabelPlan, count: int) -> None:
    networks = ", ".join(p.stem for p in plan.networks)
    rows = {
        "Variant": request.variant,
        "Labels": f"attribution (design §5.2) of {networks} on {count} coded pictures",
        "Pictures": f"{len(plan.pictures)} photographs, plain and {1 + plan.variations} times with another scale and "
        f"light; {plan.scenes} scenes",
        "Operating points": f"x265 QP {', '.join(map(str, plan.qps))} and between",
        "Recipe": f"share loss, AdamW {request.lr:g}, cosine over {request.steps} steps of batch {request.batch}",
        "Seed": str(request.seed),
        "File": f"{path.stat().st_size / 1e6:.2f} MB, ONNX opset 17, dynamic sizes",
    }
    lines = ["# map.onnx", "", "What a unit of squared error costs in each 16×16 block; made by `mrdo train map`.", ""]
    lines += ["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")

"""The model card beside an exported network: what it was trained on, how, and how good it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.task_model import TaskModel
from models.train.architectures import ARCHITECTURES

TIMING_SIZE = (360, 480)


def write_card(path: Path, network: Path, role: str, config: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
    """Write a Markdown card for ``network``; ``config`` is a TrainConfig as a dictionary.

    ``notes`` hold "step" (optimiser steps done), "parameters", "images", "scores" (miou, accuracy, iou) or None, and
    "remarks", paragraphs to close with.
    """
    lines = [f"# {network.name}", "", role, "", *_facts(network, config, notes), "", *_accuracy(notes.get("scores"))]
    for remark in notes.get("remarks", ()):
        lines += ["", remark]
    partial = path.with_name(path.name + ".partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(path)


def milliseconds_per_frame(network: Path, threads: int = 2, size: tuple[int, int] = TIMING_SIZE) -> float:
    """Median wall time in milliseconds of one picture (H, W) through ONNX Runtime on the CPU (lower is better)."""
    model = TaskModel(network, threads=threads)
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    model.logits(picture)
    times = []
    for _ in range(9):
        started = time.perf_counter()
        model.logits(picture)
        times.append(time.perf_counter() - started)
    return float(np.median(times) * 1e3)


def _facts(network: Path, config: Mapping[str, Any], notes: Mapping[str, Any]) -> list[str]:
    size = network.stat().st_size / 1e6
    scenes = f", {config['scenes']:.0%} of the samples procedural scenes" if config["scenes"] else ""
    rows = {
        "Architecture": f"{config['arch']}: {_about(config['arch'])}",
        "Start": f"weights of {Path(config['init']).name}" if config.get("init") else "the architecture's own weights",
        "Parameters": f"{notes['parameters']:,}",
        "Data": f"folder pair of {notes.get('images', '?')} images{scenes}",
        "Steps done": f"{notes['step']} of batch {config['batch']}, crop {config['crop']}",
        "Recipe": _recipe(config),
        "Averaging": f"weight average {config['ema']:g}; class weights frequency^-{config['class_power']:g}",
        "Seed": config["seed"],
        "Input": "`image` float32 (N, 3, H, W) RGB 0..255, any size; normalisation inside",
        "Output": "`logits` float32 (N, classes, H, W)",
        "Classes": ", ".join(config["classes"]),
        "File": f"{size:.2f} MB, ONNX opset 17",
        "Speed": f"{milliseconds_per_frame(network):.0f} ms a frame of 480×360 on 2 CPU threads",
    }
    return ["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())]


def _about(arch: str) -> str:
    """First line of the architecture's description."""
    text = ARCHITECTURES.get(arch).__doc__ if arch in ARCHITECTURES else None
    return (text or "").strip().splitlines()[0] if text else "no description"


def _recipe(config: Mapping[str, Any]) -> str:
    names = {"adamw": "AdamW", "sgd": f"SGD (momentum {config.get('momentum', 0.9):g})"}
    poly = f"polynomial decay {config.get('power', 0.9):g}"
    fall = poly if config.get("schedule") == "poly" else "cosine"
    optimiser = names[config.get("optimizer", "adamw")]
    return f"{optimiser} {config['lr']:g}, weight decay {config['weight_decay']:g}, {fall} over {config['steps']} steps"


def _accuracy(scores: Mapping[str, Any] | None) -> list[str]:
    if scores is None:
        return ["No validation set was given."]
    table = ["| class | IoU |", "|---|---|", *(f"| {k} | {v:.3f} |" for k, v in scores["iou"].items())]
    return [f"Validation: mIoU {scores['miou']:.4f}, pixel accuracy {scores['accuracy']:.4f}.", "", *table]

"""The model card beside an exported network: what it was trained on, how, and how good it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.task_model import TaskModel

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
    recipe = f"AdamW {config['lr']:g}, weight decay {config['weight_decay']:g}, cosine over {config['steps']} steps"
    rows = {
        "Architecture": f"{config['arch']} (mmsegmentation classes, from scratch, no pretrained weights)",
        "Parameters": f"{notes['parameters']:,}",
        "Data": f"folder pair of {notes.get('images', '?')} images{scenes}",
        "Steps done": f"{notes['step']} of batch {config['batch']}, crop {config['crop']}",
        "Recipe": f"{recipe}; weight average {config['ema']:g}; class weights frequency^-{config['class_power']:g}",
        "Seed": config["seed"],
        "Input": "`image` float32 (N, 3, H, W) RGB 0..255, any size; normalisation inside",
        "Output": "`logits` float32 (N, classes, H, W)",
        "Classes": ", ".join(config["classes"]),
        "File": f"{size:.2f} MB, ONNX opset 17",
        "Speed": f"{milliseconds_per_frame(network):.0f} ms a frame of 480×360 on 2 CPU threads",
    }
    return ["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())]


def _accuracy(scores: Mapping[str, Any] | None) -> list[str]:
    if scores is None:
        return ["No validation set was given."]
    table = ["| class | IoU |", "|---|---|", *(f"| {k} | {v:.3f} |" for k, v in scores["iou"].items())]
    return [f"Validation: mIoU {scores['miou']:.4f}, pixel accuracy {scores['accuracy']:.4f}.", "", *table]

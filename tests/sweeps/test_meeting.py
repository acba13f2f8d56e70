"""Inputs before a sweep: what becomes of one under whose first walk workers die."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from encoder_bridge.console import Reporter
from encoder_bridge.decode import write_video
from models.scenes import SceneConfig, SceneSource
from sweeps.driving.ledger import BadInput, KnownInput
from sweeps.driving.meeting import meet_inputs
from sweeps.executors.base import LOST, open_executor
from sweeps.plan import InputFile


class Fatal(InputFile):
    """An input that ends every worker it comes to."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (1,)


def test_workers_lost_in_the_first_walk_are_not_held_against_the_input(tmp_path: Path) -> None:
    sound, broken = tmp_path / "a.y4m", tmp_path / "b.y4m"
    write_video(SceneSource(SceneConfig(32, 32, 2, seed=1)), sound)
    broken.write_bytes(b"no video")
    with open_executor(1, executor="processes") as pool:
        files = [Fatal(str(sound), "a"), InputFile(str(broken), "b")]
        lost, bad = meet_inputs(files, tmp_path, lambda: pool, Reporter())
        assert isinstance(lost, BadInput) and lost.error["type"] == LOST
        assert "3 workers" in lost.error["message"] and "may be sound" in lost.error["message"]
        assert isinstance(bad, BadInput) and "may be sound" not in bad.error["message"]
        (again,) = meet_inputs([InputFile(str(sound), "a")], tmp_path, lambda: pool, Reporter())
    assert isinstance(again, KnownInput) and again.frames == 2

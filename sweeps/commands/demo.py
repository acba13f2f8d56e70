"""``mrdo demo``: the whole comparison on the embedded clip, with pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sweeps.options import command as new_command
from sweeps.options import reporter, run_options, run_opts

QPS = (22, 27, 32, 37, 42, 47)


@new_command("demo")
@click.option("-o", "--output", default="demo-out", type=click.Path(file_okay=False), help="Folder of the results.")
@click.option("--frames", default=16, type=click.IntRange(min=2), help="Length of the clip.")
@click.option("--size", "scene_size", default="480x360", help="Width and height of the clip.")
@click.option("--seed", default=7, type=int, help="Seed of the procedural street scene.")
@click.option("--preset", default="slow", help="The encoder's preset.")
@click.option("--map", "map_name", default="learned", help="Map of the machine-aware arm.")
@run_options
def command(**options: Any) -> None:
    """PSNR-RDO against machine-aware RDO on a procedural street scene: table, BD-rate, RD plot, pictures.

    Results are kept in the output folder: started again, the command repeats nothing that is finished.
    """
    from encoder_bridge.config import CodingConfig, MapConfig
    from models import default_model_path, judge_model_path
    from models.scenes import SceneConfig, SceneSource
    from models.task_model import TaskModel
    from sweeps.coding import Coder
    from sweeps.compare import plan
    from sweeps.driving.tidying import undone
    from sweeps.labels import OwnLabels
    from sweeps.maps import MapMaker
    from sweeps.paramtypes import parse_size
    from sweeps.pictures import side_by_side
    from sweeps.present import run_and_show
    from sweeps.run_one import Job
    from sweeps.store import ResultStore
    from sweeps.workspace import Workspace

    say, folder = reporter(options), Path(options["output"])
    width, height = parse_size(options["scene_size"])
    source = SceneSource(SceneConfig(width, height, options["frames"], seed=options["seed"]))
    networks = [TaskModel(path, device=options["device"]) for path in (default_model_path(), judge_model_path())]
    spec = MapConfig(options["map_name"])
    configs = [CodingConfig(preset=options["preset"], qp=qp, rdo="map", map=spec) for qp in QPS]
    job = Job(source, "embedded clip", configs[0], networks, OwnLabels(source))
    with ResultStore(folder) as store, undone(store):
        coder = Coder(Workspace(folder), run_opts(options), say, MapMaker(networks[0], options["device"]))
        result = run_and_show(job, plan(configs), coder, store, bootstrap=1000)
    picture = folder / "side_by_side.png"
    side_by_side(job, result, coder.workspace.folder, picture)
    say.note(f"pictures: {picture}")
    say.event("result", picture=str(picture))

"""``mrdo train progressive``: networks robust to compression, one a coding configuration (seed 001, §III-B)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from encoder_bridge.console import Reporter
from encoder_bridge.errors import ConfigError
from models.labels import CAMVID_CLASSES
from models.train.progressive.plan import STRATEGIES, Plan, Selection, make_plan
from models.train.progressive.schedule import SCHEDULES, ProgressiveSchedule
from sweeps.options import command as new_command
from sweeps.paramtypes import FLOATS, NAMES

if TYPE_CHECKING:
    from models.train.progressive.run import RunRequest


_COLORS = {"color": False, "gray": True}
_SCHEDULE = ("p0", "p_inf", "step", "speed", "epochs")


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())


@new_command("progressive")
@click.option("--data", type=click.Path(path_type=Path), help="Folder with train/ and trainannot/.")
@click.option("--init", type=click.Path(path_type=Path), help="checkpoint.pt of `mrdo train`: the pristine network.")
@click.option("--arch", default="fpn-r18", help="Architecture of the checkpoint.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder of the work; the set is in OUT/networks.")
@click.option("--strategy", type=click.Choice(STRATEGIES), default="progressive", help="ST and DA are for comparison.")
@click.option(
    "--codec", "codecs", callback=_names, metavar="NAMES", help="Codecs, as x265,vvenc.  [default: the paper's five]"
)
@click.option("--qualities", metavar="LIST", help="Levels that get a network, as 0:50:5 or 22,32.  [default: all]")
@click.option("--scales", type=FLOATS, help="Resolutions, as 1.0,0.5.  [default: 1.0 to 0.25 in steps of 0.125]")
@click.option("--color", default="color,gray", help="color, gray or both.")
@click.option("--preset", default="slow", help="The encoder's own preset.")
@click.option("--p0", type=float, help="First level.  [default: the codec's]")
@click.option("--p-inf", type=float, help="Level approached.  [default: the codec's]")
@click.option("--step", type=float, help="Distance between levels.  [default: the codec's]")
@click.option("--speed", type=float, help="s of Eq. (1); smaller is slower and better.  [default: the codec's]")
@click.option("--epochs", type=int, help="Epochs of a chain.  [default: the codec's]")
@click.option("--gray-epochs", default=20, help="Epochs of the fine-tuning on grey pictures.")
@click.option("--separate-epochs", default=12, help="Most epochs of one separate training.")
@click.option("--augmentation-epochs", type=int, help="Epochs of DA.  [default: 47 % of ST's in the paper]")
@click.option("--lr", default=1e-2, help="Learning rate at each new level (the paper's figure lost its sign).")
@click.option("--batch", default=4, help="Pictures a step.")
@click.option("--crop", default=352, help="Side of the training crops in pixels.")
@click.option("--seed", default=0)
@click.option("--bf16/--no-bf16", default=False, help="bfloat16 where operators allow it; slower for depthwise ones.")
@click.option("--classes", type=NAMES, help="Class names in label order.  [default: CamVid's eleven]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
@click.option("--threads", type=int, help="CPU threads.")
@click.option("--minutes", type=float, help="Stop after this time; the same command goes on.")
@click.option("--plan", "show_plan", is_flag=True, help="Print the trainings and their epochs; train nothing.")
@click.option("--json", is_flag=True, help="NDJSON events on stdout, nothing else there.")
def command(show_plan: bool, **options: Any) -> None:
    """Train a network for each coding configuration, the distortion growing as the training goes on.

    From a trained network (--init) a training over resolutions, then one over qualities at each resolution for each
    codec, in colour and in grey; each configuration keeps the weights of its last epoch. Killed at any moment, the same
    command goes on. `mrdo compare --judge OUT/networks` scores every point with its own network.
    """
    say = Reporter(json=bool(options["json"]))
    selection = selection_of(options)
    plan = make_plan(selection, options["strategy"])
    if show_plan:
        _show(plan, say)
        return
    for name in ("data", "init", "out"):
        if options[name] is None:
            raise click.UsageError(f"give --{name}, or --plan to see the trainings")
    _run(plan, options, say)


def selection_of(options: dict[str, Any]) -> Selection:
    """The part of the configurations that the options ask for. Raises ConfigError."""
    branches = [part.strip() for part in options["color"].split(",") if part.strip()]
    unknown = [part for part in branches if part not in _COLORS]
    if unknown:
        raise ConfigError(f"--color {unknown[0]!r}; expected color, gray or color,gray")
    return Selection(
        codecs=options["codecs"],
        scales=tuple(options["scales"] or ()),
        grays=tuple(sorted({_COLORS[part] for part in branches})),
        qualities=parse_qualities(options["qualities"]),
        schedule=_schedule(options),
        gray_epochs=options["gray_epochs"],
        separate_epochs=options["separate_epochs"],
        augmentation_epochs=options["augmentation_epochs"],
    )


def parse_qualities(text: str | None) -> tuple[float, ...]:
    """Levels of "0:50:5" (first:last:step) or "22,27,32"; () for None. Raises ConfigError."""
    if text is None:
        return ()
    try:
        if ":" not in text:
            return tuple(float(part) for part in text.split(","))
        first, last, step = (float(part) for part in text.split(":"))
        count = int((last - first) / step + 1e-9) + 1
    except (ValueError, ZeroDivisionError):
        count = 0
    if count < 1:
        raise ConfigError(f"--qualities {text!r}; expected FIRST:LAST:STEP as 0:50:5, or a list as 22,27,32")
    return tuple(first + i * step for i in range(count))


def _schedule(options: dict[str, Any]) -> ProgressiveSchedule | None:
    """The codec's own schedule with what the options change; None where they change nothing."""
    changes = {name: options[name] for name in _SCHEDULE if options[name] is not None}
    if not changes:
        return None
    if len(options["codecs"]) != 1:
        raise ConfigError(f"--{'/--'.join(changes).replace('_', '-')} without a single --codec; expected one codec")
    own = SCHEDULES.get(options["codecs"][0])
    return ProgressiveSchedule(**{**{name: getattr(own, name) for name in _SCHEDULE}, **changes})


def _show(plan: Plan, say: Reporter) -> None:
    from rich.table import Table

    table = Table("training", "from", "epochs", "configurations", "complexity %", box=None)
    for row in plan.rows():
        say.event("training", **row)
        share = "" if row["complexity"] is None else f"{row['complexity']:.2f}"
        table.add_row(row["name"], row["parent"], str(row["epochs"]), str(row["configurations"]), share)
    totals = {
        "trainings": plan.progressive_count,
        "epochs": plan.quality_epochs,
        "epochs_resolution": plan.epochs_of("resolution"),
        "epochs_gray": plan.epochs_of("gray"),
        "epochs_other": plan.epochs_of("separate") + plan.epochs_of("augmentation"),
        "configurations": len(plan.coded),
    }
    say.event("result", **totals)
    say.show(table)
    say.show(
        f"{totals['trainings']} progressive trainings, {totals['epochs']} epochs over qualities "
        f"(beside {totals['epochs_resolution']} over resolutions, {totals['epochs_gray']} of fine-tuning on grey, "
        f"{totals['epochs_other']} of separate training or augmentation), {totals['configurations']} coding "
        "configurations. Complexity is against separate trainings (7.5 epochs a configuration, seed 001, Table IV)."
    )


def _run(plan: Plan, options: dict[str, Any], say: Reporter) -> None:
    from models.train.progressive.run import execute
    from sweeps.distortion import DistortedFolder

    request = _request(plan, options)
    source = _pictures(plan, options, say, DistortedFolder)
    total = sum(training.epochs for training in plan.trainings)
    with say.task("train", total) as advance:
        outcome = execute(request, source, _reporter(say, advance))
    epochs = sum(outcome.epochs.values())
    done = None if outcome.folder is None else str(outcome.folder)
    say.event("result", networks=done, epochs=outcome.epochs)
    say.show(f"{done}: {epochs} epochs" if done else f"{epochs} of {total} epochs done; the same command goes on")


def _request(plan: Plan, options: dict[str, Any]) -> RunRequest:
    from models.train.progressive.run import RunRequest
    from models.train.progressive.sgd import SgdConfig

    if options["threads"]:
        import torch

        torch.set_num_threads(options["threads"])
    classes = tuple(options["classes"] or CAMVID_CLASSES[:11])
    sgd = SgdConfig(
        classes,
        options["lr"],
        batch=options["batch"],
        crop=options["crop"],
        seed=options["seed"],
        bf16=options["bf16"],
    )
    return RunRequest(
        plan=plan,
        arch=options["arch"],
        init=options["init"],
        out=options["out"],
        sgd=sgd,
        strategy=options["strategy"],
        device=options["device"],
        minutes=options["minutes"],
    )


def _pictures(plan: Plan, options: dict[str, Any], say: Reporter, maker: Any) -> Any:
    from models.train.data import load_folder_pair

    folder = options["data"]
    classes = len(options["classes"] or CAMVID_CLASSES[:11])
    samples = load_folder_pair(folder / "train", folder / "trainannot", classes)
    at_once = max(len(leg.configurations) for training in plan.trainings for leg in training.legs)
    place = options["out"] / "pictures"
    source = maker(samples.images, samples.labels, place, options["preset"], say, options["threads"], max(2, at_once))
    source.check([c for training in plan.trainings for leg in training.legs for c in leg.configurations])
    return source


def _reporter(say: Reporter, advance: Any) -> Any:
    def report(event: dict[str, Any]) -> None:
        say.event(event["event"], **{k: v for k, v in event.items() if k != "event"})
        if event["event"] == "epoch":
            advance(1)
            say.note(
                f"{event['training']} {event['epoch']}/{event['of']} {event['configuration']}: "
                f"loss {event['loss']:.4f}, {event['s']:.1f} s"
            )

    return report

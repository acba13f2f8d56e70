"""From the command line to a sweep: the plan, its setup, its executor, and what is shown of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from encoder_bridge.config import CodingConfig
from encoder_bridge.console import Reporter
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import BridgeError, ConfigError, ToolNotFoundError
from sweeps.anchors.clip import EMBEDDED
from sweeps.driving.batch import BatchPlans, Encoding, output_names
from sweeps.driving.bench import SCRATCH, Bench, Setup
from sweeps.driving.drive import Driver, GetExecutor, Limit, OnRecord, Plans, Tally, Work
from sweeps.driving.keys import KeyMaker
from sweeps.driving.ledger import BadInput, KnownInput, SeenInput, signature_of
from sweeps.driving.meeting import meet_inputs
from sweeps.driving.schedule import Schedule, save
from sweeps.driving.scoring import Scoring
from sweeps.driving.tidying import drop_streams, tidied
from sweeps.driving.worker import KeptStream
from sweeps.executors.base import Executor, open_executor
from sweeps.options import Options, coding_configs
from sweeps.plan import InputBlock, InputFile, Plan, find_inputs, is_plan, load_plan
from sweeps.plan.inputs import input_block
from sweeps.records import config_of
from sweeps.sections import SectionedOption
from sweeps.session import model_options_of
from sweeps.store import ResultStore

_STATED = ("size", "format", "fps", "matrix", "range", "frames")
_PLANNED = ("Coding", "Machine-aware RDO", "Candidates")


def plan_of(words: Sequence[str], options: Options) -> Plan:
    """The plan that the command line means: a plan file or a preset first, inputs after it; or inputs and flags.

    Inputs, networks and labels of the command line stand in for the plan's. Raises ConfigError.
    """
    if words and is_plan(words[0]):
        _refuse_planned(words[0])
        plan, names = load_plan(words[0]), words[1:]
    else:
        plan, names = Plan("sweep", lambda depth: _flag_configs(options, depth)), words
    changes: dict[str, Any] = {}
    if names:
        changes["inputs"] = tuple(_stated_input(name, options) for name in names)
    elif _given_stated(options):
        raise ConfigError(f"{', '.join(_given_stated(options))} without an input; in a plan it stands with its input")
    if options["model"]:
        changes["model"] = options["model"]
    if options["judge"]:
        changes["judges"] = tuple(options["judge"])
    return replace(plan, **changes)


def _refuse_planned(name: str) -> None:
    """ConfigError for options that a plan decides."""
    context = click.get_current_context()
    given = [
        param.opts[0]
        for param in context.command.params
        if isinstance(param, SectionedOption)
        and param.section.startswith(_PLANNED)
        and context.get_parameter_source(str(param.name)) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise ConfigError(f"{', '.join(given)} beside plan {name}; expected it in the plan")


def _flag_configs(options: Options, depth: int) -> list[CodingConfig]:
    from sweeps.compare import plan as with_anchors

    configs = coding_configs({**options, "bit_depth": options["bit_depth"] or str(depth)})
    return with_anchors(configs, neutral=False) if "psnr" in options["rdo"] else configs


def _given_stated(options: Options) -> list[str]:
    names = [name for name in (*_STATED, "labels") if options[name] is not None]
    return [f"--{name}" for name in names] + (["--every"] if options["every"] != 1 else [])


def _stated_input(name: str, options: Options) -> InputBlock:
    given = {key: options[key] for key in (*_STATED, "labels") if options[key] is not None}
    return input_block({**given, "path": name, "every": options["every"], "each": options["each"]})


def files_of(plan: Plan, folder: Path) -> list[InputFile]:
    """The plan's input files; what lies in the folder of the results is none."""
    files = find_inputs(plan.inputs)
    results = folder.resolve()
    kept = [file for file in files if file.path == EMBEDDED or results not in Path(file.path).resolve().parents]
    if not kept:
        raise ConfigError(f"all inputs lie in the output folder {folder}; give another --output")
    return kept


def setup_of(plan: Plan, folder: Path, options: Options) -> Setup:
    """How the runs of a command are made."""
    if not options["timeout"] > 0:
        raise ConfigError(f"--timeout {options['timeout']}; expected more than 0 seconds")
    inline = not (options["workers"] or options["scheduler"] or options["cluster"])
    scratch = folder.absolute() / SCRATCH
    return Setup(
        folder=str(folder.absolute()),
        model=None if plan.model is None else str(Path(plan.model).absolute()),
        model_options=model_options_of(options),
        judges=tuple(str(Path(judge).absolute()) for judge in plan.judges),
        metrics=plan.metrics,
        threads=options["threads"],
        timeout_s=options["timeout"],
        device=options["device"],
        keep=options["keep_streams"],
        workdir=options["workdir"] or (str(scratch) if inline and not options["dry_run"] else None),
    )


@contextlib.contextmanager
def executor_of(options: Options, folder: Path, say: Reporter) -> Iterator[GetExecutor]:
    """Opens the executor the options ask for, when it is first wanted."""
    opened: list[Executor] = []
    with contextlib.ExitStack() as stack:

        def get() -> Executor:
            if not opened:
                executor = open_executor(
                    options["workers"],
                    options["scheduler"],
                    options["cluster"],
                    gpus=options["gpu_workers"],
                    cores=options["threads"],
                    cluster_options=tuple(_cluster_option(text) for text in options["cluster_option"]),
                    scratch=folder.absolute() / SCRATCH if options["workers"] else None,
                    note=say.note,
                )
                opened.append(stack.enter_context(executor))
            return opened[0]

        yield get


def _cluster_option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--cluster-option {text!r}; expected NAME=VALUE, as queue=gpu")
    return name.strip(), value.strip()


def check_configs(plan: Plan, inputs: Sequence[KnownInput | BadInput], bench: Bench) -> None:
    """Raise now what every run of a configuration would raise: a setting no input can be coded with, a bad network."""
    formats = {item.format: item for item in inputs if isinstance(item, KnownInput)}
    for depth in {fmt.bit_depth for fmt in formats}:
        fitting = [item for fmt, item in formats.items() if fmt.bit_depth == depth]
        for config in plan.configs(depth):
            _check_config(config, fitting, bench)


def _check_config(config: CodingConfig, inputs: Sequence[KnownInput], bench: Bench) -> None:
    """An input the configuration does not suit fails alone, unless it suits none."""
    prepare(config, bench)
    errors = []
    for item in inputs:
        try:
            coder = bench.coder(config)
            ENCODERS.get(config.codec)().check(config, coder.coded_format(Shape(item), config))
            return
        except BridgeError as error:
            errors.append(error)
    raise errors[0]


def prepare(config: CodingConfig, bench: Bench) -> None:
    """Fail now where a map or a metric of candidates cannot be had."""
    if config.map is not None:
        bench.makers[0].prepare(config.map)
    if config.ctu is not None:
        bench.makers[1].prepare(config.ctu)


class Shape:
    """An input's format in place of the input."""

    def __init__(self, item: KnownInput) -> None:
        self.format, self.frame_count, self._digest = item.format, item.frames, item.digest

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def digest(self) -> str:
        """The input's."""
        return self._digest


def missing_tools(plan: Plan, keys: KeyMaker) -> dict[str, str]:
    """Codec → how to get it, for each that is not here."""
    missing: dict[str, str] = {}
    for config in plan.configs():
        if config.codec not in missing:
            try:
                keys.build(config)
            except ToolNotFoundError as error:
                missing[config.codec] = str(error)
    return missing


def run_plan(plan: Plan, setup: Setup, options: Options, say: Reporter, on_record: OnRecord) -> Tally:
    """Carry out a plan; its folder is this process's alone meanwhile. Raises what keeps it from beginning."""
    folder = Path(setup.folder)
    with ResultStore(folder) as store, tidied(setup, store), executor_of(options, folder, say) as get:
        bench, files = Bench(setup), files_of(plan, folder)
        keys = KeyMaker(bench)
        missing = missing_tools(plan, keys)
        if missing and not options["rescore"]:
            raise ToolNotFoundError("; ".join(f"{codec}: {advice}" for codec, advice in missing.items()))
        _ = bench.driver, bench.metrics
        inputs = meet_inputs(files, folder, get, say)
        kept = kept_streams(store, keys) if options["rescore"] else None
        if kept is None:
            check_configs(plan, inputs, bench)
        schedule = Schedule(plan, inputs, keys)
        save(folder, plan.name, options["workers"] or 1, schedule.saved())
        tally = _drive(schedule, Scoring(setup, kept), store, get, options, say, on_record)
        if setup.keep != "all":
            drop_streams(store, failed_streams(tally, bench) if setup.keep == "failed" else ())
        return tally


def is_batch(plan: Plan, words: Sequence[str]) -> bool:
    """Whether a command is the batch encoder: no plan, one configuration."""
    return not is_plan(words[0]) and len(plan.configs()) == 1


def run_batch(plan: Plan, setup: Setup, options: Options, say: Reporter, on_record: OnRecord) -> Tally:
    """Code every input into its place below the results' folder. Raises what keeps it from beginning."""
    folder, (config,) = Path(setup.folder), plan.configs()
    if options["rescore"] or options["judge"] or options["labels"]:
        raise ConfigError(
            "--rescore, --judge or --labels with one configuration, which is not scored; expected several"
        )
    with ResultStore(folder) as store, tidied(setup, store), executor_of(options, folder, say) as get:
        bench, files = Bench(setup), files_of(plan, folder)
        outputs = output_names(files, config.codec, options["suffix"])
        if config.rdo != "psnr":
            prepare(config, bench)
        seen = [(file, signature_of(file)) for file in files]
        inputs = [item if isinstance(item, BadInput) else SeenInput(file, item) for file, item in seen]
        plans = BatchPlans(config, inputs, bench, outputs)
        save(folder, plan.name, options["workers"] or 1, plans.saved())
        work = Encoding(setup, outputs, own_depth=options["bit_depth"] is None)
        return _drive(plans, work, store, get, options, say, on_record)


def _drive(
    plans: Plans, work: Work, store: ResultStore, get: GetExecutor, options: Options, say: Reporter, on_record: OnRecord
) -> Tally:
    limit = Limit.parse(options["abort_above"]) if options["abort_above"] else Limit()
    return Driver(plans, work, store, get, say, limit, options["retry"] == "failed", on_record).run()


def kept_streams(store: ResultStore, keys: KeyMaker) -> dict[tuple[str, str], KeptStream]:
    """(digest of the configuration, of the input) → the newest stream that is there; its build goes into the keys."""
    kept = {}
    for head in store.heads():
        if head.status == "ok" and head.stream is not None and (store.folder / head.stream).is_file():
            config = config_of(head)
            kept[config.digest(), head.input["digest"]] = KeptStream.of(head)
            keys.assume(config, head.build)
    return kept


def failed_streams(tally: Tally, bench: Bench) -> list[str]:
    """Streams that failed runs may have left, as paths from the results' folder."""
    streams = []
    for run, _ in tally.failed.values():
        if isinstance(run.input, KnownInput):
            coder, encoder = bench.coder(run.config), ENCODERS.get(run.config.codec)()
            identity = coder.identity(Shape(run.input), run.config, encoder.build_info(run.config))
            streams.append(str(coder.workspace.stream(identity, encoder.suffix).relative_to(bench.setup.folder)))
    return streams

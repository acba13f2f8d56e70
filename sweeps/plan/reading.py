"""Plan files, TOML or YAML, and the plans that come with the package.

A plan file::

    name = "stills"
    scales = [0.5, 1.0]              # here: for every codec; in a codec's table: for that codec
    inputs = ["clip.mp4", { path = "frames/", every = 4, labels = "labels/" }]
    judges = ["other.onnx"]

    [codecs.x265]
    qualities = "22-47:5"
    rdo = ["psnr", "map"]

    [codecs.jpeg]
    qualities = [5, 10, 30, 75]
    gray = [false, true]

    [map]
    name = ["learned", "kl"]
"""

from __future__ import annotations

import dataclasses
import itertools
import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from encoder_bridge.config import GOPS, RDO_MODES, CandidateConfig, MapConfig
from encoder_bridge.encoder import ENCODERS
from encoder_bridge.errors import ConfigError
from encoder_bridge.frames import DEPTHS
from sweeps.paramtypes import parse_candidates
from sweeps.plan import fields
from sweeps.plan.inputs import read_input
from sweeps.plan.plan import CodecBlock, Plan, of_blocks

SUFFIXES = (".toml", ".yaml", ".yml")
PROGRESSIVE = "progressive"
"""In place of qualities: the levels of the codec's progressive training (seed 001, Eq. 1 and table III)."""


def preset_names() -> list[str]:
    """Names of the plans that come with the package."""
    return sorted(item.name.removesuffix(".toml") for item in _presets().iterdir() if item.name.endswith(".toml"))


def is_plan(word: str) -> bool:
    """Whether a word of the command line names a plan: a plan file, or a preset that no file hides."""
    return word.lower().endswith(SUFFIXES) or (word in preset_names() and not Path(word).exists())


def load_plan(word: str) -> Plan:
    """The plan of a file or a preset. ConfigError for anything in it that is not understood."""
    if word in preset_names() and not Path(word).exists():
        return parse_plan(_parse_toml((_presets() / f"{word}.toml").read_bytes(), word), word, Path())
    path = Path(word)
    try:
        data = path.read_bytes()
    except OSError as error:
        known = ", ".join(preset_names())
        raise ConfigError(f"plan {word}: {error.strerror}; expected a .toml or .yaml file or one of {known}") from None
    parse = _parse_toml if path.suffix.lower() == ".toml" else _parse_yaml
    return parse_plan(parse(data, word), word, path.parent)


def parse_plan(tables: Any, where: str, folder: Path) -> Plan:
    """The plan of parsed tables; relative paths in them start in ``folder``."""
    kinds = {**_TOP, **_CODING}
    values = fields.read(where, tables, kinds, ": ")
    common = {key: value for key, value in values.items() if key in _CODING}
    name = values.get("name", Path(where).stem)
    if not values.get("codecs"):
        raise ConfigError(f"{where}: no codecs; expected a table [codecs.NAME], NAME one of {_known_codecs()}")
    blocks = [
        block
        for codec, tables in values["codecs"].items()
        for block in _blocks(f"{where}: codecs.{codec}", codec, tables, common)
    ]
    inputs = tuple(
        read_input(f"{where}: inputs", item, folder, values.get("labels")) for item in values.get("inputs", ())
    )
    model = values.get("model")
    judges = tuple(_at(folder, judge) for judge in values.get("judges", ()))
    driver = None if model is None else _at(folder, model)
    plan = Plan(name, of_blocks(blocks), inputs, driver, judges, values.get("metrics", ()))
    _try(where, lambda: plan.configs())
    return plan


def _at(folder: Path, path: str) -> str:
    return str(folder / path)


def _blocks(where: str, codec: str, tables: Any, common: Mapping[str, Any]) -> list[CodecBlock]:
    """The blocks of one codec: a table, or several for values that do not all go together."""
    if codec not in ENCODERS:
        raise ConfigError(f"{where}: unknown codec; expected {_known_codecs()}{fields.nearest(codec, ENCODERS)}")
    several = tables if isinstance(tables, list) else [tables]
    blocks = []
    for number, table in enumerate(several):
        place = f"{where}[{number}]" if isinstance(tables, list) else where
        values = {**common, **fields.read(place, table, _CODING)}
        blocks.append(_try(place, lambda values=values: _block(codec, values)))  # type: ignore[misc]
    return blocks


def _block(codec: str, values: Mapping[str, Any]) -> CodecBlock:
    names = {"preset": "presets", "gop": "gops", "map": "maps", "ctu": "candidates"}
    given = {names.get(key, key): value for key, value in values.items()}
    if given.get("qualities") == PROGRESSIVE:
        given["qualities"] = _trained_levels(codec)
    block = CodecBlock(codec, **given)
    block.configs()
    return block


def _trained_levels(codec: str) -> tuple[int, ...]:
    from models.train.progressive.schedule import SCHEDULES

    return tuple(sorted(int(level) for level in SCHEDULES.get(codec).levels))


def _qualities(where: str, value: Any) -> Any:
    return PROGRESSIVE if value == PROGRESSIVE else fields.whole_numbers(where, value)


def _maps(where: str, value: Any) -> tuple[MapConfig, ...]:
    """Every combination of a table's values is a map; of several tables those of each."""
    maps: tuple[MapConfig, ...] = _combinations(where, value, _MAP, MapConfig)
    return maps


def _ctus(where: str, value: Any) -> tuple[CandidateConfig, ...]:
    ctus: tuple[CandidateConfig, ...] = _combinations(where, value, _CTU, CandidateConfig)
    return ctus


def _combinations(where: str, value: Any, kinds: Mapping[str, fields.Check], make: Callable[..., Any]) -> Any:
    tables = value if isinstance(value, list) else [value]
    listed = {key: fields.many(check) for key, check in kinds.items()}
    made = []
    for table in tables:
        values = fields.read(where, table, listed)
        for combination in itertools.product(*values.values()):
            made.append(_try(where, lambda c=combination, v=values: make(**dict(zip(v, c, strict=True)))))  # type: ignore[misc]
    return tuple(dict.fromkeys(made))


def _candidates(where: str, value: Any) -> Any:
    try:
        return parse_candidates(fields.text(where, value))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _metric(where: str, value: Any) -> str:
    from rdo_metrics.iqa import IQA_METRICS

    name: str = fields.one_of(IQA_METRICS.names())(where, value)
    return name


def _codecs(where: str, value: Any) -> dict[str, Any]:
    """``codecs = ["jpeg", "x265"]`` or a table for each."""
    if isinstance(value, Mapping):
        return dict(value)
    return {name: {} for name in fields.many(fields.text)(where, value)}


def _inputs(where: str, value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _known_codecs() -> str:
    import encoder_bridge.encoders  # noqa: F401 (registers them)

    return ", ".join(ENCODERS.shown())


def _try(where: str, make: Callable[[], Any]) -> Any:
    """Say where in the file a value stands that a configuration refuses."""
    try:
        return make()
    except ConfigError as error:
        message = str(error)
        raise ConfigError(message if message.startswith(where) else f"{where}: {message}") from None


def _parse_toml(data: bytes, where: str) -> Any:
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: is no TOML: {error}") from None


def _parse_yaml(data: bytes, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: is no YAML: {' '.join(str(error).split())}") from None


def _presets() -> Any:
    return resources.files("sweeps.plan") / "presets"


_CODING: dict[str, fields.Check] = {
    "qualities": _qualities,
    "crf": fields.many(fields.number),
    "bitrate": fields.many(fields.whole(1)),
    "scales": fields.many(fields.number),
    "gray": fields.many(fields.flag),
    "preset": fields.many(fields.text),
    "gop": fields.many(fields.one_of(GOPS)),
    "bit_depth": fields.one_of(DEPTHS),
    "rdo": fields.many(fields.one_of(RDO_MODES)),
    "map": _maps,
    "ctu": _ctus,
    "extra": fields.words,
}
_TOP: dict[str, fields.Check] = {
    "name": fields.text,
    "inputs": _inputs,
    "labels": fields.text,
    "model": fields.text,
    "judges": fields.many(fields.text),
    "metrics": fields.many(_metric),
    "codecs": _codecs,
}
_KINDS: dict[str, fields.Check] = {
    "str": fields.text,
    "float": fields.number,
    "int": fields.whole(),
    "bool": fields.flag,
}


def _kind(annotation: str) -> fields.Check:
    return _KINDS[annotation.partition(" | ")[0]]


_MAP: dict[str, fields.Check] = {f.name: _kind(str(f.type)) for f in dataclasses.fields(MapConfig)}
_CTU: dict[str, fields.Check] = {
    f.name: _candidates if f.name == "candidates" else _kind(str(f.type)) for f in dataclasses.fields(CandidateConfig)
}

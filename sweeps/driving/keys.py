"""Keys of many runs: what is common to a configuration is worked out once, not for every input."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from encoder_bridge.config import CodingConfig
from encoder_bridge.encoders import ENCODERS
from sweeps.driving.bench import Bench, Setup
from sweeps.records import key_text

_INPUT, _LABELS = "(the input's digest)", "(the labels' digest)"


@dataclass(frozen=True)
class KeyTemplate:
    """What ``run_key`` is the digest of, but for the input and its labels.

    Attributes:
        plain: text where there are no labels.
        labelled: text where there are.
    """

    plain: str
    labelled: str

    def key(self, digest: str, labels: str | None = None) -> str:
        """The run's key for an input; the same as ``run_key`` gives."""
        text = self.plain if labels is None else self.labelled.replace(_LABELS, labels)
        return hashlib.sha256(text.replace(_INPUT, digest).encode()).hexdigest()


def template(config: CodingConfig, build: Mapping[str, Any], models: Mapping[str, str], **more: Any) -> KeyTemplate:
    """The template of a configuration; ``models`` without those of labels; ``more`` as in ``run_key``."""
    kinds: tuple[dict[str, str], ...] = ({}, {"(labels)": _LABELS})
    return KeyTemplate(*(key_text(config, _INPUT, build, {**models, **labels}, **more) for labels in kinds))


def more_of(setup: Setup) -> dict[str, Any]:
    """What else a record depends on; nothing where no metrics are asked for, as in `mrdo compare`."""
    return {"metrics": list(setup.metrics)} if setup.metrics else {}


class KeyMaker:
    """Templates of configurations, each made once. Raises ToolNotFoundError where the encoder is not here."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._builds: dict[tuple[object, ...], Mapping[str, Any]] = {}
        self._assumed: dict[CodingConfig, Mapping[str, Any]] = {}
        self._made: dict[tuple[CodingConfig, bool], KeyTemplate] = {}

    def template(self, config: CodingConfig, gray: bool) -> KeyTemplate:
        """The template of a configuration for colour or grey videos."""
        if (config, gray) not in self._made:
            models = self._bench.models(config, gray, None)
            self._made[config, gray] = template(config, self.build(config), models, **more_of(self._bench.setup))
        return self._made[config, gray]

    def assume(self, config: CodingConfig, build: Mapping[str, Any]) -> None:
        """Take this build for a configuration: that of a stream which is to be scored again."""
        self._assumed[config] = build

    def build(self, config: CodingConfig) -> Mapping[str, Any]:
        """``BuildInfo.key()`` of the encoder."""
        if config in self._assumed:
            return self._assumed[config]
        kind = (config.codec, config.preset, config.gop, config.bit_depth, config.rdo, config.neutral)
        if kind not in self._builds:
            self._builds[kind] = ENCODERS.get(config.codec)().build_info(config).key()
        return self._builds[kind]

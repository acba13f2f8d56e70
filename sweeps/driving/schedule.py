"""The runs of a plan over its inputs, one after another, each with its key."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoder_bridge.atomic import replacing
from encoder_bridge.config import CodingConfig
from encoder_bridge.errors import StoreError
from sweeps.driving.keys import KeyMaker, KeyTemplate
from sweeps.driving.ledger import BadInput, KnownInput, SeenInput
from sweeps.plan import Plan
from sweeps.records import now_iso

FILE = "sweep.json"
_Group = tuple[int, bool]


@dataclass(frozen=True)
class Run:
    """One run: ``input`` coded as ``config`` says."""

    key: str
    input: SeenInput
    config: CodingConfig


class Schedule:
    """Runs in the order in which they are begun: input by input, plain coding first, codecs well mixed.

    Plain streams are what maps and judges look at, and a mix of quick and slow codecs keeps the time left honest.

    Args:
        plan: configurations.
        inputs: what they are applied to.
        keys: templates of keys.
    """

    def __init__(self, plan: Plan, inputs: Sequence[KnownInput | BadInput], keys: KeyMaker) -> None:
        self.plan, self.inputs = plan, inputs
        self._keys = keys
        self._groups: dict[_Group, list[tuple[CodingConfig, KeyTemplate]]] = {}

    def __len__(self) -> int:
        return sum(len(self.plan.configs(_group(item)[0])) for item in self.inputs)

    def __iter__(self) -> Iterator[Run]:
        for item in self.inputs:
            for config, template in self.group(_group(item)):
                yield Run(_key(template, item), item, config)

    def group(self, group: _Group) -> list[tuple[CodingConfig, KeyTemplate]]:
        """Configurations of inputs of one depth, with or without colours."""
        if group not in self._groups:
            depth, gray = group
            ordered = sorted(self.plan.configs(depth), key=lambda config: (config.rdo != "psnr", config.digest()))
            self._groups[group] = [(config, self._keys.template(config, gray or config.gray)) for config in ordered]
        return self._groups[group]

    def counts(self) -> dict[str, int]:
        """Codec → number of runs, in the order of the plan."""
        total: Counter[str] = Counter()
        for item in self.inputs:
            total.update(self.plan.counts(_group(item)[0]))
        return dict(total)

    def saved(self) -> dict[str, Any]:
        """What ``planned_keys`` reads."""
        used = sorted({(*_group(item), _labels(item) is not None) for item in self.inputs})
        groups = {
            _name(*kind): [
                [config.codec, pair.labelled if kind[2] else pair.plain] for config, pair in self.group(kind[:2])
            ]
            for kind in used
        }
        rows = [
            {
                "name": item.file.name,
                "digest": _digest(item),
                "labels": _labels(item),
                "group": _name(*_group(item), _labels(item) is not None),
            }
            for item in self.inputs
        ]
        return {"inputs": rows, "groups": groups}


def save(folder: Path, name: str, workers: int, saved: Mapping[str, Any]) -> None:
    """Write what is planned into the results' folder, so that others can tell how far the sweep is."""
    head = {"version": 1, "name": name, "started": now_iso(), "workers": workers}
    with replacing(folder / FILE) as temporary:
        temporary.write_text(json.dumps({**head, **saved}) + "\n", encoding="utf-8")


def read_saved(folder: Path) -> dict[str, Any]:
    """What ``save`` wrote. StoreError where it is not there or damaged."""
    path = folder / FILE
    try:
        saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if saved["version"] != 1:
            raise ValueError(f"version {saved['version']}")
        return saved
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; expected the folder of a sweep") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: damaged ({error}); start the sweep again to write it anew") from None


def planned_keys(saved: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(codec, key) of every run of a saved sweep."""
    groups = {
        name: [(codec, KeyTemplate(text, text)) for codec, text in rows] for name, rows in saved["groups"].items()
    }
    for item in saved["inputs"]:
        for codec, template in groups[item["group"]]:
            yield codec, template.key(item["digest"], item["labels"])


def _name(depth: int, gray: bool, labelled: bool) -> str:
    return f"{depth}{'g' if gray else ''}{'l' if labelled else ''}"


def _group(item: KnownInput | BadInput) -> _Group:
    return (8, False) if isinstance(item, BadInput) else (item.format.bit_depth, item.gray)


def _labels(item: KnownInput | BadInput) -> str | None:
    return None if isinstance(item, BadInput) else item.labels


def _digest(item: KnownInput | BadInput) -> str:
    return item.signature if isinstance(item, BadInput) else item.digest


def _key(template: KeyTemplate, item: KnownInput | BadInput) -> str:
    return template.key(_digest(item), _labels(item))

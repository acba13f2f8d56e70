"""How a video was coded, told by the user where a set of networks has to know."""

from __future__ import annotations

from collections.abc import Sequence

from encoder_bridge.config import CodingConfig
from encoder_bridge.errors import ConfigError
from models.model_set import SetMember, SetModel
from models.task_model import TaskModel


def parse_coded(text: str) -> CodingConfig:
    """The coding of "x265:32" or "x265:32:0.5" (codec, QP, scale). Raises ConfigError."""
    codec, *rest = text.split(":")
    try:
        if not codec or not 1 <= len(rest) <= 2:
            raise ValueError
        return CodingConfig(codec=codec, qp=int(rest[0]), scale=float(rest[1]) if len(rest) > 1 else 1.0)
    except ConfigError:
        raise
    except ValueError:
        raise ConfigError(f"--coded {text!r}; expected CODEC:QP or CODEC:QP:SCALE, as x265:32:0.5") from None


def members(judges: Sequence[TaskModel | SetModel], coded: str | None) -> list[TaskModel | SetMember]:
    """The networks that look at a video coded as ``coded`` says; of each set, the one for it.

    Raises ConfigError for a set where nothing is said, or that has none for it.
    """
    config = None if coded is None else parse_coded(coded)
    return [_member(judge, config) if isinstance(judge, SetModel) else judge for judge in judges]


def _member(judge: SetModel, config: CodingConfig | None) -> SetMember:
    if config is None:
        raise ConfigError(
            f"--judge {judge.set.folder} is a set of networks, one a configuration; give --coded CODEC:QP"
        )
    return judge.member(config)

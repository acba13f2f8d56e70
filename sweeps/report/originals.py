"""Where the original videos and the networks of a store are: given, embedded, or known to be missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from encoder_bridge.console import Reporter
from encoder_bridge.errors import BridgeError
from encoder_bridge.frames import FrameSource
from encoder_bridge.transform import slice_source
from models.task_model import TaskModel
from sweeps.anchors import EMBEDDED, embedded_clip

_DEMO = "embedded clip"
_DEMO_SEED = 7


def find_originals(
    inputs: Mapping[str, Mapping[str, Any]],
    paths: Sequence[str],
    open_path: Callable[[str], FrameSource],
    say: Reporter,
) -> dict[str, FrameSource]:
    """Videos whose samples are those that were coded, by digest.

    Args:
        inputs: digest → ``RunRecord.input``.
        paths: videos the user names, or folders of inputs that have their names.
        open_path: opens one of them.
        say: warns of a path that none of the inputs is.

    Raises:
        BridgeError: what opening a path raises.
    """
    found = dict(_embedded(inputs))
    for path in (place for given in paths for place in _places(given, inputs)):
        digest, source = _matching(open_path(path), inputs)
        if digest is None:
            say.warn(f"{path}: its samples are none of those that were coded; not shown (other --format, or --fps?)")
        else:
            found[digest] = source
    for digest, record in inputs.items():
        named = None if digest in found else _named(record, digest, open_path)
        if named is not None:
            found[digest] = named
    return found


def _places(path: str, inputs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The files in a folder that bear the names of inputs; else the path itself."""
    named = [Path(path) / str(record["name"]) for record in inputs.values() if record.get("name")]
    return [str(place) for place in named if Path(path).is_dir() and place.is_file()] or [path]


def _embedded(inputs: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, FrameSource]]:
    """Inputs that are rendered where they are needed."""
    for digest, record in inputs.items():
        name, frames = record.get("name"), int(record.get("frames", 0))
        source: FrameSource | None = None
        if name == EMBEDDED:
            source = embedded_clip(frames)
        elif name == _DEMO:
            from models.scenes import SceneConfig, SceneSource

            source = SceneSource(SceneConfig(int(record["width"]), int(record["height"]), frames, seed=_DEMO_SEED))
        if source is not None and source.digest() == digest:
            yield digest, source


def _named(record: Mapping[str, Any], digest: str, open_path: Callable[[str], FrameSource]) -> FrameSource | None:
    """The file the record names, where it is still the one that was coded."""
    for place in (record.get("path"), record.get("name")):
        if not isinstance(place, str) or not Path(place).exists():
            continue
        try:
            found, source = _matching(open_path(place), {digest: record})
        except BridgeError:
            continue
        if found is not None:
            return source
    return None


def _matching(source: FrameSource, inputs: Mapping[str, Mapping[str, Any]]) -> tuple[str | None, FrameSource]:
    """Which input a video is, as a whole or by its first frames."""
    fmt = source.format
    fitting = {d: r for d, r in inputs.items() if (r.get("width"), r.get("height")) == (fmt.width, fmt.height)}
    for frames in dict.fromkeys(int(record.get("frames", 0)) for record in fitting.values()):
        part = source if source.frame_count == frames else slice_source(source, 0, frames)
        if part.digest() in fitting:
            return part.digest(), part
    return None, source


def find_networks(digests: Mapping[str, str], paths: Iterable[str], device: str) -> dict[str, TaskModel]:
    """Networks by the name records give them: the embedded ones and those of the given files, told by digest.

    Raises:
        ModelError: a given file is no network.
    """
    from models import default_model_path, judge_model_path, robust_model_path

    embedded = [path for path in (default_model_path(), judge_model_path(), robust_model_path()) if path.exists()]
    known = {
        model.digest(): model for model in (TaskModel(path, device=device) for path in [*embedded, *map(Path, paths)])
    }
    return {name: known[digest] for name, digest in digests.items() if digest in known}


def model_names(digests: Mapping[str, str]) -> dict[str, str | None]:
    """What ``--model`` is called in a line that codes again: None for the embedded network."""
    from models import default_model_path

    embedded = TaskModel(default_model_path()).digest()
    return {name: None if digest == embedded else f"{name}.onnx" for name, digest in digests.items()}

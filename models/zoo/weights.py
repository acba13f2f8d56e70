"""Weights of foreign networks: read without running code from the file, fitted exactly, or downloaded once."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

from encoder_bridge.errors import ModelError

HINT = "pip install 'machine-rdo[train]'"
Note = Any
"""Called with a line of text before a step that takes long."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The contents of a ``.pth`` file; nothing but tensors, plain values and training logs is unpickled.

    Raises ModelError for an absent or damaged file, and for one with other Python objects in it.
    """
    import pickle

    import torch

    if not path.is_file():
        raise ModelError(f"no checkpoint {path}; expected a .pth file")
    try:
        with torch.serialization.safe_globals(_harmless()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        what = f"holds a Python object, {foreign.group(1)}" if foreign else "is damaged, or no checkpoint"
        raise ModelError(
            f"{path}: {what}; expected tensors and plain values, saved as "
            "torch.save({'state_dict': model.state_dict(), 'meta': {'dataset_meta': {'classes': [...]}}})"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ModelError(f"{path}: not a checkpoint torch can read: {str(error).strip().splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}; expected a dictionary of weights")
    return content


def state_of(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The weights in a checkpoint by parameter name, whichever common wrapping they have."""
    import torch

    state = next((content[k] for k in ("state_dict", "model", "average") if isinstance(content.get(k), dict)), content)
    found = {str(k).removeprefix("module."): v for k, v in state.items() if isinstance(v, torch.Tensor)}
    if not found:
        raise ModelError(f"{path}: no weights in it; expected a state_dict, or one under the key 'state_dict'")
    return found


def fit(network: Any, state: Mapping[str, Any], source: str, optional: Iterable[str] = ()) -> None:
    """Load ``state`` into a module, all of it and nothing left over, so that no part stays random or goes unused.

    Args:
        network: torch module.
        state: weights by name.
        source: what errors call them.
        optional: prefixes of names that either side may lack.

    Raises ModelError naming the first difference.
    """
    prefixes = tuple(optional)
    own = network.state_dict()
    missing = [k for k in own if k not in state and not k.startswith(prefixes) and not k.endswith("batches_tracked")]
    surplus = [k for k in state if k not in own and not k.startswith(prefixes)]
    differing = [k for k in own if k in state and own[k].shape != state[k].shape]
    if differing:
        key = differing[0]
        raise ModelError(
            f"{source}: {key} has shape {list(state[key].shape)}; the network expects {list(own[key].shape)} "
            f"({len(differing)} tensors differ)"
        )
    if missing or surplus:
        what = f"lacks {missing[0]}" if missing else f"has {surplus[0]}, which the network has not"
        raise ModelError(f"{source}: does not belong to this network: it {what} ({len(missing) + len(surplus)} differ)")
    network.load_state_dict({k: v for k, v in state.items() if k in own}, strict=False)


def download(url: str, fix: str, note: Note) -> Path:
    """The file behind ``url`` in torch's own cache folder, fetched once and checked against the digest in its name.

    Raises ModelError ending in ``fix`` where it cannot be had.
    """
    import torch

    target = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
    if target.is_file():
        return target
    note(f"downloading {url}")
    digest = re.search(r"-([a-f0-9]{8,})\.", target.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), digest.group(1) if digest else None, progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise ModelError(f"cannot download {url}: {getattr(error, 'reason', error)}; {fix}") from error
    return target


def _harmless() -> list[Any]:
    """Types in the files that mmengine's own trainings write: NumPy arrays and histories of scalars."""
    import numpy as np

    numpy_core: Any = getattr(np, "_core", None) or np.core
    makers = [numpy_core.multiarray._reconstruct, numpy_core.multiarray.scalar]
    kinds: list[Any] = [np.ndarray, np.dtype, *makers]
    kinds += [(maker, f"numpy.{core}.multiarray.{maker.__name__}") for maker in makers for core in ("core", "_core")]
    kinds += [type(np.dtype(code)) for code in ("f4", "f8", "i4", "i8", "u1", "b1", "U1")]
    if importlib.util.find_spec("mmengine") is not None:
        from mmengine.logging import HistoryBuffer

        kinds += [HistoryBuffer, (_no_method, "builtins.getattr")]
    return kinds


def _no_method(owner: Any, name: str) -> None:
    """In place of ``getattr``, with which a history names its own methods: a file shall not reach for attributes."""

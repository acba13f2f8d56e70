"""Learned weights of LPIPS and DISTS: where they are looked for, how they come here, what they must look like.

Looked through in this order: the folder given, the folder that the variable ``MRDO_IQA_WEIGHTS`` names, and the one
where torch.hub keeps its downloads; what none of them has is downloaded into the last. In the first two all files are
expected, under the names they are published with.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

from encoder_bridge.atomic import replacing
from encoder_bridge.errors import ModelError, OutputError, ToolNotFoundError

VARIABLE = "MRDO_IQA_WEIGHTS"
VGG16, LPIPS, DISTS = "vgg16-397923af.pth", "lpips_weights.pt", "dists_weights.pt"
URLS = {
    VGG16: "https://download.pytorch.org/models/vgg16-397923af.pth",
    LPIPS: "https://github.com/photosynthesis-team/photosynthesis.metrics/releases/download/v0.4.0/lpips_weights.pt",
    DISTS: "https://github.com/photosynthesis-team/piq/releases/download/v0.4.1/dists_weights.pt",
}
"""What torchvision and piq download themselves."""
_DIGESTS = {VGG16: "397923af"}
_TIMEOUT_S = 10.0


def weight_files(names: Sequence[str], folder: Path | None = None) -> list[Path]:
    """Files of weights, downloaded where they are nowhere.

    Args:
        names: of ``URLS``.
        folder: where they must be if given; the same holds for ``MRDO_IQA_WEIGHTS``.

    Raises ToolNotFoundError with the commands that bring all that is not there.
    """
    paths = [_place(name, folder) for name in names]
    if _stated(folder) is not None and (missing := missing_weights(names, folder)) is not None:
        raise ToolNotFoundError(missing)
    for path in paths:
        if not path.is_file():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                _download(path.name, path)
            except (OSError, HTTPException, OutputError) as error:
                lacking = [other for other in paths if not other.is_file()]
                raise ToolNotFoundError(
                    f"weights {_named(lacking)} are not here and could not be downloaded ({error}); {_fix(*lacking)}, "
                    f"or name the folder that has them in {VARIABLE}"
                ) from error
    return paths


def missing_weights(names: Sequence[str], folder: Path | None = None) -> str | None:
    """Which of those files are not there and what happens then; None where all are."""
    lacking = [path for path in (_place(name, folder) for name in names) if not path.is_file()]
    if not lacking:
        return None
    then = "downloaded when first used" if _stated(folder) is None else _fix(*lacking)
    return f"{_named(lacking)} not in {lacking[0].parent}; {then}"


def load_weights(name: str, folder: Path | None = None) -> Any:
    """What the file holds, on the CPU. Raises as ``weight_files``, and ModelError where it is no file of weights."""
    import torch

    (path,) = weight_files([name], folder)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling a damaged file raises anything
        raise ModelError(f"{path}: not a file of weights ({type(error).__name__}); {_fix(path)}") from error


def vgg16_features(folder: Path | None = None) -> Any:
    """The convolutions of VGG-16 with ImageNet weights, as torchvision's ``features``.

    Raises as ``load_weights``, and ModelError where the file is another network's.
    """
    from torchvision.models import vgg16

    state = load_weights(VGG16, folder)
    features = vgg16(weights=None).features.eval()
    own = {name.removeprefix("features."): value for name, value in state.items() if name.startswith("features.")}
    try:
        features.load_state_dict(own)
    except RuntimeError as error:
        path = _place(VGG16, folder)
        raise ModelError(f"{path}: not the weights of VGG-16; {_fix(path)}") from error
    return features


def _place(name: str, folder: Path | None) -> Path:
    return (_stated(folder) or _hub_folder()) / name


def _stated(folder: Path | None) -> Path | None:
    named = os.environ.get(VARIABLE)
    return folder or (Path(named) if named else None)


def _hub_folder() -> Path:
    """torch.hub's folder by its own rule, without loading torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", str(Path(cache) / "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints"


def _download(name: str, path: Path) -> None:
    """Raises OSError or HTTPException; whatever happens, the file is there whole or not at all."""
    with urllib.request.urlopen(URLS[name], timeout=_TIMEOUT_S) as response, replacing(path) as part:
        expected = response.headers.get("Content-Length")
        with part.open("wb") as file:
            shutil.copyfileobj(response, file, 1 << 20)
        if expected is not None and part.stat().st_size != int(expected):
            raise ConnectionError(f"{part.stat().st_size} of {expected} bytes came")
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(_DIGESTS.get(name, "")):
            raise ConnectionError(f"SHA-256 {found[:8]}…; expected {_DIGESTS[name]}…")


def _fix(*paths: Path) -> str:
    return "run: " + " && ".join(f"curl -fL --create-dirs -o {path} {URLS[path.name]}" for path in paths)


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)

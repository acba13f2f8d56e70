"""Checks of the networks' side for `mrdo doctor`; importing this module registers them (and gives the command)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from encoder_bridge.checks import CHECKS, ToolStatus, package_status
from encoder_bridge.cli import doctor as doctor

_EXTRAS = {
    "torch": ("torch", "only for --map attribution, fisher, both; run: pip install 'machine-rdo[exact]'"),
    "onnx2torch": ("onnx2torch", "only for --map attribution, fisher, both; run: pip install 'machine-rdo[exact]'"),
    "piq": ("piq", "only for IQA metrics; run: pip install 'machine-rdo[iqa]'"),
    "mmsegmentation": ("mmseg", "only for mrdo train; run: pip install 'machine-rdo[train]'"),
}


@CHECKS.register("5-networks")
def _networks() -> Iterator[ToolStatus]:
    yield _onnxruntime()
    yield _default_network()
    yield package_status("matplotlib", "matplotlib", "pip install machine-rdo", needed=True)


@CHECKS.register("6-extras")
def _extras() -> Iterator[ToolStatus]:
    for package, (module, advice) in _EXTRAS.items():
        yield package_status(package, module, advice)


def _onnxruntime() -> ToolStatus:
    try:
        import onnxruntime
    except ImportError as error:
        return ToolStatus("onnxruntime", False, advice=f"{error}; run: pip install onnxruntime", needed=True)
    names = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    cuda = "" if "CUDA" in names else "; for --device cuda: pip install 'machine-rdo[gpu]'"
    folder = str(Path(onnxruntime.__file__).parent)
    advice = f"providers: {', '.join(names)}{cuda}"
    return ToolStatus("onnxruntime", True, folder, onnxruntime.__version__, advice=advice, needed=True)


def _default_network() -> ToolStatus:
    folder = Path(str(files("models") / "default"))
    found = sorted(folder.glob("*.onnx"))
    if not found:
        advice = f"no .onnx file in {folder}; reinstall machine-rdo, or give --model"
        return ToolStatus("default network", False, advice=advice, needed=True)
    return ToolStatus("default network", True, str(found[0]), f"{found[0].stat().st_size / 1e6:.1f} MB", needed=True)

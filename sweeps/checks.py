"""Checks of the networks' side for `mrdo doctor`; importing this module registers them (and gives the command)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from encoder_bridge.checks import CHECKS, ToolStatus, package_status
from encoder_bridge.cli import doctor as doctor
from models import default_model_path, judge_model_path

_EXTRAS = {
    "torch": ("torch", "only for --map attribution, fisher, both; run: pip install 'machine-rdo[exact]'"),
    "onnx2torch": ("onnx2torch", "only for --map attribution, fisher, both; run: pip install 'machine-rdo[exact]'"),
    "piq": ("piq", "only for IQA metrics; run: pip install 'machine-rdo[iqa]'"),
    "mmsegmentation": ("mmseg", "only for mrdo train; run: pip install 'machine-rdo[train]'"),
}


@CHECKS.register("5-networks")
def _networks() -> Iterator[ToolStatus]:
    yield _onnxruntime()
    yield _network("default network", default_model_path(), "reinstall machine-rdo, or give --model", needed=True)
    yield _network("judge network", judge_model_path(), "mrdo demo needs it; reinstall machine-rdo", needed=False)
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


def _network(name: str, path: Path, advice: str, needed: bool) -> ToolStatus:
    if not path.is_file():
        return ToolStatus(name, False, advice=f"{path} is not there; {advice}", needed=needed)
    return ToolStatus(name, True, str(path), f"{path.stat().st_size / 1e6:.1f} MB", needed=needed)

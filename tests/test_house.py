"""The rules of the house: import direction, light imports, file length, nothing of this machine in the tree."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ALLOWED = {
    "encoder_bridge": {"encoder_bridge", "patches"},
    "rdo_metrics": {"rdo_metrics", "encoder_bridge"},
    "models": {"models", "encoder_bridge"},
    "sweeps": {"sweeps", "rdo_metrics", "models", "encoder_bridge"},
}
OURS = {*ALLOWED, "patches", "benchmarks", "tests"}
HEAVY = ("torch", "mmseg", "mmengine", "matplotlib", "onnx2torch", "piq")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_run_one_way(package: str, repo_root: Path):
    wrong = [
        f"{path.relative_to(repo_root)}: {name}"
        for path in (repo_root / package).rglob("*.py")
        for name in imported(path)
        if name.split(".")[0] in OURS - ALLOWED[package]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ALLOWED)
def test_importing_a_package_loads_nothing_heavy(package: str, repo_root: Path):
    modules = [
        ".".join(path.relative_to(repo_root).with_suffix("").parts).removesuffix(".__init__")
        for path in (repo_root / package).rglob("*.py")
        if "train" not in path.parts and path.name != "__main__.py"
    ]
    code = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\n"
    code += f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repo_root)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def tracked(root: Path) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
    return [root / name for name in listed.decode().split("\0") if name and (root / name).is_file()]


@pytest.fixture(scope="module")
def files(repo_root: Path) -> list[Path]:
    if not (repo_root / ".git").exists():
        pytest.skip("not a git checkout")
    return tracked(repo_root)


def test_no_source_file_is_over_400_lines(files: list[Path]):
    sources = [p for p in files if p.suffix in (".py", ".c", ".cpp", ".h")]
    assert len(sources) > 50
    assert [f"{p.name}: {n}" for p in sources if (n := len(p.read_text().splitlines())) > 400] == []


def test_nothing_names_this_machine(files: list[Path]):
    place = re.compile(r"/(?:work|root|home)/[a-z]")
    wrong = [p.name for p in files if p.suffix in (".py", ".c", ".cpp", ".h", ".md", ".cfg", ".toml", ".patch", "")
             and p.name != Path(__file__).name and place.search(p.read_text(errors="replace"))]  # fmt: skip
    assert wrong == []


def test_the_top_level_is_what_was_agreed(files: list[Path], repo_root: Path):
    agreed = {"encoder_bridge", "rdo_metrics", "models", "sweeps", "patches", "tests", "benchmarks", "setup.cfg",
              "README.md", "pyproject.toml", "Makefile", "CHANGELOG.md", "LICENSE", ".ci", ".gitignore"}  # fmt: skip
    assert {p.relative_to(repo_root).parts[0] for p in files} == agreed


def test_every_package_is_listed(repo_root: Path):
    listed = set(re.findall(r"^    ([a-z_.]+)$", (repo_root / "setup.cfg").read_text(), re.M))
    found = {
        ".".join(path.parent.relative_to(repo_root).parts)
        for package in [*ALLOWED, "patches"]
        for path in (repo_root / package).rglob("__init__.py")
    }
    assert found <= listed, found - listed


@pytest.mark.slow
def test_a_wheel_carries_what_a_build_needs(repo_root: Path, tmp_path: Path):
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns(".git", ".venv", "demo-out", "build", "*.egg-info", "__pycache__")
    shutil.copytree(repo_root, source, ignore=ignore)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(tmp_path), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("machine_rdo-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = [
        *(p.relative_to(repo_root) for p in (repo_root / "encoder_bridge" / "hook").glob("*.[ch]*")),
        *(p.relative_to(repo_root) for p in (repo_root / "patches").rglob("*.patch")),
        *(p.relative_to(repo_root) for p in (repo_root / "models" / "default").glob("*.onnx")),
    ]
    assert len(wanted) >= 8
    assert [str(p) for p in wanted if str(p) not in names] == []
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]

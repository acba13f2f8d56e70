"""Networks looked up by coding configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from encoder_bridge.config import CodingConfig
from encoder_bridge.errors import ConfigError, ModelError
from models import default_model_path
from models.model_set import INDEX, Configuration, ModelSet, SetModel, is_model_set, write_index


def make_set(folder: Path, *configurations: Configuration) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for configuration in configurations:
        files[configuration] = f"{configuration.name()}.onnx"
        (folder / files[configuration]).write_bytes(configuration.name().encode())
    write_index(folder, files, {"strategy": "progressive"})
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_set(
        tmp_path / "set",
        Configuration(),
        Configuration(gray=True),
        *(Configuration("x265", q) for q in (20.0, 30.0, 40.0)),
        Configuration("x265", 30.0, 0.5),
        Configuration("x265", 30.0, 1.0, gray=True),
        Configuration("vvenc", 32.0),
    )


@pytest.mark.parametrize(
    ("codec", "qp", "scale", "gray", "expected"),
    [
        ("x265", 30, 1.0, False, "x265_q30"),
        ("x265", 33, 1.0, False, "x265_q30"),
        ("x265", 36, 1.0, False, "x265_q40"),
        ("x265", 35, 1.0, False, "x265_q30"),
        ("x265", 51, 1.0, False, "x265_q40"),
        ("x265", 51, 0.5, False, "x265_q30_s0.5"),
        ("x265", 51, 1.0, True, "x265_q30_gray"),
        ("vvenc", 20, 1.0, False, "vvenc_q32"),
    ],
)
def test_exact_else_nearest_quality(folder: Path, codec: str, qp: int, scale: float, gray: bool, expected: str) -> None:
    found = ModelSet(folder).for_config(CodingConfig(codec=codec, qp=qp, scale=scale), gray)
    assert found.stem == expected


def test_another_codec_scale_or_rate_control_is_refused(folder: Path) -> None:
    networks = ModelSet(folder)
    with pytest.raises(ConfigError, match=r"no network for jm_q30; expected one of .*x265 at scale 0\.5"):
        networks.for_config(CodingConfig(codec="jm", qp=30))
    with pytest.raises(ConfigError, match=r"no network for x265_q30_s0\.75"):
        networks.for_config(CodingConfig(qp=30, scale=0.75))
    with pytest.raises(ConfigError, match="looked up by QP"):
        networks.for_config(CodingConfig(crf=30))


def test_pristine_is_colour_or_grey(folder: Path) -> None:
    networks = ModelSet(folder)
    assert (networks.pristine().stem, networks.pristine(gray=True).stem) == ("pristine", "pristine_gray")
    assert len(networks) == 8
    assert networks.notes["strategy"] == "progressive"


def test_digest_follows_index_and_files(folder: Path) -> None:
    before = ModelSet(folder).digest()
    assert ModelSet(folder).digest() == before
    (folder / "x265_q20.onnx").write_bytes(b"other")
    assert ModelSet(folder).digest() != before


def test_damaged_sets_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected a folder made by mrdo train progressive"):
        ModelSet(tmp_path / "nothing")
    assert not is_model_set(tmp_path)
    assert is_model_set(folder)
    (folder / "x265_q20.onnx").unlink()
    with pytest.raises(ModelError, match=r"named in networks\.json but not there"):
        ModelSet(folder)
    (folder / INDEX).write_text(json.dumps({"version": 1, "networks": [{"codec": "x265"}]}))
    with pytest.raises(ModelError, match="damaged"):
        ModelSet(folder)
    (folder / INDEX).write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        ModelSet(folder)


def test_a_set_judges_with_the_network_of_the_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "robust" / "networks"
    folder.mkdir(parents=True)
    default = default_model_path()
    for name in ("pristine.onnx", "q40.onnx"):
        (folder / name).write_bytes(default.read_bytes())
    write_index(folder, {Configuration(): "pristine.onnx", Configuration("x265", 40.0): "q40.onnx"})
    judge = SetModel(folder, threads=1)
    member = judge.member(CodingConfig(qp=37))
    assert (judge.name, member.name) == ("robust", "robust")
    assert member.network.path.name == "q40.onnx"
    assert judge.classes == member.classes
    with pytest.raises(ConfigError, match=r"no network for x265_q37_s0\.5"):
        judge.check(CodingConfig(qp=37, scale=0.5))

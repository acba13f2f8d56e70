from pathlib import Path

import cv2
import numpy as np
import pytest

from encoder_bridge.errors import ConfigError, CurveError, OutputError
from rdo_metrics.bd_rate import BDResult
from rdo_metrics.bootstrap import BDInterval
from sweeps.bd import BDRow
from sweeps.plots import Curve, Panel, PictureRow, _looks, comparison_picture, map_picture, rd_plot, short_number
from sweeps.rd_panels import comparison_panels, plot_arms
from sweeps.records import RunRecord
from sweeps.segmentation_view import disagreement, palette_for

ANCHOR = Curve("psnr", [400, 200, 100], [0.9, 0.8, 0.7], "anchor")
TEST = Curve("map:kl", [300, 150, 75], [0.9, 0.8, 0.7])


def panel(title: str = "net", curves: tuple[Curve, ...] = (ANCHOR, TEST)) -> Panel:
    return Panel(title, "mIoU", curves, ["map:kl −25.0 % [−28, −24]"])


def read(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture[..., ::-1]


def has_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(picture.astype(int) - colour).max(axis=2) < 6).sum() > 30)


def test_rd_plot_draws_every_arm_in_its_colour(tmp_path: Path) -> None:
    rd_plot([panel(), panel("judge")], tmp_path / "rd.png", title="clip")
    picture = read(tmp_path / "rd.png")
    assert picture.shape == (645, 1230, 3)
    assert has_colour(picture, (0x22, 0x22, 0x22))
    assert has_colour(picture, (0x00, 0x72, 0xB2))
    assert [p.name for p in tmp_path.iterdir()] == ["rd.png"]


def test_more_panels_make_more_rows(tmp_path: Path) -> None:
    rd_plot([panel(str(n)) for n in range(5)], tmp_path / "rd.png", columns=2)
    assert read(tmp_path / "rd.png").shape == (1635, 1230, 3)


def test_same_arm_looks_the_same_in_all_panels_and_arms_differ() -> None:
    other = Curve("map:fisher", [1], [1])
    looks = _looks([panel(), panel("b", (TEST, other)), panel("c", (other, ANCHOR))])
    assert len({look["color"] for look in looks.values()}) == len(looks) == 3
    assert len({look["marker"] for look in looks.values()}) == 3


def test_vector_formats_and_refusals(tmp_path: Path) -> None:
    rd_plot([panel()], tmp_path / "rd.svg", log_rate=False)
    assert "<svg" in (tmp_path / "rd.svg").read_text()
    with pytest.raises(ConfigError, match="unknown picture format"):
        rd_plot([panel()], tmp_path / "rd.bmp")
    with pytest.raises(OutputError):
        rd_plot([panel()], tmp_path / "absent" / "rd.png")
    with pytest.raises(CurveError):
        rd_plot([], tmp_path / "none.png")
    with pytest.raises(CurveError, match="2 rates and 1 values"):
        Curve("x", [1, 2], [1])
    with pytest.raises(ConfigError, match="curve style"):
        Curve("x", [1], [1], "dashed")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rd.svg"]


@pytest.mark.parametrize(("value", "text"), [(950, "950"), (1500, "1.5k"), (2e7, "20M"), (0.5, "0.5"), (3e9, "3G")])
def test_short_number(value: float, text: str) -> None:
    assert short_number(value) == text


def test_comparison_picture_shows_pictures_segmentations_and_differences(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rgb = np.full((96, 128, 3), (10, 200, 30), np.uint8)
    reference = np.zeros((96, 128), np.uint8)
    reference[:, 64:] = 3
    wrong = np.where(rng.random((12, 16)).repeat(8, 0).repeat(8, 1) < 0.3, 8, reference)
    rows = [
        PictureRow("original", rgb, reference),
        PictureRow("PSNR-RDO  QP 42  18 kbit  agreement 0.7  mIoU 0.5", rgb, wrong),
    ]
    comparison_picture(rows, tmp_path / "c.png", reference=reference, classes=[f"class {n}" for n in range(11)])
    picture = read(tmp_path / "c.png")
    for colour in ((10, 200, 30), (128, 128, 128), (128, 64, 128), (64, 0, 128), (0xD5, 0x5E, 0x00)):
        assert has_colour(picture, colour), colour


def test_comparison_picture_refuses_other_sizes(tmp_path: Path) -> None:
    row = PictureRow("a", np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8))
    with pytest.raises(ConfigError, match="reference of"):
        comparison_picture([row], tmp_path / "c.png", reference=np.zeros((8, 9)), classes=["a", "b"])
    assert list(tmp_path.iterdir()) == []


def test_disagreement_marks_wrong_pixels_only() -> None:
    wrong = np.zeros((2, 2), bool)
    wrong[0, 1] = True
    out = disagreement(np.zeros((2, 2, 3), np.uint8), wrong)
    assert tuple(out[0, 1]) == (0xD5, 0x5E, 0x00)
    assert tuple(out[0, 0]) == (140, 140, 140)


@pytest.mark.parametrize("count", [2, 11, 19, 150])
def test_palette_has_a_colour_for_each_class_and_one_for_none(count: int) -> None:
    colours = palette_for(count)
    assert len(colours) > count
    assert len(np.unique(colours[:count], axis=0)) >= min(count, 100)


def test_map_picture_is_warm_where_bits_go(tmp_path: Path) -> None:
    rgb = np.full((72, 100, 3), 128, np.uint8)
    offsets = np.zeros((5, 7), np.float32)
    offsets[:, :3], offsets[:, 4:] = -6, 6
    map_picture(rgb, offsets, tmp_path / "m.png", title="kl")
    picture = read(tmp_path / "m.png").astype(int)
    height, width = picture.shape[:2]
    overlay = picture[height // 3 : 2 * height // 3, width // 2 : int(width * 0.88)]
    third = overlay.shape[1] // 3
    warmth = overlay[..., 0] - overlay[..., 2]
    assert warmth[:, 20:third].mean() > 25
    assert warmth[:, -third:-20].mean() < -25


def test_map_picture_refuses_other_sizes_and_kinds(tmp_path: Path) -> None:
    rgb = np.zeros((72, 100, 3), np.uint8)
    with pytest.raises(ConfigError, match=r"expected \(5, 7\)"):
        map_picture(rgb, np.zeros((4, 7)), tmp_path / "m.png")
    with pytest.raises(ConfigError, match="map kind"):
        map_picture(rgb, np.zeros((5, 7)), tmp_path / "m.png", kind="heat")
    map_picture(rgb, np.ones((9, 13)), tmp_path / "w.png", kind="weight")
    assert (tmp_path / "w.png").stat().st_size > 5000


def records(gain: float, labels: bool = False) -> list[RunRecord]:
    return [
        RunRecord(
            key=f"{gain}{qp}",
            config={"qp": qp},
            input={"fps": "30000/1001"},
            bits=int(100_000 * gain * 2 ** (-qp / 6)),
            frames=2,
            psnr={"y": 60.0 - qp / 2},
            scores={
                n: {"agreement": 1 - qp / 100, "miou_pseudo": 1 - qp / 90, "miou_labels": 0.5 if labels else None}
                for n in ("net", "judge")
            },
        )
        for qp in (22, 32, 42)
    ]


def test_panels_of_a_comparison_are_in_reading_order() -> None:
    outcome = BDInterval(-25.04, (-28.0, -24.0), "", 0, 9, 0.9, 1, BDResult(-25.04, 0.9, (0, 0), "pchip", 0, 1))
    rows = [
        BDRow("map:kl", "psnr", "net", "agreement", outcome),
        BDRow("map:kl", "psnr", "judge", "agreement", None, "x"),
    ]
    arms = {"psnr": records(1.0), "neutral": records(1.0), "map:kl": records(0.75)}
    panels = comparison_panels(arms, rows, "psnr", "neutral")
    assert [(p.title, p.metric) for p in panels] == [
        ("net (drives)", "agreement"),
        ("net (drives)", "mIoU pseudo-GT"),
        ("signal", "PSNR-Y, dB"),
        ("judge (judges)", "agreement"),
        ("judge (judges)", "mIoU pseudo-GT"),
    ]
    assert [(c.name, c.style) for c in panels[0].curves] == [
        ("psnr", "anchor"),
        ("neutral", "neutral"),
        ("map:kl", "test"),
    ]
    assert panels[0].notes == ["map:kl  −25.0 %  [−28.0, −24.0]"]
    assert panels[3].notes == ["map:kl  undefined"]
    assert len(comparison_panels({"psnr": records(1.0, labels=True)}, [], "psnr", "neutral")) == 7


def test_plot_of_a_comparison(tmp_path: Path) -> None:
    plot_arms({"psnr": records(1.0), "map:kl": records(0.75)}, [], tmp_path / "rd.png", title="clip")
    assert read(tmp_path / "rd.png").shape[0] > 1000

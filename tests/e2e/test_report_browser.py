"""The page of ``mrdo report`` in a real headless Chromium, from a file, with the network off."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from encoder_bridge.decode import write_video
from models.scenes import SceneConfig, SceneSource
from sweeps.commands.compare import command as compare_command
from sweeps.commands.report import command as report_command
from sweeps.records import RunRecord
from sweeps.store import ResultStore

pytest.importorskip("selenium", reason="selenium is not installed: pip install 'machine-rdo[dev]'")
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

QUALITIES = (10, 30, 60, 85)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
)
OFFLINE = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEG at four qualities, with and without a map, at two sizes; a run that failed; an input with an evil name."""
    folder = tmp_path_factory.mktemp("coded")
    clip = folder / "<b id=evil>scene.y4m"
    write_video(SceneSource(SceneConfig(112, 80, 3, Fraction(25), seed=4)), clip)
    points = ("--codec", "jpeg", "--qps", ",".join(map(str, QUALITIES)), "--scales", "0.5,1", "--bootstrap", "10")
    args = [str(clip), *points, "--no-neutral", "--json", "-o", str(folder / "store")]
    done = CliRunner().invoke(compare_command, args)
    assert done.exit_code == 0, done.output
    with ResultStore(folder / "store") as opened:
        like = next(iter(opened))
        config = {**like.config, "qp": 99}
        error = {"type": "EncoderError", "message": "<script>document.title='broken'</script>"}
        opened.append(RunRecord("failed", "error", error, config, like.input, like.build, like.models))
    return folder / "store"


@pytest.fixture(scope="module")
def page(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "report"
    clip = next(store.parent.glob("*.y4m"))
    args = [str(store), "-o", str(folder), "--original", str(clip), "--frames", "3", "--bootstrap", "10"]
    done = CliRunner().invoke(report_command, args)
    assert done.exit_code == 0, done.output
    return folder / "index.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    service = shutil.which("chromedriver")
    if browser is None or service is None:
        pytest.skip("no Chromium with chromedriver here; run: sudo apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", OFFLINE)
    yield driver
    driver.quit()


@pytest.fixture
def shown(chromium: webdriver.Chrome, page: Path) -> Iterator[webdriver.Chrome]:
    """The page, freshly opened; afterwards its console must be empty."""
    _size(chromium, 1280)
    _prefer(chromium, "light")
    chromium.get(page.as_uri())
    chromium.execute_script("localStorage.clear()")
    chromium.refresh()
    _until(chromium, "return document.documentElement.dataset.ready === 'yes'")
    _until(chromium, "return document.querySelector('.side.right img').naturalWidth > 0")
    yield chromium
    assert chromium.get_log("browser") == []


def _until(driver: webdriver.Chrome, script: str, *args: object) -> None:
    WebDriverWait(driver, 30).until(lambda d: d.execute_script(script, *args))


def _size(driver: webdriver.Chrome, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def _prefer(driver: webdriver.Chrome, scheme: str, media: str = "") -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def _one(driver: webdriver.Chrome, selector: str) -> WebElement:
    return driver.find_element(By.CSS_SELECTOR, selector)


def _all(driver: webdriver.Chrome, selector: str) -> list[WebElement]:
    return driver.find_elements(By.CSS_SELECTOR, selector)


def _centred(driver: webdriver.Chrome, element: WebElement) -> WebElement:
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    return element


def _press(driver: webdriver.Chrome, words: str, within: str) -> None:
    button = next(b for b in _all(driver, f"{within} button") if b.text == words)
    _centred(driver, button).click()


def _style(driver: webdriver.Chrome, selector: str, name: str) -> str:
    script = "return getComputedStyle(document.querySelector(arguments[0])).getPropertyValue(arguments[1])"
    return str(driver.execute_script(script, selector, name))


def _records(store: Path) -> list[RunRecord]:
    return [record for record in ResultStore(store, read_only=True) if record.status == "ok"]


def test_everything_is_there(shown: webdriver.Chrome):
    captions = [figure.text for figure in _all(shown, ".panel figcaption")]
    assert captions == ["agreement", "mIoU pseudo-GT", "PSNR-Y, dB"]
    assert [button.text for button in _all(shown, "#legend button")] == ["JPEG PSNR-RDO", "JPEG map:learned"]
    assert len(_all(shown, ".panel:first-child [data-point]")) >= 2 * 2 * len(QUALITIES)
    assert len(_all(shown, "table.rates tbody tr")) >= 3 and len(_all(shown, ".card")) == 1
    assert len(_all(shown, ".strip img")) == 3
    assert "1 of 17 runs failed" in _one(shown, ".notes").text


def test_names_and_messages_are_text(shown: webdriver.Chrome):
    assert _one(shown, "h1").text == "<b id=evil>scene.y4m" and _all(shown, "#evil") == []
    assert shown.title.startswith("<b id=evil>scene.y4m")
    assert "document.title='broken'" in _one(shown, "#failures").text


def test_nothing_is_loaded(shown: webdriver.Chrome):
    names = shown.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in names if not name.startswith("data:")] == []
    refused = shown.execute_async_script(
        "const done = arguments[0]; fetch('https://example.org/').then(() => done('open'), () => done('refused'))"
    )
    assert refused == "refused"
    logged = shown.get_log("browser")
    assert logged and all("Content Security Policy" in line["message"] for line in logged)


@pytest.mark.parametrize("place", [0, 9])
def test_hover_tells_the_numbers_of_the_point(place: int, shown: webdriver.Chrome, store: Path):
    mark = _all(shown, ".panel:first-child [data-point]")[place]
    ActionChains(shown).move_to_element(_centred(shown, mark)).perform()
    _until(shown, "return !document.getElementById('tip').hidden")
    words = _one(shown, "#tip").text
    series, n = map(int, mark.get_attribute("data-point").split("."))
    arm = [r for r in _records(store) if (r.config["rdo"] == "psnr") == (series == 0)]
    expected = sorted(arm, key=lambda r: (r.config["scale"], -r.bits))[n]
    assert f"quality {expected.config['qp']}" in words
    assert f"{expected.scores['segmentation']['agreement']:.4f}" in words and f"{expected.psnr['y']:.2f} dB" in words
    rate = expected.bits / 3 * 25 / 1000
    digits = 0 if rate >= 100 else 1 if rate >= 10 else 2
    assert f"{rate:.{digits}f}" in words and f"--qp {expected.config['qp']} " in words
    assert len(_all(shown, ".ring circle")) == len(_all(shown, ".panel"))


def test_a_click_keeps_the_numbers_and_escape_lets_them_go(shown: webdriver.Chrome):
    mark = _all(shown, ".panel [data-point]")[1]
    ActionChains(shown).move_to_element(_centred(shown, mark)).click().move_by_offset(0, 300).perform()
    assert _one(shown, "#tip").is_displayed()
    ActionChains(shown).send_keys(Keys.ESCAPE).perform()
    assert not _one(shown, "#tip").is_displayed()


def test_charts_obey_the_keyboard(shown: webdriver.Chrome):
    chart = _centred(shown, _one(shown, ".panel svg"))
    shown.execute_script("arguments[0].focus()", chart)
    ActionChains(shown).send_keys(Keys.ARROW_RIGHT).perform()
    first = _one(shown, "#tip").text
    ActionChains(shown).send_keys(Keys.ARROW_RIGHT).perform()
    second = _one(shown, "#tip").text
    ActionChains(shown).send_keys(Keys.ARROW_DOWN).perform()
    assert first and second and first != second
    assert "JPEG PSNR-RDO" in second and "JPEG map:learned" in _one(shown, "#tip").text


def test_the_legend_hides_and_shows_a_curve(shown: webdriver.Chrome):
    button = _centred(shown, _all(shown, "#legend button")[1])
    curves = '.curve[data-series="JPEG map:learned"]'
    before = len(_all(shown, curves))
    button.click()
    assert before and _all(shown, curves) == [] and button.get_attribute("aria-pressed") == "false"
    assert _all(shown, '.curve[data-series="JPEG PSNR-RDO"]')
    button.click()
    assert len(_all(shown, curves)) == before and button.get_attribute("aria-pressed") == "true"


def test_rate_axis_and_sizes(shown: webdriver.Chrome):
    hull = _one(shown, ".panel .hull").get_attribute("d")
    thin = len(_all(shown, ".panel:first-child .size"))
    _press(shown, "Linear", "#curve-controls")
    assert _one(shown, ".panel .hull").get_attribute("d") != hull
    _press(shown, "Best of all sizes", "#curve-controls")
    assert thin and _all(shown, ".panel .size") == []


def test_the_slider_moves_the_wipe(shown: webdriver.Chrome):
    slider = _centred(shown, _one(shown, "#wipe"))
    before = _style(shown, ".side.right", "clip-path")
    slider.send_keys(Keys.HOME)
    assert _style(shown, ".side.right", "clip-path") == "inset(0px 0px 0px 0%)" != before
    slider.send_keys(Keys.END)
    assert _style(shown, ".side.right", "clip-path") == "inset(0px 0px 0px 100%)"
    stage = _one(shown, ".stage")
    ActionChains(shown).move_to_element_with_offset(stage, 0, 20).click_and_hold().move_by_offset(
        -stage.size["width"] // 4, 0
    ).release().perform()
    assert float(slider.get_attribute("value")) == pytest.approx(25, abs=1.5)


def test_frames_and_streams_change_the_pictures(shown: webdriver.Chrome):
    def sources() -> tuple[str, str]:
        left, right = (_one(shown, f".side.{side} img").get_attribute("src") for side in ("left", "right"))
        return str(left), str(right)

    before = sources()
    assert before[0] != before[1] and all(source.startswith("data:image/webp") for source in before)
    _centred(shown, _all(shown, ".strip button")[2]).click()
    _until(shown, "return document.querySelector('.side.left img').src !== arguments[0]", before[0])
    after = sources()
    assert after[0] != before[0] and after[1] != before[1]
    shown.execute_script(
        "const s = document.getElementById('left-stream'); s.value = 'o'; s.dispatchEvent(new Event('change'))"
    )
    _until(shown, "return document.getElementById('left-facts').textContent.endsWith('not coded')")
    assert sources()[0] != after[0] and sources()[1] == after[1]


def _pixels(driver: webdriver.Chrome, side: str) -> list[list[int]]:
    """Distinct colours of a side's overlay."""
    script = (
        "const c = document.querySelector(arguments[0]); if (c.hidden) return [];"
        "const o = new OffscreenCanvas(c.width, c.height).getContext('2d', {willReadFrequently: true});"
        "o.drawImage(c, 0, 0); const d = o.getImageData(0, 0, c.width, c.height).data; const seen = new Set();"
        "for (let k = 0; k < d.length; k += 4) seen.add([...d.slice(k, k + 4)].join());"
        "return [...seen].map((text) => text.split(',').map(Number))"
    )
    found: list[list[int]] = driver.execute_script(script, f".side.{side} canvas")
    return found


def test_layers(shown: webdriver.Chrome):
    _press(shown, "Segmentation", "#viewer")
    _until(shown, "return !document.querySelector('.side.left canvas').hidden")
    colours = _pixels(shown, "right")
    keys = _all(shown, ".key > span")
    assert 2 <= len(colours) <= 12 and all(alpha == 255 for *_, alpha in colours)
    assert len(keys) >= len(colours) and "Road" in [key.text for key in keys]
    _press(shown, "Changed labels", "#viewer")
    _until(shown, "return document.querySelector('.key').textContent.includes('another class')")
    assert [213, 94, 0, 235] in _pixels(shown, "left")
    _press(shown, "QP", "#viewer")
    _until(shown, "return !document.querySelector('.side.left p').hidden")
    assert _one(shown, ".side.left p").get_attribute("textContent") == "This encoder was told nothing"
    assert len(_pixels(shown, "right")) > 1 and _pixels(shown, "left") == []
    stage = _centred(shown, _one(shown, ".stage"))
    ActionChains(shown).move_to_element_with_offset(stage, 40, 10).perform()
    assert _one(shown, ".readout").text.startswith("QP ")
    _press(shown, "Difference", "#viewer")
    _until(shown, "return document.querySelector('.side.right img').src !== ''")
    assert _pixels(shown, "right") == []


def test_dark_by_the_system_and_by_hand(shown: webdriver.Chrome):
    light = _style(shown, "body", "background-color")
    _prefer(shown, "dark")
    dark = _style(shown, "body", "background-color")
    assert light == "rgb(255, 255, 255)" and dark == "rgb(18, 21, 24)"
    button = _one(shown, "#theme")
    button.click()
    assert (button.text, _style(shown, "body", "background-color")) == ("Light", light)
    button.click()
    _prefer(shown, "light")
    assert (button.text, _style(shown, "body", "background-color")) == ("Dark", dark)
    shown.refresh()
    assert (_one(shown, "#theme").text, _style(shown, "body", "background-color")) == ("Dark", dark)


@pytest.mark.parametrize("width", [390, 320, 820])
def test_no_sideways_scroll_on_a_small_screen(width: int, shown: webdriver.Chrome):
    _size(shown, width)
    _until(shown, "return innerWidth === arguments[0]", width)
    _centred(shown, _one(shown, "#point-details summary")).click()
    mark = _all(shown, ".panel [data-point]")[-1]
    ActionChains(shown).move_to_element(_centred(shown, mark)).click().perform()
    assert _one(shown, "#tip").is_displayed()
    wide = shown.execute_script(
        "const w = document.documentElement.clientWidth; return [document.documentElement.scrollWidth - w, "
        "...[...document.querySelectorAll('body *')].filter((e) => !e.closest('.wide, .strip, .skip, .side, select')"
        " && e.getBoundingClientRect().right > w + 0.5).map((e) => e.tagName + '.' + e.className)]"
    )
    assert wide == [0]


def test_all_points_are_in_the_table(shown: webdriver.Chrome, store: Path):
    _centred(shown, _one(shown, "#point-details summary")).click()
    _until(shown, "return document.querySelectorAll('#point-table tbody tr').length > 0")
    rows = _all(shown, "#point-table tbody tr")
    assert len(rows) == len(_records(store)) == 4 * len(QUALITIES)
    assert "mrdo encode" in rows[0].text


def test_on_paper_there_are_no_controls(shown: webdriver.Chrome):
    _prefer(shown, "dark", media="print")
    hidden: list[Any] = [_style(shown, selector, "display") for selector in ("#curve-controls", "nav", "#wipe")]
    assert hidden == ["none"] * 3 and _style(shown, "body", "background-color") == "rgb(255, 255, 255)"
    assert _style(shown, ".side.right", "clip-path") == "none"


def test_the_data_of_the_page_is_what_the_store_holds(page: Path, store: Path):
    text = page.read_text()
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    points = [point for curve in data["sets"][0]["curves"] for point in curve]
    assert sorted(point["bits"] for point in points) == sorted(record.bits for record in _records(store))

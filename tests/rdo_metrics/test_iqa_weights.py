"""Weights of LPIPS and DISTS: where they are found, how they are fetched, what is refused."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from encoder_bridge.errors import ModelError, ToolNotFoundError
from rdo_metrics.iqa import make_iqa_metric, missing_of, weights

torch = pytest.importorskip("torch")
pytest.importorskip("piq")


def test_weights_are_looked_for_where_one_says(iqa_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(weights.VARIABLE, str(iqa_weights))
    assert weights.weight_files([weights.LPIPS]) == [iqa_weights / weights.LPIPS]
    assert missing_of("lpips") is None
    with pytest.raises(ToolNotFoundError, match=f"curl .*{weights.VGG16} https://download.pytorch.org"):
        weights.weight_files([weights.VGG16], tmp_path)
    assert f"curl -fL --create-dirs -o {tmp_path}" in str(missing_of("lpips", tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [weights.VGG16, weights.LPIPS, weights.DISTS])
def test_damaged_weights_are_refused(name: str, iqa_weights: Path, tmp_path: Path):
    for other in (weights.VGG16, weights.LPIPS, weights.DISTS):
        (tmp_path / other).symlink_to(iqa_weights / other)
    metric_name = "dists" if name == weights.DISTS else "lpips"
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(b"<html>not found</html>")
    with pytest.raises(ModelError, match=f"{name}: not a file of weights"):
        make_iqa_metric(metric_name, weights=tmp_path)
    torch.save({"features.0.weight": torch.zeros(2)}, tmp_path / name)
    with pytest.raises(ModelError, match=r"(not the weights of VGG-16|holds)"):
        make_iqa_metric(metric_name, weights=tmp_path)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path != "/absent" else 404)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"0123456789" if self.path == "/whole" else b"0123")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (weights.VARIABLE, "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert Path(torch.hub.get_dir()) == tmp_path / "torch" / "hub"
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.mark.parametrize(
    ("name", "path"), [(weights.LPIPS, "/cut"), (weights.LPIPS, "/absent"), (weights.VGG16, "/whole")]
)
def test_a_failed_download_leaves_nothing(name: str, path: str, server: str, hub: Path, monkeypatch: Any):
    """Cut short, not there, and with another digest than its name says."""
    monkeypatch.setitem(weights.URLS, name, server + path)
    with pytest.raises(ToolNotFoundError, match="curl -fL"):
        weights.weight_files([name])
    assert list(hub.iterdir()) == []


def test_a_download_is_kept(server: str, hub: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(weights.URLS, weights.DISTS, server + "/whole")
    assert weights.weight_files([weights.DISTS])[0].read_bytes() == b"0123456789"
    monkeypatch.setitem(weights.URLS, weights.DISTS, server + "/absent")
    assert weights.weight_files([weights.DISTS]) == [hub / weights.DISTS]


def test_nobody_answering_is_said_at_once(hub: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(weights.URLS, weights.VGG16, "http://127.0.0.1:9/vgg")
    with pytest.raises(ToolNotFoundError, match="could not be downloaded"):
        weights.weight_files([weights.VGG16])


@pytest.mark.parametrize(("name", "own"), [("lpips", weights.LPIPS), ("dists", weights.DISTS)])
def test_all_that_a_metric_lacks_is_named_at_once(name: str, own: str, hub: Path, tmp_path: Path, monkeypatch: Any):
    for file in (own, weights.VGG16):
        monkeypatch.setitem(weights.URLS, file, f"http://127.0.0.1:9/{file}")
    for folder in (tmp_path / "mine", None):
        with pytest.raises(ToolNotFoundError) as caught:
            make_iqa_metric(name, weights=folder)
        for file in (own, weights.VGG16):
            assert f"curl -fL --create-dirs -o {(folder or hub) / file} http://127.0.0.1:9/{file}" in str(caught.value)


def test_only_what_is_not_there_is_named(tmp_path: Path):
    (tmp_path / weights.LPIPS).touch()
    with pytest.raises(ToolNotFoundError, match=weights.VGG16) as caught:
        make_iqa_metric("lpips", weights=tmp_path)
    assert weights.LPIPS not in str(caught.value) and str(caught.value) == missing_of("lpips", tmp_path)

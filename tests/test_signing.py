"""Addresses that are signed only when they are read."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from geohydra import catalogue, signing, storage
from geohydra.errors import ConfigError, DataError
from geohydra.raster.read import SceneReader
from geohydra.sources.stac import Stac
from geohydra.types import Shape, Window


@pytest.fixture
def signer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a function of a trusted package that adds `?sig=secret`."""
    (tmp_path / "toysigner.py").write_text("def sign(address: str) -> str:\n    return f'{address}?sig=secret'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("GEOHYDRA_PLUGINS", "toysigner")
    signing.find.cache_clear()
    return "toysigner.sign"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    """Serves files of the folder to who knows the signature."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            name, _, query = self.path.partition("?")
            path = tmp_path / name.lstrip("/")
            content = path.read_bytes() if path.is_file() else b""
            self.send_response(200 if query == "sig=secret" and content else 403)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *words: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def item(tmp_path: Path, guarded: str) -> str:
    """The address of an item whose image is on the guarded server."""
    profile = {"driver": "GTiff", "crs": "EPSG:32632", "transform": Affine(10, 0, 5e5, 0, -10, 5.5e6), "dtype": "uint8"}
    with rasterio.open(tmp_path / "a.tif", "w", count=1, width=16, height=16, **profile) as file:
        file.write(np.full((1, 16, 16), 7, np.uint8))
    image = {"href": f"{guarded}/a.tif", "roles": ["data"], "type": "image/tiff", "bands": [{"name": "red"}]}
    told = {"type": "Feature", "stac_version": "1.1.0", "id": "a", "geometry": None, "properties": {"datetime": None}, "links": []}
    (tmp_path / "item.json").write_text(json.dumps(told | {"assets": {"image": image}}))
    return str(tmp_path / "item.json")


def test_pixels_are_read_and_the_signature_is_written_nowhere(tmp_path: Path, item: str, signer: str) -> None:
    source = Stac(catalog=item, sign=signer)
    lock = source.lock()
    [scene] = source.scenes(lock, tmp_path, lambda done, total, text: None)
    written = catalogue.write([scene], tmp_path).read_text()

    with SceneReader(catalogue.read(tmp_path)[0]) as reader:
        assert (reader.read(Window(0, 0, Shape(16, 16))).pixels == 7).all()
    assert "secret" not in written + repr(lock)


def test_without_a_signature_access_is_denied(tmp_path: Path, item: str) -> None:
    source = Stac(catalog=item)

    with pytest.raises(DataError, match=r"a\.tif: access is denied \(HTTP 403\); .*sign addresses with source\.sign"):
        list(source.scenes(source.lock(), tmp_path, lambda done, total, text: None))


def test_an_error_about_a_signed_address_does_not_tell_the_signature(guarded: str, signer: str) -> None:
    with pytest.raises(DataError) as caught:
        storage.stat(signing.marked(f"{guarded}/none.tif", signer))

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["os.path.basename", "geohydra.storage.fetch", "planetary", "toysigner.nothing", "toysigner.sign.sign"])
def test_only_functions_of_trusted_packages_sign(signer: str, name: str) -> None:
    with pytest.raises(ConfigError):
        signing.find(name)


def test_a_message_is_scrubbed() -> None:
    uri = signing.marked("https://host/a.tif", "x.sign")

    assert signing.scrubbed("'/vsicurl/https://host/a.tif?sig=secret' is gone", uri) == "'/vsicurl/https://host/a.tif' is gone"

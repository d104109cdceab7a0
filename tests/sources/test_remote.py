"""Imagery and labels on a real S3 server and on a plain web server: only what is needed is fetched."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geohydra import storage
from geohydra.errors import DataError
from geohydra.ground import open_ground
from geohydra.raster.read import SceneReader
from geohydra.sources.files import Files
from geohydra.sources.inspection import inspect
from geohydra.types import Scene, Shape, Window

Write = Callable[..., Path]


@dataclass
class Served:
    """A web server on a folder: its address, and how many bytes of files it gave away."""

    address: str
    total: int = 0
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Served]:
    """Serves `tmp_path` with range requests."""
    served = Served("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(send=False)

        def do_GET(self) -> None:
            self.answer(send=True)

        def answer(self, *, send: bool) -> None:
            path = tmp_path / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            content = path.read_bytes()
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first, last = (int(match[1]), min(int(match[2] or len(content)), len(content) - 1)) if match else (0, len(content) - 1)
            part = content[first : last + 1]
            self.send_response(206 if match else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(part)))
            if match:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            self.end_headers()
            if send:
                served.total += len(part)
                served.requests.append(f"{self.path} {first}-{last}")
                self.wfile.write(part)

        def log_message(self, *words: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_address[1]}"
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def large(tif: Write) -> Path:
    """A tiled file of noise, 3 MB."""
    pixels = np.random.default_rng(1).integers(1, 255, (3, 1024, 1024), dtype=np.uint8)
    return tif("large.tif", pixels=pixels, tiled=True, blockxsize=128, blockysize=128, nodata=0)


def gathered(folder: Path, source: Files) -> list[Scene]:
    out = folder / "out"
    out.mkdir()
    return list(source.scenes(source.lock(), out, lambda done, total, text: None))


def test_a_window_over_http_costs_a_small_part_of_the_file(tmp_path: Path, web: Served, large: Path) -> None:
    [scene] = gathered(tmp_path, Files(images=f"{web.address}/large.tif"))
    with SceneReader(scene) as reader:
        image = reader.read(Window(300, 300, Shape(64, 64)))

    with rasterio.open(large) as file:
        np.testing.assert_array_equal(image.pixels, file.read(window=((300, 364), (300, 364))))
    assert web.total < large.stat().st_size / 10


def test_labels_over_http_are_laid_on_images_over_http(tmp_path: Path, web: Served, tif: Write, vectors: Write, cache: Path) -> None:
    tif("a.tif")
    vectors("l.geojson")
    source = Files(images=f"{web.address}/a.tif", labels=f"{web.address}/l.geojson")

    [scene] = gathered(tmp_path, source)

    ground = open_ground(scene)
    assert ground is not None
    assert ground.mask(Window(0, 0, Shape(64, 64)), ids={"road": 1}, background=0).sum() == 400


def test_an_address_where_nothing_is_is_refused_when_listed(web: Served) -> None:
    with pytest.raises(DataError, match="no file matches"):
        Files(images=f"{web.address}/none.tif").lock()


def test_several_addresses_are_named_as_a_list(tmp_path: Path, web: Served, tif: Write) -> None:
    tif("a.tif")
    tif("b.tif")

    scenes = gathered(tmp_path, Files(images=[f"{web.address}/a.tif", f"{web.address}/b.tif"]))

    assert [scene.id for scene in scenes] == ["a", "b"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fetched files are kept here."""
    monkeypatch.setenv("GEOHYDRA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_images_and_labels_on_s3_are_found_by_patterns_and_read_in_windows(
    tmp_path: Path, s3: str, tif: Write, vectors: Write, large: Path, cache: Path
) -> None:
    for path in (tif("i/a.tif", bands=3), tif("i/b.tif", bands=3, shift=640), vectors("l/roads.gpkg")):
        storage.write_bytes(f"{s3}/{path.relative_to(tmp_path)}", path.read_bytes())
    source = Files(images=f"{s3}/i/*.tif", labels=f"{s3}/l/*.gpkg")
    assert not inspect(source, source.lock()).errors

    scenes = gathered(tmp_path, source)

    assert [(scene.id, scene.assets[0].uri) for scene in scenes] == [("a", f"{s3}/i/a.tif"), ("b", f"{s3}/i/b.tif")]
    assert scenes[0].properties["geohydra:labels"] == {"road": 1}
    with SceneReader(scenes[1]) as reader, rasterio.open(tmp_path / "i" / "b.tif") as file:
        np.testing.assert_array_equal(reader.read(Window(5, 6, Shape(20, 30))).pixels, file.read(window=((5, 25), (6, 36))))


def test_an_object_that_is_no_raster_is_refused_with_its_address(tmp_path: Path, s3: str) -> None:
    storage.write_bytes(f"{s3}/bad.tif", b"nothing of the kind")

    with pytest.raises(DataError, match=r"bad\.tif: cannot be opened"):
        gathered(tmp_path, Files(images=f"{s3}/bad.tif"))

"""Scenes from STAC: files that link to each other, and a server that is searched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import requests
from rasterio.warp import transform_geom
from shapely.geometry import mapping, shape

from geohydra.errors import ConfigError, DataError, Problems
from geohydra.raster.clouds import CloudMask
from geohydra.raster.read import SceneReader
from geohydra.sources.inspection import inspect
from geohydra.sources.stac import Stac
from geohydra.types import LockEntry, Scene, Shape, Window

Write = Callable[..., Path]
PROJ = {"proj:code": "EPSG:32632", "proj:transform": [10, 0, 500000, 0, -10, 5500000], "proj:shape": [64, 64]}


def item(name: str, path: Path, *, day: int = 1, cloud: float = 0.0, href: str | None = None, **more: Any) -> dict[str, Any]:
    """An item of one two-band file, taken on a day of June 2024."""
    with rasterio.open(path) as file:
        outline = transform_geom(file.crs, "EPSG:4326", mapping(shape({"type": "Polygon", "coordinates": [corners(file.bounds)]})))
    bands = [{"name": "B04", "eo:common_name": "red", "data_type": "uint8"}, {"name": "B08", "eo:common_name": "nir", "data_type": "uint8"}]
    image = {"href": href or str(path), "roles": ["data"], "type": "image/tiff; application=geotiff", "bands": bands}
    told = {"datetime": f"2024-06-{day:02d}T10:00:00Z", "eo:cloud_cover": cloud, **more.pop("properties", {})}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": name,
        "collection": "s2",
        "geometry": outline,
        "bbox": list(shape(outline).bounds),
        "properties": told,
        "links": [],
        "assets": {"image": image | more.pop("asset", {}), **more.pop("assets", {})},
        **more,
    }


def corners(bounds: Any) -> list[tuple[float, float]]:
    left, bottom, right, top = bounds
    return [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]


@pytest.fixture
def catalog(tmp_path: Path) -> Callable[..., str]:
    """Writes a catalog that links to a collection that links to items; gives its address."""

    def write(*items: dict[str, Any]) -> str:
        links = []
        for one in items:
            (tmp_path / f"{one['id']}.json").write_text(json.dumps(one))
            links.append({"rel": "item", "href": f"./{one['id']}.json"})
        head = {"stac_version": "1.1.0", "description": "test"}
        (tmp_path / "collection.json").write_text(json.dumps({"type": "Collection", "id": "s2", "links": links, **head}))
        child = [{"rel": "child", "href": "./collection.json"}, {"rel": "self", "href": "https://elsewhere.example/catalog.json"}]
        (tmp_path / "catalog.json").write_text(json.dumps({"type": "Catalog", "id": "all", "links": child, **head}))
        return str(tmp_path / "catalog.json")

    return write


def gathered(folder: Path, source: Stac, lock: Any = None) -> list[Scene]:
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return list(source.scenes(source.lock() if lock is None else lock, out, lambda done, total, text: None))


def test_items_are_scenes_with_harmonised_bands_and_times(tmp_path: Path, tif: Write, catalog: Callable[..., str]) -> None:
    address = catalog(item("a", tif("a.tif"), href="./a.tif"), item("b", tif("b.tif", shift=640), day=2))

    first, second = gathered(tmp_path, Stac(catalog=address))

    assert (first.id, first.bands, first.time) == ("a", ("red", "nir"), datetime(2024, 6, 1, 10, tzinfo=UTC))
    assert second.grid.bounds[0] == 500_640
    with SceneReader(first) as reader, rasterio.open(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(reader.read(Window(0, 0, Shape(64, 64))).pixels, file.read())


def test_bands_are_chosen_by_any_of_their_names_and_stand_as_asked(tmp_path: Path, tif: Write, catalog: Callable[..., str]) -> None:
    address = catalog(item("a", tif("a.tif")))

    [scene] = gathered(tmp_path, Stac(catalog=address, bands={"infrared": "B08", "r": "image:1"}))

    assert (scene.bands, scene.assets[0].indexes) == (("infrared", "r"), (2, 1))


def test_a_file_whose_item_tells_enough_is_not_opened(tmp_path: Path, tif: Write, catalog: Callable[..., str]) -> None:
    path = tif("a.tif")
    address = catalog(item("a", path, properties=PROJ))
    source = Stac(catalog=address)
    lock = source.lock()
    path.unlink()

    [scene] = gathered(tmp_path, source, lock)

    assert (scene.grid.crs, scene.grid.shape, scene.assets[0].dtype) == ("EPSG:32632", Shape(64, 64), "uint8")


def test_a_lock_is_all_that_scenes_need(tmp_path: Path, tif: Write, catalog: Callable[..., str]) -> None:
    source = Stac(catalog=catalog(item("a", tif("a.tif"))))
    entries = json.loads(json.dumps([entry.as_dict() for entry in source.lock()]))
    for path in tmp_path.glob("*.json"):
        path.unlink()

    [scene] = gathered(tmp_path, source, [LockEntry(**entry) for entry in entries])

    assert scene.bands == ("red", "nir")


def test_scale_and_offset_come_from_the_item_unless_the_pixels_have_had_them(
    tmp_path: Path, tif: Write, catalog: Callable[..., str]
) -> None:
    scaled = [{"name": name, "data_type": "uint8", "raster:scale": 0.0001, "raster:offset": -0.1} for name in ("red", "nir")]
    applied = {"earthsearch:boa_offset_applied": True}
    address = catalog(
        item("a", tif("a.tif"), asset={"bands": scaled}), item("b", tif("b.tif"), asset={"bands": scaled}, properties=applied)
    )

    first, second = gathered(tmp_path, Stac(catalog=address))

    assert (first.assets[0].scale, first.assets[0].offset) == ((0.0001, 0.0001), (-0.1, -0.1))
    assert second.assets[0].offset == (0.0, 0.0)
    assert gathered(tmp_path, Stac(catalog=address, scaled=False))[0].assets[0].scale == ()


def test_bands_of_older_catalogues_are_understood(tmp_path: Path, tif: Write, catalog: Callable[..., str]) -> None:
    old = {"eo:bands": [{"name": "B4", "common_name": "red"}, {"name": "B8"}], "raster:bands": [{"nodata": 0, "scale": 2.0}, {"nodata": 0}]}
    one = item("a", tif("a.tif"), asset=old)
    del one["assets"]["image"]["bands"]

    [scene] = gathered(tmp_path, Stac(catalog=catalog(one)))

    assert (scene.bands, scene.assets[0].nodata, scene.assets[0].scale) == (("red", "B8"), 0.0, (2.0, 1.0))


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ({"time": "2024-06-02"}, ["b"]),
        ({"time": "2024-06-01/.."}, ["a", "b", "c"]),
        ({"time": "../2024-06-02"}, ["a", "b"]),
        ({"time": 2024, "limit": 2}, ["a", "b"]),
        ({"max_cloud": 20}, ["a", "b"]),
        ({"query": {"platform": "s2b"}}, ["c"]),
        ({"query": {"gsd": {"lt": 10}}, "max_cloud": 10}, ["a"]),
        ({"area": [9.0, 49.6, 9.0005, 49.7]}, ["a"]),
        ({"area": [[9.0, 49.6], [9.0005, 49.6], [9.0005, 49.7]]}, ["a"]),
        ({"collections": "s2"}, ["a", "b", "c"]),
    ],
)
def test_what_is_asked_is_what_comes(tif: Write, catalog: Callable[..., str], asked: dict[str, Any], ids: list[str]) -> None:
    address = catalog(*three(tif))

    assert [entry.item["id"] for entry in Stac(catalog=address, **asked).lock() if entry.item] == ids


def three(tif: Write, **more: Any) -> list[dict[str, Any]]:
    """One day after the other, cloudier every day, one beside the other."""
    return [
        item("a", tif("a.tif"), day=1, cloud=5, properties={"platform": "s2a", "gsd": 5}, **more),
        item("b", tif("b.tif", shift=640), day=2, cloud=15, properties={"platform": "s2a", "gsd": 10}, **more),
        item("c", tif("c.tif", shift=1280), day=3, cloud=90, properties={"platform": "s2b", "gsd": 10}, **more),
    ]


def test_an_area_may_be_a_file(tmp_path: Path, tif: Write, vectors: Write, catalog: Callable[..., str]) -> None:
    address = catalog(*three(tif))

    assert len(Stac(catalog=address, area=str(vectors("area.geojson"))).lock()) == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"area": [9, 50, 9, 51]}, "covers no area"),
        ({"area": [[9, 50], [9.1, 50.1], [9.2, 50.2]]}, "the polygon covers no area"),
        ({"area": [50.0, 100.0, 51.0, 101.0]}, "longitude comes first"),
        ({"area": [500000, 5500000, 500640, 5500640]}, "degrees east and north, not metres"),
        ({"time": "yesterday"}, "'yesterday' is no time"),
        ({"time": "2024-06/2024-05"}, "ends before it begins"),
        ({"query": {"gsd": {"below": 10}}}, "'below' is no operator"),
        ({"sign": "os.system"}, "'os.system' is no known signer"),
        ({"sign": "geohydra.storage.read_bytes"}, "no known signer"),
        ({"composite": "median"}, "there is nothing to compose"),
    ],
)
def test_what_cannot_be_asked_is_told_before_any_catalogue_is_read(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Stac(catalog="nowhere", **asked)


def test_an_area_file_without_area_is_refused(tmp_path: Path, tif: Write, catalog: Callable[..., str]) -> None:
    line = {"type": "LineString", "coordinates": [[9, 49], [10, 50]]}
    (tmp_path / "line.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature(line)]}))

    with pytest.raises(DataError, match=r"line\.geojson: covers no area; source\.area needs polygons"):
        Stac(catalog=catalog(item("a", tif("a.tif"))), area=str(tmp_path / "line.geojson")).lock()


def feature(geometry: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "properties": {}, "geometry": geometry}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"time": "2020"}, r"catalog\.json: no item fits what is asked; left out: 3 by source\.time"),
        ({"collections": "s3"}, "there is no collection 's3', known are s2"),
        ({"bands": ["red", "swir"]}, "has no band 'swir'; known are"),
        ({"assets": ["imege"]}, r"has no asset 'imege', which source\.assets names; did you mean 'image'"),
        ({"group": "tile"}, r"a\.json: does not tell which tile it is, by which source\.group groups"),
        ({"filter": "gsd < 10"}, "only a STAC API can answer it"),
    ],
)
def test_what_is_not_there_is_told_in_a_line(tif: Write, catalog: Callable[..., str], asked: dict[str, Any], said: str) -> None:
    with pytest.raises((DataError, ConfigError, Problems), match=said):
        Stac(catalog=catalog(*three(tif)), **asked).lock()


def test_items_of_one_place_become_a_series_and_those_of_one_day_a_mosaic(tmp_path: Path, tif: Write, catalog: Callable[..., str]) -> None:
    same = [item(f"d{day}", tif(f"d{day}.tif", nodata=0), day=day) for day in (1, 2)]
    address = catalog(*same, item("far", tif("far.tif", shift=640, nodata=0), day=2))

    far, series = sorted(gathered(tmp_path, Stac(catalog=address, group="place", composite="median")), key=lambda scene: -len(scene.id))
    mosaics = gathered(tmp_path, Stac(catalog=address, group="day"))

    assert (series.id, [time.day for time in series.times], series.composite) == ("d1", [1, 2], "median")
    assert far.id == "far"
    assert [(scene.id, scene.grid.shape, scene.times) for scene in mosaics] == [
        ("2024-06-01", Shape(64, 64), ()),
        ("2024-06-02", Shape(64, 128), ()),
    ]


def test_a_series_needs_times(tif: Write, catalog: Callable[..., str]) -> None:
    undated = item("a", tif("a.tif"))
    undated["properties"]["datetime"] = None

    with pytest.raises(DataError, match="has no datetime, which a series needs"):
        Stac(catalog=catalog(undated), group="place").lock()


def test_an_undated_item_is_a_scene_without_a_time(tmp_path: Path, tif: Write, catalog: Callable[..., str]) -> None:
    undated = item("a", tif("a.tif"))
    undated["properties"]["datetime"] = None

    assert gathered(tmp_path, Stac(catalog=catalog(undated)))[0].time is None


@pytest.mark.parametrize(("text", "hour"), [("2024-06-01T10:00:00+02:00", 8), ("2024-06-01T10:00:00", 10), ("2024-06-01T10:00:00Z", 10)])
def test_times_are_told_in_utc(tmp_path: Path, tif: Write, catalog: Callable[..., str], text: str, hour: int) -> None:
    zoned = item("a", tif("a.tif"), properties={"datetime": text})

    assert gathered(tmp_path, Stac(catalog=catalog(zoned)))[0].time == datetime(2024, 6, 1, hour, tzinfo=UTC)


def test_clouds_of_an_asset_are_no_measurement(tmp_path: Path, tif: Write, catalog: Callable[..., str]) -> None:
    classes = np.full((1, 32, 32), 4, np.uint8)
    classes[0, :16] = 9
    scl = {"href": str(tif("scl.tif", pixels=classes, resolution=20.0)), "roles": ["data-mask"], "type": "image/tiff"}
    address = catalog(item("a", tif("a.tif"), assets={"scl": scl}))

    [scene] = gathered(tmp_path, Stac(catalog=address, clouds=CloudMask(band="scl", classes=["cloud_high"])))

    with SceneReader(scene) as reader:
        valid = reader.read(Window(0, 0, Shape(64, 64))).valid
    assert (valid[:32].sum(), valid[32:].all()) == (0, True)


def test_labels_are_laid_on_items(tmp_path: Path, tif: Write, vectors: Write, catalog: Callable[..., str]) -> None:
    source = Stac(catalog=catalog(item("a", tif("a.tif"))), labels=str(vectors("l.geojson")))

    [scene] = gathered(tmp_path, source)

    assert scene.properties["geohydra:labels"] == {"road": 1}


def test_what_an_item_tells_wrongly_is_seen_when_files_are_looked_at(tif: Write, catalog: Callable[..., str]) -> None:
    source = Stac(catalog=catalog(item("a", tif("a.tif"), properties=PROJ | {"proj:shape": [63, 64]})))

    found = inspect(source, source.lock())

    assert "its item tells of 63 x 64 pixels, it has 64 x 64" in found.warnings[0]


def test_a_link_that_leads_nowhere_is_named_with_who_links(tmp_path: Path, tif: Write, catalog: Callable[..., str]) -> None:
    address = catalog(item("a", tif("a.tif")))
    (tmp_path / "a.json").unlink()

    with pytest.raises(DataError, match=r"a\.json: there is no STAC document at this address; .*collection\.json links to it"):
        Stac(catalog=address).lock()


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Starts the server as a process of its own, on items whose hrefs may begin with `{server}/files/`; gives its address."""
    started: list[subprocess.Popen[str]] = []
    monkeypatch.setenv("GEOHYDRA_RETRIES", "2")
    monkeypatch.setenv("GEOHYDRA_TIMEOUT", "5")

    def start(*items: dict[str, Any]) -> str:
        (tmp_path / "items.json").write_text(json.dumps(items))
        script = Path(__file__).with_name("stac_server.py")
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        started.append(process)
        assert process.stdout is not None
        return next(line.strip() for line in process.stdout if line.startswith("http"))

    yield start
    for process in started:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def order(address: str, *faults: dict[str, Any]) -> dict[str, int]:
    """What is to go wrong; gives how often each path was asked for."""
    return dict(requests.post(f"{address}/faults", data=json.dumps(list(faults)) if faults else b"", timeout=10).json())


@pytest.mark.slow
def test_a_server_is_searched_through_all_of_its_pages(tmp_path: Path, tif: Write, serve: Callable[..., str]) -> None:
    address = serve(*(item(f"i{day}", tif(f"i{day}.tif"), day=day, href=f"{{server}}/files/i{day}.tif") for day in range(1, 6)))

    scenes = gathered(tmp_path, Stac(catalog=address))

    assert [scene.id for scene in scenes] == ["i1", "i2", "i3", "i4", "i5"]
    assert order(address)["/search"] == 3
    with SceneReader(scenes[0]) as reader, rasterio.open(tmp_path / "i1.tif") as file:
        np.testing.assert_array_equal(reader.read(Window(0, 0, Shape(64, 64))).pixels, file.read())


@pytest.mark.slow
def test_a_server_is_asked_and_every_answer_looked_at_once_more(tif: Write, serve: Callable[..., str]) -> None:
    address = serve(*three(tif))

    def ids(**asked: Any) -> list[str]:
        return [str(entry.item["id"]) for entry in Stac(catalog=address, **asked).lock() if entry.item]

    assert ids(time="2024-06-02/..", max_cloud=50) == ["b"]
    assert ids(area=[9.0, 49.6, 9.0005, 49.7]) == ["a"]
    assert ids(query={"platform": {"startsWith": "s2b"}}) == ["c"]
    assert [entry.item["id"] for entry in Stac(catalog=f"{address}/collections/s2").lock() if entry.item] == ["a", "b", "c"]
    with pytest.raises(DataError, match="there is no collection 's3', known are s2"):
        ids(collections="s3")
    with pytest.raises(ConfigError, match="this API does not understand CQL2 filters"):
        ids(filter="gsd < 10")


@pytest.mark.slow
def test_a_server_that_stumbles_is_asked_again_and_one_that_refuses_is_named(
    tif: Write, serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = serve(item("a", tif("a.tif")))
    source = Stac(catalog=address)

    order(address, {"path": "/search", "status": 500, "times": 1}, {"path": "/search", "status": 429, "times": 1})
    assert len(source.lock()) == 1
    for status, said in ((403, "access is denied"), (404, "nothing is at this address"), (503, "the server fails")):
        order(address, {"path": "/search", "status": status, "times": 9})
        before = order(address)["/search"]
        with pytest.raises(DataError, match=rf"127\.0\.0\.1.*: {said} \(HTTP {status}\)"):
            source.lock()
        assert order(address)["/search"] - before == (3 if status == 503 else 1)
    monkeypatch.setenv("GEOHYDRA_TIMEOUT", "0.3")
    monkeypatch.setenv("GEOHYDRA_RETRIES", "1")
    order(address, {"path": "/search", "delay": 2, "times": 9})
    with pytest.raises(DataError, match=r"no answer within 0\.3 s, also after 1 more requests"):
        source.lock()


@pytest.mark.slow
def test_files_on_a_server_that_cannot_be_had_are_named(
    tmp_path: Path, tif: Write, serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOHYDRA_RETRIES", "1")
    whole = tif("whole.tif", pixels=np.random.default_rng(0).integers(1, 255, (2, 512, 512), dtype=np.uint8))
    (tmp_path / "cut.tif").write_bytes(whole.read_bytes()[:200_000])
    (tmp_path / "page.tif").write_text("<!DOCTYPE html><html>please log in</html>")
    names = ("whole", "cut", "page", "gone", "secret", "broken")
    address = serve(*(item(name, whole, href=f"{{server}}/files/{name}.tif") for name in names))
    order(address, {"path": "/files/secret.tif", "status": 403, "times": 99}, {"path": "/files/broken.tif", "status": 500, "times": 99})
    source = Stac(catalog=address)

    found = inspect(source, source.lock())

    told = {error.where.rsplit("/", 1)[-1]: error.problem for error in found.errors}
    assert told.pop("cut.tif").startswith("is truncated or damaged")
    assert told == {
        "page.tif": "is a web page (HTML), not a raster",
        "gone.tif": "nothing is at this address (HTTP 404)",
        "secret.tif": "access is denied (HTTP 403)",
        "broken.tif": "the server fails (HTTP 500), also after 1 more requests",
    }
    assert all(error.where.startswith("http://127.0.0.1") for error in found.errors)


@pytest.mark.realdata
def test_the_dated_series_of_aerial_images_is_found_by_its_catalogue(tmp_path: Path, realdata: Path) -> None:
    folder = str(realdata / "naip_series_stac")

    scenes = gathered(tmp_path, Stac(catalog=folder))
    [series] = gathered(tmp_path, Stac(catalog=f"{folder}/collection.json", group="place", composite="median"))

    assert [(scene.time.year, scene.grid.shape) for scene in scenes if scene.time] == [
        (2009, Shape(724, 934)),
        (2014, Shape(723, 934)),
        (2020, Shape(723, 934)),
    ]
    assert scenes[0].bands == ("red", "green", "blue", "nir")
    assert [time.year for time in series.times] == [2009, 2014, 2020]
    assert series.grid.shape == Shape(724, 935)

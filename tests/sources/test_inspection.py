"""A look at the data before anything costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from geohydra.sources.bands import told_bands
from geohydra.sources.files import Files
from geohydra.sources.inspection import inspect
from geohydra.types import LockEntry, Scene

Write = Callable[..., Path]


def test_every_scene_has_a_row_and_every_mistake_an_error(tmp_path: Path, tif: Write) -> None:
    tif("a.tif")
    tif("b.tif", crs=None)
    (tmp_path / "c.tif").write_bytes(b"")
    source = Files(images=f"{tmp_path}/*.tif")

    found = inspect(source, source.lock())

    verdicts = {row["scene"]: row["verdict"] for row in found.rows}
    assert verdicts == {"a": "good", "b.tif": "has no coordinate reference system (CRS)", "c.tif": "the file is empty"}
    assert len(found.errors) == 2
    assert len({tuple(row) for row in found.rows}) == 1


def test_labels_are_counted_by_class_and_nothing_is_written(tmp_path: Path, tif: Write, vectors: Write) -> None:
    source = Files(images=str(tif("a.tif")), labels=str(vectors("l.gpkg", ("road", "road", "house"))))
    before = sorted(tmp_path.rglob("*"))

    found = inspect(source, source.lock())

    assert found.rows[0]["labels"] == "house 1, road 2"
    assert found.classes == {"road", "house"}
    assert found.bands == ("band1", "band2")
    assert sorted(tmp_path.rglob("*")) == before


def test_mistakes_of_images_and_of_labels_are_told_together(tmp_path: Path, tif: Write, vectors: Write) -> None:
    tif("a.tif")
    tif("b.tif", crs=None)
    source = Files(images=f"{tmp_path}/*.tif", labels=str(vectors("l.gpkg", ("raod",))), classes=["road"])

    found = inspect(source, source.lock())

    assert [error.problem for error in found.errors] == [
        "has no coordinate reference system (CRS)",
        "has features of the unknown class 'raod' (1)",
    ]


def test_images_of_different_types_are_a_warning(tmp_path: Path, tif: Write) -> None:
    tif("a.tif")
    tif("b.tif", pixels=np.ones((2, 64, 64), np.float32))
    source = Files(images=f"{tmp_path}/*.tif")

    found = inspect(source, source.lock())

    assert not found.errors
    assert "different types of numbers: uint8 (such as a), float32 (such as b)" in found.warnings[0]


def test_pixels_are_not_read(tmp_path: Path, tif: Write) -> None:
    source = Files(images=str(tif("a.tif", pixels=np.zeros((1, 64, 64), np.uint8), nodata=0)))

    assert not inspect(source, source.lock()).errors


@pytest.mark.parametrize("count", [200])
def test_many_headers_are_read(tmp_path: Path, tif: Write, count: int) -> None:
    for number in range(count):
        tif(f"{number}.tif", size=8, shift=100.0 * number)
    source = Files(images=f"{tmp_path}/*.tif")

    assert [row["scene"] for row in inspect(source, source.lock()).rows][:3] == ["0", "1", "10"]


class Elsewhere:
    """A source of another package that cannot look."""

    bands = ("red",)
    classes = None

    def lock(self) -> Sequence[LockEntry]:
        return (LockEntry("s3://x/a.tif"),)

    def scenes(self, lock: Sequence[LockEntry], folder: Path, progress: Callable[[int, int, str], None]) -> Iterator[Scene]:
        yield from ()


def test_a_source_that_cannot_look_is_told_by_its_lock() -> None:
    source = Elsewhere()

    assert inspect(source, source.lock()).rows == [{"scene": "s3://x/a.tif", "verdict": "listed"}]


def test_a_scene_is_good_only_with_its_labels(tmp_path: Path, tif: Write, vectors: Write) -> None:
    for name in ("a", "b"):
        tif(f"{name}.tif")
    vectors("a.gpkg", ("raod",))
    vectors("b.gpkg", ("road",))
    source = Files(images=f"{tmp_path}/*.tif", labels=f"{tmp_path}/*.gpkg", classes=["road"])

    rows = inspect(source, source.lock()).rows

    assert [row["verdict"] for row in rows if row["scene"] == "a"] == ["labels: has features of the unknown class 'raod' (1)"]
    assert not any(row["verdict"].startswith("labels") for row in rows if row["scene"] == "b")


def test_files_of_one_band_each_are_pointed_to_the_rule_that_joins_them(tmp_path: Path, tif: Write) -> None:
    for name in ("x_B2", "x_B3"):
        tif(f"{name}.tif", bands=1, names=(name[-2:],))
    source = Files(images=f"{tmp_path}/*.tif")

    found = inspect(source, source.lock())

    rule = "(?P<scene>[^/]+)_(?P<band>[^_/]+)[.]"
    assert [row["scene"] for row in found.rows] == ["x_B2", "x_B3"]
    assert found.rows[1]["verdict"] == "has the bands B3, other scenes such as x_B2 have B2"
    assert rule in found.errors[0].hint
    joined = Files(images=f"{tmp_path}/*.tif", scene=rule)
    assert [(row["scene"], row["bands"], row["verdict"]) for row in inspect(joined, joined.lock()).rows] == [("x", "B2, B3", "good")]


def test_images_of_one_band_at_one_place_are_told(tmp_path: Path, tif: Write) -> None:
    for name in ("x_B2", "x_B3"):
        tif(f"{name}.tif", pixels=np.full((1, 64, 64), len(name), np.uint8))
    tif("elsewhere.tif", bands=1, shift=5_000)
    source = Files(images=f"{tmp_path}/*.tif")

    (told, *_) = inspect(source, source.lock()).warnings

    assert told.startswith("2 images of one band each lie on the same ground: ")


def test_of_very_many_bands_only_some_are_told() -> None:
    names = [f"band{place}" for place in range(1, 32)]

    assert told_bands(names) == "31 bands band1, band2, band3, band4, band5, band6, band7, ..., band31"
    assert told_bands(names[:2]) == "bands band1, band2"

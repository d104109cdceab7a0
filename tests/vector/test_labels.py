"""Polygons burnt window by window."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize

from geohydra.errors import DataError
from geohydra.task import Ground
from geohydra.types import IGNORE, Grid, Shape, Window
from geohydra.vector.labels import VectorGround
from geohydra.vector.polygons import Polygons

IDS = {"field": 1, "house": 2}
SHAPE = Shape(37, 41)
GRIDS = (
    Grid("EPSG:32618", (10.0, 0.0, 500000.0, 0.0, -10.0, 4000000.0), SHAPE),
    Grid("EPSG:32618", (0.3, 0.0, 500000.1, 0.0, -0.7, 4000000.3), SHAPE),
    Grid("EPSG:32618", (8.0, 3.0, 500000.0, 4.0, -9.0, 4000000.0), SHAPE),
)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(folder: Path, polygons: list[shapely.Geometry], classes: list[str], grid: Grid) -> VectorGround:
    path = folder / "labels.parquet"
    geopandas.GeoDataFrame({"class": classes}, geometry=polygons, crs=grid.crs).to_parquet(path)
    return VectorGround(str(path), grid)


def on_ground(polygons: list[shapely.Geometry], grid: Grid) -> list[shapely.Geometry]:
    a, b, c, d, e, f = grid.transform
    return [shapely.affinity.affine_transform(polygon, [a, b, d, e, c, f]) for polygon in polygons]


def burnt(polygons: list[shapely.Geometry], classes: list[str], grid: Grid) -> np.ndarray:
    """All polygons over the whole scene by GDAL, later ids above earlier ones."""
    pairs = [(polygon, IDS[name]) for wanted in IDS for polygon, name in zip(polygons, classes, strict=True) if name == wanted]
    out = np.zeros((grid.shape.rows, grid.shape.cols), np.uint8)
    return rasterize(pairs, out=out, transform=Affine(*grid.transform)) if pairs else out


odd = st.floats(-5, 45).map(lambda n: round(n, 4))
steps = st.one_of(st.integers(-10, 110).map(lambda n: n / 2), odd, st.integers(0, 30).map(lambda n: n / 3))
points = st.tuples(steps, steps)
blobs = st.lists(points, min_size=3, max_size=8).map(lambda at: shapely.make_valid(shapely.Polygon(at)))
polygons = st.lists(
    blobs.map(lambda shape: shape if shape.geom_type in ("Polygon", "MultiPolygon") else shape.buffer(0.7)).filter(
        lambda shape: not shape.is_empty
    ),
    max_size=6,
)


@QUICK
@given(shapes=polygons, grid=st.sampled_from(GRIDS), seed=st.integers(0, 99))
def test_windows_equal_a_cut_of_the_whole_scene_burnt_by_gdal(tmp_path: Path, shapes: list, grid: Grid, seed: int) -> None:
    random = np.random.default_rng(seed)
    shapes = on_ground(shapes, grid)
    classes = [str(name) for name in random.choice(list(IDS), len(shapes))]
    ground, whole = written(tmp_path, shapes, classes, grid), burnt(shapes, classes, grid)
    window = Window(
        int(random.integers(0, 30)), int(random.integers(0, 30)), Shape(int(random.integers(1, 8)), int(random.integers(1, 12)))
    )
    inside = window.clip(grid.shape)
    assert inside is not None

    mask = ground.mask(inside, ids=IDS, background=0)

    np.testing.assert_array_equal(mask, whole[inside.slices])
    np.testing.assert_array_equal(ground.mask(Window(0, 0, SHAPE), ids=IDS, background=0), whole)


def test_a_later_class_lies_above_an_earlier_one(tmp_path: Path) -> None:
    grid = GRIDS[0]
    below, above = on_ground([shapely.box(0, 0, 10, 10), shapely.box(5, 5, 15, 15)], grid)
    ground = written(tmp_path, [above, below], ["house", "field"], grid)

    mask = ground.mask(Window(0, 0, Shape(20, 20)), ids=IDS, background=0)

    assert mask[7, 7] == 2
    assert mask[2, 2] == 1


def test_outside_the_scene_is_ignored(tmp_path: Path) -> None:
    ground = written(tmp_path, on_ground([shapely.box(-9, -9, 99, 99)], GRIDS[0]), ["field"], GRIDS[0])

    mask = ground.mask(Window(-1, -2, Shape(4, 4)), ids=IDS, background=0)

    np.testing.assert_array_equal(mask[1:, 2:], np.ones((3, 2)))
    assert (mask[0] == IGNORE).all()
    assert (mask[:, :2] == IGNORE).all()
    assert (ground.mask(Window(900, 0, Shape(2, 2)), ids=IDS, background=0) == IGNORE).all()


def test_classes_without_an_id_are_background(tmp_path: Path) -> None:
    ground = written(tmp_path, on_ground([shapely.box(0, 0, 9, 9)], GRIDS[0]), ["house"], GRIDS[0])

    assert (ground.mask(Window(0, 0, Shape(9, 9)), ids={"field": 1}, background=7) == 7).all()


def test_a_file_without_polygons_is_background(tmp_path: Path) -> None:
    ground = written(tmp_path, [], [], GRIDS[0])

    assert (ground.mask(Window(0, 0, Shape(9, 9)), ids=IDS, background=0) == 0).all()


def test_touching_names_the_polygons_near_a_window(tmp_path: Path) -> None:
    ground = written(tmp_path, on_ground([shapely.box(0, 0, 2, 2), shapely.box(20, 20, 22, 22)], GRIDS[0]), ["house"] * 2, GRIDS[0])

    assert ground.touching(Window(19, 19, Shape(5, 5))).tolist() == [1]
    assert ground.touching(Window(5, 5, Shape(5, 5))).tolist() == []


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.parquet").write_text("no")

    with pytest.raises(DataError, match="run ingest again"):
        VectorGround(str(tmp_path / "labels.parquet"), GRIDS[0]).mask(Window(0, 0, Shape(2, 2)), ids=IDS, background=0)


def test_it_is_a_ground(tmp_path: Path) -> None:
    ground: Ground = written(tmp_path, [], [], GRIDS[0])

    assert ground.grid == GRIDS[0]


def test_a_polygon_of_four_corners_costs_few_bytes(tmp_path: Path) -> None:
    shapes = on_ground([shapely.box(n % 30, n // 30, n % 30 + 0.5, n // 30 + 0.5) for n in range(1000)], GRIDS[0])
    written(tmp_path, shapes, ["house"] * 1000, GRIDS[0])

    found = Polygons(str(tmp_path / "labels.parquet"), GRIDS[0])

    assert len(found) == 1000
    assert found.size < 160 * 1000


def test_ignored_ground_lies_above_all_classes(tmp_path: Path) -> None:
    path = tmp_path / "ignored.parquet"
    shapes = on_ground([shapely.box(2, 2, 4, 4)], GRIDS[0])
    geopandas.GeoDataFrame({"class": ["x"]}, geometry=shapes, crs=GRIDS[0].crs).to_parquet(path)
    written(tmp_path, on_ground([shapely.box(0, 0, 9, 9)], GRIDS[0]), ["house"], GRIDS[0])
    ground = VectorGround(str(tmp_path / "labels.parquet"), GRIDS[0], ignored=Polygons(str(path), GRIDS[0]))

    mask = ground.mask(Window(1, 1, Shape(5, 5)), ids=IDS, background=0)

    assert (mask[1:3, 1:3] == IGNORE).all()
    assert (mask == IGNORE).sum() == 4
    np.testing.assert_array_equal(ground.known(Window(1, 1, Shape(5, 5))), mask != IGNORE)


@pytest.mark.parametrize("turn", [False, True])
def test_level_edges_through_pixel_centres_are_drawn_as_gdal_draws_them(tmp_path: Path, turn: bool) -> None:
    rings = [[(0, 0), (0, 0.5), (0.5, 0.5)], [(2, 2), (30, 2), (30, 30), (2, 30)], [(10, 6.5), (20, 6.5), (15, 20)]]
    corner, outer, hole = ([*ring[::-1]] if turn else ring for ring in rings)
    shapes = on_ground([shapely.Polygon(corner), shapely.Polygon(outer, [hole])], GRIDS[0])

    mask = written(tmp_path, shapes, ["house"] * 2, GRIDS[0]).mask(Window(0, 0, SHAPE), ids=IDS, background=0)

    np.testing.assert_array_equal(mask, burnt(shapes, ["house"] * 2, GRIDS[0]))


@QUICK
@given(polygons, st.sampled_from(GRIDS))
def test_outlines_are_the_polygons_of_the_file_in_pixels(tmp_path: Path, shapes: list[shapely.Geometry], grid: Grid) -> None:
    ground = written(tmp_path, on_ground(shapes, grid), ["field"] * len(shapes), grid)

    outlines = ground.outlines(np.arange(len(shapes))[::-1])

    for outline, shape in zip(outlines[::-1], shapes, strict=True):
        assert outline.symmetric_difference(shape).area < 1e-4

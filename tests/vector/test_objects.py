"""Boxes, shares, instances and parcels from the polygons that are burnt."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geohydra.raster.cells import counts, fractions
from geohydra.types import IGNORE, Grid, Shape, Window, tile_windows
from geohydra.vector.labels import VectorGround

SHAPE = Shape(40, 50)
GRID = Grid("EPSG:32618", (10.0, 0.0, 500000.0, 0.0, -10.0, 4000000.0), SHAPE)
IDS = {"field": 1, "house": 2}
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

corner = st.tuples(st.integers(0, 30), st.integers(0, 25))
blob = st.builds(
    lambda at, wide, high, turn: shapely.affinity.rotate(shapely.box(at[0] + 2, at[1] + 2, at[0] + 2 + wide, at[1] + 2 + high), turn),
    corner,
    st.integers(1, 12),
    st.integers(1, 8),
    st.sampled_from([0, 30, 45, 77]),
)
blobs = st.lists(blob, min_size=1, max_size=7)
windows = st.builds(
    lambda r, c, h, w: Window(r, c, Shape(h, w)), st.integers(-5, 35), st.integers(-5, 45), st.integers(1, 30), st.integers(1, 30)
)


def ground(folder: Path, shapes: list[shapely.Polygon], classes: list[str] | None = None) -> VectorGround:
    """Shapes in pixels `(col, row)`."""
    a, b, c, d, e, f = GRID.transform
    placed = [shapely.affinity.affine_transform(shape, [a, b, d, e, c, f]) for shape in shapes]
    geopandas.GeoDataFrame({"class": classes or ["field"] * len(shapes)}, geometry=placed, crs=GRID.crs).to_parquet(folder / "l.parquet")
    return VectorGround(str(folder / "l.parquet"), GRID)


@QUICK
@given(shapes=blobs, window=windows)
def test_boxes_are_those_of_the_polygons_cut_at_the_window(tmp_path: Path, shapes: list, window: Window) -> None:
    objects = ground(tmp_path, shapes).objects(window)

    inside = window.clip(SHAPE)
    view = shapely.box(inside.col, inside.row, inside.col_stop, inside.row_stop) if inside else shapely.Polygon()
    parts = {number: shape.intersection(view) for number, shape in enumerate(shapes) if shape.intersection(view).area > 1e-9}
    assert set(parts) == {int(number) for number, share in zip(objects.numbers, objects.shares, strict=True) if share > 1e-9}
    for number, box, share in zip(objects.numbers, objects.boxes, objects.shares, strict=True):
        if share > 1e-9:
            left, top, right, bottom = parts[int(number)].bounds
            np.testing.assert_allclose(box, [top - window.row, left - window.col, bottom - window.row, right - window.col], atol=1e-6)
            np.testing.assert_allclose(share, parts[int(number)].area / shapes[int(number)].area, atol=1e-6)


@QUICK
@given(shapes=blobs, side=st.integers(3, 20))
def test_the_shares_of_windows_that_cover_the_scene_make_up_what_lies_in_it(tmp_path: Path, shapes: list, side: int) -> None:
    labels = ground(tmp_path, shapes)
    total = np.zeros(len(shapes))
    for row in range(0, SHAPE.rows, side):
        for col in range(0, SHAPE.cols, side):
            found = labels.objects(Window(row, col, Shape(side, side)))
            np.add.at(total, found.numbers, found.shares)

    view = shapely.box(0, 0, SHAPE.cols, SHAPE.rows)
    np.testing.assert_allclose(total, [shape.intersection(view).area / shape.area for shape in shapes], atol=1e-6)


@QUICK
@given(shapes=blobs, window=windows, seed=st.integers(0, 99))
def test_instances_show_the_classes_of_the_mask(tmp_path: Path, shapes: list, window: Window, seed: int) -> None:
    classes = [str(name) for name in np.random.default_rng(seed).choice(list(IDS), len(shapes))]
    labels = ground(tmp_path, shapes, sorted(classes))

    found = labels.instances(window)

    mask = labels.mask(window, ids=IDS, background=0)
    table = np.array([0, *(IDS[name] for name in found.objects.classes)])
    np.testing.assert_array_equal(table[found.ids], np.where(mask == IGNORE, 0, mask))
    assert found.ids.dtype == np.uint16


def test_instances_fit_together_across_windows(tmp_path: Path) -> None:
    labels = ground(tmp_path, [shapely.box(2, 3, 30, 9), shapely.box(10, 5, 20, 30)])
    whole = np.zeros((40, 50), int)
    for window in tile_windows(SHAPE, Shape(20, 25), Shape(20, 25)):
        part = labels.instances(window)
        whole[window.slices] = np.array([0, *(part.objects.numbers + 1)])[part.ids]

    at_once = labels.instances(Window(0, 0, SHAPE))
    np.testing.assert_array_equal(whole, at_once.ids)
    assert whole[6, 15] == 2


def test_pixels_of_parcels_are_listed_one_by_one(tmp_path: Path) -> None:
    found = ground(tmp_path, [shapely.box(0, 0, 2, 1), shapely.box(5, 5, 6, 8)]).instances(Window(0, 0, Shape(9, 9)))

    assert [pixels.tolist() for pixels in found.pixels()] == [[[0, 0], [0, 1]], [[5, 5], [6, 5], [7, 5]]]


def test_an_object_smaller_than_a_pixel_has_a_box_and_no_pixel(tmp_path: Path) -> None:
    found = ground(tmp_path, [shapely.box(3.1, 3.1, 3.3, 3.2)]).instances(Window(0, 0, Shape(9, 9)))

    np.testing.assert_allclose(found.objects.boxes, [[3.1, 3.1, 3.2, 3.3]])
    assert not found.ids.any()
    assert [len(pixels) for pixels in found.pixels()] == [0]


def test_a_polygon_with_a_hole_and_two_parts_is_one_object(tmp_path: Path) -> None:
    ring = shapely.box(0, 0, 10, 10).difference(shapely.box(2, 2, 8, 8))
    found = ground(tmp_path, [shapely.MultiPolygon([ring, shapely.box(4, 4, 5, 5)])]).instances(Window(0, 0, Shape(5, 20)))

    assert len(found.objects) == 1
    np.testing.assert_allclose(found.objects.shares, (100 - 36 + 1) / 2 / 65, atol=0.01)
    assert found.ids[4, 4] == 1
    assert found.ids[3, 3] == 0


def test_outside_of_the_scene_there_is_nothing(tmp_path: Path) -> None:
    found = ground(tmp_path, [shapely.box(0, 0, 9, 9)]).instances(Window(900, 0, Shape(4, 4)))

    assert len(found.objects) == 0
    assert not found.ids.any()


@QUICK
@given(shapes=blobs, window=windows, rows=st.integers(1, 9), cols=st.integers(1, 9))
def test_cells_sum_to_the_counts_of_the_mask(tmp_path: Path, shapes: list, window: Window, rows: int, cols: int) -> None:
    mask = ground(tmp_path, shapes).mask(window, ids=IDS, background=0)

    found = counts(mask, Shape(rows, cols), classes=3)

    assert found.sum(axis=(1, 2)).tolist() == [int((mask == key).sum()) for key in range(3)]
    assert found.shape[1:] == (-(-mask.shape[0] // rows), -(-mask.shape[1] // cols))
    shares = fractions(mask, Shape(rows, cols), classes=3)
    np.testing.assert_allclose(shares.sum(axis=0), found.sum(axis=0) > 0, atol=1e-5)

"""A known field of the ground survives every way onto the grid of a scene: pixels tell their own place.

Promised: inside of a file what is read lies within 0.15 pixels of its place, in pixels of the file or of the grid, whichever are larger
(GDAL's own tolerance is 0.125); in the outermost pixel of a warped file within 0.75, because there the mean of two pixels knows but one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import cos, radians, sin
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.control import GroundControlPoint

from geohydra.raster.labels import RasterGround
from geohydra.raster.outline import footprint
from geohydra.raster.read import SceneReader, probe
from geohydra.raster.target import Extent, own_grid
from geohydra.raster.warp import pixel_at
from geohydra.sources.grids import TargetGrid
from geohydra.types import IGNORE, Asset, Grid, Image, Resampling, Scene, Shape, Window

INSIDE, EDGE = 0.15, 0.75
UTM = "EPSG:32618"
MIDDLE = (520_000.0, 4_100_000.0)
ELSEWHERE = ("EPSG:32617", "EPSG:4326", "EPSG:3857", "ESRI:102008", "EPSG:32119")


@dataclass(frozen=True)
class Field:
    """Of the ground around a place: how far east and north it lies in a CRS, in units of `size`, and a wave."""

    crs: str = UTM
    middle: tuple[float, float] = MIDDLE
    size: float = 1.0

    def __call__(self, grid: Grid) -> np.ndarray:
        """What a perfect sensor would see in the middle of each pixel `(band, row, col)`."""
        x, y = centres(grid)
        if grid.crs != self.crs:
            x, y = Transformer.from_crs(grid.crs, self.crs, always_xy=True).transform(x, y)
        east, north = (np.asarray(x) - self.middle[0]) / self.size, (np.asarray(y) - self.middle[1]) / self.size
        return np.stack([east, north, 100 * np.sin(east / 300) * np.cos(north / 400)]).astype(np.float32)


def centres(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d, e, f = grid.transform
    rows, cols = np.mgrid[: grid.shape.rows, : grid.shape.cols] + 0.5
    return a * cols + b * rows + c, d * cols + e * rows + f


def written(path: Path, pixels: np.ndarray, grid: Grid, **options: Any) -> Path:
    shape = {"count": len(pixels), "height": grid.shape.rows, "width": grid.shape.cols, "dtype": pixels.dtype.name}
    with rasterio.open(path, "w", driver="GTiff", crs=grid.crs, transform=Affine(*grid.transform), **shape, **options) as file:
        file.write(pixels)
    return path


def asset_of(path: Path, names: Sequence[str] = ("east", "north", "wave"), resampling: Resampling = "bilinear") -> Asset:
    header = probe(str(path))
    return Asset(header.uri, tuple(names), header.indexes, header.dtypes[0], header.nodata, resampling=resampling)


def read(grid: Grid, *assets: Asset) -> Image:
    with SceneReader(Scene("s", grid, assets)) as reader:
        return reader.read(Window(0, 0, grid.shape))


def within(grid: Grid, source: Grid, margin: float) -> np.ndarray:
    """Which pixels of a grid lie in another one, so many of its pixels from the edge."""
    x, y = centres(grid)
    if grid.crs != source.crs:
        x, y = Transformer.from_crs(grid.crs, source.crs, always_xy=True).transform(x, y)
    if source.crs == "EPSG:4326":
        left, _, right, _ = source.bounds
        x = x + 360 * np.round(((left + right) / 2 - x) / 360)
    rows, cols = pixel_at(source, np.asarray(x), np.asarray(y))
    return (rows > margin) & (rows < source.shape.rows - margin) & (cols > margin) & (cols < source.shape.cols - margin)


def metres(source: Grid) -> float:
    """The longer side of a pixel, measured on the ground of the field."""
    return max(sides(source))


def sides(source: Grid) -> tuple[float, float]:
    """Both sides of a pixel, measured on the ground of the field."""
    east, north, _ = Field()(source)
    down, right = (float(np.hypot(np.diff(east, axis=k), np.diff(north, axis=k)).max()) for k in (0, 1))
    return down, right


def assert_true(image: Image, grid: Grid, source: Grid, *, pixel: float, field: Field | None = None) -> None:
    """Everything well inside is there and in its place; pixels for which the image ends are within their larger bound."""
    inner = within(grid, source, 1.0)
    assert inner.sum() > 20
    assert image.valid[inner].all()
    assert not image.valid[~within(grid, source, -1.0)].any()
    apart = np.hypot(*(image.pixels[:2] - (field or Field())(grid)[:2]))
    whole = within(grid, source, pixel / min(sides(source)))
    assert apart[inner & whole].max(initial=0.0) <= INSIDE * pixel
    assert apart[image.valid].max() <= EDGE * pixel


def around(crs: str, *, size: float, turn: float, south_up: bool, tall: float, pixels: int = 64) -> Grid:
    """A grid with its middle in the middle of the field; `size` in metres, `tall`: height of a pixel by its width."""
    forward = Transformer.from_crs(UTM, crs, always_xy=True)
    x, y = forward.transform(*MIDDLE)
    x1, y1 = forward.transform(MIDDLE[0] + 1000, MIDDLE[1])
    unit = size * float(np.hypot(x1 - x, y1 - y)) / 1000
    up = 1 if south_up else -1
    a, d = unit * cos(radians(turn)), unit * sin(radians(turn))
    b, e = -up * d * tall, up * a * tall
    half = pixels / 2
    return Grid(crs, (a, b, x - half * (a + b), d, e, y - half * (d + e)), Shape(pixels, pixels))


def tiles(shape: Shape, overlap: int) -> Iterator[Window]:
    """Four windows that overlap and together are all."""
    rows, cols = shape.rows // 2, shape.cols // 2
    for row in (0, rows - overlap):
        for col in (0, cols - overlap):
            yield Window(row, col, Shape(rows + overlap, cols + overlap))


sources = st.builds(
    around,
    st.sampled_from((UTM, *ELSEWHERE)),
    size=st.sampled_from((10.0, 13.7, 30.0)),
    turn=st.sampled_from((0.0, 0.0, 17.0, -44.0, 90.0, 181.0)),
    south_up=st.booleans(),
    tall=st.sampled_from((1.0, 1.0, 0.6, 1.4)),
)
TARGET = Grid(UTM, (10.0, 0, MIDDLE[0] - 1003, 0, -10.0, MIDDLE[1] + 998), Shape(200, 200))


@settings(max_examples=60, deadline=None)
@given(source=sources, size=st.sampled_from((10.0, 25.0)))
def test_a_file_of_any_crs_size_and_rotation_comes_onto_the_grid_in_its_place(source: Grid, size: float) -> None:
    shape = Shape(int(2000 / size), int(2000 / size))
    grid = Grid(UTM, (size, 0, TARGET.transform[2], 0, -size, TARGET.transform[5]), shape)
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "a.tif", Field()(source), source)

        image = read(grid, asset_of(path))

    assert_true(image, grid, source, pixel=max(size, metres(source)))


@settings(max_examples=40, deadline=None)
@given(source=sources, overlap=st.sampled_from((0, 1, 7)))
def test_tiles_of_a_mosaic_are_as_true_as_the_whole_and_leave_no_gap(source: Grid, overlap: int) -> None:
    pixels = Field()(source)
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            written(Path(folder) / f"{number}.tif", pixels[:, *window.slices], source.at(window))
            for number, window in enumerate(tiles(source.shape, overlap))
        ]

        image = read(TARGET, *(asset_of(path) for path in paths))

    inner = within(TARGET, source, 1.0)
    assert image.valid[inner].all()
    apart = np.hypot(*(image.pixels[:2] - Field()(TARGET)[:2]))
    assert apart[image.valid].max() <= EDGE * metres(source)
    assert np.quantile(apart[inner], 0.8) <= INSIDE * metres(source)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.permutations((10.0, 20.0, 60.0)),
    crs=st.lists(st.sampled_from((UTM, *ELSEWHERE)), min_size=3, max_size=3),
    onto=st.sampled_from((10.0, 20.0, 60.0)),
)
def test_bands_of_different_resolution_and_crs_show_the_same_ground(sizes: list[float], crs: list[str], onto: float) -> None:
    grid = Grid(UTM, (onto, 0, MIDDLE[0] - 1200, 0, -onto, MIDDLE[1] + 1200), Shape(int(2400 / onto), int(2400 / onto)))
    grids = [
        around(code, size=size, turn=0, south_up=False, tall=1, pixels=int(3600 / size)) for code, size in zip(crs, sizes, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        paths = [written(Path(folder) / f"{place}.tif", Field()(source)[place : place + 1], source) for place, source in enumerate(grids)]

        image = read(grid, *(asset_of(path, (name,)) for path, name in zip(paths, ("east", "north", "wave"), strict=True)))

    assert image.valid.mean() > 0.9
    inner = np.logical_and.reduce([within(grid, source, 1.0 + onto / size) for source, size in zip(grids, sizes, strict=True)])
    for place, size in enumerate(sizes[:2]):
        apart = np.abs(image.pixels[place] - Field()(grid)[place])
        assert apart[image.valid & inner].max() <= INSIDE * max(size, onto)


@settings(max_examples=40, deadline=None)
@given(source=sources, how=st.sampled_from(("nearest", "mode")), seed=st.integers(0, 1000))
def test_codes_never_become_values_that_no_pixel_had(source: Grid, how: Resampling, seed: int) -> None:
    codes = np.random.default_rng(seed).choice(np.array([3, 40, 77, 200], np.uint8), (1, source.shape.rows, source.shape.cols))
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "a.tif", codes, source, nodata=0)

        image = read(TARGET, asset_of(path, ("scl",), how))

    assert set(np.unique(image.pixels[0][image.valid]).tolist()) == {3, 40, 77, 200}


def test_nearest_takes_the_pixel_in_which_a_place_lies(tmp_path: Path) -> None:
    source = Grid(UTM, (20.0, 0, MIDDLE[0], 0, -20.0, MIDDLE[1]), Shape(30, 30))
    codes = np.random.default_rng(0).integers(1, 250, (1, 30, 30)).astype(np.uint8)
    grid = Grid(UTM, (10.0, 0, MIDDLE[0], 0, -10.0, MIDDLE[1]), Shape(60, 60))

    image = read(grid, asset_of(written(tmp_path / "a.tif", codes, source), ("scl",), "nearest"))

    np.testing.assert_array_equal(image.pixels[0], codes[0].repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32", "float64", "uint8"])
def test_what_a_warped_file_does_not_cover_is_not_valid_whatever_its_type(tmp_path: Path, dtype: str) -> None:
    source = around(UTM, size=10, turn=30, south_up=False, tall=1)
    path = written(tmp_path / "a.tif", np.full((2, 64, 64), 7, dtype), source)

    image = read(TARGET, asset_of(path, ("a", "b")))

    assert image.valid.sum() == pytest.approx(64 * 64, rel=0.05)
    np.testing.assert_allclose(image.pixels[:, image.valid], 7, rtol=1e-6)


def bent(col: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a pixel of a swath lies, that no affine map describes."""
    u, v = col / 100 - 0.5, row / 100 - 0.5
    return MIDDLE[0] + 1000 * u + 60 * u * u * v + 20 * np.sin(3 * v), MIDDLE[1] - 1000 * v + 30 * u * v * v + 20 * np.cos(4 * u)


@pytest.mark.parametrize(("crs", "dtype"), [(UTM, "float32"), ("EPSG:4326", "float32"), (UTM, "int16")])
def test_a_file_placed_by_control_points_comes_onto_the_grid_in_its_place(tmp_path: Path, crs: str, dtype: str) -> None:
    rows, cols = np.mgrid[:100, :100] + 0.5
    x, y = bent(cols, rows)
    pixels = np.stack([x - MIDDLE[0], y - MIDDLE[1]]).astype(dtype)
    forward = Transformer.from_crs(UTM, crs, always_xy=True)
    points = [
        GroundControlPoint(row, col, *forward.transform(*bent(np.array(col), np.array(row))))
        for row in np.linspace(0, 100, 11)
        for col in np.linspace(0, 100, 11)
    ]
    shape = {"count": 2, "height": 100, "width": 100, "dtype": dtype}
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", gcps=points, crs=crs, **shape) as file:
        file.write(pixels)

    header = probe(str(tmp_path / "a.tif"))
    image = read(TARGET, asset_of(tmp_path / "a.tif", ("east", "north")))

    assert header.by_points
    assert header.grid.upright
    assert 0.9e4 < image.valid.sum() < 1.1e4
    apart = np.hypot(*(image.pixels - Field()(TARGET)[:2]))[image.valid]
    assert np.quantile(apart, 0.95) <= (INSIDE * 10 if dtype == "float32" else INSIDE * 10 + 1)
    assert apart.max() <= EDGE * 10 + 2


def test_control_points_alone_give_a_scene_a_grid_of_their_own(tmp_path: Path) -> None:
    points = [GroundControlPoint(row, col, 10 + col * 0.001, 50 - row * 0.001) for row in (0, 50, 100) for col in (0, 50, 100)]
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", gcps=points, crs="EPSG:4326", count=1, height=100, width=100, dtype="uint8"
    ) as file:
        file.write(np.full((1, 100, 100), 9, np.uint8))

    header = probe(str(tmp_path / "a.tif"))

    assert header.grid.crs == "EPSG:4326"
    assert header.grid.bounds == pytest.approx((10.0, 49.9, 10.1, 50.0), abs=0.002)
    assert read(header.grid, asset_of(tmp_path / "a.tif", ("a",))).valid.mean() > 0.95


DATE_LINE = Grid("EPSG:4326", (0.001, 0, 179.9, 0, -0.001, -16.9), Shape(200, 200))


@pytest.mark.parametrize("turns", [0, -360])
@pytest.mark.parametrize("crs", ["EPSG:32760", "EPSG:32701", "EPSG:3832"])
def test_a_scene_in_degrees_across_the_date_line_is_read_whole_in_metres(tmp_path: Path, crs: str, turns: int) -> None:
    a, b, c, d, e, f = DATE_LINE.transform
    source = Grid("EPSG:4326", (a, b, c + turns, d, e, f), DATE_LINE.shape)
    lon, lat = centres(DATE_LINE)
    path = written(tmp_path / "a.tif", np.stack([lon, lat]), source)
    [grid] = TargetGrid(crs=crs, resolution=100).grids([Extent("s", probe(str(path)).grid)])

    image = read(grid, asset_of(path, ("lon", "lat")))

    x, y = centres(grid)
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    apart = np.hypot(image.pixels[0] - np.asarray(lon) % 360, image.pixels[1] - lat)
    assert grid.shape.cols < 300
    assert image.valid[within(grid, source, 1.0)].all()
    assert apart[image.valid & within(grid, source, 1.0)].max() < INSIDE * 0.001


def test_a_scene_in_metres_across_the_date_line_is_read_whole_in_degrees(tmp_path: Path) -> None:
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32760", always_xy=True).transform(179.9, -16.9)
    source = Grid("EPSG:32760", (100, 0, x, 0, -100, y), Shape(200, 200))
    east, north = centres(source)
    path = written(tmp_path / "a.tif", np.stack([east, north]), source)
    [grid] = TargetGrid(crs="EPSG:4326", resolution=0.001).grids([Extent("s", source)])

    image = read(grid, asset_of(path, ("east", "north")))

    assert grid.bounds[0] < 180 < grid.bounds[2]
    assert grid.shape.cols < 300
    assert image.valid[within(grid, source, 1.0)].all()


def test_tiles_on_both_sides_of_the_date_line_are_one_scene(tmp_path: Path) -> None:
    west = Grid("EPSG:4326", (0.001, 0, 179.9, 0, -0.001, -16.9), Shape(50, 100))
    east = Grid("EPSG:4326", (0.001, 0, -180.0, 0, -0.001, -16.9), Shape(50, 100))
    paths = [written(tmp_path / f"{k}.tif", np.full((1, 50, 100), k + 1, np.uint8), grid) for k, grid in enumerate((west, east))]

    grid = own_grid(Extent("s", west, (east,)))
    image = read(grid, *(asset_of(path, ("a",)) for path in paths))

    assert grid.shape == Shape(50, 200)
    assert image.valid.all()
    assert (image.pixels[0, :, :100] == 1).all()
    assert (image.pixels[0, :, 100:] == 2).all()


@pytest.mark.parametrize(
    ("source", "onto"),
    [
        (Grid("EPSG:3413", (50.0, 0, -2500, 0, -50.0, 2500), Shape(100, 100)), "EPSG:32661"),
        (Grid("EPSG:3031", (50.0, 0, 100_000, 0, -50.0, 1_500_000), Shape(100, 100)), "EPSG:32761"),
        (Grid("EPSG:32633", (50.0, 0, 500_000, 0, -50.0, 9_320_000), Shape(100, 100)), "EPSG:3413"),
        (Grid("EPSG:32633", (50.0, 0, 500_000, 0, -50.0, 9_320_000), Shape(100, 100)), "EPSG:4326"),
        (Grid("EPSG:32634", (50.0, 0, 480_000, 0, -50.0, 9_320_000), Shape(100, 100)), "EPSG:32633"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.crs,
)
def test_high_latitudes_are_read_in_their_place(tmp_path: Path, source: Grid, onto: str) -> None:
    field = Field(source.crs, (source.transform[2], source.transform[5]))
    path = written(tmp_path / "a.tif", field(source), source)
    [grid] = TargetGrid(crs=onto).grids([Extent("s", source)])

    image = read(grid, asset_of(path))

    assert_true(image, grid, source, pixel=max(50, 50 * (6 if onto == "EPSG:4326" else 1)), field=field)
    assert footprint(grid) is not None


@settings(max_examples=40, deadline=None)
@given(source=sources, dtype=st.sampled_from(("uint8", "int16", "uint16", "int32")))
def test_a_label_raster_gives_its_own_classes_and_ignores_what_it_does_not_cover(source: Grid, dtype: str) -> None:
    codes = np.random.default_rng(0).choice(np.array([1, 2, 9], dtype), (1, source.shape.rows, source.shape.cols))
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "a.tif", codes, source)
        ground = RasterGround(str(path), TARGET, {1: "field", 2: "wood"})

        mask = ground.mask(Window(0, 0, TARGET.shape), ids={"field": 1, "wood": 2}, background=0)
        ground.close()

    assert set(np.unique(mask[within(TARGET, source, 0.2)]).tolist()) == {0, 1, 2}
    assert (mask[~within(TARGET, source, -0.2)] == IGNORE).all()

"""The target grid of a source: which CRS, resolution and pixel edges scenes come onto."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geohydra.build import build, problems
from geohydra.errors import DataError
from geohydra.raster.target import Extent, own_grid
from geohydra.sources.grids import TargetGrid
from geohydra.types import Grid, Shape

UTM = Grid("EPSG:32632", (10.0, 0, 500_003.0, 0, -10.0, 5_500_007.0), Shape(60, 80))


def at(grid: Grid, x: float, y: float, size: float = 10.0, crs: str = "EPSG:32632") -> Grid:
    return Grid(crs, (size, 0, x, 0, -size, y), grid.shape)


def grids(target: TargetGrid, *references: Grid) -> list[Grid | None]:
    return target.grids([Extent(f"s{number}", grid) for number, grid in enumerate(references)])


def phase(grid: Grid) -> tuple[float, float]:
    """Where the pixel edges lie, as a share of a pixel."""
    return grid.transform[2] / grid.transform[0] % 1, grid.transform[5] / grid.transform[4] % 1


def test_without_a_wish_each_scene_keeps_the_pixels_of_its_reference() -> None:
    other = at(UTM, 3.5, 2.5, 0.25, "EPSG:3857")

    assert grids(TargetGrid(), UTM, other) == [UTM, other]


@pytest.mark.parametrize("transform", [(10.0, 0, 500_000.0, 0, 10.0, 5_400_000.0), (-10.0, 0, 500_800.0, 0, -10.0, 5_400_600.0)])
def test_a_reference_that_is_upside_down_is_turned_north_up(transform: Any) -> None:
    [grid] = grids(TargetGrid(), Grid("EPSG:32632", transform, Shape(60, 80)))

    assert grid is not None
    assert grid.bounds == Grid("EPSG:32632", transform, Shape(60, 80)).bounds
    assert (grid.transform[0], grid.transform[4], grid.shape) == (10, -10, Shape(60, 80))


def test_a_rotated_reference_gives_an_upright_grid_around_it() -> None:
    turned = Grid("EPSG:32632", (8.0, 6.0, 500_000.0, 6.0, -8.0, 5_500_000.0), Shape(60, 80))

    [grid] = grids(TargetGrid(), turned)

    assert grid is not None
    assert grid.upright
    assert grid.resolution == pytest.approx((10, 10))
    left, bottom, right, top = turned.bounds
    assert grid.bounds[0] <= left + 0.2
    assert grid.bounds[1] <= bottom + 0.2
    assert grid.bounds[2] >= right - 0.2
    assert grid.bounds[3] >= top - 0.2


def test_a_rotated_image_without_a_crs_stays_in_its_pixels() -> None:
    turned = Grid("", (8.0, 6.0, 0.0, 6.0, -8.0, 0.0), Shape(60, 80))

    assert grids(TargetGrid(), turned) == [turned]


def test_a_mosaic_lies_on_the_pixels_of_its_reference_and_holds_all_files() -> None:
    grid = own_grid(Extent("s", UTM, (at(UTM, 500_803, 5_500_007), at(UTM, 499_998, 5_499_000, 20.0))))

    assert phase(grid) == pytest.approx(phase(UTM))
    assert grid.bounds == (499_993.0, 5_497_797.0, 501_603.0, 5_500_007.0)


def test_scenes_that_lie_on_the_lattice_of_most_are_not_moved() -> None:
    target = TargetGrid(crs="EPSG:32632", resolution=10)

    one, two, three = grids(target, UTM, at(UTM, 510_003, 5_500_007), at(UTM, 520_000, 5_500_000))

    assert one == UTM
    assert two == at(UTM, 510_003, 5_500_007)
    assert three is not None
    assert phase(three) == pytest.approx(phase(UTM))


def test_without_alignment_each_scene_begins_at_its_own_corner() -> None:
    first, second = grids(TargetGrid(resolution=7, align=False), UTM, at(UTM, 520_000, 5_500_001))

    assert first is not None
    assert second is not None
    assert (first.transform[2], first.transform[5]) == (500_003, 5_500_007)
    assert (second.transform[2], second.transform[5]) == (520_000, 5_500_001)


@given(
    corners=st.lists(st.tuples(st.floats(300_000, 700_000), st.floats(4_000_000, 6_000_000)), min_size=1, max_size=5),
    size=st.sampled_from((5.0, 12.5, 30.0)),
)
def test_neighbours_share_pixel_edges_and_no_scene_is_cut(corners: list[tuple[float, float]], size: float) -> None:
    references = [at(UTM, x, y) for x, y in corners]

    found = grids(TargetGrid(crs="EPSG:32633", resolution=size), *references)

    phases = []
    for reference, grid in zip(references, found, strict=True):
        assert grid is not None
        assert grid.resolution == (size, size)
        phases.append(phase(grid))
        assert _holds(grid, reference)
    assert np.abs(np.diff(np.cos(2 * np.pi * np.array(phases)), axis=0)).max(initial=0) < 1e-5


def _holds(grid: Grid, reference: Grid) -> bool:
    from rasterio.warp import transform

    xs, ys = transform(reference.crs, grid.crs, *zip(*reference.corners, strict=True))
    left, bottom, right, top = grid.bounds
    room = grid.resolution[0] * 0.02
    return min(xs) >= left - room and max(xs) <= right + room and min(ys) >= bottom - room and max(ys) <= top + room


def test_the_finest_scene_sets_the_resolution_of_all() -> None:
    found = grids(TargetGrid(crs="most"), at(UTM, 500_000, 5_500_000, 20), at(UTM, 600_000, 5_500_000, 10), at(UTM, 7e5, 5.5e6, 60))

    assert {grid.resolution for grid in found if grid} == {(10.0, 10.0)}


def test_metres_become_degrees_of_as_large_a_pixel() -> None:
    [grid] = grids(TargetGrid(crs="EPSG:4326"), UTM)

    assert grid is not None
    height, width = grid.resolution
    assert height == width
    assert width == pytest.approx(np.sqrt(10 / 111_200 * 10 / (111_320 * np.cos(np.radians(49.65)))), rel=0.01)


@pytest.mark.parametrize(
    ("lon", "lat", "zone"),
    [
        (9.0, 50.0, "EPSG:32632"),
        (-75.0, 40.0, "EPSG:32618"),
        (150.0, -33.0, "EPSG:32756"),
        (179.99, -17.0, "EPSG:32760"),
        (180.01, -17.0, "EPSG:32701"),
        (15.0, 84.5, "EPSG:32661"),
        (15.0, 83.5, "EPSG:32633"),
        (15.0, -80.5, "EPSG:32761"),
    ],
)
def test_each_scene_gets_its_own_zone(lon: float, lat: float, zone: str) -> None:
    scene = Grid("EPSG:4326", (0.0001, 0, lon, 0, -0.0001, lat), Shape(10, 10))

    [grid] = grids(TargetGrid(crs="utm", resolution=10), scene)

    assert grid is not None
    assert grid.crs == zone


def test_most_scenes_choose_the_crs() -> None:
    found = grids(TargetGrid(crs="most"), UTM, at(UTM, 5e5, 5.5e6, crs="EPSG:32633"), at(UTM, 6e5, 5.5e6))

    assert {grid.crs for grid in found if grid} == {"EPSG:32632"}


def test_a_raster_can_be_the_pattern(tmp_path: Path) -> None:
    path = tmp_path / "like.tif"
    place = Affine(25, 0, 400_005, 0, -20, 5_000_004)
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:25832", transform=place, count=1, height=4, width=4, dtype="uint8") as file:
        file.write(np.ones((1, 4, 4), np.uint8))

    [grid] = grids(TargetGrid(like=str(path)), UTM)

    assert grid is not None
    assert (grid.crs, grid.resolution) == ("EPSG:25832", (20, 25))
    assert phase(grid) == pytest.approx((400_005 / 25 % 1, 5_000_004 / -20 % 1))


def test_scenes_are_cut_to_bounds_and_left_out_beyond_them() -> None:
    target = TargetGrid(crs="EPSG:32632", bounds=[500_100, 5_499_000, 500_300, 5_499_700])

    inside, outside = grids(target, UTM, at(UTM, 600_003, 5_500_007))

    assert inside is not None
    assert inside.bounds == (500_093, 5_499_407, 500_303, 5_499_707)
    assert outside is None


def test_a_band_name_is_a_reference_and_no_file() -> None:
    target = TargetGrid(like="B8")

    assert (target.reference, target.given) == ("B8", False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"crs": "EPSG:32632", "like": "a/b.tif"}, "like"),
        ({"bounds": [0, 0, 1, 1]}, "none is given"),
        ({"crs": "EPSG:32632", "bounds": [1, 0, 0, 1]}, "enclose nothing"),
        ({"resolution": 0}, "resolution"),
        ({"resolution": [1, 2, 3]}, "resolution"),
        ({"crss": "utm"}, "did you mean 'crs'"),
    ],
)
def test_a_wrong_config_is_refused_with_its_place(settings: dict[str, Any], words: str) -> None:
    [error] = problems({"_target_": "geohydra.sources.grids.TargetGrid", **settings}, where="source.grid")

    assert str(error).startswith("source.grid")
    assert words in str(error)


def test_height_and_width_of_a_pixel_can_differ() -> None:
    target = build({"_target_": "geohydra.sources.grids.TargetGrid", "crs": "EPSG:32632", "resolution": [20, 10]}, where="grid")

    [grid] = grids(target, UTM)

    assert grid is not None
    assert grid.resolution == (20, 10)


@pytest.mark.parametrize(
    ("target", "scene", "words"),
    [
        (TargetGrid(crs="EPSG:99999"), UTM, "is no CRS that PROJ knows"),
        (TargetGrid(crs="utm"), Grid("", (1, 0, 0, 0, -1, 0), Shape(5, 5)), "has no CRS"),
        (TargetGrid(crs="EPSG:4326", resolution=1e-9), UTM, "is in units of its CRS"),
        (TargetGrid(crs="EPSG:4326", resolution=0.1), Grid("EPSG:3413", (1e3, 0, -5200.0, 0, -1e3, 5100), Shape(10, 10)), "around a pole"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_with_a_reason(target: TargetGrid, scene: Grid, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        grids(target, scene)

    assert caught.value.hint

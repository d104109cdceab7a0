"""Scenes of many files: mosaics, series, bands of any kind of file, one grid for all, clouds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint

from geohydra.build import problems
from geohydra.errors import GeohydraError
from geohydra.raster.clouds import CloudMask
from geohydra.raster.read import SceneReader
from geohydra.sources.files import Files
from geohydra.sources.grids import TargetGrid
from geohydra.types import Image, Scene, Shape, Window

Write = Callable[..., Path]


def gathered(folder: Path, **settings: Any) -> list[Scene]:
    """What ingest would see."""
    source = Files(**settings)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return list(source.scenes(source.lock(), out, lambda done, total, text: None))


def refusal(folder: Path, **settings: Any) -> str:
    with pytest.raises(GeohydraError) as caught:
        gathered(folder, **settings)
    return str(caught.value)


def whole(scene: Scene) -> Image:
    with SceneReader(scene) as reader:
        return reader.read(Window(0, 0, scene.grid.shape))


def flat(value: float, bands: int = 1, size: int = 64, dtype: str = "uint8") -> np.ndarray:
    return np.full((bands, size, size), value, dtype)


TILES = r"(?P<scene>S)_(?P<tile>t\d+)_(?P<band>B\d)"
DATED = r"(?P<scene>S)_(?P<time>\d{8})"


def test_files_of_one_band_are_a_mosaic_on_one_grid_where_that_is_wanted(tmp_path: Path, tif: Write) -> None:
    for tile, shift in (("t10", 600), ("t2", 0)):
        for band in ("B1", "B2"):
            tif(f"S_{tile}_{band}.tif", pixels=flat(int(tile[1:])), shift=shift)

    [scene] = gathered(tmp_path, images=f"{tmp_path}/*.tif", scene=TILES, mosaic="name")

    assert scene.bands == ("B1", "B2")
    assert [Path(asset.uri).name for asset in scene.assets] == ["S_t2_B1.tif", "S_t10_B1.tif", "S_t2_B2.tif", "S_t10_B2.tif"]
    assert scene.grid.shape == Shape(64, 124)
    image = whole(scene)
    assert image.valid.all()
    assert (image.pixels[:, :, :64] == 2).all()
    assert (image.pixels[:, :, 64:] == 10).all()


@pytest.mark.parametrize(("mosaic", "value", "month"), [("newest", 6, 6), ("oldest", 5, 5)])
def test_files_of_different_times_lie_above_each_other_by_their_age(
    tmp_path: Path, tif: Write, mosaic: str, value: int, month: int
) -> None:
    for when, number in (("20240501", 5), ("20240601", 6)):
        tif(f"S_{when}.tif", pixels=flat(number))

    [scene] = gathered(tmp_path, images=f"{tmp_path}/*.tif", scene=DATED, mosaic=mosaic)

    assert scene.times == ()
    assert scene.time == datetime(2024, month, 1, tzinfo=UTC)
    assert (whole(scene).pixels == value).all()


def test_files_of_different_times_are_a_series(tmp_path: Path, tif: Write) -> None:
    for when in ("20240601", "20240501"):
        tif(f"S_{when}_x.tif", bands=2)
    tif("T_20240501_x.tif", bands=2)

    series, single = gathered(tmp_path, images=f"{tmp_path}/*.tif", scene=r"(?P<scene>[ST])_(?P<time>\d{8})", composite="median")

    assert [time.month for time in series.times] == [5, 6]
    assert (series.composite, series.time) == ("median", datetime(2024, 5, 1, tzinfo=UTC))
    assert (single.times, single.composite, single.time) == ((), None, datetime(2024, 5, 1, tzinfo=UTC))
    assert whole(series.at(series.times[1])).valid.all()


def test_a_series_can_have_bands_without_a_time_and_mosaics_at_each_time(tmp_path: Path, tif: Write) -> None:
    for when in ("20240501", "20240601"):
        for tile, shift in (("a", 0), ("b", 640)):
            tif(f"S_{when}_{tile}_B1.tif", pixels=flat(7), shift=shift)
    tif("S_dem.tif", pixels=flat(3, size=128))

    rule = r"(?P<scene>S)_(?:(?P<time>\d{8})_\w_)?(?P<band>B1|dem)"
    [scene] = gathered(tmp_path, images=f"{tmp_path}/*.tif", scene=rule, mosaic="name", reference="B1")

    assert scene.grid.shape == Shape(64, 128)
    one = whole(scene.at(scene.times[0]))
    assert one.valid.all()
    assert one.pixels[:, 0, 0].tolist() == [7, 3]


def test_a_scene_is_kept_if_one_of_its_dates_holds_anything(tmp_path: Path, tif: Write) -> None:
    tif("S_20240501.tif", pixels=flat(0), nodata=0)
    tif("S_20240601.tif", pixels=flat(9), nodata=0)

    assert len(gathered(tmp_path, images=f"{tmp_path}/*.tif", scene=DATED)) == 1


def test_tiles_with_other_bands_are_refused(tmp_path: Path, tif: Write) -> None:
    tif("S_t1_x.tif", bands=2)
    tif("S_t2_x.tif", bands=3)

    text = refusal(tmp_path, images=f"{tmp_path}/*.tif", scene=r"(?P<scene>S)_t\d", mosaic="name")

    assert "has the bands red, green, blue, and" in text


def test_bands_are_taken_by_name_whatever_their_order_type_and_resolution(tmp_path: Path, tif: Write) -> None:
    tif("a.tif", pixels=np.concatenate([flat(1), flat(2)]), names=("red", "nir"))
    tif("b.tif", pixels=np.concatenate([flat(2, dtype="int16"), flat(1, dtype="int16")]), names=("nir", "red"), resolution=20.0)

    scenes = gathered(tmp_path, images=f"{tmp_path}/*.tif", bands=["red", "nir"], grid=TargetGrid(crs="EPSG:3857", resolution=15))

    assert {(scene.grid.crs, scene.grid.resolution) for scene in scenes} == {("EPSG:3857", (15, 15))}
    for scene in scenes:
        image = whole(scene)
        assert image.valid.mean() > 0.9
        assert {tuple(pixel) for pixel in image.pixels[:, image.valid].T.tolist()} == {(1, 2)}


def test_codes_take_the_nearest_pixel_and_all_else_what_is_wanted(tmp_path: Path, tif: Write) -> None:
    for band in ("B1", "B2", "SCL"):
        tif(f"S_{band}.tif", bands=1)

    [scene] = gathered(
        tmp_path, images=f"{tmp_path}/*.tif", scene=r"(?P<scene>S)_(?P<band>\w+)", resampling={"*": "cubic", "B2": "average"}
    )

    assert {asset.bands[0]: asset.resampling for asset in scene.assets} == {"B1": "cubic", "B2": "average", "SCL": "nearest"}


def test_bands_of_one_file_can_come_onto_the_grid_in_different_ways(tmp_path: Path, tif: Write) -> None:
    path = tif("a.tif", bands=3, names=("red", "scl", "nir"))

    [scene] = gathered(tmp_path, images=str(path))

    assert [(asset.bands, asset.indexes, asset.resampling) for asset in scene.assets] == [
        (("red", "nir"), (1, 3), "bilinear"),
        (("scl",), (2,), "nearest"),
    ]
    with SceneReader(scene, bands=["red", "scl", "nir"]) as reader, rasterio.open(path) as file:
        np.testing.assert_array_equal(reader.read(Window(0, 0, Shape(64, 64))).pixels, file.read())


def test_a_palette_means_codes(tmp_path: Path, tif: Write) -> None:
    path = tif("a.tif", bands=1)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {1: (255, 0, 0, 255)})

    [scene] = gathered(tmp_path, images=str(path))

    assert scene.assets[0].resampling == "nearest"


@pytest.mark.parametrize(
    ("scaling", "values"),
    [(None, [10, 10]), ("file", [6, 40]), ({"a": [0.1, 1], "*": [2, 0]}, [2, 20]), ({"b": [2, 0]}, [10, 20]), ([0.1, 0], [1, 1])],
)
def test_numbers_are_scaled_as_the_file_or_the_config_says(tmp_path: Path, tif: Write, scaling: Any, values: list[float]) -> None:
    path = tif("a.tif", pixels=flat(10, 2), names=("a", "b"))
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.5, 3.0), (1.0, 10.0)

    [scene] = gathered(tmp_path, images=str(path), scaling=scaling)

    image = whole(scene)
    np.testing.assert_allclose(image.pixels[:, 0, 0], values, rtol=1e-6)
    assert image.pixels.dtype == (np.uint8 if scaling is None else np.float32)


def test_a_band_of_clouds_masks_and_is_no_band_of_the_network(tmp_path: Path, tif: Write) -> None:
    codes = flat(4, size=32)
    codes[0, :4] = 9
    tif("S_B1.tif", pixels=flat(50))
    tif("S_SCL.tif", pixels=codes, resolution=20.0)

    [scene] = gathered(
        tmp_path, images=f"{tmp_path}/*.tif", scene=r"(?P<scene>S)_(?P<band>\w+)", bands=["B1"], clouds=CloudMask(band="SCL", values=[9])
    )

    assert scene.bands == ("B1",)
    image = whole(scene)
    assert not image.valid[:8].any()
    assert image.valid[8:].all()


def test_each_date_of_a_series_has_clouds_of_its_own(tmp_path: Path, tif: Write) -> None:
    for when, clouded in (("20240501", slice(0, 32)), ("20240601", slice(32, 64))):
        pixels = np.concatenate([flat(50), flat(0)])
        pixels[1, clouded] = 1
        tif(f"S_{when}.tif", pixels=pixels, names=("red", "cloud"))

    [scene] = gathered(tmp_path, images=f"{tmp_path}/*.tif", scene=DATED, bands=["red"], clouds=CloudMask(band="cloud", values=[1]))

    first, second = (whole(scene.at(time)).valid for time in scene.times)
    assert not first[:32].any()
    assert first[32:].all()
    assert second[:32].all()
    assert not second[32:].any()


def test_scenes_beyond_the_bounds_are_left_out_and_told(tmp_path: Path, tif: Write) -> None:
    tif("a.tif")
    tif("b.tif", shift=50_000)
    target = TargetGrid(crs="EPSG:32632", bounds=[500_000, 5_499_700, 500_300, 5_500_000])

    [scene] = gathered(tmp_path, images=f"{tmp_path}/*.tif", grid=target)

    assert (scene.id, scene.grid.shape) == ("a", Shape(30, 30))
    assert "b: left out, it lies outside of source.grid.bounds" in (tmp_path / "out" / "notes.txt").read_text()
    assert "lie outside of source.grid.bounds" in refusal(tmp_path, images=f"{tmp_path}/b.tif", grid=target)


def unplaced(path: Path, transform: Affine) -> Path:
    with rasterio.open(path, "w", driver="GTiff", transform=transform, count=1, height=64, width=64, dtype="uint8") as file:
        file.write(flat(7))
    return path


def test_a_rotated_image_whose_crs_is_stated_is_read_upright(tmp_path: Path) -> None:
    path = unplaced(tmp_path / "a.tif", Affine(8, 6, 500_000, 6, -8, 5_500_000))

    [scene] = gathered(tmp_path, images=str(path), crs="EPSG:32632")

    assert scene.grid.upright
    assert whole(scene).valid.sum() == pytest.approx(64 * 64, rel=0.03)


def test_a_stated_crs_does_not_stand_for_another_one(tmp_path: Path) -> None:
    path = unplaced(tmp_path / "a.tif", Affine(10, 0, 500_000, 0, -10, 5_500_000))

    text = refusal(tmp_path, images=str(path), crs="EPSG:32632", grid=TargetGrid(crs="EPSG:3857", resolution=10))

    assert "for which source.crs states EPSG:32632, and is to be read in EPSG:3857" in text


def test_one_file_without_a_crs_among_others_is_refused(tmp_path: Path, tif: Write) -> None:
    tif("S_B1.tif", bands=1)
    tif("S_B2.tif", bands=1, crs=None)

    text = refusal(tmp_path, images=f"{tmp_path}/*.tif", scene=r"(?P<scene>S)_(?P<band>B\d)", allow_no_crs=True)

    assert "S_B2.tif: has no CRS, and" in text


def test_an_image_that_only_control_points_place_is_a_scene(tmp_path: Path) -> None:
    points = [GroundControlPoint(row, col, 10 + col * 1e-4, 50 - row * 1e-4) for row in (0, 32, 64) for col in (0, 32, 64)]
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", gcps=points, crs="EPSG:4326", count=1, height=64, width=64, dtype="uint8"
    ) as file:
        file.write(flat(7))

    [scene] = gathered(tmp_path, images=f"{tmp_path}/a.tif", grid=TargetGrid(crs="utm", resolution=10))

    assert scene.grid.crs == "EPSG:32632"
    image = whole(scene)
    assert (image.pixels[0][image.valid] == 7).all()
    assert image.valid.mean() > 0.8


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([GroundControlPoint(0, 0, 179.9, 0), GroundControlPoint(0, 64, -179.9, 0), GroundControlPoint(64, 0, 179.9, 1)], "date line"),
        ([GroundControlPoint(k, k, 10 + k, 50 - k) for k in (0, 10, 20, 30)], "tell no place"),
    ],
)
def test_control_points_that_tell_no_place_are_refused(tmp_path: Path, points: list[GroundControlPoint], words: str) -> None:
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", gcps=points, crs="EPSG:4326", count=1, height=64, width=64, dtype="uint8"
    ) as file:
        file.write(flat(7))

    assert words in refusal(tmp_path, images=f"{tmp_path}/a.tif")


def test_an_image_that_only_a_sensor_model_places_is_refused(tmp_path: Path) -> None:
    rpc = rasterio.rpc.RPC(
        height_off=50, height_scale=500, lat_off=50, lat_scale=0.1, line_den_coeff=[1.0] + [0.0] * 19,
        line_num_coeff=[0.0, 0.0, 1.0] + [0.0] * 17, line_off=32, line_scale=32, long_off=10, long_scale=0.1,
        samp_den_coeff=[1.0] + [0.0] * 19, samp_num_coeff=[0.0, 1.0] + [0.0] * 18, samp_off=32, samp_scale=32,
    )  # fmt: skip
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", count=1, height=64, width=64, dtype="uint8", rpcs=rpc) as file:
        file.write(flat(7))

    assert "is placed by a sensor model (RPC) only" in refusal(tmp_path, images=f"{tmp_path}/a.tif")


@pytest.mark.parametrize(
    ("settings", "where", "words"),
    [
        ({"mosaic": "newest"}, "source.mosaic", "needs a time"),
        ({"mosaic": "alphabet"}, "source.mosaic", "does not fit"),
        ({"bands": ["red"], "resampling": {"rad": "nearest"}}, "source.resampling.rad", "is none of the bands"),
        ({"resampling": {"red": "linear"}}, "source.resampling.red", "does not fit"),
        ({"bands": ["red"], "scaling": {"nir": [1, 0]}}, "source.scaling.nir", "is none of the bands"),
        ({"scaling": {"nir": [1]}}, "source.scaling", "does not fit"),
        ({"composite": "meadian"}, "source.composite", "median"),
        (
            {"reference": "a", "grid": {"_target_": "geohydra.sources.grids.TargetGrid", "like": "b"}},
            "source.grid.like",
            "as source.reference does",
        ),
    ],
)
def test_a_wrong_config_is_refused_with_its_place(settings: dict[str, Any], where: str, words: str) -> None:
    found = problems({"_target_": "geohydra.sources.files.Files", "images": "a.tif", **settings}, where="source")

    assert any(str(error).startswith(where) and words in str(error) for error in found)

"""Chips from real imagery."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from geohydra.chips.apart import least_distance, overlaps
from geohydra.chips.areas import ByArea
from geohydra.chips.cutting import cut_chips
from geohydra.chips.folds import KFold
from geohydra.chips.label_centred import LabelCentred
from geohydra.chips.sampling import Sliding
from geohydra.chips.splits import Blocks
from geohydra.chips.traits import ByTime
from geohydra.errors import DataError
from geohydra.raster.read import probe
from geohydra.tasks.semantic_segmentation import SemanticSegmentation
from geohydra.types import Asset, LabelAsset, Scene

pytestmark = pytest.mark.realdata


@pytest.fixture
def village(realdata):
    """48 images of 512 pixels that adjoin each other, in degrees, with a mask of buildings each."""
    folder = realdata / "banepa_buildings" / "train"
    scenes = []
    for path in sorted((folder / "oam").glob("*.tif")):
        asset = Asset(str(path), ("red", "green", "blue"), (1, 2, 3), "uint8")
        (mask,) = (folder / "masks").glob(f"{path.stem}*.tif")
        labels = LabelAsset(str(mask), "raster", {1: "building"}, ("building",))
        scenes.append(Scene(path.stem, probe(str(path)).grid, (asset,), labels))
    return scenes


def test_adjoining_images_are_split_by_location(village, tmp_path):
    task = SemanticSegmentation(classes=["building"])

    cutting = cut_chips(village, task, Sliding(size=256, split=Blocks(size=130)), tmp_path, seed=0, progress=lambda *_: None)

    assert len(cutting.chips) == 48 * 4
    assert {region.split for region in cutting.regions} == {"train", "val", "test"}
    assert not overlaps(cutting.regions, village)
    shares = {
        split: sum(chip.shares["building"] for chip in cutting.chips if chip.split == split)
        / sum(chip.split == split for chip in cutting.chips)
        for split in ("train", "val", "test")
    }
    assert all(0.3 < share < 0.6 for share in shares.values())


def test_a_buffer_of_metres_holds_in_degrees(village, tmp_path):
    task = SemanticSegmentation(classes=["building"])
    sampling = Sliding(size=256, split=Blocks(size=150, buffer=10))

    cutting = cut_chips(village, task, sampling, tmp_path, seed=0, progress=lambda *_: None)

    assert 9.9 <= least_distance(cutting.regions, village) < 12


COVER = ("agriculture", "developed", "forest", "herbaceous", "sediment", "shrubland", "water")


@pytest.fixture
def carolina(realdata, tmp_path):
    """One Landsat scene, and 34 polygons of land cover on it."""
    import geopandas

    folder = realdata / "landsat7_nc_landcover"
    grid = probe(str(folder / "landsat7_2000.tif")).grid
    frame = geopandas.read_file(folder / "polygons.geojson").to_crs(grid.crs).rename(columns={"label": "class"})
    frame[["class", "geometry"]].to_parquet(tmp_path / "labels.parquet")
    asset = Asset(str(folder / "landsat7_2000.tif"), ("blue", "green", "red", "nir", "swir1"), (1, 2, 3, 4, 5), "uint8", 0)
    return [Scene("carolina", grid, (asset,), LabelAsset(str(tmp_path / "labels.parquet"), "vector", classes=COVER))]


def test_five_folds_test_every_chip_once(carolina, tmp_path):
    task = SemanticSegmentation(classes=list(COVER))
    found = []
    for fold in range(5):
        sampling = Sliding(size=16, split=KFold(folds=5, fold=fold, size=1400))
        found.append(cut_chips(carolina, task, sampling, tmp_path / str(fold), seed=0, progress=lambda *_: None).chips)

    tested = [chip.window for chips in found for chip in chips if chip.split == "test"]
    assert len(tested) == len(set(tested)) > 950
    for name in ("forest", "developed"):
        assert all(any(chip.split == "test" and chip.shares[name] > 0 for chip in chips) for chips in found), name


def test_a_drawn_polygon_is_for_testing(carolina, tmp_path):
    import geopandas
    import shapely

    grid = carolina[0].grid
    left, bottom, right, top = grid.bounds
    lake = shapely.Polygon(
        [(left + 2000, bottom + 1000), (right - 3000, bottom + 2500), (right - 6000, top - 4000), (left + 3000, top - 6000)]
    )
    geopandas.GeoDataFrame({"split": ["test"]}, geometry=[lake], crs=grid.crs).to_crs("EPSG:4326").to_file(tmp_path / "areas.geojson")
    split = ByArea(areas=str(tmp_path / "areas.geojson"), rest="train", buffer=100)

    cutting = cut_chips(
        carolina, SemanticSegmentation(classes=list(COVER)), Sliding(size=16, split=split), tmp_path / "out", seed=0, progress=quiet
    )

    outlines = shapely.box(*zip(*[grid.at(chip.window).bounds for chip in cutting.chips], strict=True))
    for chip, outline in zip(cutting.chips, outlines, strict=True):
        inside = lake.buffer(1.0).contains(outline)
        assert inside if chip.split == "test" else not inside
    assert least_distance(cutting.regions, carolina) >= 100
    tested = sum(outline.area for chip, outline in zip(cutting.chips, outlines, strict=True) if chip.split == "test")
    assert tested > 0.7 * lake.area


def test_chips_around_rare_land_cover_are_drawn(carolina, tmp_path):
    task = SemanticSegmentation(classes=list(COVER))
    sampling = LabelCentred(size=16, count=20, negatives=0.25, split=KFold(folds=3, size=2000))

    cutting = cut_chips(carolina, task, sampling, tmp_path / "out", seed=0, progress=quiet)

    train = [chip for chip in cutting.chips if chip.split == "train"]
    bare = sum(not any(chip.shares.values()) for chip in train)
    assert bare == round(0.25 * (len(train) - bare))
    assert all(sum(chip.shares[name] > 0 for chip in train) >= 10 for name in ("forest", "developed", "herbaceous"))


def quiet(done, total, text):
    return None


@pytest.fixture
def wetlands(realdata, tmp_path):
    """The same wetlands in three years, with a polygon of water that was drawn by hand."""
    import geopandas
    import shapely

    scenes = []
    for path in sorted((realdata / "naip_series_stac" / "images").glob("*.tif")):
        grid = probe(str(path)).grid
        left, bottom, right, top = grid.bounds
        lake = shapely.box(left + 1000, bottom + 1000, right - 1000, top - 1000)
        labels = tmp_path / f"{path.stem}.parquet"
        geopandas.GeoDataFrame({"class": ["water"]}, geometry=[lake], crs=grid.crs).to_parquet(labels)
        asset = Asset(str(path), ("red", "green", "blue", "nir"), (1, 2, 3, 4), "uint8", 0)
        year = int(next(part for part in path.stem.replace("-", "_").split("_") if part[:2] == "20")[:4])
        when = datetime(year, 8, 1, tzinfo=UTC)
        scenes.append(Scene(path.stem, grid, (asset,), LabelAsset(str(labels), "vector", classes=("water",)), when))
    return scenes


def test_another_year_at_the_same_place_must_be_meant(wetlands, tmp_path):
    task = SemanticSegmentation(classes=["water"])
    split = ByTime(test=[2020], val=[2014])

    with pytest.raises(DataError, match="chips of two splits show the same ground"):
        cut_chips(wetlands, task, Sliding(size=128, split=split), tmp_path / "one", seed=0, progress=quiet)
    cutting = cut_chips(wetlands, task, Sliding(size=128, split=split, overlap="warn"), tmp_path / "two", seed=0, progress=quiet)

    years = {chip.split: chip.scene for chip in cutting.chips}
    assert "2009" in years["train"]
    assert "2014" in years["val"]
    assert "2020" in years["test"]

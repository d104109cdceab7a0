"""Chips from real imagery."""

from __future__ import annotations

import pytest

from geohydra.chips.cutting import cut_chips
from geohydra.chips.sampling import Sliding
from geohydra.chips.splits import Blocks, least_distance, overlaps
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

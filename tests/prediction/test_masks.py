"""Objects with masks over a whole scene: the same in small windows as in one, and readable by others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rio_cogeo import cog_validate
from scipy import ndimage

from geohydra.models.detector_network import Answer
from geohydra.prediction.masks import predict_masks
from geohydra.prediction.pasting import outline, outlines, painted, pasted
from geohydra.prediction.settings import Prediction
from geohydra.raster.write import CogWriter
from geohydra.types import Asset, Grid, Image, Scene, Shape
from geohydra.work import Resources, Work

LABELS = ("house", "shed")


class Seeing:
    """A detector that reads off the pixels which object is where: numbers from 1, odd ones are houses; it is less sure of later ones."""

    bands = ("number",)
    device = "cpu"

    def __init__(self) -> None:
        self.details: dict[str, Any] = {}

    def normalise(self, image: Image) -> NDArray[np.float32]:
        return np.where(image.valid, image.pixels, 0).astype(np.float32)

    def infer(self, batch: Any) -> Any:
        return Answer(found=[self._found(image[0].numpy().astype(np.int64)) for image in batch])

    def forward(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return batch

    def _found(self, ids: NDArray[np.int64]) -> dict[str, torch.Tensor]:
        boxes, masks, numbers = [], [], []
        for number, place in enumerate(ndimage.find_objects(ids), start=1):
            if place is not None and number < 255:
                own = ids[place] == number
                rows, cols = ((np.arange(28) + 0.5) * own.shape[axis] / 28 for axis in (0, 1))
                boxes.append([place[0].start, place[1].start, place[0].stop, place[1].stop])
                masks.append(own[rows.astype(int)][:, cols.astype(int)])
                numbers.append(number)
        return {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "scores": torch.tensor([1 - number / 200 for number in numbers]),
            "classes": torch.tensor([(number + 1) % 2 for number in numbers], dtype=torch.int64),
            "masks": torch.from_numpy(np.array(masks, np.float32).reshape(-1, 28, 28)),
        }


def make_scene(path: Path, rows: int = 150, cols: int = 190) -> Scene:
    """Houses wall to wall in rows, and one long object across the whole scene."""
    row, col = np.mgrid[:rows, :cols]
    house = (row % 40 >= 6) & (row % 40 < 28) & (col % 60 < 50)
    ids = np.where(house, 1 + (row // 40) * 12 + col // 60 * 3 + (col % 60) // 17, 0)
    ids[row % 160 > 130] = 90
    grid = Grid("EPSG:32633", (0.5, 0, 500_000, 0, -0.5, 5_000_000), Shape(rows, cols))
    with CogWriter(path, grid=grid, bands=1, dtype="uint8", nodata=255) as writer:
        writer.write(0, ids[None].astype(np.uint8))
    return Scene("scene", grid, (Asset(str(path), ("number",), (1,), "uint8", 255.0),))


def predicted(scene: Scene, folder: Path, **kinds: Any) -> dict[str, Any]:
    work = Work({}, folder / "work", Resources())
    return predict_masks(scene, Seeing(), Prediction(**kinds), out=folder / "out", work=work, labels=LABELS, colors={})


def read(folder: Path, row: dict[str, Any]) -> tuple[NDArray[Any], Any]:
    with rasterio.open(folder / row["instances"]) as dataset:
        return dataset.read(1), geopandas.read_parquet(folder / row["objects_parquet"]).set_index("id")


@pytest.mark.parametrize(("window", "overlap"), [(64, 0.5), (80, 0.4), (96, 0.25)])
def test_objects_are_the_same_in_small_windows(tmp_path: Path, window: int, overlap: float) -> None:
    scene = make_scene(tmp_path / "scene.tif")
    with rasterio.open(tmp_path / "scene.tif") as dataset:
        truth = dataset.read(1)

    ids, table = read(tmp_path, predicted(scene, tmp_path, window=window, overlap=overlap))

    assert len(table) == len(np.unique(truth)) - 1
    for number in np.unique(truth[truth > 0]):
        values, counts = np.unique(ids[truth == number], return_counts=True)
        both = counts.max()
        found = values[counts.argmax()]
        assert both / ((truth == number) | (ids == found)).sum() > 0.9
        assert table.loc[found, "class"] == LABELS[(int(number) + 1) % 2]


def test_the_raster_shows_what_is_sure_and_candidates_are_all(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "scene.tif")

    row = predicted(scene, tmp_path, window=96, min_score=0.9)

    ids, table = read(tmp_path, row)
    everything = geopandas.read_parquet(tmp_path / row["candidates_parquet"])
    valid, errors, _ = cog_validate(str(tmp_path / row["instances"]))
    assert valid, errors
    assert set(np.unique(ids)) == {0, *table.index}
    assert 0 < len(table) < len(everything)
    assert table.score.min() >= 0.9
    assert row["objects/house"] + row["objects/shed"] == len(table)
    assert row["pixels"] == 150 * 190
    assert (tmp_path / row["quicklook"]).stat().st_size > 1000


def test_outlines_may_be_right_angled(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "scene.tif")

    _, table = read(tmp_path, predicted(scene, tmp_path, window=96, regularise=True))

    assert table.geometry.is_valid.all()
    assert table.geometry.count_coordinates().max() <= 7


@settings(deadline=None)
@given(st.integers(0, 999), st.integers(4, 60), st.integers(4, 60))
def test_a_mask_is_pasted_as_an_image_is_stretched(seed: int, rows: int, cols: int) -> None:
    grid = np.random.default_rng(seed).random((28, 28)).astype(np.float32)

    row, col, found = pasted(grid, (3, 5, 3 + rows, 5 + cols), 100, 100)

    stretched = torch.nn.functional.interpolate(torch.from_numpy(grid)[None, None], size=(rows, cols), mode="bilinear")[0, 0].numpy()
    sure = np.abs(stretched - 0.5) > 1e-4
    assert (row, col, found.shape) == (3, 5, (rows, cols))
    assert (found == (stretched >= 0.5))[sure].all()


def test_what_lies_outside_of_the_window_is_cut_off() -> None:
    row, col, found = pasted(np.ones((28, 28), np.float32), (-5.5, 90, 10.2, 130), 100, 100)

    assert (row, col, found.shape) == (0, 90, (10, 10))
    assert outline(found, row=row, col=col).bounds == (90, 0, 100, 10)
    assert pasted(np.ones((28, 28), np.float32), (-9, 0, -1, 5), 100, 100)[2].size == 0


def test_the_surest_lies_above_and_what_is_not_sure_is_left_out() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 5, 15, 15], [0, 0, 20, 20]])
    found = {"boxes": boxes, "scores": torch.tensor([0.9, 0.8, 0.3]), "classes": torch.tensor([0, 1, 0]), "masks": torch.ones(3, 28, 28)}

    ids, kinds = painted(found, [0.5, 0.5], 20, 20)

    assert (ids[7, 7], ids[12, 12], ids[18, 18]) == (2, 1, 0)
    assert kinds.tolist() == [0, 2, 1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999), st.integers(1, 12))
def test_masks_that_are_traced_together_have_the_outlines_of_each_alone(seed: int, count: int) -> None:
    draw = np.random.default_rng(seed)
    masks = [(*draw.integers(0, 99, 2).tolist(), draw.random(draw.integers(0, 12, 2)) < draw.uniform(0.2, 1.1)) for _ in range(count)]

    together = outlines(masks)

    for (row, col, pixels), found in zip(masks, together, strict=True):
        labels, _ = ndimage.label(pixels)
        sizes = np.bincount(labels.ravel(), minlength=2)[1:]
        assert found == outline(pixels, row=row, col=col)
        if sizes.max() < 4:
            assert found is None
        else:
            assert found.area == sizes.max()
            assert shapely.box(col, row, col + pixels.shape[1], row + pixels.shape[0]).covers(found)

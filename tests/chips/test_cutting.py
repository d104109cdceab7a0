"""Cutting chips from scenes on disk."""

from __future__ import annotations

import numpy as np
import pytest

from geohydra.chips.cutting import cut_chips
from geohydra.chips.folds import KFold
from geohydra.chips.gathering import SceneChips, StoredChips
from geohydra.chips.index import read_index, read_splits
from geohydra.chips.label_centred import LabelCentred
from geohydra.chips.sampling import Random, Sliding
from geohydra.chips.splits import Blocks, ByScene
from geohydra.chips.store import ChipStore
from geohydra.errors import DataError
from geohydra.ground import open_ground
from geohydra.raster.read import SceneReader
from geohydra.tasks.semantic_segmentation import SemanticSegmentation
from geohydra.types import LabelAsset, Shape, Window

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

TASK = SemanticSegmentation(classes=["water", "road"])


def quiet(done, total, text):
    return None


def noise(seed, rows=200, cols=220, *, bands=3, dtype="uint8"):
    rng = np.random.default_rng(seed)
    labels = np.zeros((rows, cols), np.uint8)
    labels[:, ::7] = 1
    labels[rng.random((rows, cols)) > 0.9] = 2
    return rng.integers(1, 255, (bands, rows, cols)).astype(dtype), labels


def everything(**changes):
    return Sliding(**{"size": 32, "split": Blocks(val=0.0, test=0.0)} | changes)


@pytest.mark.parametrize(
    "sampling",
    [
        everything(),
        everything(stride=20),
        everything(size=300),
        Random(size=32, count=60, split=Blocks(val=0.0, test=0.0)),
        Random(size=16, count=3, split=Blocks(val=0.0, test=0.0)),
    ],
)
def test_chips_hold_what_the_scene_and_its_labels_hold(make_scene, tmp_path, sampling):
    pixels, labels = noise(0)
    pixels[:, 50:90, 60:130] = 0
    scene = make_scene("a", pixels, labels, nodata=0)

    cutting = cut_chips([scene], TASK, sampling, tmp_path / "out", seed=1, progress=quiet)

    store = ChipStore(tmp_path / "out" / "chips")
    assert len(store) == len(cutting.chips) > 0
    ground = open_ground(scene)
    with SceneReader(scene) as reader:
        for place, chip in enumerate(cutting.chips):
            image = reader.read(chip.window)
            assert np.array_equal(store.pixels([place])[0], image.pixels)
            assert np.array_equal(store.valid([place])[0], image.valid)
            assert np.array_equal(store.target("mask", [place])[0], TASK.target(ground, chip.window)["mask"])


def test_shares_are_of_the_valid_pixels(make_scene, tmp_path):
    pixels, labels = np.ones((1, 32, 32), np.uint8), np.zeros((32, 32), np.uint8)
    pixels[:, :16] = 0
    labels[12:20] = 1
    scene = make_scene("a", pixels, labels, nodata=0)

    (chip,) = cut_chips([scene], TASK, everything(), tmp_path / "out", seed=0, progress=quiet).chips

    assert chip.valid == 0.5
    assert chip.shares == {"water": 0.25, "road": 0.0}


def test_the_index_is_read_back_as_it_was_written(make_scene, tmp_path):
    scenes = [make_scene(name, *noise(place), x=500_000 + 1000.0 * place) for place, name in enumerate("abc")]

    cutting = cut_chips(scenes, TASK, Sliding(size=32), tmp_path / "out", seed=1, progress=quiet)

    assert read_index(tmp_path / "out") == cutting.chips
    assert read_splits(tmp_path / "out") == list(cutting.regions)


def test_the_index_is_a_map(make_scene, tmp_path):
    import geopandas

    scenes = [make_scene("a", *noise(0)), make_scene("b", *noise(1), x=501_000.0)]
    cutting = cut_chips(scenes, TASK, Sliding(size=32), tmp_path / "out", seed=1, progress=quiet)

    chips, regions = (geopandas.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in ("index", "splits"))

    assert chips.crs == regions.crs == "EPSG:32633"
    assert chips.geometry[0].bounds == scenes[0].grid.at(cutting.chips[0].window).bounds
    assert {"scene", "split", "valid", "share_water", "share_road"} <= set(chips.columns)


def test_scenes_in_several_crs_are_mapped_in_degrees(make_scene, tmp_path):
    import geopandas

    scenes = [make_scene("a", *noise(0)), make_scene("b", *noise(1), crs="EPSG:32634")]
    cut_chips(scenes, TASK, Sliding(size=32), tmp_path / "out", seed=1, progress=quiet)

    frame = geopandas.read_parquet(tmp_path / "out" / "index.parquet")

    assert frame.crs == "EPSG:4326"
    left, bottom, right, top = frame.total_bounds
    assert 14.9 < left < right < 21.1
    assert 45.1 < bottom < top < 45.2


def test_images_without_a_place_are_cut_too(make_scene, tmp_path):
    import geopandas

    scenes = [make_scene(name, *noise(place), crs="", x=0.0, y=0.0) for place, name in enumerate("abcdef")]

    cut_chips(scenes, TASK, Sliding(size=64, split=ByScene()), tmp_path / "out", seed=1, progress=quiet)

    assert geopandas.read_parquet(tmp_path / "out" / "index.parquet").crs is None


def test_all_work_is_the_same_for_the_same_seed(make_scene, tmp_path):
    scenes = [make_scene(name, *noise(place), x=500_000 + 1000.0 * place) for place, name in enumerate("ab")]
    sampling = Sliding(size=32, keep_empty=0.5, cap=9)

    for name in ("one", "two"):
        cut_chips(scenes, TASK, sampling, tmp_path / name, seed=7, progress=quiet)

    files = [path.relative_to(tmp_path / "one") for path in sorted((tmp_path / "one").rglob("*.raw"))]
    assert len(files) == 3
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    assert read_index(tmp_path / "one") == read_index(tmp_path / "two")


def test_a_very_wide_scene_is_read_in_panels(make_scene, tmp_path):
    pixels, labels = noise(0, 40, 9000, bands=1)
    scene = make_scene("a", pixels, labels)

    cutting = cut_chips([scene], TASK, everything(size=40, stride=23), tmp_path / "out", seed=0, progress=quiet)

    store = ChipStore(tmp_path / "out" / "chips")
    assert max(chip.window.col for chip in cutting.chips) == 8960
    for place in range(0, len(store), 37):
        assert np.array_equal(store.pixels([place])[0], pixels[:, *cutting.chips[place].window.slices])


def test_an_image_smaller_than_a_chip_is_padded_with_nothing(make_scene, tmp_path):
    scene = make_scene("a", *noise(0, 20, 25))

    (chip,) = cut_chips([scene], TASK, everything(size=32), tmp_path / "out", seed=0, progress=quiet).chips

    store = ChipStore(tmp_path / "out" / "chips")
    assert chip.window == Window(0, 0, Shape(32, 32))
    assert store.valid([0])[0].sum() == 20 * 25
    assert (store.target("mask", [0])[0][20:] == 255).all()


def test_integers_of_two_sizes_are_kept_in_the_larger(make_scene, tmp_path):
    scenes = [make_scene("a", *noise(0)), make_scene("b", *noise(1, dtype="uint16"), x=501_000.0)]

    cut_chips(scenes, TASK, everything(), tmp_path / "out", seed=0, progress=quiet)

    assert ChipStore(tmp_path / "out" / "chips").dtype == np.uint16


def test_without_a_store_only_the_index_is_written(make_scene, tmp_path):
    cut_chips([make_scene("a", *noise(0))], TASK, everything(stored=False), tmp_path / "out", seed=0, progress=quiet)

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["index.parquet", "splits.parquet"]


def test_scenes_without_labels_are_left_out_and_told(make_scene, tmp_path):
    scenes = [make_scene("a", *noise(0)), make_scene("b", noise(1)[0])]

    cutting = cut_chips(scenes, TASK, everything(), tmp_path / "out", seed=0, progress=quiet)

    assert {chip.scene for chip in cutting.chips} == {"a"}
    assert "1 of 2 scenes have no labels" in cutting.notes[0]


def test_no_labels_at_all_are_refused(make_scene, tmp_path):
    with pytest.raises(DataError, match="none of 1 scenes has labels"):
        cut_chips([make_scene("a", noise(1)[0])], TASK, everything(), tmp_path / "out", seed=0, progress=quiet)


def test_an_all_nodata_scene_leaves_no_chip_and_says_why(make_scene, tmp_path):
    pixels, labels = noise(0)
    scene = make_scene("a", np.zeros_like(pixels), labels, nodata=0)

    with pytest.raises(DataError, match="no chip is left; dropped were 49 for no valid pixel"):
        cut_chips([scene], TASK, everything(), tmp_path / "out", seed=0, progress=quiet)


def test_a_split_that_stays_empty_is_refused(make_scene, tmp_path):
    scenes = [make_scene("a", *noise(0)), make_scene("b", np.zeros((3, 64, 64), np.uint8), noise(1, 64, 64)[1], x=501_000.0, nodata=0)]
    sampling = Sliding(size=32, split=ByScene(val=["b"], test=0.0))

    with pytest.raises(DataError, match="no chip is left for val; dropped were 4 for no valid pixel"):
        cut_chips(scenes, TASK, sampling, tmp_path / "out", seed=0, progress=quiet)


def test_a_class_that_training_never_sees_is_told(make_scene, tmp_path):
    pixels, labels = noise(0)
    scene = make_scene("a", pixels, np.where(labels == 2, 0, labels))

    cutting = cut_chips([scene], TASK, everything(), tmp_path / "out", seed=0, progress=quiet)

    assert cutting.notes == ["Warning: no chip for train has a pixel of 'road'."]


def test_some_empty_training_chips_are_dropped(make_scene, tmp_path):
    pixels, labels = noise(0, 320, 320)
    labels[:, 160:] = 0
    scene = make_scene("a", pixels, labels)

    cutting = cut_chips([scene], TASK, everything(keep_empty=0.2), tmp_path / "out", seed=0, progress=quiet)

    empty = sum(not any(chip.shares.values()) for chip in cutting.chips)
    assert 3 <= empty <= 17
    assert cutting.dropped["no label (some such chips are kept)"] == 50 - empty


def test_bands_in_another_order_come_in_the_first_scenes_order(make_scene, tmp_path):
    import dataclasses

    pixels, labels = noise(0)
    scene = make_scene("a", pixels, labels)
    (asset,) = make_scene("b", pixels[::-1], labels, x=501_000.0).assets
    turned = dataclasses.replace(asset, bands=asset.bands[::-1])
    other = dataclasses.replace(make_scene("b", pixels[::-1], labels, x=501_000.0), assets=(turned,))

    cutting = cut_chips([scene, other], TASK, everything(), tmp_path / "out", seed=0, progress=quiet)

    store = ChipStore(tmp_path / "out" / "chips")
    half = len(cutting.chips) // 2
    assert np.array_equal(store.pixels([0])[0], store.pixels([half])[0])


VECTORS = ("water", "road")


@pytest.fixture
def labelled(make_scene, tmp_path):
    """Scenes with raster or with vector labels, of a dtype, one of them smaller than a chip."""

    def make(kind, dtype):
        import dataclasses

        import geopandas
        import shapely

        scenes = []
        for place, (rows, cols) in enumerate([(150, 130), (60, 200), (40, 40)]):
            pixels, labels = noise(place, rows, cols, dtype=dtype)
            pixels[:, 10:30, 20:35] = 0
            scene = make_scene(f"{'cab'[place]}", pixels, labels, x=500_000.0 + 1000 * place, nodata=0)
            if kind == "vector":
                rng = np.random.default_rng(place)
                left, bottom, right, top = scene.grid.bounds
                corners = rng.uniform([left - 5, bottom - 5], [right, top], (40, 2))
                shapes = shapely.buffer(shapely.points(corners), rng.uniform(1, 12, 40))
                path = tmp_path / f"{scene.id}.parquet"
                geopandas.GeoDataFrame({"class": rng.choice(VECTORS, 40)}, geometry=shapes, crs=scene.grid.crs).to_parquet(path)
                scene = dataclasses.replace(scene, labels=LabelAsset(str(path), "vector", classes=VECTORS))
            scenes.append(scene)
        return scenes

    return make


@pytest.mark.parametrize("kind", ["raster", "vector"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("sampling", [everything(size=48, stride=31), Random(size=48, count=40, split=Blocks(val=0.0, test=0.0))])
def test_chips_on_the_fly_are_stored_chips_byte_by_byte(labelled, tmp_path, kind, dtype, sampling):
    scenes = labelled(kind, dtype)

    cutting = cut_chips(scenes, TASK, sampling, tmp_path / "out", seed=1, progress=quiet)

    stored, fly = StoredChips(tmp_path / "out" / "chips", None), SceneChips(cutting.chips, scenes, TASK, None)
    assert any(not chip.window.within(scene.grid.shape) for chip in cutting.chips for scene in scenes if scene.id == chip.scene)
    for places in ([place, (place * 7) % len(cutting.chips)] for place in range(len(cutting.chips))):
        one, other = stored(places), fly(places)
        assert one.pixels.dtype == other.pixels.dtype == np.dtype(dtype)
        assert one.pixels.tobytes() == other.pixels.tobytes()
        assert one.valid.tobytes() == other.valid.tobytes()
        assert {name: values.tobytes() for name, values in one.targets.items()} == {
            name: values.tobytes() for name, values in other.targets.items()
        }


SAMPLINGS = [
    Sliding(size=32, cap=9, keep_empty=0.5),
    Random(size=32, count=30, negatives=0.5, quotas={"road": 9}),
    LabelCentred(size=32, count=12, negatives=0.25),
    Sliding(size=32, split=KFold(folds=3, fold=1)),
    Sliding(size=32, split=ByScene(val=0.3, test=0.0)),
]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("order", [(2, 0, 1, 3), (3, 2, 1, 0)])
def test_nothing_depends_on_the_order_of_the_scenes(make_scene, tmp_path, sampling, order):
    scenes = [make_scene(f"s{place}", *noise(place, 130, 130), x=500_000.0 + 140 * place) for place in range(4)]

    one = cut_chips(scenes, TASK, sampling, tmp_path / "one", seed=3, progress=quiet)
    other = cut_chips([scenes[place] for place in order], TASK, sampling, tmp_path / "other", seed=3, progress=quiet)

    assert one.chips == other.chips
    assert one.regions == other.regions
    assert (tmp_path / "one/chips/image.raw").read_bytes() == (tmp_path / "other/chips/image.raw").read_bytes()


def test_quotas_and_negatives_hold_in_the_store(make_scene, tmp_path):
    pixels, labels = noise(0, 320, 320)
    labels[:, 100:] = 0
    labels[200:210, 200:210] = 2
    scene = make_scene("a", pixels, labels)

    cutting = cut_chips(
        [scene], TASK, everything(size=32, quotas={"water": 12, "road": 3}, negatives=0.5), tmp_path / "out", seed=0, progress=quiet
    )

    shares = [chip.shares for chip in cutting.chips]
    assert sum(share["road"] > 0 for share in shares) >= 3
    assert 12 <= sum(any(share.values()) for share in shares) <= 15
    assert sum(not any(share.values()) for share in shares) == round(0.5 * sum(any(share.values()) for share in shares))
    assert len(ChipStore(tmp_path / "out" / "chips")) == len(cutting.chips)
    assert set(cutting.dropped) == {"classes of which there are enough", "no label (there are enough such chips)"}
    assert sum(cutting.dropped.values()) + len(cutting.chips) == 100


def test_chips_of_two_splits_on_the_same_ground_are_an_error(make_scene, tmp_path):
    scenes = [make_scene("a", *noise(0)), make_scene("b", *noise(1), x=500_100.0)]
    split = ByScene(val=["b"], test=0.0)

    with pytest.raises(DataError, match=r"chips of two splits show the same ground: a \(train, row \d+, column \d+\) and b \(val"):
        cut_chips(scenes, TASK, Sliding(size=32, split=split), tmp_path / "one", seed=0, progress=quiet)
    cutting = cut_chips(scenes, TASK, Sliding(size=32, split=split, overlap="warn"), tmp_path / "two", seed=0, progress=quiet)

    assert any(note.startswith("WARNING: chips of two splits show the same ground") for note in cutting.notes)


def test_images_without_a_place_are_never_on_the_same_ground(make_scene, tmp_path):
    scenes = [make_scene(name, *noise(place), crs="", x=0.0, y=0.0) for place, name in enumerate("ab")]

    cutting = cut_chips(scenes, TASK, Sliding(size=32, split=ByScene(val=["b"], test=0.0)), tmp_path / "out", seed=0, progress=quiet)

    assert {chip.split for chip in cutting.chips} == {"train", "val"}

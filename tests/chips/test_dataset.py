"""Chips for a network."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch

from geohydra.chips.augment import Augment
from geohydra.chips.cutting import cut_chips
from geohydra.chips.dataset import Batches, loader, open_chips
from geohydra.chips.normalise import Normalise
from geohydra.chips.sampling import Sliding
from geohydra.errors import ConfigError, DataError
from geohydra.tasks.semantic_segmentation import SemanticSegmentation
from geohydra.types import Image

TASK = SemanticSegmentation(classes=["water", "road"])
STRONG = [{"Affine": {"rotate": [-40, 40], "p": 1.0}}, {"RandomBrightnessContrast": {"p": 1.0}}]
FLIPS = [{"HorizontalFlip": {}}, {"RandomRotate90": {}}]


@pytest.fixture(params=["uint8", "uint16", "float32"])
def cut(request, make_scene, tmp_path):
    scenes = []
    for place, name in enumerate("ab"):
        rng = np.random.default_rng(place)
        pixels = rng.integers(0, 200, (3, 150, 130)).astype(request.param)
        pixels[:, 20:60, 30:70] = 0
        scenes.append(make_scene(name, pixels, rng.integers(0, 3, (150, 130)).astype(np.uint8), x=500_000.0 + 1000 * place, nodata=0))
    cut_chips(scenes, TASK, Sliding(size=32), tmp_path / "out", seed=1, progress=lambda *_: None)
    return tmp_path / "out", scenes


def opened(cut, *, split="train", stored=True, bands=None, transforms=(), seed=0):
    folder, scenes = cut
    count = 3 if bands is None else len(bands)
    augment = Augment(transforms=list(transforms)) if transforms else None
    normalise = Normalise([100] * count, [50] * count)
    return open_chips(folder, scenes, TASK, split=split, stored=stored, bands=bands, normalise=normalise, augment=augment, seed=seed)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one) and one.keys() == other.keys()


@pytest.mark.parametrize("bands", [None, ("blue", "red")])
@pytest.mark.parametrize("transforms", [(), FLIPS, STRONG])
def test_stored_chips_and_scenes_give_the_same_pixels(cut, bands, transforms):
    stored, fly = (opened(cut, stored=stored, bands=bands, transforms=transforms) for stored in (True, False))

    assert len(stored) == len(fly) > 5
    assert same(stored.__getitems__([3, 0, 2]), fly.__getitems__([3, 0, 2]))


def test_a_batch_is_normalised_and_zero_where_not_valid(cut):
    chips = opened(cut)
    batch = chips.__getitems__(range(len(chips)))

    assert batch["image"].dtype == torch.float32
    assert batch["valid"].dtype == torch.bool
    assert batch["mask"].shape == batch["valid"].shape == batch["image"].shape[:1] + batch["image"].shape[2:]
    assert not batch["valid"].all()
    assert (batch["image"] * ~batch["valid"][:, None] == 0).all()


def test_one_item_is_part_of_its_batch(cut):
    chips = opened(cut, transforms=FLIPS)

    assert same({name: values[1] for name, values in chips.__getitems__([0, 1]).items()}, chips[1])


@pytest.mark.parametrize("transforms", [FLIPS, STRONG])
def test_augmented_chips_depend_on_seed_epoch_and_place_alone(cut, transforms):
    chips, other = opened(cut, transforms=transforms), opened(cut, transforms=transforms, seed=1)

    assert same(chips[(4, 2)], pickle.loads(pickle.dumps(chips)).__getitems__([(4, 1), (4, 2)]) and chips[(4, 2)])
    alone, beside = chips[(4, 2)], {name: values[1] for name, values in chips.__getitems__([(4, 1), (4, 2)]).items()}
    assert same(alone, beside)
    assert not all(same(chips[(epoch, 2)], alone) for epoch in range(6))
    assert not all(same(chips[(epoch, 2)], other[(epoch, 2)]) for epoch in range(6))


@pytest.mark.parametrize("transforms", [FLIPS, STRONG])
def test_augmented_chips_stay_zero_where_not_valid(cut, transforms):
    chips = opened(cut, transforms=transforms)
    batch = chips.__getitems__(range(len(chips)))

    assert (batch["image"] * ~batch["valid"][:, None] == 0).all()
    assert set(batch["mask"].unique().tolist()) <= {0, 1, 2, 255}


def test_loader_processes_change_nothing(cut):
    chips = opened(cut, transforms=STRONG)

    batches = [list(loader(chips, batch_size=4, shuffle=True, workers=workers)) for workers in (0, 2)]

    assert all(same(one, other) for one, other in zip(*batches, strict=True))


def test_chips_read_from_scenes_pass_to_loader_processes(cut):
    chips = opened(cut, stored=False)
    chips[0]

    assert sum(len(batch["image"]) for batch in loader(chips, batch_size=4, shuffle=False, workers=1)) == len(chips)


LOADS = """
import sys, time
from pathlib import Path
from geohydra.chips.dataset import loader, open_chips
from geohydra.tasks.semantic_segmentation import SemanticSegmentation

chips = open_chips(Path(sys.argv[1]), [], SemanticSegmentation(classes=["water", "road"]), split="train", stored=True)
batches = iter(loader(chips, batch_size=1, shuffle=False, workers=2))
next(batches)
print(*(process.pid for process in batches._workers), flush=True)
time.sleep(60)
"""


def test_loader_processes_end_with_a_killed_parent(cut):
    with subprocess.Popen([sys.executable, "-c", LOADS, cut[0]], stdout=subprocess.PIPE, text=True) as parent:
        readers = [psutil.Process(int(number)) for number in parent.stdout.readline().split()]
        parent.kill()

    assert len(readers) == 2
    assert psutil.wait_procs(readers, timeout=30)[1] == []


def test_an_empty_split_is_told(cut):
    with pytest.raises(DataError, match="no chip is for other"):
        opened(cut, split="other")


def test_a_band_that_is_not_stored_is_told(cut):
    with pytest.raises(DataError, match="did you mean 'green'"):
        opened(cut, bands=("gren",))


def test_transforms_that_cannot_work_are_told_before_training(cut):
    with pytest.raises(ConfigError, match="augment"):
        opened(cut, transforms=[{"CenterCrop": {"height": 8, "width": 8}}])


def test_shuffling_depends_on_seed_and_epoch():
    batches = Batches(10, 4, seed=3, shuffle=True)
    first = list(batches)
    batches.set_epoch(1)

    assert [len(batch) for batch in first] == [4, 4, 2]
    assert sorted(index for batch in first for _, index in batch) == list(range(10))
    assert list(Batches(10, 4, seed=3, shuffle=True)) == first
    assert [index for batch in batches for _, index in batch] != [index for batch in first for _, index in batch]
    assert len(list(Batches(10, 4, seed=3, shuffle=True, drop_last=True))) == 2


class Counted:
    """A gather whose target is a number for each chip, not a picture."""

    dtype = np.dtype(np.uint8)

    def __call__(self, places):
        from geohydra.chips.gathering import Gathered

        image = Image(np.ones((3, 8, 8), np.uint8), np.ones((8, 8), bool))
        pixels, valid = np.stack([image.pixels] * len(places)), np.stack([image.valid] * len(places))
        return Gathered(pixels, valid, {"count": np.arange(len(places)), **self.more(len(places))})

    def more(self, count):
        return {}


class Counted4(Counted):
    """Also with four numbers for each of two objects."""

    def more(self, count):
        return {"boxes": np.zeros((count, 2, 4))}


def test_numbers_of_a_chip_stay_and_targets_that_have_places_pass_only_where_nothing_moves():
    from geohydra.chips.dataset import Chips
    from geohydra.chips.index import Chip
    from geohydra.types import Shape, Window

    index = [Chip("a", Window(0, 0, Shape(8, 8)), "train")]
    colours = Augment(transforms=[{"RandomGamma": {}}])

    assert Chips(Counted(), [0], index, normalise=None, augment=colours, seed=0)[0]["count"] == 0
    assert Chips(Counted(), [0], index, normalise=None, augment=Augment(transforms=FLIPS), seed=0)[0]["count"] == 0
    with pytest.raises(ConfigError, match="'boxes' cannot be turned"):
        Chips(Counted4(), [0], index, normalise=None, augment=Augment(transforms=FLIPS), seed=0)

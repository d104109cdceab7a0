"""Changing training chips at random."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from geohydra.build import build, problems
from geohydra.chips.augment import _SYMMETRIES, Augment
from geohydra.errors import ConfigError


def node(*transforms):
    return {"_target_": "geohydra.chips.augment.Augment", "transforms": list(transforms)}


def everything(seed=0, *, bands=4, side=16, dtype="uint8"):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (bands, side, side)).astype(dtype)
    return pixels, rng.integers(0, 3, (side, side)).astype(np.uint8), rng.random((side, side)) > 0.2


def test_a_misspelt_transform_is_told_with_the_nearest_one():
    found = problems(node({"HorizontalFlip": {}}, {"RandomBrightnesContrast": {}}), where="augment")

    assert str(found[0]) == (
        "augment.transforms[1]: albumentations has no transform 'RandomBrightnesContrast'; did you mean 'RandomBrightnessContrast'?"
    )


@pytest.mark.parametrize("name", ["Compose", "BaseCrop", "DualTransform", "os", "__builtins__", "BboxParams"])
def test_only_transforms_can_be_named(name):
    assert "no transform" in str(problems(node({name: {}}), where="augment")[0])


def test_names_are_checked_without_importing_albumentations():
    code = (
        "import sys; from geohydra.build import problems;"
        "n = {'_target_': 'geohydra.chips.augment.Augment', 'transforms': [{'GaussNoise': {}}, {'Nothing': {}}]};"
        "assert len(problems(n, where='augment')) == 1; print('albumentations' in sys.modules, 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])

    assert found.stdout.split() == ["False", "False"]


def test_an_entry_with_two_names_is_refused():
    assert "one name is needed" in str(problems(node({"HorizontalFlip": {}, "Transpose": {}}), where="augment")[0])


@pytest.mark.parametrize("arguments", [{"brightness": 3}, {"brightness_limit": "much"}])
def test_arguments_are_checked_when_training_starts(arguments):
    augment = Augment(transforms=[{"RandomBrightnessContrast": arguments}])

    with pytest.raises(ConfigError, match="RandomBrightnessContrast: albumentations refuses"):
        augment(everything()[0], {}, key=(0,))


def test_a_transform_that_changes_the_size_is_refused():
    with pytest.raises(ConfigError, match="must keep its size"):
        Augment(transforms=[{"CenterCrop": {"height": 8, "width": 8}}])(everything()[0], {}, key=(0,))


def test_a_transform_that_cannot_take_so_many_bands_is_told():
    with pytest.raises(ConfigError, match="a chip of 4 bands, uint8, cannot be changed"):
        Augment(transforms=[{"HueSaturationValue": {"p": 1.0}}])(everything()[0], {}, key=(0,))


def test_turned_chips_keep_their_labels_and_validity_with_them():
    augment = Augment(transforms=[{"HorizontalFlip": None}, {"VerticalFlip": {"p": 0.5}}, {"RandomRotate90": {"p": 0.75}}])
    pixels, mask, valid = everything()
    marked = np.stack([pixels[0], mask, valid.astype(np.uint8)])

    for place in range(20):
        turned, labels, known = augment.turn([marked, mask, valid], key=(0, 1, place))
        assert np.array_equal(turned[1], labels)
        assert np.array_equal(turned[2].astype(bool), known)


def test_all_eight_symmetries_come_about():
    augment = Augment(transforms=[{"D4": {}}])
    array = np.arange(9).reshape(1, 3, 3)

    assert len({augment.turn([array], key=(place,))[0].tobytes() for place in range(100)}) == 8


@pytest.mark.parametrize("name", list(_SYMMETRIES))
def test_symmetries_do_what_albumentations_does(name):
    import albumentations

    array = np.arange(16).reshape(1, 4, 4).astype(np.uint8)
    ours = {np.ascontiguousarray(Augment(transforms=[{name: {}}]).turn([array], key=(place,))[0]).tobytes() for place in range(200)}
    theirs = {getattr(albumentations, name)()(image=array.transpose(1, 2, 0).copy())["image"].tobytes() for _ in range(200)}

    assert ours == theirs
    assert getattr(albumentations, name)().p == _SYMMETRIES[name]


def test_what_is_drawn_depends_on_the_key_alone():
    augment = Augment(transforms=[{"Affine": {"rotate": [-45, 45], "p": 1.0}}, {"RandomBrightnessContrast": {"p": 1.0}}])
    pixels, mask, _ = everything()

    one = augment(pixels, {"mask": mask}, key=(1, 2, 3))
    other = augment(pixels, {"mask": mask}, key=(1, 2, 4))
    again = augment(pixels, {"mask": mask}, key=(1, 2, 3))

    assert np.array_equal(one[0], again[0])
    assert np.array_equal(one[1]["mask"], again[1]["mask"])
    assert not np.array_equal(one[0], other[0])


def test_transforms_of_a_chip_are_drawn_independently():
    augment = Augment(transforms=[{"HorizontalFlip": {"p": 0.5}}, {"VerticalFlip": {"p": 0.5}}, {"RandomGamma": {"p": 0.0}}])
    array = np.arange(9).reshape(1, 3, 3).astype(np.uint8)

    assert len({augment(array, {}, key=(place,))[0].tobytes() for place in range(60)}) == 4


def test_labels_are_never_mixed():
    augment = Augment(transforms=[{"Affine": {"rotate": [10, 80], "p": 1.0}}])
    pixels, _, valid = everything(side=32)
    mask = np.where(np.arange(32)[:, None] + np.arange(32) > 30, 7, 2).astype(np.uint8)

    _, found = augment(pixels, {"mask": mask, "valid": valid.astype(np.uint8)}, key=(0,))

    assert set(np.unique(found["mask"])) <= {0, 2, 7}
    assert set(np.unique(found["valid"])) <= {0, 1}


@pytest.mark.parametrize(("bands", "dtype"), [(1, "uint8"), (3, "uint8"), (4, "uint8"), (6, "float32"), (13, "float32")])
def test_every_shipped_choice_takes_any_bands(augment_option, repository, bands, dtype):
    augment = build(yaml.safe_load((repository / "conf" / "augment" / f"{augment_option}.yaml").read_text()), where="augment")
    pixels, mask, _ = everything(bands=bands, dtype=dtype, side=32)
    pixels = pixels if dtype == "uint8" else pixels / np.float32(255)

    for place in range(10):
        found, masks = augment(pixels, {"mask": mask}, key=(0, 0, place))
        assert found.shape == pixels.shape
        assert masks["mask"].shape == mask.shape

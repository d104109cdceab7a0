"""Pictures are PNG bytes of the right pixels."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
from PIL import Image as Png

from geohydra import pictures
from geohydra.types import IGNORE, Image


def size(png: bytes) -> tuple[int, int]:
    return Png.open(io.BytesIO(png)).size


def image(bands: int = 4) -> Image:
    pixels = np.random.default_rng(0).integers(0, 3000, (bands, 40, 60)).astype(np.uint16)
    valid = np.ones((40, 60), bool)
    valid[:5] = False
    return Image(pixels, valid)


def test_red_green_and_blue_are_taken_by_name() -> None:
    pixels = np.zeros((4, 2, 2), np.uint8)
    pixels[2] = [[0, 255], [0, 255]]
    rgb = pictures.stretch(Image(pixels, np.ones((2, 2), bool)), ("nir", "blue", "red", "green"), low=0, high=100)

    assert rgb[..., 0].tolist() == [[0, 255], [0, 255]]
    assert np.ptp(rgb[..., 1:]) == 0


def test_pixels_that_are_not_valid_are_light_grey_and_do_not_stretch() -> None:
    scene = image()
    scene.pixels[:, :5] = 65535
    rgb = pictures.stretch(scene, ("a", "b", "c", "d"))

    assert (rgb[:5] == pictures.UNKNOWN).all()
    assert rgb[5:].max() == 255


def test_one_band_is_grey_and_no_valid_pixel_is_no_error() -> None:
    grey = pictures.stretch(image(1), ("pan",))
    empty = pictures.stretch(Image(np.full((1, 3, 3), np.nan, np.float32), np.zeros((3, 3), bool)), ("pan",))

    assert (grey[..., 0] == grey[..., 2]).all()
    assert (empty == pictures.UNKNOWN).all()


def test_ignored_pixels_have_no_class_colour() -> None:
    rgb = pictures.classes_rgb(np.array([[0, 1, IGNORE, 7]], np.uint8), [(1, 2, 3), (4, 5, 6)])

    assert rgb.tolist() == [[[1, 2, 3], [4, 5, 6], [*pictures.UNKNOWN], [*pictures.UNKNOWN]]]


def test_an_overlay_leaves_the_background_clear() -> None:
    rgb = np.zeros((1, 2, 3), np.uint8)
    mixed = pictures.overlay(rgb, np.array([[0, 1]], np.uint8), [(255, 255, 255), (200, 0, 0)], strength=0.5)

    assert mixed.tolist() == [[[0, 0, 0], [100, 0, 0]]]


def test_no_two_classes_look_alike_though_custom_would_have_it() -> None:
    names = ["built", "building", "developed", "land", "soil", "water", "unheard of", "another"]

    colors = pictures.palette(names, {"another": "#3f7cac"})

    assert len(set(colors)) == len(names)
    assert colors[-1] == (0x3F, 0x7C, 0xAC)
    assert colors[0] == (0xC8, 0x55, 0x3D)


def test_a_palette_keeps_given_colours_and_tells_thirty_classes_apart() -> None:
    names = ["background", *(f"class {place}" for place in range(30))]
    colors = pictures.palette(names, {"class 3": "#102030"}, background="background")

    assert colors[4] == (16, 32, 48)
    assert len(set(colors)) == len(names)


def test_every_picture_is_a_png_of_a_fair_size() -> None:
    rgb = pictures.stretch(image(), ("a", "b", "c", "d"))
    lines = [{"step": step, "metrics": {"train/loss": 1 / (step + 1), "val/loss": 1.0, "val/iou/water": 0.5}} for step in range(3)]
    drawn = [
        pictures.side_by_side([[("image", rgb), ("truth", rgb)], [("image", rgb)]], title="Scenes", legend={"water": (0, 0, 255)}),
        pictures.chips_grid([(str(place), rgb) for place in range(7)]),
        pictures.confusion(np.array([[10, 2], [0, 0]]), ["land", "water"]),
        pictures.curves(lines),
        pictures.curves([]),
        pictures.pr_roc({"water": ([0, 1], [1, 0.5])}, {"water": ([0, 1], [0, 1])}),
        pictures.pr_roc({}, {}),
        pictures.histogram({"red": ([0, 1, 2], [5, 3])}, title="Values"),
        pictures.bars({"water": 0.3, "land": 0.7}, title="IoU by class"),
    ]

    assert all(min(size(png)) > 100 and max(size(png)) < 3000 for png in drawn)


def shows(png: bytes, color: tuple[int, int, int]) -> bool:
    """Whether a picture has a pixel of about this colour; thin lines are blurred a little."""
    with Png.open(io.BytesIO(png)) as drawn:
        pixels = np.asarray(drawn.convert("RGB"), int)
    return bool((np.abs(pixels - color).max(axis=-1) < 25).any())


def test_bands_are_drawn_in_the_colours_that_they_are_called_by() -> None:
    curve = ([0, 1, 2], [5, 3])
    red, blue = (0xC8, 0x55, 0x3D), (0x2F, 0x66, 0x90)
    alone, with_thermal = (pictures.histogram(dict.fromkeys(names, curve), title="Values") for names in (["Red"], ["thermal", "Red"]))

    assert shows(alone, red)
    assert not shows(alone, blue)
    assert shows(with_thermal, red)


def test_classes_are_drawn_in_the_colours_of_maps() -> None:
    lines = [{"step": step, "metrics": {"water/ndvi": step, "forest/ndvi": 1.0}} for step in range(3)]

    assert shows(pictures.curves(lines, colors={"water": (1, 200, 30)}), (1, 200, 30))
    assert not shows(pictures.curves(lines), (1, 200, 30))


def test_importing_pictures_does_not_import_matplotlib() -> None:
    code = "import sys, geohydra.pictures; sys.exit('matplotlib' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

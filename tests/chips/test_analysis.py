"""Measuring scenes in one pass, against numpy on whole arrays."""

from __future__ import annotations

import json

import numpy as np
import pytest

from geohydra.chips.analysis import Analysis, _strips, measure_scenes, per_class, report_statistics
from geohydra.chips.normalise import Normalise
from geohydra.errors import DataError
from geohydra.raster.statistics import Statistics
from geohydra.report import Report, read_metrics
from geohydra.types import Shape


def quiet(done, total, text):
    return None


def made(make_scene, *, dtype="uint8", nodata=0):
    rng = np.random.default_rng(0)
    arrays, scenes = [], []
    for place, name in enumerate("abc"):
        pixels = rng.integers(0, 250, (2, 90, 70)).astype(dtype)
        pixels[:, 5:20] = 0
        labels = rng.integers(0, 3, (90, 70)).astype(np.uint8)
        arrays.append((pixels, labels))
        scenes.append(make_scene(name, pixels, labels, x=500_000.0 + 5000 * place, pixel=2.0, nodata=nodata))
    return arrays, scenes


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("threads", [1, 2])
def test_mean_and_deviation_are_those_of_all_valid_pixels(make_scene, dtype, threads):
    arrays, scenes = made(make_scene, dtype=dtype)

    found = measure_scenes(scenes, ("water", "road"), threads=threads, progress=quiet)

    pixels = np.concatenate([one.reshape(2, -1) for one, _ in arrays], axis=1).astype(np.float64)
    valid = (pixels != 0).any(axis=0) if dtype != "none" else None
    for place, band in enumerate(found.total.bands.values()):
        assert band.mean == pytest.approx(pixels[place, valid].mean(), rel=1e-6)
        assert band.std == pytest.approx(pixels[place, valid].std(), rel=1e-6)
    assert found.total.valid_share == pytest.approx(valid.mean())


def test_classes_are_counted_in_pixels_and_square_metres(make_scene):
    arrays, scenes = made(make_scene, nodata=None)

    found = per_class(measure_scenes(scenes, ("water", "road"), threads=1, progress=quiet).total)

    counts = np.bincount(np.concatenate([labels.ravel() for _, labels in arrays]), minlength=3)
    assert found["class"] == ["water", "road", "(no label)"]
    assert found["pixels"] == [counts[1], counts[2], counts[0]]
    assert found["area_m2"] == pytest.approx([4.0 * counts[1], 4.0 * counts[2], 4.0 * counts[0]])


def test_areas_in_degrees_are_areas_on_the_ground(make_scene):
    pixels, labels = np.ones((1, 100, 100), np.uint8), np.ones((100, 100), np.uint8)
    scene = make_scene("a", pixels, labels, crs="EPSG:4326", x=10.0, y=60.0, pixel=1e-4)

    found = per_class(measure_scenes([scene], ("water", "road"), threads=1, progress=quiet).total)

    assert found["area_m2"][0] == pytest.approx(100 * 100 * 11.14 * 5.58, rel=0.01)


def test_areas_in_web_mercator_are_areas_on_the_ground(make_scene):
    pixels, labels = np.ones((1, 100, 100), np.uint8), np.ones((100, 100), np.uint8)
    scene = make_scene("a", pixels, labels, crs="EPSG:3857", x=1_113_194.9, y=8_399_737.9, pixel=10.0)

    found = per_class(measure_scenes([scene], ("water", "road"), threads=1, progress=quiet).total)

    assert found["area_m2"][0] == pytest.approx(100 * 100 * 5.0 * 5.0, rel=0.01)


def test_a_scene_of_nodata_is_told_and_changes_nothing(make_scene):
    _, scenes = made(make_scene)
    empty = make_scene("empty", np.zeros((2, 30, 30), np.uint8), np.zeros((30, 30), np.uint8), x=900_000.0, nodata=0)

    found = measure_scenes([*scenes, empty], ("water", "road"), threads=2, progress=quiet)

    assert found.notes == ["Warning: empty has no valid pixel."]
    assert found.total.bands["red"].mean == measure_scenes(scenes, ("water", "road"), threads=1, progress=quiet).total.bands["red"].mean


def test_nothing_but_nodata_is_refused(make_scene):
    scenes = [make_scene("a", np.zeros((1, 30, 30), np.uint8), nodata=0), make_scene("b", np.zeros((1, 30, 30), np.uint8), nodata=0)]

    with pytest.raises(DataError, match="none of 2 scenes has a valid pixel"):
        measure_scenes(scenes, (), threads=1, progress=quiet)


def test_other_bands_are_refused(make_scene):
    scenes = [make_scene("a", np.ones((1, 30, 30), np.uint8)), make_scene("b", np.ones((2, 30, 30), np.uint8))]

    with pytest.raises(DataError, match="b: has the bands red, green; a has red"):
        measure_scenes(scenes, (), threads=1, progress=quiet)


def test_statistics_are_read_back_and_normalise(make_scene):
    _, scenes = made(make_scene)
    found = measure_scenes(scenes, ("water", "road"), threads=1, progress=quiet)

    content = json.loads(json.dumps(found.as_dict()))

    assert Statistics.from_dict(content).bands["red"].mean == found.total.bands["red"].mean
    for source in (content, found.total):
        assert Normalise.from_statistics(source, ["green"]).mean == pytest.approx(found.total.bands["green"].mean)


def test_the_report_has_tables_and_a_histogram(make_scene, tmp_path):
    import pyarrow.parquet as pq

    _, scenes = made(make_scene)
    report = Report(tmp_path / "report")

    report_statistics(measure_scenes(scenes, ("water", "road"), threads=1, progress=quiet), Analysis(), report)

    assert read_metrics(tmp_path / "report")["data/scenes"] == 3
    assert sorted(path.stem for path in (tmp_path / "report" / "tables").iterdir()) == ["per_band", "per_class", "per_scene"]
    assert pq.read_table(tmp_path / "report" / "tables" / "per_scene.parquet").num_rows == 3
    assert (tmp_path / "report" / "figures" / "histogram.png").stat().st_size > 1000


@pytest.mark.parametrize(("rows", "cols", "block"), [(100, 70, Shape(16, 16)), (5, 20_000, Shape(1, 20_000)), (600, 9000, Shape(512, 512))])
def test_strips_cover_every_pixel_once(rows, cols, block):
    seen = np.zeros((rows, cols), np.uint8)
    for window in _strips(Shape(rows, cols), block):
        seen[window.slices] += 1

    assert seen.min() == seen.max() == 1

"""The boundary IoU is the published one, on tiles as on the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter

from geohydra.evaluation import boundary
from geohydra.evaluation.boundary import boundary_ious, boundary_scores, compare_boundaries
from geohydra.raster.write import write_image
from geohydra.types import IGNORE, Grid, Shape, Window

Labels = NDArray[np.uint8]


def blobs(seed: int, rows: int, cols: int, classes: int) -> Labels:
    draw = np.random.default_rng(seed)
    smooth = np.stack([gaussian_filter(draw.random((rows, cols)), 2.0) for _ in range(classes)])
    return smooth.argmax(0).astype(np.uint8)


def published(truth: NDArray[np.bool_], answer: NDArray[np.bool_], width: int) -> float:
    """By its definition: a mask less what is left of it after so many erosions, with nothing beyond the image."""
    rims = [mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=width, border_value=0) for mask in (truth, answer)]
    union = (rims[0] | rims[1]).sum()
    return float((rims[0] & rims[1]).sum() / union) if union else float("nan")


def compared(folder: Path, truth: Labels, answer: Labels, width: int, windows: tuple[Window, ...] | None = None) -> NDArray[np.int64]:
    shape = Shape(*truth.shape)
    write_image(folder / "classes.tif", answer[None], grid=Grid("EPSG:32633", (1, 0, 0, 0, -1, 0), shape), nodata=IGNORE)
    return compare_boundaries(
        folder / "classes.tif",
        shape=shape,
        windows=windows or (Window(0, 0, shape),),
        truth=lambda window: truth[window.slices],
        classes=3,
        width=width,
    )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 40), st.integers(1, 4))
def test_every_class_has_the_published_score(tmp_path: Path, seed: int, rows: int, cols: int, width: int) -> None:
    truth, answer = blobs(seed, rows, cols, 3), blobs(seed + 1, rows, cols, 3)

    found = boundary_ious(compared(tmp_path, truth, answer, width))

    expected = [published(truth == place, answer == place, width) for place in range(3)]
    assert np.allclose(found, expected, equal_nan=True)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31), st.integers(3, 30), st.integers(3, 30), st.integers(1, 5))
def test_tiles_count_as_the_whole_does(tmp_path: Path, seed: int, rows: int, cols: int, width: int) -> None:
    truth, answer = blobs(seed, 50, 60, 3), blobs(seed + 1, 50, 60, 3)
    truth[np.random.default_rng(seed).random(truth.shape) < 0.05] = IGNORE
    answer[10:15, 20:40] = IGNORE
    whole = compared(tmp_path, truth, answer, width)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boundary, "_TILE", Shape(rows, cols))
        assert (compared(tmp_path, truth, answer, width) == whole).all()
    halves = (Window(0, 0, Shape(50, 31)), Window(0, 31, Shape(50, 29)))
    assert (sum(compared(tmp_path, truth, answer, width, (half,)) for half in halves) == whole).all()


def test_what_is_unknown_is_no_edge_and_does_not_count(tmp_path: Path) -> None:
    truth = np.zeros((20, 20), np.uint8)
    answer = truth.copy()
    truth[8:12, 8:12] = IGNORE

    found = compared(tmp_path, truth, answer, 2)

    assert found[0, 0] == 20 * 20 - 16 * 16
    assert found.sum() == 20 * 20 - 16


def test_means_are_over_classes_with_an_edge(tmp_path: Path) -> None:
    truth = np.zeros((10, 10), np.uint8)
    truth[:, 5:] = 1

    found = boundary_scores(compared(tmp_path, truth, truth, 1), ("land", "water", "road"))

    assert found["boundary_iou"] == found["boundary_iou/land"] == 1
    assert np.isnan(found["boundary_iou/road"])

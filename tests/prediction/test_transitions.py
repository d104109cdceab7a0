"""Areas of changes: by class, by scene, in all, also where pixels are not of one size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest

from geohydra.prediction.transitions import from_to, joined_tables, read_table, transition_table, write_tables
from geohydra.raster.write import write_image
from geohydra.types import IGNORE, Grid, Shape
from geohydra.vector.area import row_areas

NAMES = ("unchanged", "field_to_built", "demolished")
DATES = {"date_before": "2000-03-17", "date_after": "2003-02-06"}


def write(path: Path, labels: np.ndarray, *, crs: str = "EPSG:32633", size: float = 10.0) -> Grid:
    grid = Grid(crs, (size, 0, 15.0, 0, -size, 60.0), Shape(*labels.shape))
    write_image(path, labels[None], grid=grid, nodata=IGNORE)
    return grid


def test_a_name_tells_what_a_change_begins_and_ends_with() -> None:
    assert from_to("field_to_built") == ("field", "built")
    assert from_to("demolished") == (None, None)
    assert from_to("_to_built") == (None, None)


def test_every_class_has_its_pixels_area_and_dates(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (300, 40)).astype(np.uint8)
    labels[:20] = IGNORE
    write(tmp_path / "classes.tif", labels)

    table = transition_table(tmp_path / "classes.tif", NAMES, scene="a", dates=DATES)

    assert table["change"] == list(NAMES)
    assert table["from"] == [None, "field", None]
    assert table["pixels"] == [int((labels == place).sum()) for place in range(3)]
    assert table["area_m2"] == pytest.approx([100.0 * count for count in table["pixels"]])
    assert table["area_ha"] == pytest.approx([count / 100 for count in table["pixels"]])
    assert table["date_after"] == ["2003-02-06"] * 3


def test_in_degrees_each_row_has_its_own_area(tmp_path: Path) -> None:
    labels = np.zeros((3, 5), np.uint8)
    labels[2] = 1
    grid = write(tmp_path / "classes.tif", labels, crs="EPSG:4326", size=0.5)

    table = transition_table(tmp_path / "classes.tif", NAMES, scene="a", dates={})

    rows = row_areas(grid)
    assert table["area_m2"][:2] == pytest.approx([5 * (rows[0] + rows[1]), 5 * rows[2]])


def test_tables_of_scenes_are_joined_summed_and_written(tmp_path: Path) -> None:
    tables = []
    for place, name in enumerate("ab"):
        write(tmp_path / f"{name}.tif", np.full((4, 5), place, np.uint8))
        tables.append(transition_table(tmp_path / f"{name}.tif", NAMES, scene=name, dates=DATES))

    files = write_tables(joined_tables(tables), tmp_path)

    again = read_table(tmp_path / files["transitions_parquet"])
    assert again["scene"] == ["a"] * 3 + ["b"] * 3 + ["all"] * 3
    assert again["pixels"][-3:] == [20, 20, 0]
    assert again["area_ha"][-3:] == pytest.approx([0.2, 0.2, 0])
    assert pyarrow.csv.read_csv(tmp_path / files["transitions_csv"]).num_rows == 9

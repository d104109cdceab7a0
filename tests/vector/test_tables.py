"""Features of tables."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

from geohydra.errors import DataError
from geohydra.vector.read import read_features


@pytest.mark.parametrize(
    ("content", "kind", "crs"),
    [
        ("lon,lat,n\n9.5,48.1,1\n", "Point", "EPSG:4326"),
        ("\ufeffLongitude;Latitude\n9.5;48.1\n", "Point", "EPSG:4326"),
        ("lng\tlat\n9.5\t48.1\n", "Point", "EPSG:4326"),
        ("n,x_epsg32632,y_epsg32632\n1,500000,5300000\n", "Point", "EPSG:32632"),
        ('id,wkt\n1,"SRID=32632;POLYGON ((0 0, 1 0, 0 1, 0 0))"\n', "Polygon", "EPSG:32632"),
    ],
)
def test_a_table_tells_where_its_rows_are(tmp_path: Path, content: str, kind: str, crs: str) -> None:
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")

    frame = read_features(str(tmp_path / "a.csv"))

    assert frame.crs == crs
    assert list(frame.geom_type) == [kind]


@pytest.mark.parametrize("content", ["x,y\n500000,5500000\n", "xmin,ymin,xmax,ymax\n0,0,2,3\n", 'WKT\n"POINT (1 2)"\n'])
def test_other_coordinates_need_a_crs(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.csv").write_text(content)

    with pytest.raises(DataError, match="label_crs"):
        read_features(str(tmp_path / "a.csv"))
    assert len(read_features(str(tmp_path / "a.csv"), assume_crs="EPSG:32632")) == 1


def test_a_parquet_table_without_geometry_is_read_by_its_columns(tmp_path: Path) -> None:
    pandas.DataFrame({"lon": [9.5], "lat": [48.1], "class": ["a"]}).to_parquet(tmp_path / "a.parquet")

    assert read_features(str(tmp_path / "a.parquet")).geometry[0].x == 9.5


def test_a_coordinate_that_is_no_number_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("lon,lat\n9.5,48\n9.6,?\n")

    with pytest.raises(DataError, match=r"'lat' holds no number in row 2; it holds '\?'"):
        read_features(str(tmp_path / "a.csv"))


def test_text_that_is_no_geometry_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("wkt\nhello\n")

    with pytest.raises(DataError, match="holds no WKT"):
        read_features(str(tmp_path / "a.csv"))

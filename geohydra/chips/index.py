"""The index of chips, and the map of splits: GeoParquet that opens in QGIS as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geohydra.chips.footprint import window_footprints
from geohydra.types import Scene, Shape, Window

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Chip:
    """A window of a scene with its split; `valid` is the share of its pixels that were measured, `shares` the share
    of each class among these."""

    scene: str
    window: Window
    split: str
    valid: float = 1.0
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of whole pixels of a scene, all in one split: chips never reach into another region."""

    scene: str
    window: Window
    split: str


def write_index(path: Path, chips: Sequence[Chip], scenes: Sequence[Scene], classes: Sequence[str]) -> None:
    """A row a chip, in the order in which the store holds them."""
    columns = _columns(chips) | {"valid": [chip.valid for chip in chips]}
    columns |= {f"share_{name}": [chip.shares.get(name, 0.0) for chip in chips] for name in classes}
    _write(path, columns, chips, scenes)


def read_index(folder: Path) -> list[Chip]:
    """The chips of a chip step's output, in the order in which the store holds them."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "index.parquet")
    table = table.drop_columns(["geometry"])
    names = [name for name in table.column_names if name.startswith("share_")]
    return [
        Chip(row["scene"], _window(row), row["split"], row["valid"], {name.removeprefix("share_"): row[name] for name in names})
        for row in table.to_pylist()
    ]


def write_splits(path: Path, regions: Sequence[Region], scenes: Sequence[Scene]) -> None:
    """A row a region: which part of which scene belongs to which split."""
    _write(path, _columns(regions), regions, scenes)


def read_splits(folder: Path) -> list[Region]:
    """The regions of a chip step's output."""
    import pyarrow.parquet as pq

    rows = pq.read_table(folder / "splits.parquet", columns=["scene", "split", "row", "col", "rows", "cols"]).to_pylist()
    return [Region(row["scene"], _window(row), row["split"]) for row in rows]


def _window(row: Mapping[str, Any]) -> Window:
    return Window(row["row"], row["col"], Shape(row["rows"], row["cols"]))


def _columns(places: Sequence[Chip] | Sequence[Region]) -> dict[str, list[Any]]:
    windows = [place.window for place in places]
    return {
        "scene": [place.scene for place in places],
        "split": [place.split for place in places],
        "row": [window.row for window in windows],
        "col": [window.col for window in windows],
        "rows": [window.shape.rows for window in windows],
        "cols": [window.shape.cols for window in windows],
    }


def _write(path: Path, columns: dict[str, list[Any]], places: Sequence[Chip] | Sequence[Region], scenes: Sequence[Scene]) -> None:
    import geopandas

    grids = {scene.id: scene.grid for scene in scenes}
    geometry, crs = window_footprints(grids, columns["scene"], [place.window for place in places])
    frame = geopandas.GeoDataFrame(columns, geometry=geometry, crs=crs or None)
    frame.to_parquet(path, index=False, write_covering_bbox=False)

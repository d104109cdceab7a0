"""Tracks as lines on the ground: GeoParquet and GeoJSON, written as they end, with when and how far each object went."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer

from geohydra.types import Grid

_AT_ONCE = 4096

_FIELDS = (
    ("track", pa.int64()),
    ("class", pa.string()),
    ("score", pa.float32()),
    ("first_frame", pa.int64()),
    ("last_frame", pa.int64()),
    ("frames", pa.int64()),
    ("seen", pa.int64()),
    ("start", pa.timestamp("ms", tz="UTC")),
    ("end", pa.timestamp("ms", tz="UTC")),
    ("length_px", pa.float64()),
    ("length_m", pa.float64()),
    ("speed_m_s", pa.float64()),
)


@dataclass(slots=True)
class Course:
    """One object on its way: the middles of its boxes `(row, col)`, frame by frame, and the class and score of each that was seen."""

    number: int
    frames: list[int] = field(default_factory=list)
    middles: list[tuple[float, float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    votes: dict[str, float] = field(default_factory=dict)

    def add(self, frame: int, box: Sequence[float], *, name: str, score: float, seen: bool) -> None:
        """The object in one more frame."""
        self.frames.append(frame)
        self.middles.append(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
        if seen:
            self.scores.append(score)
            self.votes[name] = self.votes.get(name, 0.0) + score

    @property
    def name(self) -> str:
        """The class with the largest sum of scores."""
        return max(sorted(self.votes), key=lambda name: self.votes[name])


class TrackWriter:
    """Writes tracks into `tracks.parquet`, and into `tracks.geojson` where there is a CRS; memory holds those that go on."""

    def __init__(self, folder: Path, grid: Grid, times: dict[int, datetime] | None) -> None:
        """`times` of the frames, where they are real."""
        self._grid, self._times = grid, times
        self._geod = CRS.from_user_input(grid.crs).get_geod() or Geod(ellps="WGS84") if grid.crs else None
        self._lonlat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True) if grid.crs else None
        self._schema = _schema(grid)
        self._parquet = pq.ParquetWriter(folder / "tracks.parquet", self._schema, compression="zstd")
        self._geojson = (folder / "tracks.geojson").open("w", encoding="utf-8") if grid.crs else None
        self._rows: list[dict[str, Any]] = []
        self._lines: list[NDArray[np.float64]] = []
        self.count = 0
        if self._geojson:
            self._geojson.write('{"type":"FeatureCollection","features":[')

    def write(self, course: Course) -> None:
        """One track that has ended."""
        middles = np.array(course.middles)
        line = _on_ground(middles if len(middles) > 1 else np.repeat(middles, 2, axis=0), self._grid)
        row = self._row(course, middles, line)
        if self._geojson and self._lonlat:
            lonlat = np.round(np.stack(self._lonlat.transform(line[:, 0], line[:, 1]), axis=1), 7).tolist()
            told = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}
            feature = {"type": "Feature", "properties": told, "geometry": {"type": "LineString", "coordinates": lonlat}}
            self._geojson.write(("\n" if not self.count else ",\n") + json.dumps(feature))
        self._rows.append(row)
        self._lines.append(line)
        self.count += 1
        if len(self._rows) >= _AT_ONCE:
            self._flush()

    def close(self) -> None:
        """Finish the files."""
        self._flush()
        self._parquet.close()
        if self._geojson:
            self._geojson.write("\n]}\n")
            self._geojson.close()

    def _row(self, course: Course, middles: NDArray[np.float64], line: NDArray[np.float64]) -> dict[str, Any]:
        start, end = (None if self._times is None else self._times[frame] for frame in (course.frames[0], course.frames[-1]))
        metres = self._metres(line)
        seconds = (end - start).total_seconds() if start and end else 0.0
        return {
            "track": course.number,
            "class": course.name,
            "score": round(float(np.mean(course.scores)), 6),
            "first_frame": course.frames[0],
            "last_frame": course.frames[-1],
            "frames": len(course.frames),
            "seen": len(course.scores),
            "start": start,
            "end": end,
            "length_px": float(np.hypot(*np.diff(middles, axis=0).T).sum()),
            "length_m": metres,
            "speed_m_s": metres / seconds if metres is not None and seconds > 0 else None,
        }

    def _metres(self, line: NDArray[np.float64]) -> float | None:
        """Along the ellipsoid, whatever the CRS is."""
        if self._geod is None or self._lonlat is None:
            return None
        return float(self._geod.line_length(*self._lonlat.transform(line[:, 0], line[:, 1])))

    def _flush(self) -> None:
        if self._rows:
            columns: dict[str, Any] = {name: [row[name] for row in self._rows] for name, _ in _FIELDS}
            shapes = [shapely.to_wkb(shapely.linestrings(line)) for line in self._lines]
            self._parquet.write_table(pa.table({**columns, "geometry": shapes}, schema=self._schema))
        self._rows, self._lines = [], []


def _schema(grid: Grid) -> pa.Schema:
    crs = CRS.from_user_input(grid.crs).to_json_dict() if grid.crs else None
    geometry = {"encoding": "WKB", "geometry_types": ["LineString"], "crs": crs}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
    return pa.schema([*_FIELDS, ("geometry", pa.binary())]).with_metadata({"geo": json.dumps(geo)})


def _on_ground(middles: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """Points `(row, col)` as x and y."""
    a, b, c, d, e, f = grid.transform
    found: NDArray[np.float64] = middles[:, ::-1] @ np.array([[a, d], [b, e]]) + [c, f]
    return found

"""Boxes by frame and track: as MOT challenges write them, or as a table with named columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from geohydra import storage
from geohydra.build import near
from geohydra.errors import DataError

_BOX = ("xmin", "ymin", "xmax", "ymax")
_CLASS = ("class", "label", "category")
_TRACK = ("track_id", "track", "id")


@dataclass(frozen=True, slots=True)
class TrackBox:
    """One object on one frame, in columns and rows from the upper left corner of the image, which is (0, 0)."""

    frame: int
    track: str
    box: tuple[float, float, float, float]
    name: str | None


def read_tracks(uri: str) -> list[TrackBox]:
    """All boxes of a file. Raises DataError where a row is none.

    With a header: the columns frame, xmin, ymin, xmax, ymax, perhaps track_id and class. Without: the columns of MOT (frame, id,
    left, top, width, height, confidence, class), which count pixels from 1; rows of confidence 0 are not to be considered.
    """
    try:
        text = storage.read_bytes(uri).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise DataError(uri, f"cannot be read as a table ({cause})", "give a CSV file of boxes") from cause
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    if not rows:
        return []
    numbered = _number(rows[0][0]) is not None
    return list(_mot(uri, rows) if numbered else _named(uri, rows))


def _mot(uri: str, rows: Sequence[Sequence[str]]) -> Iterator[TrackBox]:
    for line, row in enumerate(rows, start=1):
        if len(row) < 6:
            raise DataError(f"{uri}, line {line}", f"has {len(row)} columns", "MOT files have frame, id, left, top, width, height, ...")
        frame, track, left, top, width, height = (_whole(uri, line, cell) for cell in row[:6])
        if len(row) > 6 and _number(row[6]) == 0:
            continue
        name = row[7] if len(row) > 7 and (_number(row[7]) or 0) > 0 else None
        yield TrackBox(int(frame), f"{track:g}", (left - 1, top - 1, left - 1 + width, top - 1 + height), name)


def _named(uri: str, rows: Sequence[Sequence[str]]) -> Iterator[TrackBox]:
    header = [name.lower() for name in rows[0]]
    missing = [name for name in ("frame", *_BOX) if name not in header]
    if missing:
        raise DataError(uri, f"has no column {missing[0]!r}", near(missing[0], header))
    track, kind = _column(header, _TRACK), _column(header, _CLASS)
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise DataError(f"{uri}, line {line}", f"has {len(row)} cells, the header {len(header)}", "write it again")
        cells: Mapping[str, str] = dict(zip(header, row, strict=True))
        left, top, right, bottom = (_whole(uri, line, cells[name]) for name in _BOX)
        place = int(_whole(uri, line, cells["frame"]))
        yield TrackBox(place, cells[track] if track else "", (left, top, right, bottom), cells[kind] or None if kind else None)


def _column(header: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in header), None)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _whole(uri: str, line: int, text: str) -> float:
    value = _number(text)
    if value is None or value != value:
        raise DataError(f"{uri}, line {line}", f"{text!r} is no number", "mend the table")
    return value

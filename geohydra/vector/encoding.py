"""Rings of points as the bytes of file formats, many at once: WKB, and the coordinates of GeoJSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geohydra.vector.outlines import Floats, Outlines

_POLYGON = b"\x01" + np.array([3], "<u4").tobytes()


def wkb(areas: Outlines, points: Floats) -> pa.Array:
    """Polygons with `points` in the places of those of the areas, as little-endian WKB."""
    if len(areas) and len(areas.ring_sizes) == len(areas) and (areas.ring_sizes == areas.ring_sizes[0]).all():
        return _alike(points.reshape(len(areas), -1))
    sizes = areas.ring_sizes.astype("<u4").tobytes()
    counts = areas.ring_counts.astype("<u4").tobytes()
    coordinates = memoryview(points.astype("<f8").tobytes())
    pieces: list[bytes | memoryview] = []
    for place, rings in enumerate(_rings(areas)):
        pieces += (_POLYGON, counts[4 * place : 4 * place + 4])
        for ring, start, stop in rings:
            pieces += (sizes[4 * ring : 4 * ring + 4], coordinates[16 * start : 16 * stop])
    point_counts = np.bincount(areas.ring_owners, weights=areas.ring_sizes, minlength=len(areas)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(9 + 4 * areas.ring_counts + 16 * point_counts)]).astype(np.int64)
    return pa.Array.from_buffers(pa.large_binary(), len(areas), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(pieces))])


def _alike(points: Floats) -> pa.Array:
    """Polygons of one ring each, all with as many points: `points` `(n, 2 x point)`."""
    count, numbers = points.shape
    row = np.dtype([("kind", f"V{len(_POLYGON)}"), ("rings", "<u4"), ("points", "<u4"), ("places", "<f8", (numbers,))])
    rows = np.empty(count, row)
    rows["kind"], rows["rings"], rows["points"], rows["places"] = np.void(_POLYGON), 1, numbers // 2, points
    offsets = np.arange(count + 1, dtype=np.int64) * row.itemsize
    return pa.Array.from_buffers(pa.large_binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(rows.tobytes())])


def geojson_coordinates(areas: Outlines, lonlat: Floats) -> list[str]:
    """For each polygon its rings as GeoJSON has them, with seven decimals."""
    text, width = _points(lonlat)
    return ["[" + ",".join(f"[{text[width * start : width * stop - 1]}]" for _, start, stop in rings) + "]" for rings in _rings(areas)]


def _rings(areas: Outlines) -> Iterator[list[tuple[int, int, int]]]:
    """For each area the number of each of its rings, and the places of its first point and of the one after its last."""
    stops = np.cumsum(areas.ring_sizes)
    rows = list(zip(range(stops.size), (stops - areas.ring_sizes).tolist(), stops.tolist(), strict=True))
    begin = 0
    for count in areas.ring_counts.tolist():
        yield rows[begin : begin + count]
        begin += count


def _points(lonlat: Floats) -> tuple[str, int]:
    """Text of all points, `[lon,lat],` each as wide as the widest, and that width; spaces fill up short numbers."""
    lon, lat = _numbers(lonlat[:, 0]), _numbers(lonlat[:, 1])
    text = np.empty((len(lonlat), lon.shape[1] + lat.shape[1] + 4), np.uint8)
    comma = lon.shape[1] + 1
    text[:, 0], text[:, comma], text[:, -2], text[:, -1] = (ord(sign) for sign in "[,],")
    text[:, 1:comma], text[:, comma + 1 : -2] = lon, lat
    return text.tobytes().decode("ascii"), text.shape[1]


def _numbers(values: Floats) -> NDArray[np.uint8]:
    """Degrees with seven decimals as characters `(number, place)`, to the right; at most 999 degrees."""
    scaled = np.rint(values * 1e7)
    size = np.abs(scaled).astype(np.uint32)
    whole = size // np.uint32(10**7)
    rest = size - whole * np.uint32(10**7)
    high = rest // np.uint32(10**4)
    text = np.empty((len(values), 3), "<u4")
    degrees, thousands, last = _tables()
    text[:, 0] = degrees[whole + 1000 * (scaled < 0)]
    text[:, 1] = thousands[high]
    text[:, 2] = last[rest - high * np.uint32(10**4)]
    used = 3 - (int(whole.max(initial=0)) >= 10) - (int(whole.max(initial=0)) >= 100) - bool((scaled < 0).any())
    return text.view(np.uint8)[:, max(0, used) :]


@cache
def _tables() -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]:
    """Whole degrees (from 1000 on negative ones), the point and three decimals, four decimals."""
    degrees = _words(f"{sign}{number}" for sign in ("", "-") for number in range(1000))
    return degrees, _words(f".{number:03}" for number in range(1000)), _words(f"{number:04}" for number in range(10**4))


def _words(texts: Iterable[str]) -> NDArray[np.uint32]:
    """Texts of up to four characters, filled up on the left, as numbers that are those bytes."""
    return np.frombuffer("".join(f"{text:>4}" for text in texts).encode("ascii"), "<u4")

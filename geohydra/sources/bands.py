"""Which band of which file has which name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from geohydra.build import near
from geohydra.errors import DataError

if TYPE_CHECKING:
    from geohydra.raster.read import Header

Wanted = Sequence[str] | Mapping[str, int | str] | None
"""Names in the order of the file (or some of the names that the file itself has), or name: index from 1 or name in the file."""


def names_in(header: Header) -> list[str]:
    """What a file calls its bands, alpha left out: by descriptions, by colours, else band1, band2, ..."""
    descriptions = [header.descriptions[index - 1].strip() for index in header.indexes]
    if all(descriptions) and len(set(descriptions)) == len(descriptions):
        return descriptions
    colors = [header.colors[index - 1] for index in header.indexes]
    if set(colors) == {"red", "green", "blue"} and len(colors) == 3:
        return colors
    return [f"band{place}" for place in range(1, len(colors) + 1)]


def choose(header: Header, wanted: Wanted) -> dict[str, int]:
    """Names and indexes (from 1) of the bands of one file that holds a whole scene.

    Names that the file has choose from it in any order; else there must be one for each of its bands. A fourth band that a
    file takes for alpha, as GDAL does by itself, is a band like others where it is named.
    """
    known = dict(zip(names_in(header), header.indexes, strict=True))
    if wanted is None:
        return known
    if isinstance(wanted, Mapping):
        return {name: _index(header, known, place) for name, place in wanted.items()}
    if set(wanted) <= known.keys():
        return {name: known[name] for name in wanted}
    if len(wanted) == len(known):
        return dict(zip(wanted, header.indexes, strict=True))
    if len(wanted) == header.count:
        return {name: index for index, name in enumerate(wanted, start=1)}
    missing = [name for name in wanted if name not in known]
    told = f"it holds {len(known)}: {', '.join(known)}"
    hint = f"{told}; name all of them in source.bands, or choose with source.bands={{{missing[0]}: 1}}"
    raise DataError(header.uri, f"has no band {missing[0]!r}", hint)


def choose_files(scene: str, headers: Mapping[str, Header], wanted: Wanted) -> dict[str, Header]:
    """Names and files of the bands of a scene that has a file for each band; `headers` are by the name in the file's name."""
    for header in headers.values():
        if len(header.indexes) != 1:
            raise DataError(header.uri, f"holds {len(header.indexes)} bands", "with a group `band` in source.scene each file holds one")
    if wanted is None:
        return dict(headers)
    places = wanted if isinstance(wanted, Mapping) else {name: name for name in wanted}
    missing = [str(place) for place in places.values() if str(place) not in headers]
    if missing:
        raise DataError(scene, f"has no file for the band {missing[0]!r}", f"it has {', '.join(headers)}")
    return {name: headers[str(place)] for name, place in places.items()}


def _index(header: Header, known: Mapping[str, int], place: int | str) -> int:
    if isinstance(place, str) and not place.isdigit():
        if place not in known:
            raise DataError(header.uri, f"has no band {place!r}", near(place, known))
        return known[place]
    if not 1 <= int(place) <= header.count:
        told = f"it has the bands {', '.join(map(str, header.indexes))}"
        raise DataError(header.uri, f"has no band {place}", told)
    return int(place)

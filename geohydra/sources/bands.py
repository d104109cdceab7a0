"""Which band of which file has which name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from geohydra.build import near
from geohydra.errors import DataError
from geohydra.types import Resampling

if TYPE_CHECKING:
    from geohydra.raster.read import Header

_CODES = frozenset(
    ("scl", "bqa", "qa", "qa60", "qa_pixel", "qa_radsat", "qa_aerosol", "pixel_qa", "fmask", "udm", "udm2", "msk_cldprb", "state_1km")
)
"""Bands of well-known products, in small letters, whose numbers are codes: a mean of two is a third code, or none."""

_TOLD = 14
"""Bands that are all named where they are told; of more only some."""

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


def choose_files(scene: str, headers: Mapping[str, Sequence[Header]], wanted: Wanted) -> dict[str, Sequence[Header]]:
    """Names and files of the bands of a scene that has a file for each band; `headers` are by the name in the files' names."""
    for header in (one for several in headers.values() for one in several):
        if len(header.indexes) != 1:
            raise DataError(header.uri, f"holds {len(header.indexes)} bands", "with a group `band` in source.scene each file holds one")
    if wanted is None:
        return dict(headers)
    places = wanted if isinstance(wanted, Mapping) else {name: name for name in wanted}
    missing = [str(place) for place in places.values() if str(place) not in headers]
    if missing:
        raise DataError(scene, f"has no file for the band {missing[0]!r}", f"it has {', '.join(headers)}")
    return {name: headers[str(place)] for name, place in places.items()}


def with_band(wanted: Wanted, band: str | None, known: Sequence[str]) -> Wanted:
    """What is wanted, and one more band of those that are known, such as the one that tells clouds."""
    if band is None or wanted is None or band in wanted or band not in known:
        return wanted
    if isinstance(wanted, Mapping):
        return {**wanted, band: band}
    return [*wanted, band] if set(wanted) <= set(known) else wanted


def told_bands(names: Sequence[str], *, noun: str = "bands ") -> str:
    """Names in a sentence; of many the first ones and the last."""
    if len(names) <= _TOLD:
        return f"{noun}{', '.join(names)}"
    return f"{len(names)} bands {', '.join(names[: _TOLD // 2])}, ..., {names[-1]}"


def method(band: str, header: Header, index: int, wanted: Mapping[str, Resampling]) -> Resampling:
    """How a band comes onto another grid: as wanted by its name; the nearest pixel where its numbers are codes; as wanted of all
    (`*`); else bilinear."""
    if band in wanted:
        return wanted[band]
    if band.lower() in _CODES or header.colors[index - 1] == "palette":
        return "nearest"
    return wanted.get("*", "bilinear")


def _index(header: Header, known: Mapping[str, int], place: int | str) -> int:
    if isinstance(place, str) and not place.isdigit():
        if place not in known:
            raise DataError(header.uri, f"has no band {place!r}", near(place, known))
        return known[place]
    if not 1 <= int(place) <= header.count:
        told = f"it has the bands {', '.join(map(str, header.indexes))}"
        raise DataError(header.uri, f"has no band {place}", told)
    return int(place)

"""The class of each whole sequence of frames: from the folders around it, or from a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from geohydra.build import near
from geohydra.errors import DataError
from geohydra.sources.chipset_tables import column, read_csv
from geohydra.sources.class_names import ClassNames
from geohydra.sources.frame_files import sequences, video_names
from geohydra.sources.pairing import safe

FOLDERS = "folders"
_LABELS = ("class", "label")


def classes_of_sequences(
    uris: Sequence[str], rule: re.Pattern[str] | None, told: str, names: ClassNames, *, video: bool
) -> dict[str, str | None]:
    """A class for each sequence; None where the mapping of classes leaves it out, or where a table does not name it.

    `told`: "folders", or a CSV table with the columns sequence and class. Of folders the group `class` of the rule tells the class, else
    it is the folder in which a video, or the folder of the frames, lies.
    """
    first = _first_files(uris, rule, video=video)
    if told != FOLDERS:
        return _from_table(told, list(first), names)
    return {name: names.of(_folder(uri, rule, video=video), where=uri) for name, uri in first.items()}


def _first_files(uris: Sequence[str], rule: re.Pattern[str] | None, *, video: bool) -> dict[str, str]:
    """A file of each sequence."""
    if video:
        return {name: uri for uri, name in video_names(uris, rule).items()}
    return {name: files[0].uri for name, files in sequences(uris, rule).items()}


def _folder(uri: str, rule: re.Pattern[str] | None, *, video: bool) -> str:
    match = rule.search(uri) if rule is not None else None
    if match is not None and match.groupdict().get("class"):
        return str(match["class"])
    parts = uri.split("/")[:-1]
    return parts[-1 if video else -2] if len(parts) > 1 else ""


def _from_table(uri: str, sequences: Sequence[str], names: ClassNames) -> dict[str, str | None]:
    """Raises DataError where the table names a sequence that is not there, or one of them twice."""
    header, rows = read_csv(uri)
    where = column(uri, header, "sequence")
    kind = next((name for name in _LABELS if name in header), None) or column(uri, header, _LABELS[0])
    found: dict[str, str | None] = dict.fromkeys(sequences)
    seen: set[str] = set()
    for row in rows:
        name = _known(row[where], found)
        if name is None:
            raise DataError(uri, f"there is no sequence {row[where]!r}", near(row[where], sequences))
        if name in seen:
            raise DataError(uri, f"names the sequence {name} twice", "a sequence has one class")
        seen.add(name)
        found[name] = names.of(row[kind], where=uri)
    return found


def _known(told: str, sequences: Mapping[str, str | None]) -> str | None:
    """The sequence that a cell means: its name, or that of its file or folder."""
    plain = told.rstrip("/").rsplit("/", 1)[-1]
    return next((name for name in (told, safe(told), safe(plain), safe(plain.rpartition(".")[0])) if name in sequences), None)

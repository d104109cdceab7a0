"""Classes of whole chips from tables and records."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geohydra import storage
from geohydra.build import near
from geohydra.errors import DataError
from geohydra.sources.chipset_formats import ChipLabels, Told

_PATHS = ("path", "file", "filename", "file_name", "image", "image_path", "image_id")
_TRUE = {"1", "1.0", "true", "yes", "t", "y"}


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Which columns tell what."""

    path: str | None
    label: str | None
    separator: str | None
    classes: tuple[str, ...]
    split: str | None


class ImageNames:
    """Images by the names under which labels know them: the end of a path, with or without its ending."""

    def __init__(self, images: Iterable[str]) -> None:
        self._by_name: dict[str, list[str]] = {}
        for uri in images:
            name = uri.rsplit("/", 1)[-1]
            for key in {name, name.rpartition(".")[0] or name}:
                self._by_name.setdefault(key, []).append(uri)
        self.missed: list[str] = []

    def find(self, told: str, *, where: str) -> str | None:
        """The image; None where there is none, which is remembered. Raises DataError where several fit."""
        path = told.strip().replace("\\", "/").removeprefix("./").lstrip("/")
        found = self._by_name.get(path.rsplit("/", 1)[-1], [])
        if "/" in path:
            longer = [uri for uri in found if _ends(uri, path)]
            found = longer or (found if len(found) == 1 else [])
        if len(found) > 1:
            raise DataError(where, f"{told!r} may be {found[0]} or {found[1]}", "make the pattern of the images narrower")
        if not found:
            self.missed.append(told)
            return None
        return found[0]

    def notes(self, where: str) -> list[str]:
        """A sentence for labels whose images are not there."""
        names = dict.fromkeys(self.missed)
        return [f"{where}: {len(names)} images that it names are not there, such as {next(iter(names))}"] if names else []


def read_csv(uri: str) -> tuple[list[str], list[dict[str, str]]]:
    """The header and the rows of a table. Raises DataError."""
    try:
        text = storage.read_bytes(uri).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise DataError(uri, f"cannot be read as a table ({cause})", "give a CSV file") from cause
    rows = list(csv.reader(io.StringIO(text)))
    if not rows:
        raise DataError(uri, "the file is empty", "give a CSV file with a header")
    header = [name.strip() for name in rows[0]]
    for line, row in enumerate(rows[1:], start=2):
        if row and len(row) != len(header):
            raise DataError(f"{uri}, line {line}", f"has {len(row)} cells, the header {len(header)}", "write the table again")
    return header, [dict(zip(header, map(str.strip, row), strict=True)) for row in rows[1:] if row]


def column(uri: str, header: Sequence[str], name: str) -> str:
    """A column that must be there."""
    if name not in header:
        raise DataError(uri, f"has no column {name!r}", near(name, header))
    return name


def path_column(uri: str, header: Sequence[str], name: str | None) -> str:
    """The column that names images: the one asked for, else one of the usual names."""
    if name is not None:
        return column(uri, header, name)
    found = next((known for known in _PATHS if known in header), None)
    if found is None:
        raise DataError(uri, "has no column that names images", f"name it with source.labels.path; there are {', '.join(header)}")
    return found


def read_table(images: Sequence[str], labels: Sequence[str], columns: TableColumns) -> Told:
    """A row a chip."""
    told, names = Told(), ImageNames(images)
    for uri in labels:
        header, rows = read_csv(uri)
        path = path_column(uri, header, columns.path)
        label = None if columns.classes else column(uri, header, columns.label or "label")
        split = column(uri, header, columns.split) if columns.split else None
        for name in columns.classes:
            column(uri, header, name)
        for line, row in enumerate(rows, start=2):
            image = names.find(row[path], where=f"{uri}, line {line}")
            if image is None:
                continue
            classes = [name for name in columns.classes if row[name].lower() in _TRUE]
            if label is not None:
                classes = [part.strip() for part in row[label].split(columns.separator)] if columns.separator else [row[label]]
            several = bool(columns.classes or columns.separator)
            chip = ChipLabels([name for name in classes if name], several, split=(row[split] or None) if split else None)
            _put(told, image, chip, where=f"{uri}, line {line}")
        told.notes += names.notes(uri)
    return told


def read_records(images: Sequence[str], labels: Sequence[str], *, path: str, label: str, split: str | None) -> Told:
    """An object a chip."""
    told, names = Told(), ImageNames(images)
    for uri in labels:
        for number, record in enumerate(read_json(uri, list)):
            where = f"{uri}, object {number}"
            for key in (path, label, *([split] if split else [])):
                if key not in record:
                    raise DataError(where, f"has no key {key!r}", near(key, record))
            image = names.find(str(record[path]), where=where)
            if image is not None:
                classes, several = _classes(record[label], where)
                _put(told, image, ChipLabels(classes, several, split=str(record[split]) if split else None), where=where)
        told.notes += names.notes(uri)
    return told


def read_json(uri: str, kind: type[Any]) -> Any:
    """A JSON file that holds a list or an object. Raises DataError."""
    try:
        found = json.loads(storage.read_bytes(uri))
    except (OSError, ValueError) as cause:
        raise DataError(uri, f"cannot be read as JSON ({cause})", "fetch or write it again") from cause
    if not isinstance(found, kind):
        raise DataError(uri, f"holds no JSON {'list' if kind is list else 'object'}", "check which file tells the labels")
    return found


def _classes(value: Any, where: str) -> tuple[list[str], bool]:
    if isinstance(value, Mapping):
        return [str(name) for name, there in value.items() if there], True
    if isinstance(value, list):
        return [str(name) for name in value], True
    if isinstance(value, str | int):
        return [str(value)], False
    raise DataError(where, f"{value!r} is no class", "a class, a list of classes or {class: true} is needed")


def _put(told: Told, image: str, chip: ChipLabels, *, where: str) -> None:
    known = told.chips.get(image)
    if known is not None and known.classes != chip.classes:
        raise DataError(where, f"labels {image} a second time, and otherwise", "keep one row a chip")
    told.chips[image] = chip


def _ends(uri: str, path: str) -> bool:
    return uri.endswith(f"/{path}") or uri.rpartition(".")[0].endswith(f"/{path}")

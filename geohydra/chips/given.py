"""Splits that were made elsewhere: told by the source with each scene, or by lists of scenes and windows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Literal

from geohydra import storage
from geohydra.build import near
from geohydra.chips.apart import joined
from geohydra.chips.content import Content
from geohydra.chips.index import SPLITS, Region
from geohydra.chips.splits import Division, Fraction, fractions, share_scenes, whole, whole_scenes
from geohydra.errors import ConfigError, DataError
from geohydra.types import Scene, Shape, Window

_CALLED: Mapping[str, str] = MappingProxyType({"training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test"})
"""What some call the splits."""

_HINT = "let the list tell what is for choosing, or leave it out with val=0"


Row = tuple[str, str, Window | None, str]
"""A scene as it is named, its split, a window of it, and where this was read."""


class Given:
    """As the source tells it of each scene, in the property `geohydra:split`: train, val or test.

    Scenes that tell nothing are not used. Where none is for choosing, `val` is a fraction of those for learning.
    """

    def __init__(self, *, val: Fraction = 0.15, property: str = "geohydra:split") -> None:
        self._fractions, self._property = fractions(val=val), property

    @property
    def asked(self) -> tuple[str, ...]:
        return tuple(self._fractions)

    def divide(self, scenes: Sequence[Scene], *, chip: Shape, content: Content, seed: int) -> Division:  # noqa: ARG002
        told = {scene.id: str(scene.properties.get(self._property) or "") for scene in scenes}
        found = {scene: split_called(name, f"{scene}: {self._property}") for scene, name in told.items() if name}
        if not found:
            problem = f"none of {len(scenes)} scenes has the property {self._property!r}"
            raise DataError("chip.split", problem, "choose another split, such as chip/split=blocks")
        return _completed(scenes, found, self._fractions, content, seed)


class Listed:
    """As lists tell it, by `lists`: one csv with the columns scene and split, or `{train: file, test: file}` with a scene a line.

    A scene is named by its id, or by the name of its file, with or without folder and ending. A csv may tell a window too, in
    pixels: the columns row, col, rows and cols. What no list names is not used. Where none is for choosing, `val` is a fraction of
    the scenes for learning. `digest` tells what the files hold; it is filled in before planning.
    """

    pinned = ("lists",)

    def __init__(
        self,
        *,
        lists: str | dict[Literal["train", "val", "test"], str],
        val: Fraction = 0.15,
        digest: str | None = None,  # noqa: ARG002
    ) -> None:
        if not lists:
            raise ValueError("a csv, or a text file for each split, tells the splits")
        self._lists = lists
        self._fractions = fractions(val=val)

    @property
    def asked(self) -> tuple[str, ...]:
        told = () if isinstance(self._lists, str) else tuple(self._lists)
        return tuple(split for split in SPLITS if split in told or split in self._fractions)

    def divide(self, scenes: Sequence[Scene], *, chip: Shape, content: Content, seed: int) -> Division:  # noqa: ARG002
        rows = self._rows()
        known = _known_as(scenes)
        regions = [_region(row, known) for row in rows]
        if any(region.window != whole(known[region.scene]) for region in regions):
            return Division(tuple(joined(list(dict.fromkeys(regions)))), tuple(_unused(scenes, {region.scene for region in regions})))
        splits: dict[str, str] = {}
        for region in regions:
            if splits.setdefault(region.scene, region.split) != region.split:
                raise DataError("chip.split.lists", f"{region.scene} is listed for {splits[region.scene]} and for {region.split}")
        return _completed(scenes, splits, self._fractions, content, seed)

    def check(self, parts: Mapping[str, Any]) -> Iterator[ConfigError]:  # noqa: ARG002
        """Lists that are not there."""
        yield from missing_files(self._lists, "chip.split.lists")

    def _rows(self) -> list[Row]:
        if isinstance(self._lists, str):
            return _rows_of_csv(self._lists)
        return [row for split, uri in self._lists.items() for row in _rows_of_text(uri, split)]


def missing_files(given: str | Mapping[Literal["train", "val", "test"], str], where: str) -> Iterator[ConfigError]:
    """Local files, one or one a split, that are not there."""
    files = {where: given} if isinstance(given, str) else {f"{where}.{split}": uri for split, uri in given.items()}
    for key, uri in files.items():
        if storage.is_local(uri) and not storage.exists(uri):
            yield ConfigError(key, f"there is no file {uri}", "check the folder and the spelling")


def split_called(name: str, where: str) -> str:
    """The split that a word means. Raises DataError."""
    word = name.strip().lower()
    found = _CALLED.get(word, word)
    if found not in SPLITS:
        raise DataError(where, f"{name!r} is no split", f"known are {', '.join(SPLITS)}")
    return found


def _completed(scenes: Sequence[Scene], found: Mapping[str, str], wanted: Mapping[str, float], content: Content, seed: int) -> Division:
    """Whole scenes; some of those for learning are for choosing where none is."""
    splits = dict(found)
    if "val" not in splits.values() and "val" in wanted:
        free = [scene for scene in scenes if splits.get(scene.id) == "train"]
        splits |= share_scenes(free, wanted, content, seed, hint=_HINT)
    division = whole_scenes(scenes, splits)
    return Division(division.regions, (*_unused(scenes, set(splits)), *division.notes))


def _unused(scenes: Sequence[Scene], used: set[str]) -> list[str]:
    count = sum(scene.id not in used for scene in scenes)
    return [f"{count} of {len(scenes)} scenes are in no list: they are not used."] if count else []


def _rows_of_text(uri: str, split: str) -> list[Row]:
    lines = _text(uri).splitlines()
    return [(line.strip(), split, None, f"{uri}:{place}") for place, line in enumerate(lines, start=1) if line.strip()]


def _rows_of_csv(uri: str) -> list[Row]:
    table = csv.DictReader(io.StringIO(_text(uri)), skipinitialspace=True)
    columns = table.fieldnames or []
    for needed in ("scene", "split"):
        if needed not in columns:
            raise DataError(uri, f"has no column {needed!r}", f"it has {', '.join(columns) or 'none'}")
    rows = [(row, f"{uri}:{table.line_num}") for row in table]
    return [(row["scene"].strip(), split_called(row["split"] or "", at), _window(row, at), at) for row, at in rows]


def _text(uri: str) -> str:
    try:
        return storage.read_bytes(uri).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise DataError(uri, f"cannot be read as a list ({cause})", "give a text or csv file") from cause


def _window(row: Mapping[str, str], where: str) -> Window | None:
    numbers = [row.get(name) for name in ("row", "col", "rows", "cols")]
    if not any(numbers):
        return None
    try:
        top, left, rows, cols = (int(number or "") for number in numbers)
        return Window(top, left, Shape(rows, cols))
    except ValueError as cause:
        raise DataError(where, "is no window", "it needs whole numbers for row, col, rows and cols") from cause


def _known_as(scenes: Iterable[Scene]) -> dict[str, Scene]:
    """Scenes by id, and by the names of their files where these tell scenes apart."""
    found: dict[str, Scene] = {}
    for scene in scenes:
        for name in {PurePosixPath(scene.assets[0].uri).name, PurePosixPath(scene.assets[0].uri).stem}:
            found.setdefault(name, scene)
    return found | {scene.id: scene for scene in scenes}


def _region(row: Row, known: Mapping[str, Scene]) -> Region:
    name, split, window, where = row
    path = PurePosixPath(name)
    scene = known.get(name) or known.get(path.name) or known.get(path.stem)
    if scene is None:
        raise DataError(where, f"no scene is called {name!r}", near(name, list(known)[:20]))
    if window is not None and not window.within(scene.grid.shape):
        problem = f"the window reaches beyond {scene.id}, which has {scene.grid.shape.rows} x {scene.grid.shape.cols} pixels"
        raise DataError(where, problem)
    return Region(scene.id, window or whole(scene), split)

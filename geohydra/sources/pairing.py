"""Which files belong to one scene, in which order, and which labels to which scene: by names alone, no file is opened."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from geohydra import storage
from geohydra.errors import DataError

_NEVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class BandFile:
    """One raster file; the band that its name tells, if any; and when it was taken, where its scene is a series."""

    uri: str
    band: str | None = None
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class SceneFiles:
    """The files of one scene, those of one band from the uppermost to the lowest. `parts` is what the wildcards of the pattern
    stood for; `time` when it was taken, of a series the first time."""

    id: str
    files: tuple[BandFile, ...]
    parts: tuple[str, ...] = ()
    time: datetime | None = None


Mosaic = Literal["none", "name", "newest", "oldest"]
"""Which of several files of one band lies above the others: none is refused, `name` goes by the alphabet, and with `newest` and `oldest`
files of different times are laid over each other instead of making a series."""


def group(uris: Sequence[str], patterns: Sequence[str], rule: re.Pattern[str] | None, mosaic: Mosaic = "none") -> list[SceneFiles]:
    """Scenes from file names: by a rule with the groups `scene`, `band` and `time`, else one scene a file.

    Different times below one scene are a series. Raises DataError for a file that the rule does not fit, and for two files of the
    same scene, band and time where they are not to be a mosaic.
    """
    if rule is None:
        return _one_a_file(uris, patterns)
    found: dict[str, list[BandFile]] = {}
    for uri in uris:
        match = _matched(rule, uri)
        found.setdefault(safe(match["scene"]), []).append(BandFile(uri, match.groupdict().get("band"), _time(uri, match)))
    return [_ordered(name, found[name], mosaic) for name in sorted(found, key=natural)]


def pair(scenes: Sequence[SceneFiles], labels: Sequence[str], patterns: Sequence[str], rule: re.Pattern[str] | None) -> dict[str, str]:
    """The label file of each scene by its id; scenes without one are left out.

    A single file is for all. Several are matched by the rule, else by equal names, else by what the wildcards stood for.
    Raises DataError where no scene finds its labels, or one finds two.
    """
    if len(labels) == 1:
        return {scene.id: labels[0] for scene in scenes}
    keys = _label_keys(labels, patterns, rule)
    found: dict[str, str] = {}
    for scene in scenes:
        for key in _scene_keys(scene):
            if keys.get(key):
                found[scene.id] = _only(scene, keys[key])
                break
    if not found and scenes:
        raise DataError(
            labels[0],
            f"none of {len(labels)} label files has the name of an image such as {scenes[0].files[0].uri}",
            "give them equal names, or wildcards that stand for equal parts: images/*_image.tif and masks/*_mask.tif",
        )
    return found


def safe(name: str) -> str:
    """A name that can be a file's: other signs become underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "scene"


def natural(text: str) -> list[tuple[int, str]]:
    """A sorting key by which B2 comes before B10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", text)]


def wildcard_parts(uri: str, patterns: Iterable[str]) -> tuple[str, ...]:
    """What the wildcards of the first pattern that fits stood for."""
    for pattern in (one for several in patterns for one in storage.alternatives(several)):
        match = re.fullmatch(_as_regex(storage.absolute(pattern)), uri)
        if match:
            return tuple(part or "" for part in match.groups())
    return ()


def _ordered(scene: str, files: Sequence[BandFile], mosaic: Mosaic) -> SceneFiles:
    """Files by band, then by time, then from the uppermost to the lowest."""
    by_name = sorted(files, key=lambda file: natural(file.uri))
    known = sorted({file.time for file in files if file.time is not None})
    by_time = sorted(by_name, key=lambda file: file.time or _NEVER, reverse=mosaic == "newest")
    ordered = sorted(by_time, key=lambda file: natural(file.band or ""))
    if len(known) < 2 or mosaic in ("newest", "oldest"):
        ordered = [replace(file, time=None) for file in ordered]
    if mosaic == "none":
        _refuse_double(scene, ordered)
    time = None if not known else known[-1] if mosaic == "newest" else known[0]
    return SceneFiles(scene, tuple(ordered), time=time)


def _one_a_file(uris: Sequence[str], patterns: Sequence[str]) -> list[SceneFiles]:
    names = _unique([_without_ending(uri) for uri in uris])
    files = zip(names, uris, strict=True)
    return [SceneFiles(name, (BandFile(uri),), wildcard_parts(uri, patterns)) for name, uri in files]


def _unique(paths: Sequence[str]) -> list[str]:
    """The last parts of paths, as few as tell them apart; equal ones are numbered."""
    for depth in range(1, 6):
        names = [safe("_".join(path.split("/")[-depth:])) for path in paths]
        if len(set(names)) == len(names):
            return names
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(f"{name}_{seen[name]}" if seen[name] > 1 else name)
    return numbered


def _without_ending(uri: str) -> str:
    """A URI without a query and without the ending of its file."""
    folder, _, name = uri.split("?")[0].rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return f"{folder}/{stem if dot else name}"


def _matched(rule: re.Pattern[str], uri: str) -> re.Match[str]:
    match = rule.search(uri)
    if match is None:
        raise DataError(uri, f"does not fit source.scene ({rule.pattern})", "change the rule, or the pattern of the images")
    return match


def _time(uri: str, match: re.Match[str]) -> datetime | None:
    text = match.groupdict().get("time")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as cause:
        problem = f"{text!r}, which source.scene takes for the time, is none"
        raise DataError(uri, problem, "known are 20240531 and 2024-05-31T10:30") from cause
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _refuse_double(scene: str, files: Sequence[BandFile]) -> None:
    seen: dict[tuple[str | None, datetime | None], str] = {}
    for file in files:
        other = seen.setdefault((file.band, file.time), file.uri)
        if other != file.uri:
            what = f"band {file.band}" if file.band else "file"
            hint = (
                "to lay them over each other set source.mosaic=name; else make the group `scene` tell them apart, or the pattern narrower"
            )
            raise DataError(file.uri, f"is a second {what} of scene {scene}, beside {other}", hint)


def _label_keys(labels: Sequence[str], patterns: Sequence[str], rule: re.Pattern[str] | None) -> Mapping[tuple[str, ...], list[str]]:
    keys: dict[tuple[str, ...], list[str]] = {}
    for uri in labels:
        stem = _without_ending(uri).rsplit("/", 1)[-1]
        match = rule.search(uri) if rule else None
        for key in {("id", safe(match["scene"]))} if match else {("id", safe(stem)), ("parts", *wildcard_parts(uri, patterns))}:
            keys.setdefault(key, []).append(uri)
    return keys


def _scene_keys(scene: SceneFiles) -> list[tuple[str, ...]]:
    stem = safe(_without_ending(scene.files[0].uri).rsplit("/", 1)[-1])
    keys: list[tuple[str, ...]] = [("parts", *scene.parts)] if any(scene.parts) else []
    return [("id", scene.id), ("id", stem), *keys]


def _only(scene: SceneFiles, labels: Sequence[str]) -> str:
    if len(labels) > 1:
        problem = f"is a second label file of scene {scene.id}, beside {labels[0]}"
        raise DataError(labels[1], problem, "make the pattern of the labels narrower")
    return labels[0]


def _as_regex(pattern: str) -> str:
    """A glob pattern as a regular expression with a group for each wildcard."""
    tokens = {"**/": "(?:(.*)/)?", "**": "(.*)", "*": "([^/]*)", "?": "([^/])"}
    parts = []
    for token in re.findall(r"\*\*/|\*\*|\[[^\]]+\]|.", pattern):
        if len(token) > 2 and token.startswith("["):
            parts.append("([" + token[1:-1].replace("!", "^", 1) + "])")
        else:
            parts.append(tokens.get(token, re.escape(token)))
    return "".join(parts)

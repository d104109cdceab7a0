"""Which files are the frames of which sequence, in which order: by names alone, no file is opened."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from geohydra.errors import DataError
from geohydra.sources.pairing import natural, safe


@dataclass(frozen=True, slots=True)
class FrameFile:
    """One image file: the number of its frame, and when it was taken if its name tells it."""

    uri: str
    number: int
    time: datetime | None = None


def sequences(uris: Sequence[str], rule: re.Pattern[str] | None) -> dict[str, list[FrameFile]]:
    """The frames of each sequence in order. Raises DataError for a file that the rule does not fit, and for two of one number."""
    names = _by_rule(uris, rule) if rule else _by_folder(uris)
    found: dict[str, list[str]] = {}
    for uri in sorted(uris, key=natural):
        found.setdefault(names[uri], []).append(uri)
    return {name: _ordered(name, theirs, rule) for name, theirs in sorted(found.items(), key=lambda pair: natural(pair[0]))}


def tracks_of(names: Sequence[str], uris: Sequence[str], rule: re.Pattern[str] | None) -> dict[str, str]:
    """The file of tracks of each sequence. Raises DataError for a file of tracks that goes with none."""
    if len(uris) == 1 and len(names) == 1:
        return {names[0]: uris[0]}
    found: dict[str, str] = {}
    for uri in uris:
        match = rule.search(uri) if rule else None
        name = safe(match["sequence"]) if match else safe(_stem(uri))
        if name not in names:
            raise DataError(uri, f"goes with no sequence: it would be that of {name!r}", f"the sequences are {', '.join(names[:8])}")
        if name in found:
            raise DataError(uri, f"is a second file of tracks of {name}, beside {found[name]}", "make the pattern of the tracks narrower")
        found[name] = uri
    return found


def video_names(uris: Sequence[str], rule: re.Pattern[str] | None) -> dict[str, str]:
    """The name of each video: by the rule, else the file's; with its folder where two are equal."""
    if rule:
        return _by_rule(uris, rule)
    stems = [safe(_stem(uri)) for uri in uris]
    if len(set(stems)) == len(stems):
        return dict(zip(uris, stems, strict=True))
    return {uri: safe("_".join(uri.rsplit("/", 2)[-2:])) for uri in uris}


def _by_rule(uris: Sequence[str], rule: re.Pattern[str]) -> dict[str, str]:
    names = {}
    for uri in uris:
        match = rule.search(uri)
        if match is None:
            raise DataError(uri, f"does not fit source.sequence ({rule.pattern})", "change the rule, or the pattern of the images")
        names[uri] = safe(match["sequence"])
    return names


def _by_folder(uris: Sequence[str]) -> Mapping[str, str]:
    """The last parts of the folders' paths, as few as tell them apart."""
    folders = sorted({uri.rpartition("/")[0] for uri in uris})
    for depth in range(1, 6):
        short = [safe("_".join(folder.split("/")[-depth:])) for folder in folders]
        if len(set(short)) == len(short):
            break
    names = dict(zip(folders, short, strict=True))
    return {uri: names[uri.rpartition("/")[0]] for uri in uris}


def _ordered(name: str, uris: Sequence[str], rule: re.Pattern[str] | None) -> list[FrameFile]:
    frames = [_frame(place, uri, rule) for place, uri in enumerate(uris)]
    seen: dict[int, str] = {}
    for frame in frames:
        if frame.number in seen:
            problem = f"is a second frame {frame.number} of the sequence {name}, beside {seen[frame.number]}"
            raise DataError(frame.uri, problem, "tell sequences apart with the group `sequence` in source.sequence")
        seen[frame.number] = frame.uri
    return sorted(frames, key=lambda frame: frame.number)


def _frame(place: int, uri: str, rule: re.Pattern[str] | None) -> FrameFile:
    match = rule.search(uri) if rule else None
    told = match.groupdict() if match else {}
    numbers = [told["frame"]] if told.get("frame") else re.findall(r"\d+", _stem(uri))
    return FrameFile(uri, int(numbers[-1]) if numbers else place, _time(uri, told.get("time")))


def _time(uri: str, text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as cause:
        problem = f"{text!r}, which source.sequence takes for the time, is none"
        raise DataError(uri, problem, "known are 20240531T103000 and 2024-05-31T10:30") from cause
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _stem(uri: str) -> str:
    return uri.split("?")[0].rsplit("/", 1)[-1].rpartition(".")[0] or uri.rsplit("/", 1)[-1]

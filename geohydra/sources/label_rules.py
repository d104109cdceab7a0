"""What a config says of labels: the keys that all sources with label files have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from geohydra import storage
from geohydra.errors import ConfigError
from geohydra.types import LockEntry
from geohydra.vector.where import Where

Names = Annotated[list[str], Field(min_length=1)]
Metres = Annotated[float, Field(gt=0)]
Case = dict[Literal["where", "class"], str | None]
"""`{where: "height > 10", class: tower}`; without `where` it holds for all features, and the class null leaves them out."""


@dataclass(frozen=True, slots=True)
class ClassCase:
    """A condition, or none, and the class of the features that fit it; a class of None leaves them out."""

    where: Where | None
    name: str | None


@dataclass(frozen=True, slots=True)
class LabelRules:
    """How label files become classes on the ground, whatever the source.

    Vector features get their class by the first of `cases` that fits, else by the value of `class_property` (by default `class`, where the
    file has it), translated by `mapping`, in which `*` stands for every other value and None leaves features out. Without
    a property and cases all features are of the one class in `classes`. `layer`, `crs`: of the file, where it does not tell.
    `buffer`: metres by class, `*` for all others, by which points and lines become areas.

    `ignore_files`, `ignored`: polygon files, and classes, whose ground counts neither in a loss nor in a metric. `aoi`: polygon files
    outside of which nothing counts. `unlabelled`: whether ground without a label is background. `priority`: classes
    from the uppermost down. `values`: pixel values of label rasters; None is ground that does not count.
    """

    class_property: str | None = None
    mapping: Mapping[str, str | None] | None = None
    classes: tuple[str, ...] | None = None
    cases: tuple[ClassCase, ...] = ()
    layer: str | None = None
    crs: str | None = None
    buffer: Mapping[str, float] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    ignore_files: tuple[str, ...] = ()
    aoi: tuple[str, ...] = ()
    unlabelled: Literal["background", "ignore"] = "background"
    priority: tuple[str, ...] = ()
    values: Mapping[int, str | None] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...] | None:
        """Classes that may come out of it; None where only the files tell."""
        if self.values:
            return tuple(dict.fromkeys(name for name in self.values.values() if name is not None and name not in self.ignored))
        return self.classes

    def allows(self, name: str) -> bool:
        """Whether a feature may have this class."""
        return self.classes is None or name in self.classes or name in self.ignored

    @property
    def raster(self) -> bool:
        """Whether labels are rasters."""
        return bool(self.values)

    def lock(self) -> list[LockEntry]:
        """The files beside the labels that a run stands on, of the roles `aoi` and `ignore`."""
        aoi = [entry for pattern in self.aoi for entry in storage.list_files(pattern, role="aoi")]
        return aoi + [entry for pattern in self.ignore_files for entry in storage.list_files(pattern, role="ignore")]


def label_rules(
    *,
    class_property: str | None = None,
    class_mapping: Mapping[bool | int | str, str | None] | None = None,
    class_rules: Sequence[Case] | None = None,
    classes: Sequence[str] | None = None,
    label_values: Mapping[int, str | None] | None = None,
    label_layer: str | None = None,
    label_crs: str | None = None,
    buffer: float | Mapping[str, float] | None = None,
    ignore: str | Sequence[str] | None = None,
    aoi: str | Sequence[str] | None = None,
    unlabelled: Literal["background", "ignore"] = "background",
    priority: Sequence[str] | None = None,
) -> LabelRules:
    """The keys of a source as rules. Raises ConfigError, where the key stands, for what cannot mean anything."""
    left_out = several(ignore)
    rules = LabelRules(
        class_property=class_property,
        mapping=_mapping(class_mapping),
        classes=tuple(classes) if classes else None,
        cases=tuple(_case(case, place) for place, case in enumerate(class_rules or ())),
        layer=label_layer,
        crs=label_crs,
        buffer=_buffer(buffer),
        ignored=tuple(name for name in left_out if not _is_file(name)),
        ignore_files=tuple(name for name in left_out if _is_file(name)),
        aoi=several(aoi),
        unlabelled=unlabelled,
        priority=tuple(priority or ()),
        values=dict(label_values or {}),
    )
    _check(rules)
    return rules


def several(patterns: str | Sequence[str] | None) -> tuple[str, ...]:
    """One or many, as many."""
    if patterns is None:
        return ()
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def _is_file(name: str) -> bool:
    """An address has a folder or an ending; names of classes have neither."""
    ending = name.rpartition(".")[2]
    return "/" in name or (ending != name and 2 <= len(ending) <= 10 and ending.isalnum())


def _case(case: Case, place: int) -> ClassCase:
    where, key = case.get("where"), f"class_rules[{place}]"
    if "class" not in case:
        raise ConfigError(key, "tells no class", 'such as {where: "height > 10", class: tower}; null leaves the features out')
    try:
        return ClassCase(None if where is None else Where(where), case["class"])
    except ValueError as cause:
        raise ConfigError(f"{key}.where", str(cause), "such as height > 10 and type in ('a', 'b')") from cause


def _buffer(given: float | Mapping[str, float] | None) -> dict[str, float]:
    if given is None:
        return {}
    return {str(name): float(metres) for name, metres in given.items()} if isinstance(given, Mapping) else {"*": float(given)}


def _mapping(given: Mapping[bool | int | str, str | None] | None) -> dict[str, str | None] | None:
    """Keys as text. YAML takes an unquoted `yes` for true: all that it may have meant is put in."""
    words = {True: ("True", "true", "yes", "on"), False: ("False", "false", "no", "off")}
    if given is None:
        return None
    pairs: dict[str, str | None] = {}
    for key, name in given.items():
        pairs |= dict.fromkeys(words[key] if isinstance(key, bool) else (str(key),), name)
    return pairs


def _check(rules: LabelRules) -> None:
    """Names that no label can have, and keys that do not go together."""
    known = rules.names
    for key, names in (("priority", rules.priority), ("buffer", [name for name in rules.buffer if name != "*"])):
        unknown = [name for name in names if known is not None and name not in (*known, *rules.ignored)]
        if unknown:
            raise ConfigError(key, f"{unknown[0]!r} is none of the classes", f"known are {', '.join(known or ())}")
    if rules.values and (rules.priority or rules.buffer or rules.cases):
        key = "priority" if rules.priority else "buffer" if rules.buffer else "class_rules"
        raise ConfigError(key, "is for vector labels, but label_values say that labels are rasters", f"leave out {key}, or label_values")

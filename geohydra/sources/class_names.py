"""Class names of labels that are told with each chip, box or frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from geohydra.build import near
from geohydra.errors import DataError


@dataclass(slots=True)
class ClassNames:
    """From what a data set calls a class to the name that comes out: by `mapping`, in which `*` is every other value and None leaves
    out. `classes` are the names that may come out; one alone is the class of what tells none."""

    mapping: Mapping[str, str | None] | None = None
    classes: tuple[str, ...] | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)

    def of(self, value: str | None, *, where: str) -> str | None:
        """The name, or None where it is left out. Raises DataError for a class that nobody named."""
        name = self._name(value, where)
        if name is None:
            self.left_out[str(value)] += 1
        else:
            self.seen.add(name)
        return name

    def _name(self, value: str | None, where: str) -> str | None:
        mapping = self.mapping or {}
        if value is None and self.classes is not None and len(self.classes) == 1:
            return self.classes[0]
        if value is None and "*" not in mapping:
            raise DataError(where, "tells no class", "name the one class of all with source.classes=[name]")
        name = mapping.get(str(value), mapping.get("*", None if mapping and value not in (self.classes or ()) else value))
        if name is None and str(value) not in mapping and "*" not in mapping:
            raise DataError(where, f"has the unknown class {value!r}", f"{near(str(value), mapping)}; translate with source.class_mapping")
        if name is not None and self.classes is not None and name not in self.classes:
            hint = f"known are {', '.join(self.classes)}; translate with source.class_mapping, in which null leaves out"
            raise DataError(where, f"has the unknown class {name!r}", hint)
        return name

    def notes(self) -> list[str]:
        """A sentence for what was left out."""
        total = sum(self.left_out.values())
        told = ", ".join(f"{name} ({count})" for name, count in self.left_out.most_common(8))
        return [f"{total} labels were left out by source.class_mapping: {told}"] if total else []

"""From a config node to the object that it names: `_target_` and arguments, checked against the signature.

A config from a stranger must not run code: `_target_` may name geohydra's own classes, and those of packages that
the environment trusts, by an entry point of the group `geohydra.plugins` or by `GEOHYDRA_PLUGINS=package,...`.
A config cannot trust anything by itself.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import types
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, ConfigDict, PydanticUserError, ValidationError, create_model

from geohydra.errors import ConfigError, GeohydraError, Problems
from geohydra.trust import trusted as trusted

Node = Mapping[str, Any]


def build(node: Node, *, where: str) -> Any:
    """The object that a node describes; nodes with a `_target_` inside it are built first.

    Raises Problems with every mistake below this node, each a ConfigError with its place.
    """
    values, errors = _arguments(node, where)
    if errors:
        raise Problems(errors)
    try:
        return resolve(node["_target_"], where=where)(**values)
    except GeohydraError as error:
        if where and not error.where.startswith(where):
            error.where = f"{where}.{error.where}" if error.where else where
        raise
    except ValueError as cause:
        raise ConfigError(where, str(cause)) from cause


def problems(node: Node, *, where: str) -> list[GeohydraError]:
    """Every mistake of a node, without building it."""
    try:
        build(node, where=where)
    except Problems as found:
        return list(found.errors)
    except GeohydraError as error:
        return [error]
    return []


def resolve(target: Any, *, where: str) -> type[Any]:
    """The class that a `_target_` names. Raises ConfigError: not trusted, not there, or not a class."""
    if not isinstance(target, str) or "." not in target:
        raise ConfigError(f"{where}._target_", f"{target!r} names no class", "it is written package.module.Class")
    package = target.split(".")[0]
    if package not in trusted():
        raise ConfigError(
            f"{where}._target_",
            f"{target!r} is not in a trusted package",
            f"if you trust it, set GEOHYDRA_PLUGINS={package} in the environment",
        )
    path, _, name = target.rpartition(".")
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as cause:
        if cause.name is None or not path.startswith(cause.name):
            raise ConfigError(f"{where}._target_", f"{path} needs the package {cause.name}", f"pip install {cause.name}") from cause
        raise ConfigError(f"{where}._target_", f"there is no module {cause.name}", "check the spelling") from cause
    found = getattr(module, name, None)
    if not inspect.isclass(found):
        classes = [key for key, value in vars(module).items() if inspect.isclass(value) and value.__module__ == path]
        raise ConfigError(f"{where}._target_", f"{path} has no class {name}", near(name, classes))
    if found.__module__.split(".")[0] not in trusted():
        raise ConfigError(f"{where}._target_", f"{target!r} is a class of {found.__module__}, which is not a trusted package")
    return found


def near(word: str, known: Iterable[str]) -> str:
    """A hint: the likeliest of the known words, else all of them."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are {', '.join(words)}" if words else ""


def _arguments(node: Node, where: str) -> tuple[dict[str, Any], list[GeohydraError]]:
    try:
        cls = resolve(node.get("_target_"), where=where)
    except ConfigError as error:
        return {}, [error]
    values: dict[str, Any] = {}
    errors: list[GeohydraError] = []
    for key, value in node.items():
        if key != "_target_":
            values[key], found = _value(value, f"{where}.{key}")
            errors += found
    broken = {error.where for error in errors}
    values = {key: value for key, value in values.items() if not any(at.startswith(f"{where}.{key}") for at in broken)}
    skip = {key for key in node if key != "_target_" and key not in values}
    checked, found = _validate(cls, values, where, skip)
    return checked, errors + found


def _value(value: Any, where: str) -> tuple[Any, list[GeohydraError]]:
    """A value with every nested `_target_` built."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            found = problems(value, where=where)
            return (None, found) if found else (build(value, where=where), [])
        pairs = {key: _value(item, f"{where}.{key}") for key, item in value.items()}
        return {key: item for key, (item, _) in pairs.items()}, [error for _, found in pairs.values() for error in found]
    if isinstance(value, list | tuple):
        items = [_value(item, f"{where}[{place}]") for place, item in enumerate(value)]
        return [item for item, _ in items], [error for _, found in items for error in found]
    return value, []


def _validate(cls: type[Any], values: dict[str, Any], where: str, skip: set[str]) -> tuple[dict[str, Any], list[GeohydraError]]:
    schema, open_ended = _schema(cls)  # type: ignore[arg-type]  # mypy takes type[Any] for unhashable
    known = [name for name in schema.model_fields if not name.startswith("_")]
    errors: list[GeohydraError] = []
    missing = [key for key, value in values.items() if value == "???"]
    errors += [ConfigError(f"{where}.{key}", "a value is needed", f"set {where}.{key}=...") for key in missing]
    extra = {} if open_ended else {key: value for key, value in values.items() if key not in known}
    errors += [ConfigError(f"{where}.{key}", f"{cls.__name__} takes no such key", near(str(key), known)) for key in extra]
    given = {key: value for key, value in values.items() if key not in extra and key not in missing}
    try:
        checked = schema.model_validate(given)
    except ValidationError as cause:
        silent = skip | set(missing)
        errors += [error for error in _translated(cause, where) if _key(error.where, where) not in silent]
        return {}, errors
    rest = checked.model_extra or {}
    return {key: getattr(checked, key) for key in known if key in given} | rest, errors


def _key(place: str, where: str) -> str:
    return place.removeprefix(f"{where}.").split(".")[0].split("[")[0]


def _translated(cause: ValidationError, where: str) -> list[ConfigError]:
    errors: dict[str, ConfigError] = {}
    for found in cause.errors(include_url=False):
        place = where + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in found["loc"] if not _branch(part))
        if found["type"] == "missing":
            error = ConfigError(place, "a value is needed", f"set {place}=...")
        else:
            shown = found["input"] if isinstance(found["input"], str | int | float | bool | None) else type(found["input"]).__name__
            error = ConfigError(place, f"{shown!r} does not fit", _lower(found["msg"]))
        errors.setdefault(place, error)
    return list(errors.values())


_BRANCH = re.compile(
    r"(int|float|str|bool|none)$|(constrained|function|model|lax|is)-\w|(literal|list|dict|tuple|set|frozenset|nullable|is-instance)\["
)


def _branch(part: int | str) -> bool:
    """Whether a part of a place is pydantic's name for one branch of a union, not a key."""
    return isinstance(part, str) and _BRANCH.match(part) is not None


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:].removesuffix(".")


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true or false (in yaml, write words such as NO or on in quotes)")
    return value


def _only_numbers(hint: Any) -> bool:
    """Whether a hint allows a number and nothing else but None: then a bool is a slip."""
    if get_origin(hint) is Annotated:
        return _only_numbers(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return all(part is type(None) or _only_numbers(part) for part in get_args(hint))
    return hint in (int, float)


@cache
def _schema(cls: type[Any]) -> tuple[Any, bool]:
    """A pydantic model with one field for each argument of the constructor, and whether it takes any further ones."""
    constructor = cls.__init__
    hints = get_type_hints(constructor, include_extras=True)
    fields: dict[str, Any] = {}
    open_ended = False
    parameters = [] if constructor is object.__init__ else list(inspect.signature(constructor).parameters.items())[1:]
    for name, parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            open_ended = True
            continue
        hint = hints.get(name, Any)
        if _only_numbers(hint):
            hint = Annotated[hint, BeforeValidator(_no_bool)]
        fields[name] = (hint, ... if parameter.default is inspect.Parameter.empty else parameter.default)
    config = ConfigDict(arbitrary_types_allowed=True, extra="allow" if open_ended else "forbid", protected_namespaces=())
    try:
        return create_model(cls.__name__, __config__=config, **fields), open_ended
    except PydanticUserError as cause:
        raise TypeError(f"{cls.__module__}.{cls.__name__}: its constructor cannot serve as a schema: {cause}") from cause

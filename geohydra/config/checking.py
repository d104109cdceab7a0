"""From a composed config to parts, stages and a job, with every mistake found at once and before anything runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from geohydra.build import build, near, problems
from geohydra.conditions import parse_condition
from geohydra.config.compose import Composed
from geohydra.config.folders import groups
from geohydra.config.locking import locked as locked
from geohydra.config.rules import Parts, broken_rules
from geohydra.credentials import HINT, credentials
from geohydra.errors import ConfigError, GeohydraError, Problems
from geohydra.plan import Job, Stage
from geohydra.source import Source
from geohydra.task import Task
from geohydra.work import Config, divisible, step_version, undivided

_PROTOCOLS: Mapping[str, type] = {"task": Task, "source": Source}


class Settings:
    """The plain values on top of a config.

    `name` names the run folder and the experiment. `outputs` is a local folder; `store` a folder or an address such as
    `s3://bucket/store`. `lock` is the file that `geohydra lock` wrote; without one the source is listed for every run.
    """

    def __init__(
        self,
        *,
        name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\w][\w .-]*$")],
        seed: Annotated[int, Field(ge=0, lt=2**32)],
        outputs: Annotated[str, Field(min_length=1)],
        store: Annotated[str, Field(min_length=1)],
        lock: str | list[dict[str, Any]],
    ) -> None:
        self.name = name
        self.seed = seed
        self.outputs = outputs
        self.store = store
        self.lock = lock


class StageEntry:
    """One entry of `pipeline.steps`: the step module where it is not the entry's name, what it needs, the parts of the
    config that it sees (dotted keys), the hardware role, the condition under which it is done."""

    def __init__(
        self, *, uses: list[str], role: str, needs: list[str] | None = None, step: str | None = None, when: str | None = None
    ) -> None:
        self.uses = tuple(uses)
        self.role = role
        self.needs = tuple(needs or ())
        self.step = step
        self.when = None if when is None else parse_condition(when, where="when").text


class Pipeline:
    """What `pipeline` holds beside its steps. `shards`: into how many steps the work of one is divided. `parameters`: dotted keys of
    the config that can be changed when a compiled file is run."""

    def __init__(
        self,
        *,
        shards: dict[str, Annotated[int, Field(ge=1, le=64)]] | None = None,
        parameters: list[str] | None = None,
    ) -> None:
        self.shards = dict(shards or {})
        self.parameters = tuple(parameters or ())


def check(config: Config) -> list[GeohydraError]:
    """Every mistake of a config, each with its place; none means that it can be planned and run."""
    parts, errors = _parts(config)
    found_stages, more = _stages(config)
    errors += [*more, *_unknown_keys(config, found_stages), *_plain_values(config), *_hardware(config), *_values(config, "")]
    errors += [ConfigError(place, f"this looks like {told}", HINT) for place, told in credentials(config)]
    errors += broken_rules(_used(parts, found_stages), config, found_stages)
    return _each_once(errors)


def checked(composed: Composed) -> Composed:
    """The same; raises Problems with every mistake, each with its job's number in a sweep."""
    errors = check(composed.config)
    if errors:
        raise Problems(errors if composed.number is None else [of_job(error, composed.number) for error in errors])
    return composed


def of_job(error: GeohydraError, number: int) -> GeohydraError:
    """The error, told of one job of a sweep."""
    return type(error)(f"job {number}: {error.where}", error.problem, error.hint)


def stages(config: Config) -> tuple[Stage, ...]:
    """The steps of the chosen pipeline. Raises Problems."""
    found, errors = _stages(config)
    if errors:
        raise Problems(errors)
    return found


def make_job(composed: Composed) -> Job:
    """What the plan is made of; jobs of a sweep are told apart by their number."""
    name = str(composed.config["name"])
    if composed.number is not None:
        name = f"{name}-{composed.number}"
    return Job(name, composed.config, stages(composed.config), composed.overrides)


def _parts(config: Config) -> tuple[dict[str, Any], list[GeohydraError]]:
    """Every node with a `_target_`, built, under its key; and what cannot be built."""
    parts: dict[str, Any] = {}
    errors: list[GeohydraError] = []
    for key, node in config.items():
        if not isinstance(node, Mapping) or "_target_" not in node:
            continue
        try:
            parts[key] = build(node, where=key)
        except Problems as found:
            errors += found.errors
        except GeohydraError as error:
            errors.append(error)
        else:
            errors += _wrong_kind(key, parts[key])
    return parts, errors


def _wrong_kind(key: str, part: Any) -> Iterator[ConfigError]:
    protocol = _PROTOCOLS.get(key)
    if protocol is not None and not isinstance(part, protocol):
        lacks = sorted(name for name in vars(protocol) if not name.startswith("_") and not hasattr(part, name))
        yield ConfigError(f"{key}._target_", f"{type(part).__name__} is no {protocol.__name__}", f"it lacks {', '.join(lacks)}")


def _stages(config: Config) -> tuple[tuple[Stage, ...], list[GeohydraError]]:
    pipeline = config.get("pipeline")
    entries = pipeline.get("steps") if isinstance(pipeline, Mapping) else None
    if not isinstance(entries, Mapping) or not entries:
        return (), [ConfigError("pipeline.steps", "there are no steps", "choose one with pipeline=full")]
    found: list[Stage] = []
    entries = {name: entry for name, entry in entries.items() if not _is_left_out(entry)}
    settings, errors = _pipeline(pipeline, config, entries)
    for name, entry in entries.items():
        mistakes = list(_stage_mistakes(str(name), entry, config, entries))
        errors += mistakes
        if not mistakes:
            found.append(_stage(str(name), entry, settings.shards.get(str(name), 1)))
    return tuple(found), errors


def _is_left_out(entry: Any) -> bool:
    """A step whose condition is null is no part of the pipeline."""
    return isinstance(entry, Mapping) and "when" in entry and entry["when"] is None


def _pipeline(pipeline: Any, config: Config, entries: Mapping[str, Any]) -> tuple[Pipeline, list[GeohydraError]]:
    """What stands beside the steps, and the mistakes in it."""
    given = {key: value for key, value in pipeline.items() if key != "steps"}
    errors = problems({"_target_": "geohydra.config.checking.Pipeline", **given}, where="pipeline")
    if errors:
        return Pipeline(), errors
    settings = Pipeline(**given)
    errors += [error for name, count in settings.shards.items() for error in _shard_mistakes(name, count, config, entries)]
    for key in settings.parameters:
        if not _has(config, key):
            errors.append(ConfigError("pipeline.parameters", f"the config has no {key!r}", near(key, config)))
        elif not any(key == use or key.startswith(f"{use}.") for entry in entries.values() for use in _uses(entry)):
            errors.append(ConfigError("pipeline.parameters", f"no step uses {key!r}, so that changing it would change nothing"))
    return settings, errors


def _shard_mistakes(name: str, count: int, config: Config, entries: Mapping[str, Any]) -> Iterator[ConfigError]:
    where = f"pipeline.shards.{name}"
    if name not in entries:
        yield ConfigError(where, f"no step is called {name!r}", near(name, entries))
    elif count > 1 and not _is_divisible(name, entries[name]):
        others = [str(other) for other in entries if _is_divisible(str(other), entries[other])]
        yield ConfigError(where, "the work of this step cannot be divided", f"that of {', '.join(others)} can" if others else "")
    elif count > 1 and isinstance(entries[name], Mapping) and entries[name].get("when"):
        yield ConfigError(where, "a step that waits for a condition cannot be divided", "leave it at 1, or its `when` out")
    elif count > 1 and (why := _undivided(name, entries[name], config)):
        yield ConfigError(where, why, "leave it at 1")


def _step_of(name: str, entry: Any) -> str:
    return str((entry.get("step") if isinstance(entry, Mapping) else None) or name)


def _is_divisible(name: str, entry: Any) -> bool:
    """A step that is not there at all is told of elsewhere."""
    try:
        return divisible(_step_of(name, entry))
    except GeohydraError:
        return True


def _undivided(name: str, entry: Any, config: Config) -> str | None:
    """Why a step cannot be divided with this config; a part that cannot be built is told of elsewhere."""
    try:
        return undivided(_step_of(name, entry), config)
    except (GeohydraError, KeyError):
        return None


def _uses(entry: Any) -> list[str]:
    found = entry.get("uses") if isinstance(entry, Mapping) else None
    return [str(use) for use in found] if isinstance(found, list) else []


def _stage(name: str, entry: Mapping[str, Any], shards: int) -> Stage:
    made = StageEntry(**entry)
    step = made.step or name
    return Stage(name, step, step_version(step), made.needs, made.uses, made.role, made.when or "", shards)


def _stage_mistakes(name: str, entry: Any, config: Config, entries: Mapping[str, Any]) -> Iterator[GeohydraError]:
    where = f"pipeline.steps.{name}"
    if not isinstance(entry, Mapping):
        yield ConfigError(where, "a step is described by `uses`, `role` and perhaps `needs` and `step`")
        return
    wrong = problems({"_target_": "geohydra.config.checking.StageEntry", **entry}, where=where)
    yield from wrong
    if wrong:
        return
    made = StageEntry(**entry)
    yield from (
        ConfigError(f"{where}.needs", f"no step is called {need!r}", near(need, entries)) for need in made.needs if need not in entries
    )
    yield from (ConfigError(f"{where}.uses", f"the config has no {key!r}", near(key, config)) for key in made.uses if not _has(config, key))
    hardware = config.get("hardware")
    if isinstance(hardware, Mapping) and made.role not in hardware:
        yield ConfigError(f"{where}.role", f"no role {made.role!r} in this hardware", f"it has {', '.join(map(str, hardware))}")
    try:
        step_version(made.step or name)
    except GeohydraError as error:
        yield error


def _has(config: Config, dotted: str) -> bool:
    value: Any = config
    for name in dotted.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    return True


def _unknown_keys(config: Config, found: Sequence[Stage]) -> Iterator[ConfigError]:
    """Keys on top that are no plain value, no group, and that no step uses."""
    known = {"name", "seed", "outputs", "store", "lock", *groups(), *(key.split(".")[0] for stage in found for key in stage.uses)}
    for key in config:
        if key not in known:
            yield ConfigError(key, "nothing uses this key", near(key, known))


def _plain_values(config: Config) -> list[GeohydraError]:
    given = {key: config[key] for key in ("name", "seed", "outputs", "store", "lock") if key in config}
    errors = problems({"_target_": "geohydra.config.checking.Settings", **given}, where="config")
    for error in errors:
        error.where = error.where.removeprefix("config.")
        error.hint = error.hint.replace("config.", "")
    return errors


def _hardware(config: Config) -> Iterator[GeohydraError]:
    hardware = config.get("hardware")
    if not isinstance(hardware, Mapping) or not hardware:
        yield ConfigError("hardware", "there are no roles", "choose one with hardware=cpu")
        return
    for name, role in hardware.items():
        if not isinstance(role, Mapping):
            yield ConfigError(f"hardware.{name}", f"{role!r} is no role", "a role is {cpu: 2, memory: 4, gpu: 0, device: cpu, workers: 0}")
            continue
        yield from problems({"_target_": "geohydra.pipeline.hardware.Role", **role}, where=f"hardware.{name}")


def _values(value: Any, where: str) -> Iterator[ConfigError]:
    """Values that no place of a config can hold: missing ones, and numbers that are none."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _values(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _values(item, f"{where}[{place}]")
    elif value == "???":
        yield ConfigError(where, "a value is needed", f"set {where}=...")
    elif isinstance(value, float) and not math.isfinite(value):
        yield ConfigError(where, f"{value} is no number to plan with", "write a finite one, or null")


def _used(parts: Parts, found: Sequence[Stage]) -> dict[str, Any]:
    """Only the parts that some step sees: the rest of the config cannot contradict it."""
    seen = {key.split(".")[0] for stage in found for key in stage.uses}
    return {key: part for key, part in parts.items() if key in seen}


def _each_once(errors: Sequence[GeohydraError]) -> list[GeohydraError]:
    """The first error of every place."""
    kept: dict[str, GeohydraError] = {}
    for error in errors:
        kept.setdefault(error.where, error)
    return list(kept.values())

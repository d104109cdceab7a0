"""What steps find around them on a cluster: image, secrets by their names, settings, scratch. The schema of `conf/cluster/*.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from geohydra import storage
from geohydra.errors import ConfigError, GeohydraError, Problems
from geohydra.pipeline.hardware import Quantity

ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)]
"""The name of a Secret, a ConfigMap, a PersistentVolumeClaim or a ServiceAccount."""

KeyOf = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[\w.-]+$")]
"""One key of a Secret or a ConfigMap: store-keys/access."""

EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]
MountPath = Annotated[str, Field(pattern=r"^/[^:]+$")]

_OWN = ("GEOHYDRA_RESOURCES", "GEOHYDRA_CACHE", "GEOHYDRA_ENGINE_RUN")


@dataclass(frozen=True)
class Scratch:
    """Where unfinished work of a pod lies: `size` of the node's disk; with `storage_class` a volume made for the pod; or a
    `claim` that exists, which also keeps a step's half-done work for its next attempt."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    size: Quantity | None = None
    storage_class: str | None = None
    claim: ObjectName | None = None
    path: MountPath = "/scratch"


class Cluster:
    """What every pod of a pipeline gets.

    `image`: null is `geohydra:<version>`; name it by its digest, so that a moved tag changes nothing. `pull_policy`, `pull_secrets`.
    `env` are plain values. Secrets stand here by name only: `secret_env: {AWS_SECRET_ACCESS_KEY: store-keys/secret}` sets a variable
    from a key of a Secret, `secret_files: {/etc/keys: gdal-keys}` lays the keys of one down as files; `config_env` and `config_files`
    do so with ConfigMaps. What is `optional` need not exist. `volumes: {/data: imagery}` mounts claims. `scratch` holds unfinished
    work. `service_account` is given when a run is submitted. `report` adds a last task that tells how the run ended.
    """

    def __init__(
        self,
        *,
        image: Annotated[str, Field(min_length=1)] | None = None,
        pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None,
        pull_secrets: list[ObjectName] | None = None,
        env: dict[EnvironmentName, str] | None = None,
        secret_env: dict[EnvironmentName, KeyOf] | None = None,
        secret_files: dict[MountPath, ObjectName] | None = None,
        config_env: dict[EnvironmentName, KeyOf] | None = None,
        config_files: dict[MountPath, ObjectName] | None = None,
        optional: list[ObjectName] | None = None,
        volumes: dict[MountPath, ObjectName] | None = None,
        scratch: Scratch | None = None,
        service_account: ObjectName | None = None,
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
        report: bool = True,
    ) -> None:
        self.image = image
        self.pull_policy = pull_policy
        self.pull_secrets = list(pull_secrets or ())
        self.env = dict(env or {})
        self.secret_env = _by_object(secret_env or {})
        self.secret_files = dict(secret_files or {})
        self.config_env = _by_object(config_env or {})
        self.config_files = dict(config_files or {})
        self.optional = frozenset(optional or ())
        self.volumes = dict(volumes or {})
        self.scratch = scratch or Scratch()
        self.service_account = service_account
        self.labels = dict(labels or {})
        self.annotations = dict(annotations or {})
        self.report = report
        errors: list[GeohydraError] = [*_twice({"env": env, "secret_env": secret_env, "config_env": config_env}), *self._contradictions()]
        if errors:
            raise errors[0] if len(errors) == 1 else Problems(errors)

    def reaches(self, store: str) -> bool:
        """Whether pods find a store: one at an address, or a folder on which a volume is mounted."""
        if not storage.is_local(store):
            return True
        folder = storage.local_path(store).absolute()
        return any(folder.is_relative_to(place) for place in self.volumes)

    def _contradictions(self) -> Iterator[ConfigError]:
        scratch = self.scratch
        if scratch.claim and (scratch.size or scratch.storage_class):
            yield ConfigError("cluster.scratch", "a claim brings its own size", "give `claim`, or `size` with `storage_class`")
        if scratch.storage_class and not scratch.size:
            yield ConfigError("cluster.scratch.size", "a volume of a storage class needs a size", "for example 100Gi")
        mounted = [*self.secret_files, *self.config_files, *self.volumes, *([scratch.path] if scratch.size or scratch.claim else [])]
        for path in sorted({path for path in mounted if mounted.count(path) > 1}):
            yield ConfigError("cluster", f"{path} is given to two things", "every mount needs a folder of its own")
        for known in (self.labels, self.annotations):
            yield from (ConfigError("cluster.labels", f"{key!r} is no key of a label") for key in known if not is_label_key(key))
        for value in self.labels.values():
            if not re.fullmatch(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?", value):
                yield ConfigError("cluster.labels", f"{value!r} is no value of a label", "at most 63 letters, digits, - _ and .")


def is_label_key(key: str) -> bool:
    """Whether Kubernetes takes it as the key of a label: a name of at most 63 signs, perhaps behind a domain and a slash."""
    return re.fullmatch(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", key) is not None


def _twice(given: Mapping[str, Mapping[str, str] | None]) -> Iterator[ConfigError]:
    """Variables that stand in two places, or that geohydra sets itself."""
    names = [(key, name) for key, values in given.items() for name in values or {}]
    for key, name in names:
        if name in _OWN:
            yield ConfigError(f"cluster.{key}.{name}", "geohydra sets this variable itself")
        elif (other := next(at for at, known in names if known == name)) != key:
            yield ConfigError(f"cluster.{key}.{name}", f"this variable stands in cluster.{other} too")


def _by_object(variables: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """`{variable: object/key}` as `{object: {key: variable}}`, as the engine wants it."""
    found: dict[str, dict[str, str]] = {}
    for variable, place in variables.items():
        name, _, key = place.partition("/")
        found.setdefault(name, {})[key] = variable
    return found

"""What a role of steps gets: the schema of `conf/hardware/*.yaml`. Some of it counts here too, the rest on a cluster only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from geohydra.build import build
from geohydra.errors import ConfigError

Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|K|M|G|T)$")]
"""Bytes as Kubernetes writes them: 8Gi, 500M."""

Duration = Annotated[str, Field(pattern=r"^[0-9]+(s|m|h|d)$")]
"""30s, 45m, 6h, 2d."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Toleration:
    """Lets steps onto nodes with a taint: `{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}`."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    seconds: Annotated[int, Field(ge=0)] | None = None


@dataclass(frozen=True)
class Backoff:
    """How long to wait before another attempt: `first`, then `factor` times as long, at most `longest`."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    first: Duration = "30s"
    factor: Annotated[int, Field(ge=1)] = 2
    longest: Duration = "1h"


class Role:
    """What a step of one role gets.

    Everywhere: `cpu` (threads), `memory` (GB), `gpu` (how many), `device`, `workers` (processes that load data).

    On a cluster: `gpu_type` is the resource that Kubernetes counts (nvidia.com/gpu), or on Vertex the name of the GPU
    (NVIDIA_TESLA_T4); `tpu` and `tpu_type` likewise. `cpu_request` and `memory_request` may ask for less than the limit.
    `shm` is shared memory for processes that load data. `timeout` ends a pod; `retries` start another after a failure,
    with `backoff` between. `image`, `node_selector`, `tolerations`, `labels` and `annotations` are those of its pods.
    """

    def __init__(
        self,
        *,
        cpu: Annotated[int, Field(ge=1)],
        memory: Annotated[float, Field(gt=0)],
        gpu: Annotated[int, Field(ge=0, le=64)] = 0,
        device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
        workers: Annotated[int, Field(ge=0)] = 0,
        gpu_type: Annotated[str, Field(min_length=1)] = "nvidia.com/gpu",
        tpu: Annotated[int, Field(ge=0, le=256)] = 0,
        tpu_type: Annotated[str, Field(min_length=1)] = "google.com/tpu",
        cpu_request: Annotated[float, Field(gt=0)] | None = None,
        memory_request: Annotated[float, Field(gt=0)] | None = None,
        shm: Quantity | None = None,
        timeout: Duration | None = None,
        retries: Annotated[int, Field(ge=0, le=20)] = 0,
        backoff: Backoff | None = None,
        image: Annotated[str, Field(min_length=1)] | None = None,
        node_selector: dict[str, str] | None = None,
        tolerations: list[Toleration] | None = None,
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
    ) -> None:
        self.cpu = cpu
        self.memory = memory
        self.gpu = gpu
        self.device = device
        self.workers = workers
        self.gpu_type = gpu_type
        self.tpu = tpu
        self.tpu_type = tpu_type
        self.cpu_request = cpu_request
        self.memory_request = memory_request
        self.shm = shm
        self.timeout = timeout
        self.retries = retries
        self.backoff = backoff or Backoff()
        self.image = image
        self.node_selector = dict(node_selector or {})
        self.tolerations = tuple(tolerations or ())
        self.labels = dict(labels or {})
        self.annotations = dict(annotations or {})
        if gpu and tpu:
            raise ConfigError("tpu", "a pod has GPUs or TPUs, not both", "set one of them to 0")


def seconds_of(duration: str) -> int:
    """A duration such as 6h in seconds."""
    found = re.fullmatch(r"(\d+)([smhd])", duration)
    if found is None:
        raise ValueError(f"{duration!r} is no duration")
    return int(found[1]) * _SECONDS[found[2]]


def read_role(hardware: Mapping[str, Any], name: str, *, where: str) -> Role:
    """A role of a hardware profile. Raises ConfigError where the profile has none of this name."""
    if name not in hardware:
        raise ConfigError(where, f"no role {name!r} in this hardware", f"it has {', '.join(map(str, hardware))}")
    role: Role = build({"_target_": "geohydra.pipeline.hardware.Role", **hardware[name]}, where=f"hardware.{name}")
    return role

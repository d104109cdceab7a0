"""Cores, memory and GPUs of this machine, and who has them: what keeps steps that run at once from starving each other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geohydra.errors import ConfigError
from geohydra.work import Resources


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to hand out: cores, GB of memory, GPUs by the names that CUDA_VISIBLE_DEVICES takes."""

    cpu: int
    memory: float
    gpus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """What one running step holds, and what it is told of it."""

    cpu: int
    memory: float
    gpus: tuple[str, ...]
    resources: Resources


class Budget:
    """Hands out a machine. A step that asks for more than there is gets all there is, and so runs alone."""

    def __init__(self, machine: Machine, hardware: Mapping[str, Any]) -> None:
        self._machine = machine
        self._roles = hardware
        self._cpu = machine.cpu
        self._memory = machine.memory
        self._gpus = list(machine.gpus)

    def check(self, role: str) -> None:
        """Raise ConfigError where no step of this role could ever run here."""
        wanted = self._role(role).get("gpu", 0)
        if wanted > len(self._machine.gpus):
            problem = f"{wanted} GPUs are asked for, this machine has {len(self._machine.gpus)}"
            raise ConfigError(f"hardware.{role}.gpu", problem, "choose hardware=cpu")

    def take(self, role: str) -> Grant | None:
        """What a step of this role needs; None while others have it."""
        asked = self._role(role)
        cpu = min(int(asked.get("cpu", 1)), self._machine.cpu)
        memory = min(float(asked.get("memory", 0)), self._machine.memory)
        count = int(asked.get("gpu", 0))
        if cpu > self._cpu or memory > self._memory or count > len(self._gpus):
            return None
        self._cpu -= cpu
        self._memory -= memory
        gpus = tuple(self._gpus.pop(0) for _ in range(count))
        resources = Resources(cpu, memory or self._machine.memory, str(asked.get("device", "auto")), int(asked.get("workers", 0)))
        return Grant(cpu, memory, gpus, resources)

    def give_back(self, grant: Grant) -> None:
        """The step has ended."""
        self._cpu += grant.cpu
        self._memory += grant.memory
        self._gpus = sorted([*self._gpus, *grant.gpus])

    def _role(self, role: str) -> Mapping[str, Any]:
        if role not in self._roles:
            known = ", ".join(key for key, value in self._roles.items() if isinstance(value, Mapping))
            raise ConfigError(f"hardware.{role}", f"no role {role!r} in this hardware", f"it has {known}")
        found: Mapping[str, Any] = self._roles[role]
        return found


def this_machine(*, cpu: int | None = None, memory: float | None = None, gpu: int | None = None) -> Machine:
    """What this process may use; what is given counts instead."""
    return Machine(cpu or _cores(), memory or _memory(), tuple(map(str, range(gpu))) if gpu is not None else _gpus())


def _cores() -> int:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _words("/sys/fs/cgroup/cpu.max")
    if len(quota) == 2 and quota[0].isdigit():
        allowed = min(allowed, max(1, round(int(quota[0]) / int(quota[1]))))
    return allowed


def _memory() -> float:
    import psutil

    limit = _words("/sys/fs/cgroup/memory.max")
    known = [int(limit[0])] if limit and limit[0].isdigit() else []
    return float(min([psutil.virtual_memory().total, *known]) / 1e9)


def _gpus() -> tuple[str, ...]:
    """Never asks CUDA: a process that did cannot be forked from any more."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return tuple(name.strip() for name in shown.split(",") if name.strip() and name.strip() != "-1")
    return tuple(sorted(path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")))


def _words(path: str) -> list[str]:
    try:
        return Path(path).read_text().split()
    except OSError:
        return []

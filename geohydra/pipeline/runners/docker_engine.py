"""The container engine of this machine: whether it is there, whether it has the image, what a container may use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from geohydra.errors import ConfigError, EngineError
from geohydra.pipeline.hardware import Role

LABEL = "geohydra.run"
"""The label by which the containers of a run are known."""

_BYTES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}

_LEAST = 6 * 2**20
"""Bytes of memory that an engine gives at least."""


@contextmanager
def connected() -> Iterator[Any]:
    """The engine's client. Raises EngineError where none answers, or where this user may not ask it."""
    import docker
    from docker.errors import DockerException

    client = None
    try:
        client = docker.from_env()
        client.ping()
    except (DockerException, OSError) as cause:
        if client is not None:
            client.close()
        raise _unreachable(cause) from cause
    try:
        yield client
    finally:
        client.close()


def found_image(client: Any, image: str) -> str:
    """The name by which the engine knows the image. It is pulled where the name tells from where; a bare name is never looked for
    in a public registry, where anybody may have taken it."""
    from docker.errors import DockerException, ImageNotFound

    try:
        found = client.images.get(image)
    except ImageNotFound as cause:
        if "/" not in image:
            hint = f"build it: docker build --file docker/Dockerfile --tag {image} . ; or name another with runner.image=NAME"
            raise ConfigError("runner.image", f"the engine has no image {image}", hint) from cause
        try:
            found = client.images.pull(*_parted(image))
        except DockerException as refusal:
            hint = "check the name, log in with `docker login`, or name another with runner.image=NAME"
            raise ConfigError("runner.image", f"the image {image} is not here, and cannot be pulled ({told(refusal)})", hint) from refusal
    names = [*found.tags, *found.attrs.get("RepoDigests", ())]
    if not names:
        raise ConfigError("runner.image", f"the image {image} has no name", f"give it one: docker tag {image} geohydra:mine")
    return image if image in names else str(names[0])


def limits_of(role: Role, cpus: int) -> dict[str, Any]:
    """What the engine gives a container of this role: its memory without swap, its cores, its GPUs."""
    memory = max(_LEAST, int(role.memory * 1e9))
    asked: dict[str, Any] = {"mem_limit": memory, "memswap_limit": memory, "nano_cpus": int(min(role.cpu, cpus) * 1e9)}
    return asked | {"shm_size": _bytes(role.shm) if role.shm else memory // 2} | gpus_of(role)


def gpus_of(role: Role) -> dict[str, Any]:
    """The GPUs of a role, as the engine is asked for them."""
    return {"device_requests": [{"count": role.gpu, "capabilities": [["gpu"]]}]} if role.gpu else {}


def user_of(client: Any) -> dict[str, Any]:
    """Whom the processes of a container run as: who runs geohydra, so that outputs are theirs.

    In an engine without root, its root is that user. Root may read what belongs to others, as it may outside.
    """
    rootless = any("rootless" in str(option) for option in client.info().get("SecurityOptions") or ())
    uid, gid = (0, 0) if rootless else (os.getuid(), os.getgid())
    return {"user": f"{uid}:{gid}", "cap_drop": ["ALL"], **({"cap_add": ["DAC_OVERRIDE"]} if uid == 0 else {})}


def stop_containers(client: Any, run: str) -> None:
    """End all containers of a run, those too that were about to start."""
    from docker.errors import DockerException

    with suppress(DockerException, OSError):  # an engine that is gone runs nothing
        for one in client.containers.list(all=True, ignore_removed=True, filters={"label": f"{LABEL}={run}"}):
            with suppress(DockerException):
                one.remove(force=True)


def told(error: BaseException) -> str:
    """The engine's own words."""
    return " ".join(str(getattr(error, "explanation", None) or error).split())[:300]


def refusal(error: BaseException, image: str) -> tuple[str, str]:
    """Why a container could not be started, and what to do."""
    words = told(error)
    if re.search(r"device driver|capabilities: \[\[gpu\]\]", words):
        return "the engine cannot give GPUs to containers", "install the NVIDIA Container Toolkit, or choose hardware=cpu"
    if re.search(r"network .*not found|network mode", words, re.IGNORECASE):
        return f"the engine has no such network ({words})", "set runner.network to none, host, or one that `docker network ls` shows"
    if re.search(r"executable file not found|no such file or directory: unknown", words):
        return f"the image {image} has no `python`", "name another with runner.image=NAME"
    return f"its container could not be started ({words})", "see `docker info`"


def _unreachable(cause: BaseException) -> EngineError:
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if "PermissionError" in repr(cause) or "Permission denied" in repr(cause):
        hint = "join its group (`sudo usermod --append --groups docker $USER`, then log in again), or run an engine without root"
        return EngineError("the container engine", f"this user may not use {address}", hint)
    hint = "start it (`sudo systemctl start docker`), name another with DOCKER_HOST, or choose runner=local, which needs none"
    return EngineError("the container engine", f"none answers at {address}", hint)


def _parted(image: str) -> tuple[str, str | None]:
    """The name, and the tag where one has to be given beside it."""
    if "@" in image or ":" in image.rpartition("/")[2]:
        return image, None
    return image, "latest"


def _bytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", quantity).groups()  # type: ignore[union-attr]
    return int(float(number) * _BYTES[unit])


def cache_folder(environment: Mapping[str, str]) -> Path:
    """What was fetched from elsewhere lies here, for steps outside containers too."""
    return Path(environment.get("GEOHYDRA_CACHE", Path.home() / ".cache" / "geohydra")).absolute()

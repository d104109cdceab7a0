"""On this machine, each step in a container: the compiled plan, as a cluster gets it, run by kfp's own local runner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from geohydra.plan import Plan

if TYPE_CHECKING:
    from geohydra.pipeline.runners import Listener, Outcome

EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]


class DockerRunner:
    """A plan as containers of one image, one after the other.

    `image`: null is `cluster.image`, else `geohydra:<version>`. `network`: null is the engine's own; `none` shuts containers off,
    `host` lets them reach services of this machine. Containers see the store, and of this machine's files those that the config
    names, which they can only read, and further `folders`. `env` are plain values; `variables` are names of variables that are
    handed on from here, secrets among them. Where `limits`, a step gets the memory and the cores of its role, and no more.
    """

    def __init__(
        self,
        *,
        image: Annotated[str, Field(min_length=1)] | None = None,
        network: Annotated[str, Field(pattern=r"^[\w][\w.:-]*$")] | None = None,
        folders: list[Annotated[str, Field(min_length=1)]] | None = None,
        env: dict[EnvironmentName, str] | None = None,
        variables: list[EnvironmentName] | None = None,
        limits: bool = True,
    ) -> None:
        self.image = image
        self.network = network
        self.folders = tuple(folders or ())
        self.env = dict(env or {})
        self.variables = tuple(variables or ())
        self.limits = limits

    def warm(self) -> None:
        """Nothing has to be started here."""

    def run(self, plan: Plan, *, store: str, hardware: Mapping[str, Any], folder: Path, listener: Listener) -> Outcome:
        """Perform every step that the store does not hold. Where it holds all, no engine is asked."""
        from geohydra.pipeline.runners.docker_run import run_in_containers

        return run_in_containers(self, plan, store=store, hardware=hardware, folder=folder, listener=listener)

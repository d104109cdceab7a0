"""A cluster as the command line sees it: the server that a config names, and a plan as the file that it gets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geohydra.build import build
from geohydra.command.arguments import Asked
from geohydra.command.performing import recipes_of
from geohydra.command.planning import plan_of
from geohydra.config.parameters import parameters_of
from geohydra.errors import ConfigError
from geohydra.pipeline.cluster import Cluster
from geohydra.pipeline.runners.kfp import KfpRunner
from geohydra.pipeline.runners.kfp_client import Server
from geohydra.pipeline.runners.kfp_package import package


@dataclass(frozen=True, slots=True)
class Packed:
    """A compiled plan, and where it goes."""

    server: Server
    file: Path
    name: str
    experiment: str
    steps: int
    cluster: Cluster
    runner: KfpRunner
    shown: str


def server_of(asked: Asked) -> tuple[Server, KfpRunner]:
    """The server that a config names, with `runner=kfp` unless it says otherwise."""
    runner = _runner(_there(asked).compose()[0].config["runner"])
    return Server(runner.access), runner


@contextmanager
def packed(asked: Asked) -> Iterator[Packed]:
    """The plan of a config as a file that lasts as long as this is open."""
    jobs = _there(asked).compose(fixed=True)
    first = jobs[0].config
    runner = _runner(first["runner"])
    server = Server(runner.access)
    server.check()
    plan, store = plan_of(jobs)
    runner.take(parameters_of(jobs[0], name=asked.name), recipes_of(plan, jobs, asked.name))
    with tempfile.TemporaryDirectory(prefix="geohydra-") as folder:
        file, cluster = package(runner, plan, store=store, hardware=first["hardware"], path=Path(folder) / "pipeline.yaml")
        yield Packed(server, file, plan.name, runner.experiment or plan.name, len(plan.steps), cluster, runner, _shown(runner, first))


def _shown(runner: KfpRunner, config: Mapping[str, Any]) -> str:
    """Where MLflow will show the run, once its last task has told it; "" where none does."""
    uri, experiment = (config.get("tracking") or {}).get("uri") or "", (config.get("tracking") or {}).get("experiment")
    return f"the experiment {experiment} of {uri}" if uri and runner.tells(config) else ""


def _there(asked: Asked) -> Asked:
    """The words, with `runner=kfp` in front where no runner is chosen."""
    chosen = any(word.startswith(("runner=", "+runner=", "override runner=")) for word in asked.overrides)
    return asked if chosen else replace(asked, overrides=("runner=kfp", *asked.overrides))


def _runner(node: dict[str, object]) -> KfpRunner:
    runner = build(node, where="runner")
    if not isinstance(runner, KfpRunner):
        raise ConfigError("runner", "this runner has no cluster", "take runner=kfp")
    return runner

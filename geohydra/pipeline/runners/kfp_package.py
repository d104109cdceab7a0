"""The file that a cluster gets: a plan as it is compiled, where pods can reach its store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.build import build
from geohydra.errors import ConfigError
from geohydra.identity import digest
from geohydra.pipeline.cluster import Cluster
from geohydra.pipeline.runners.kfp import KfpRunner, is_file
from geohydra.pipeline.runners.kfp_client import Server
from geohydra.plan import Plan


def package(runner: KfpRunner, plan: Plan, *, store: str, hardware: Mapping[str, Any], path: Path) -> tuple[Path, Cluster]:
    """The file to upload, and what pods find there. Raises ConfigError where pods cannot reach the store."""
    from geohydra.pipeline.render import compile_plan

    cluster: Cluster = build(plan.jobs[0].config["cluster"], where="cluster")
    uri = (plan.jobs[0].config.get("tracking") or {}).get("uri")
    cluster.report = cluster.report and runner.reports and plan.at_once is None and not (uri and is_file(uri))
    _refuse_unreachable(store, cluster)
    parameters, recipes = runner.parameters, runner.recipes
    compiled = compile_plan(plan, path, store=store, hardware=hardware, cluster=cluster, parameters=parameters, recipes=recipes)
    if not runner.cache:
        _switch_cache_off(compiled.upload)
    return compiled.upload, cluster


def submit(server: Server, runner: KfpRunner, file: Path, cluster: Cluster, called: str) -> tuple[str, str, str]:
    """Start a run of a file, unless one of exactly this file is under way: its id, its name, which of both it is."""
    name = f"{runner.run_name or called} {digest(file.read_text())[:8]}"
    experiment = server.experiment(runner.experiment or called)
    known = server.under_way(experiment, name)
    if known is not None:
        return known, name, "is under way already"
    made = server.submit(file, name=name, experiment=experiment, root=runner.root, service_account=cluster.service_account)
    return made, name, "submitted"


def _refuse_unreachable(store: str, cluster: Cluster) -> None:
    """A folder of this machine is no place for a cluster's outputs, unless a volume is mounted there."""
    if not cluster.reaches(store):
        folder = storage.local_path(store).absolute()
        hint = "set store=s3://..., or have the volume that holds it mounted at the same path: '+cluster.volumes={FOLDER: CLAIM}'"
        raise ConfigError("store", f"{folder} is a folder of this machine, which pods cannot reach", hint)


def _switch_cache_off(path: Path) -> None:
    """Every task of a compiled file starts: the store tells whether there is anything to do."""
    import yaml

    loader, dumper = getattr(yaml, "CSafeLoader", yaml.SafeLoader), getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    documents = list(yaml.load_all(path.read_text(), Loader=loader))
    for component in [documents[0]["root"], *documents[0]["components"].values()]:
        for task in (component.get("dag") or {}).get("tasks", {}).values():
            task["cachingOptions"] = {}
    path.write_text("---\n".join(yaml.dump(one, Dumper=dumper, sort_keys=True, allow_unicode=True) for one in documents))

"""On a Kubeflow cluster: the compiled plan is submitted, and watched until it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from geohydra.plan import Plan

if TYPE_CHECKING:
    from geohydra.pipeline.runners import Listener, Outcome
    from geohydra.pipeline.runners.kfp_access import Access

EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]

HostAddress = Annotated[str, Field(pattern=r"^(https?://[^\s@]+|[^\s@/:]+(:\d+)?(/[^\s@]*)?)$")]
"""https://host/path, or without a scheme, which means https; names and passwords have no place in it."""


class KfpRunner:
    """A plan as one run of Kubeflow Pipelines.

    `host` is the address of the API; null is the service of the cluster that this process runs in, or what kubectl's settings lead
    to. `ui` is where people look, if that is another address. Secrets stand in the environment only: `token_env` and `cookies_env` are
    names of variables; `token_file` is a file that holds a token, read again whenever it is needed. `namespace` is for clusters of
    several teams. `experiment` and `run_name` default to the config's name. `root` is where the engine keeps its own artefacts. Without
    `cache`, the engine starts every step; what the store holds is never made again anyhow.

    `poll` seconds lie between two looks, `patience` seconds pass before a cluster that does not answer, or a pod that cannot start, is
    given up. After Ctrl-C the run goes on (`on_interrupt: leave`) or is stopped (`terminate`). `retries`: how often a run goes on that
    failed because a pod was evicted or its node went away.
    """

    def __init__(
        self,
        *,
        host: HostAddress | None = None,
        ui: HostAddress | None = None,
        namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)] | None = None,
        experiment: Annotated[str, Field(min_length=1, max_length=128)] | None = None,
        run_name: Annotated[str, Field(min_length=1, max_length=100)] | None = None,
        token_env: EnvironmentName | None = None,
        token_file: Annotated[str, Field(min_length=1)] | None = None,
        cookies_env: EnvironmentName | None = None,
        ca_file: Annotated[str, Field(min_length=1)] | None = None,
        verify: bool = True,
        root: Annotated[str, Field(min_length=1)] | None = None,
        cache: bool = False,
        poll: Annotated[float, Field(gt=0)] = 5.0,
        patience: Annotated[float, Field(ge=0)] = 300.0,
        on_interrupt: Literal["leave", "terminate"] = "leave",
        retries: Annotated[int, Field(ge=0, le=20)] = 1,
    ) -> None:
        self._access = (host, ui, namespace, token_env, token_file, cookies_env, ca_file, verify)
        self.experiment, self.run_name = experiment, run_name
        self.root, self.cache = root, cache
        self.poll, self.patience = poll, patience
        self.on_interrupt: Literal["leave", "terminate"] = on_interrupt
        self.retries = retries
        self.parameters: Mapping[str, Sequence[str]] = {}
        self.recipes: Mapping[str, str] = {}
        self.reports = False

    @property
    def access(self) -> Access:
        """How to reach the cluster."""
        from geohydra.pipeline.runners.kfp_access import Access

        return Access(*self._access)

    def warm(self) -> None:
        """Nothing has to be started here."""

    def take(self, parameters: Mapping[str, Sequence[str]], recipes: Mapping[str, str] | None = None) -> None:
        """Keys of the config that can be changed when the run is cloned, each with those that follow it.

        The run reports by itself then, for which it gets the `recipes` of a sweep's jobs; as one batch of a search it leaves that to
        who searches.
        """
        self.parameters, self.recipes, self.reports = parameters, recipes or {}, True

    def tells(self, config: Mapping[str, Any]) -> bool:
        """Whether the last task of the run tells tracking by itself: where pods can reach the server."""
        cluster, uri = config.get("cluster") or {}, (config.get("tracking") or {}).get("uri")
        known = {**(cluster.get("env") or {}), **(cluster.get("secret_env") or {}), **(cluster.get("config_env") or {})}
        return bool(cluster.get("report", True) and (not is_file(uri) if uri else "MLFLOW_TRACKING_URI" in known))

    def run(self, plan: Plan, *, store: str, hardware: Mapping[str, Any], folder: Path, listener: Listener) -> Outcome:
        """Submit the plan unless the store holds all of it, and watch until it ends."""
        from geohydra.pipeline.runners.kfp_run import run_there

        return run_there(self, plan, store=store, hardware=hardware, folder=folder, listener=listener)


def is_file(uri: str) -> bool:
    """Whether a tracking address is a database or a folder of this machine, which in a pod would be another one."""
    return uri.startswith(("sqlite:", "file:")) or "://" not in uri

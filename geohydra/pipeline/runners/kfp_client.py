"""The one door to a Kubeflow Pipelines server: what is asked of it, and its refusals as sentences."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from geohydra.errors import ConfigError, EngineError
from geohydra.pipeline.runners.kfp_access import HOST, Access, ask_version, finds_cluster, message_of, refused, unreachable
from geohydra.pipeline.runners.kfp_graph import Node

_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the server tells of it."""

    id: str
    name: str
    state: str
    created: datetime | None
    nodes: tuple[Node, ...]
    error: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED", "ERROR")


@dataclass(frozen=True, slots=True)
class Schedule:
    """A run that the server starts again and again."""

    id: str
    name: str
    cron: str
    state: str
    error: str = ""


class Server:
    """A Kubeflow Pipelines server. Every method raises EngineError, or ConfigError where a key of the config mends it."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._named: dict[str, str] = {}

    def check(self) -> None:
        """Raise what is wrong with the server before anything costs."""
        self._client  # noqa: B018

    # runs

    def experiment(self, name: str) -> str:
        """The id of an experiment, made where there is none."""
        with self._asking("the experiment"):
            return str(self._client.create_experiment(name, namespace=self.access.namespace).experiment_id)

    def under_way(self, experiment: str, name: str) -> str | None:
        """The id of a run of this name that has not ended."""
        with self._asking("the runs"):
            predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
            asked = {"page_size": 20, "sort_by": "created_at desc", "filter": json.dumps({"predicates": [predicate]})}
            runs = self._client.list_runs(experiment_id=experiment, **asked).runs or []
        return next((run.run_id for run in runs if run.display_name == name and run.state in ("PENDING", "RUNNING", None)), None)

    def submit(
        self,
        file: Path,
        *,
        name: str,
        experiment: str,
        parameters: Mapping[str, Any] | None = None,
        root: str | None = None,
        service_account: str | None = None,
    ) -> str:
        """Start a run of a compiled file; its id."""
        with self._asking("a new run"):
            run = self._client.run_pipeline(
                experiment, name, str(file), params=dict(parameters or {}), pipeline_root=root, service_account=service_account
            )
        return str(run.run_id)

    def run(self, identity: str) -> Run:
        """How a run stands."""
        with self._asking(f"the run {identity}"):
            return _run(self._client.get_run(identity))

    def runs(self, *, limit: int = 20) -> list[Run]:
        """The newest runs."""
        with self._asking("the runs"):
            asked = {"page_size": limit, "sort_by": "created_at desc", "namespace": self.access.namespace}
            found = self._client.list_runs(**asked)
        return [_run(one) for one in found.runs or []]

    def terminate(self, identity: str) -> None:
        """Stop a run."""
        with self._asking(f"the run {identity}"):
            self._client.terminate_run(identity)

    def retry(self, identity: str) -> None:
        """Let a failed run go on where it failed."""
        with self._asking(f"the run {identity}"):
            self._client.runs.run_service_retry_run(identity)

    def clone(self, identity: str, *, name: str | None = None, parameters: Mapping[str, Any] | None = None) -> str:
        """A new run of the same pipeline with the same values, but for those that are given; its id."""
        with self._asking(f"the run {identity}"):
            old = self._client.get_run(identity)
            kind = type(old)
            config = old.runtime_config or self._client.api_models.V2beta1RuntimeConfig()
            unknown = set(parameters or {}) - set(_inputs(old.pipeline_spec))
            if unknown and old.pipeline_spec:
                raise ConfigError(
                    sorted(unknown)[0], "the run has no parameter of this name", f"it has {', '.join(_inputs(old.pipeline_spec))}"
                )
            config.parameters = {**(config.parameters or {}), **(parameters or {})}
            new = kind(
                experiment_id=old.experiment_id,
                display_name=name or f"Clone of {old.display_name}",
                pipeline_spec=None if old.pipeline_version_reference else old.pipeline_spec,
                pipeline_version_reference=old.pipeline_version_reference,
                runtime_config=config,
                service_account=old.service_account,
            )
            return str(self._client.runs.run_service_create_run(run=new).run_id)

    # pods

    def log(self, run: str, pods: Sequence[str]) -> str:
        """What the main container wrote; "" where nobody has it any more. A pod may be known by any of these names."""
        for pod in [self._named[name] for name in pods if name in self._named] or pods:
            pages = {"podname": pod, "podnamespace": self._pod_namespace, "runid": run}
            for place, asked in ((f"/apis/v1alpha1/runs/{run}/nodes/{pod}/log", {}), ("/k8s/pod/logs", pages)):
                if (text := self._text(place, asked)) is not None:
                    self._named |= dict.fromkeys(pods, pod)
                    return text
        return ""

    def pod(self, pods: Sequence[str]) -> dict[str, Any]:
        """A pod as Kubernetes describes it, through the pages' own server; {} where that is not reached."""
        return next((found for pod in pods if isinstance(found := self._json("/k8s/pod", pod), dict)), {})

    def events(self, pods: Sequence[str]) -> list[dict[str, Any]]:
        """What Kubernetes tells of a pod, oldest first."""
        told: Any = next((answer for pod in pods if (answer := self._json("/k8s/pod/events", pod)) is not None), [])
        items = told.get("items") or [] if isinstance(told, dict) else told
        return [one for one in items if isinstance(one, dict)]

    # pipelines and schedules

    def publish(self, file: Path, *, name: str, version: str, description: str) -> tuple[str, str]:
        """Upload a file as a version of a pipeline, which is made where there is none; both ids."""
        with self._asking(f"the pipeline {name}"):
            predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
            asked = {"filter": json.dumps({"predicates": [predicate]}), "namespace": self.access.namespace}
            known = self._client.list_pipelines(**asked).pipelines or [self._new_pipeline(name, description)]
            identity = known[0].pipeline_id
            uploaded = self._client.upload_pipeline_version(str(file), version, pipeline_id=identity, description=description)
        return str(identity), str(uploaded.pipeline_version_id)

    def _new_pipeline(self, name: str, description: str) -> Any:
        kind = self._client.api_models.V2beta1Pipeline
        made = kind(display_name=name, name=name, description=description, namespace=self.access.namespace)
        return self._client.pipelines.pipeline_service_create_pipeline(pipeline=made)

    def schedule(self, file: Path, *, name: str, cron: str, experiment: str, catch_up: bool, service_account: str | None) -> str:
        """Start a compiled file whenever a cron expression (of six fields, seconds first) says so; the id."""
        with self._asking("a new schedule"):
            made = self._client.create_recurring_run(
                experiment,
                name,
                cron_expression=cron,
                no_catchup=not catch_up,
                pipeline_package_path=str(file),
                service_account=service_account,
            )
        return str(made.recurring_run_id)

    def schedules(self) -> list[Schedule]:
        """All of them."""
        with self._asking("the schedules"):
            found: list[Schedule] = []
            page = ""
            while True:
                answer = self._client.list_recurring_runs(page_token=page, page_size=50, namespace=self.access.namespace)
                found += [_schedule(one) for one in answer.recurring_runs or []]
                page = answer.next_page_token or ""
                if not page:
                    return found

    def pause(self, identity: str) -> None:
        """Start no more runs."""
        with self._asking(f"the schedule {identity}"):
            self._client.disable_recurring_run(identity)

    def resume(self, identity: str) -> None:
        """Start runs again."""
        with self._asking(f"the schedule {identity}"):
            self._client.enable_recurring_run(identity)

    def delete(self, identity: str) -> None:
        """Forget a schedule; its runs stay."""
        with self._asking(f"the schedule {identity}"):
            self._client.delete_recurring_run(identity)

    def link(self, what: str, identity: str) -> str:
        """The page of a run, a pipeline or a schedule (`recurringrun`)."""
        return f"{(self.access.ui or self.access.address or 'http://localhost:8080').rstrip('/')}/#/{what}s/details/{identity}"

    @cached_property
    def _client(self) -> Any:
        ask_version(self.access)  # a cluster that cannot be used is told before the client tries for half a minute
        _quiet()
        try:
            from kfp import Client
        except ImportError as cause:
            raise ConfigError("runner", "the package kfp is not installed", "pip install 'geohydra[kfp]'") from cause
        access = self.access
        if not access.address and not finds_cluster():
            hint = "set runner.host=https://..., or KF_PIPELINES_ENDPOINT in the environment"
            problem = "there is no address of a Kubeflow Pipelines server, and no cluster around or in kubectl's settings"
            raise ConfigError(HOST, problem, hint)
        credentials = access if access.token_env or access.token_file else None
        with self._asking("the server"):
            return Client(
                host=access.address or None,
                namespace=access.namespace or "kubeflow",
                cookies=access.cookies(),
                credentials=credentials,
                ssl_ca_cert=access.ca_file,
                ui_host=access.ui,
                verify_ssl=access.verify,
            )

    @property
    def _pod_namespace(self) -> str:
        return self.access.namespace or "kubeflow"

    def _json(self, place: str, pod: str) -> Any:
        text = self._text(place, {"podname": pod, "podnamespace": self._pod_namespace})
        try:
            return None if text is None else json.loads(text)
        except ValueError:
            return None

    def _text(self, place: str, asked: Mapping[str, str]) -> str | None:
        """The body of an answer; None where there is none. These pages are an extra: without them a run is watched all the same."""
        api = self._client.runs.run_service_get_run.__self__.api_client
        try:
            answer = api.call_api(
                place,
                "GET",
                query_params=list(asked.items()),
                header_params={},
                auth_settings=["Bearer"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=(_SECONDS, _SECONDS),
            )
        except Exception:
            return None
        text = answer.data.decode(errors="replace")
        return None if text.lstrip()[:15].lower().startswith(("<!doctype", "<html")) else text

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """The client's exceptions as sentences; what it prints and warns of is not for the terminal."""
        from kfp_server_api import ApiException
        from urllib3.exceptions import HTTPError

        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                yield
        except ApiException as cause:
            raise refused(self.access, cause.status or 0, what, message_of(cause.body) or str(cause.reason)) from cause
        except (HTTPError, TimeoutError, OSError) as cause:
            raise unreachable(self.access, cause) from cause
        except ValueError as cause:
            raise EngineError("the cluster", f"{what}: {cause}") from cause


def _run(run: Any) -> Run:
    details = (run.run_details and run.run_details.task_details) or []
    error = str(run.error.message or "") if run.error else ""
    return Run(run.run_id, run.display_name, run.state or "PENDING", run.created_at, tuple(_node(one) for one in details), error)


def _node(detail: Any) -> Node:
    children = tuple(str(child.task_id or child.pod_name) for child in detail.child_tasks or ())
    told = [detail.error, *(one.error for one in reversed(detail.state_history or ()))]
    message = next((str(one.message) for one in told if one and one.message), "")
    return Node(str(detail.task_id), str(detail.display_name), str(detail.state or ""), children, str(detail.pod_name or ""), message)


def _schedule(one: Any) -> Schedule:
    cron = one.trigger and one.trigger.cron_schedule
    return Schedule(
        str(one.recurring_run_id),
        str(one.display_name),
        str(cron.cron) if cron else "",
        {"ENABLED": "on", "DISABLED": "paused"}.get(str(one.status), str(one.status or "").lower()),
        str(one.error.message or "") if one.error else "",
    )


def _inputs(spec: Any) -> list[str]:
    """Names of the parameters of a pipeline, as a run holds it."""
    root = ((spec or {}).get("pipeline_spec") or spec or {}).get("root") or {}
    return sorted((root.get("inputDefinitions") or {}).get("parameters") or {})


def _quiet() -> None:
    """The client tells every attempt of its own; here it is told once, in a sentence."""
    for name in ("urllib3.connectionpool", "kfp"):
        logging.getLogger(name).setLevel(logging.ERROR)

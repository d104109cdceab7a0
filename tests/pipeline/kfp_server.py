"""A stand-in for the API server of Kubeflow Pipelines 2: speaks its published API (v2beta1), and executes what is submitted.

`python kfp_server.py FOLDER` answers on a free port of loopback, which it prints. What runs is executed by kfp's own local
runner, in a process of its own (`kfp_engine.py`). Requests and answers are held against the models of
`kfp_server_api`, which are generated from the published OpenAPI. `FOLDER/faults.json` says what goes wrong, and may change any time:

    token           what a client must show; a list while a new one comes in
    tag             the release that the server claims to be
    forbidden       namespaces that nobody may use
    login           every answer is a page to log in
    down            the status that every request is answered with
    frames          how the next runs go, look by look, instead of being executed: states of tasks, of the run; the last one stays
    pods, events    what Kubernetes says of the pod of a task
"""

from __future__ import annotations

import email.parser
import email.policy
import json
import re
import signal
import sys
import threading
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from kfp_engine import Engine
from kfp_wire import Refusal, faults_of, now

API = "/apis/v2beta1"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    engine: Engine
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        with (self.engine.folder / "requests.log").open("a") as stream:
            stream.write(f"{self.command} {self.path}\n")

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.content = self.rfile.read(length)
        try:
            with self.engine.lock:
                self._guard()
                status, body = 200, self._routed()
        except Refusal as refusal:
            status, body = refusal.status, {"code": refusal.status, "message": refusal.message}
        except Exception as error:
            status, body = 500, {"code": 13, "message": f"stand-in: {type(error).__name__}: {error}"}
        body = "<!doctype html><title>Log in</title>" if self.engine.faults.get("login") else body
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def _guard(self) -> None:
        faults = self.engine.faults
        if faults.get("down"):
            raise Refusal(int(faults["down"]), "no healthy upstream")
        tokens = [faults["token"]] if isinstance(faults.get("token"), str) else faults.get("token", [])
        if tokens and self.headers.get("Authorization") not in [f"Bearer {token}" for token in tokens]:
            raise Refusal(401, "Unauthenticated: token has expired")

    def _routed(self) -> Any:
        self.asked = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        path = unquote(urlsplit(self.path).path)
        for method, pattern, call in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method == self.command:
                self._allow(self.asked.get("namespace"))
                return call(self, **found.groupdict())
        raise Refusal(404, f"Not Found: {path}")

    def _allow(self, namespace: str | None) -> None:
        if namespace in self.engine.faults.get("forbidden", []):
            raise Refusal(403, f"PermissionDenied: User is not authorized with reason: (namespace: {namespace})")

    def _taken(self, kind: str) -> dict[str, Any]:
        """The body of a request; what the published API does not know is refused, as the server does."""
        body = dict(json.loads(self.content))
        wide = {key: str(body[key]) for key in ("max_concurrency",) if isinstance(body.get(key), int)}  # and reads them either way
        if faults := faults_of({**body, **wide}, kind):
            raise Refusal(400, f"Invalid input: {faults}")
        self._allow(body.get("namespace"))
        return body

    def told(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """An answer, held against the published API."""
        if faults := faults_of(body, kind):
            raise AssertionError(f"{kind}: {faults}")
        return body

    def _filtered(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for predicate in json.loads(self.asked.get("filter") or "{}").get("predicates", []):
            value = predicate.get("stringValue", predicate.get("string_value"))
            rows = [row for row in rows if row.get("display_name") == value]
        return rows

    def healthz(self) -> Any:
        faults = self.engine.faults
        if str(faults.get("tag", "")).startswith(("0.", "1.")) and faults.get("old_paths"):
            raise Refusal(404, "Not Found")
        return {
            "commit_sha": "0",
            "tag_name": faults.get("tag", "2.17.0"),
            "multi_user": bool(faults.get("multi_user")),
            "pipeline_store": "database",
        }

    def create_experiment(self) -> Any:
        body = self._taken("V2beta1Experiment")
        made = {**body, "experiment_id": str(uuid.uuid4()), "created_at": now(), "storage_state": "AVAILABLE"}
        self.engine.experiments[made["experiment_id"]] = made
        return self.told("V2beta1Experiment", made)

    def list_experiments(self) -> Any:
        rows = self._filtered(list(self.engine.experiments.values()))
        return self.told("V2beta1ListExperimentsResponse", {"experiments": rows, "total_size": len(rows)})

    def get_experiment(self, identity: str) -> Any:
        return self.told("V2beta1Experiment", self.engine.experiments[identity])

    def create_run(self) -> Any:
        return self.told("V2beta1Run", self.engine.create_run(self._taken("V2beta1Run")))

    def list_runs(self) -> Any:
        rows = [self.engine.run(identity) for identity in list(self.engine.runs)]
        rows = [row for row in rows if self.asked.get("experiment_id") in (None, row["experiment_id"])]
        return self.told("V2beta1ListRunsResponse", {"runs": self._filtered(rows)[::-1], "total_size": len(rows)})

    def get_run(self, identity: str) -> Any:
        return self.told("V2beta1Run", self.engine.run(identity))

    def terminate_run(self, identity: str) -> Any:
        self.engine.terminate(identity)
        return {}

    def retry_run(self, identity: str) -> Any:
        self.engine.retry(identity)
        return {}

    def _uploaded(self) -> dict[str, Any]:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + self.content)
        (part,) = [one for one in message.iter_parts() if one.get_param("name", header="content-disposition") == "uploadfile"]
        documents = list(yaml.safe_load_all(part.get_payload(decode=True)))
        return {"pipeline_spec": documents[0], "platform_spec": documents[1]} if len(documents) > 1 else dict(documents[0])

    def create_pipeline(self) -> Any:
        body, identity = self._taken("V2beta1Pipeline"), str(uuid.uuid4())
        if any(one["display_name"] == body["display_name"] for one in self.engine.pipelines.values()):
            raise Refusal(409, f"Already exist error: The name {body['display_name']} already exist. Please specify a new name")
        self.engine.pipelines[identity] = {**body, "pipeline_id": identity, "created_at": now()}
        return self.told("V2beta1Pipeline", self.engine.pipelines[identity])

    def upload_version(self) -> Any:
        return self.told("V2beta1PipelineVersion", self._version(self.asked["pipelineid"], self.asked["name"], self._uploaded()))

    def _version(self, pipeline: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        if any(one["display_name"] == name and one["pipeline_id"] == pipeline for one in self.engine.versions.values()):
            raise Refusal(409, f"Already exist error: Failed to create a pipeline version: the name {name} already exist")
        identity = str(uuid.uuid4())
        made = {"pipeline_id": pipeline, "pipeline_version_id": identity, "display_name": name, "created_at": now(), "pipeline_spec": spec}
        self.engine.versions[identity] = made
        return made

    def list_pipelines(self) -> Any:
        rows = self._filtered(list(self.engine.pipelines.values()))
        return self.told("V2beta1ListPipelinesResponse", {"pipelines": rows, "total_size": len(rows)})

    def list_versions(self, identity: str) -> Any:
        rows = [one for one in self.engine.versions.values() if one["pipeline_id"] == identity]
        return self.told("V2beta1ListPipelineVersionsResponse", {"pipeline_versions": rows, "total_size": len(rows)})

    def create_recurring(self) -> Any:
        body = self._taken("V2beta1RecurringRun")
        cron = ((body.get("trigger") or {}).get("cron_schedule") or {}).get("cron", "")
        if len(cron.split()) != 6:
            raise Refusal(400, f"Invalid input error: The input parameters are invalid: cron {cron!r} has not six fields")
        status = "ENABLED" if body.get("mode") == "ENABLE" else "DISABLED"
        body["max_concurrency"] = str(body.get("max_concurrency", 1))  # a server writes 64-bit numbers as text
        made = {**body, "recurring_run_id": str(uuid.uuid4()), "created_at": now(), "status": status}
        self.engine.recurring[made["recurring_run_id"]] = made
        return self.told("V2beta1RecurringRun", made)

    def list_recurring(self) -> Any:
        rows = list(self.engine.recurring.values())
        start = int(self.asked.get("page_token") or 0)
        size = min(int(self.asked.get("page_size") or 2), 2)
        more = {"next_page_token": str(start + size)} if start + size < len(rows) else {}
        return self.told("V2beta1ListRecurringRunsResponse", {"recurringRuns": rows[start : start + size], "total_size": len(rows), **more})

    def switch_recurring(self, identity: str, verb: str) -> Any:
        if identity not in self.engine.recurring:
            raise Refusal(404, f"Recurring run {identity} not found")
        self.engine.recurring[identity]["status"] = "ENABLED" if verb == "enable" else "DISABLED"
        return {}

    def delete_recurring(self, identity: str) -> Any:
        if self.engine.recurring.pop(identity, None) is None:
            raise Refusal(404, f"Recurring run {identity} not found")
        return {}

    def log(self, identity: str, pod: str) -> Any:
        return self.engine.log(identity, pod)

    def pod(self) -> Any:
        return self.engine.faults.get("pods", {}).get(self.engine.task_of(self.asked["podname"])) or {"status": {}}

    def events(self) -> Any:
        return {"items": self.engine.faults.get("events", {}).get(self.engine.task_of(self.asked["podname"])) or []}


_ID = r"(?P<identity>[^/:]+)"
ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", f"{API}/healthz", Handler.healthz),
    ("POST", f"{API}/experiments", Handler.create_experiment),
    ("GET", f"{API}/experiments", Handler.list_experiments),
    ("GET", f"{API}/experiments/{_ID}", Handler.get_experiment),
    ("POST", f"{API}/runs", Handler.create_run),
    ("GET", f"{API}/runs", Handler.list_runs),
    ("GET", f"{API}/runs/{_ID}", Handler.get_run),
    ("POST", f"{API}/runs/{_ID}:terminate", Handler.terminate_run),
    ("POST", f"{API}/runs/{_ID}:retry", Handler.retry_run),
    ("POST", f"{API}/pipelines", Handler.create_pipeline),
    ("POST", f"{API}/pipelines/upload_version", Handler.upload_version),
    ("GET", f"{API}/pipelines", Handler.list_pipelines),
    ("GET", f"{API}/pipelines/{_ID}/versions", Handler.list_versions),
    ("POST", f"{API}/recurringruns", Handler.create_recurring),
    ("GET", f"{API}/recurringruns", Handler.list_recurring),
    ("POST", f"{API}/recurringruns/{_ID}:(?P<verb>enable|disable)", Handler.switch_recurring),
    ("DELETE", f"{API}/recurringruns/{_ID}", Handler.delete_recurring),
    ("GET", r"/apis/v1alpha1/runs/(?P<identity>[^/]+)/nodes/(?P<pod>[^/]+)/log", Handler.log),
    ("GET", "/k8s/pod", Handler.pod),
    ("GET", "/k8s/pod/events", Handler.events),
]


def serve(folder: Path) -> None:
    """Answer until somebody sends SIGTERM; the port is the one line that is printed."""
    engine = Engine(folder)
    handler = type("Bound", (Handler,), {"engine": engine})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(server.server_address[1], flush=True)
    server.serve_forever()
    engine.close()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))

"""One journal on its way to MLflow: events become calls, a cursor says how far they got.

Every call can be made twice without harm, so that a killed shipper goes on from its last cursor: a run is found again
by its journal's id, metrics carry their own time, artefacts replace themselves, a model version is looked up first.
"""

from __future__ import annotations

import fcntl
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from errno import ENOENT
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from geohydra import storage
from geohydra.identity import digest
from geohydra.tracking.client import is_refusal, reason
from geohydra.tracking.journal import EVENTS, abandoned, link_or_copy, read_events
from geohydra.tracking.params import cut, key_name
from geohydra.tracking.views import run_link, set_experiment_view, set_sweep_view, sweep_note

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Event = Mapping[str, Any]
_BATCH = 500
_EXPERIMENT = {"mlflow.experimentKind": "custom_model_development"}
"""MLflow's pages then open with runs and charts, not with what language models need."""

_OUTPUT = "geohydra.output"
"""The tag that tells which output of a store a model version holds."""


@dataclass(slots=True)
class Cursor:
    """How far a journal was shipped to one store: `next` is the byte after the last event that arrived."""

    next: int = 0
    run_id: str = ""
    experiment_id: str = ""
    opening: bool = False
    whole: bool = False
    link: str = ""
    note: str = ""
    refused: list[str] = field(default_factory=list)

    @staticmethod
    def path(folder: Path, uri: str) -> Path:
        """Each store has a cursor of its own."""
        return folder / f"cursor-{digest(uri)[:8]}.json"

    @classmethod
    def read(cls, folder: Path, uri: str) -> Cursor:
        """The cursor as it stands; a fresh one where nothing was shipped yet."""
        path = cls.path(folder, uri)
        return cls(**json.loads(path.read_text())) if path.exists() else cls()

    def save(self, folder: Path, uri: str) -> None:
        """Whole or not at all."""
        storage.write_bytes(str(self.path(folder, uri)), json.dumps(asdict(self)).encode())


class Delivery:
    """Ships one journal to one store. Hold it only inside `with`: no two processes ship the same journal at once."""

    def __init__(self, folder: Path, *, uri: str = "") -> None:
        self.folder = folder
        self.begin: Event = read_events(folder)[0]
        self.uri = uri or str(self.begin["uri"])
        if not self.uri:
            raise ValueError(f"the journal {folder} does not say where it shall go")
        self.cursor = Cursor()
        self._lock: IO[str] | None = None

    def claim(self) -> bool:
        """Take the journal for this process; False if another one ships it now."""
        lock = (self.folder / ".shipping").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        self.cursor = Cursor.read(self.folder, self.uri)
        return True

    def release(self) -> None:
        """Let other processes ship it."""
        if self._lock:
            self._lock.close()
            self._lock = None

    @property
    def ready(self) -> bool:
        """Whether the run above it, if any, exists already."""
        return not self.begin["parent"] or bool(self._above().run_id)

    @property
    def pending(self) -> bool:
        """Whether there is, or may be, more to ship."""
        return not self.cursor.whole or (self.folder / EVENTS).stat().st_size > self.cursor.next

    def ship(self, client: MlflowClient) -> bool:
        """Ship what stands there; whether there was anything. Raises what MLflow raises when it does not answer."""
        events = read_events(self.folder, start=self.cursor.next)
        if not self.cursor.run_id:
            self._open(client)
        for kind, group in _grouped(events):
            if kind == "promote" and not self._has_arrived(group[0]):
                return group[0] is not events[0]
            self._send(client, kind, group)
            self.cursor.next = group[-1]["next"]
            self.cursor.whole = kind == "end"
            self.cursor.save(self.folder, self.uri)
        return bool(events)

    def close_abandoned(self, client: MlflowClient) -> None:
        """A run whose writer was killed is marked so. Its journal may still go on later."""
        if self.cursor.run_id and not self.cursor.whole and abandoned(self.folder) and not self.begin["attach"]:
            client.set_terminated(self.cursor.run_id, "KILLED")

    def _has_arrived(self, event: Event) -> bool:
        """Whether the job that an event speaks of is whole in the store: its model is a version then."""
        job = (self.folder / event["job"]).resolve()
        return not (job / EVENTS).exists() or Cursor.read(job, self.uri).whole

    def _above(self) -> Cursor:
        return Cursor.read((self.folder / self.begin["parent"]).resolve(), self.uri)

    def _open(self, client: MlflowClient) -> None:
        """Find or create the run. `opening` is on disk before the call: after a kill in between, the run is looked for."""
        experiment = self._place(client)
        run_id = self.begin["attach"] or (_find(client, experiment, self.begin["id"]) if self.cursor.opening else "")
        if not run_id:
            self.cursor.opening = True
            self.cursor.save(self.folder, self.uri)
            run_id = self._create(client, experiment)
        elif self.begin["attach"]:
            _set_tags(client, run_id, self.begin["tags"])
        self.cursor.run_id, self.cursor.experiment_id, self.cursor.opening = run_id, experiment, False
        self.cursor.link, self.cursor.note = run_link(experiment, run_id), self.begin["tags"].get("mlflow.note.content", "")
        self.cursor.save(self.folder, self.uri)

    def _place(self, client: MlflowClient) -> str:
        """The experiment: that of the run to attach to, that of the run above, else the one of the name."""
        if self.begin["attach"]:
            return str(client.get_run(self.begin["attach"]).info.experiment_id)
        above = self._above() if self.begin["parent"] else None
        return above.experiment_id if above else _experiment(client, self.begin)

    def _create(self, client: MlflowClient, experiment: str) -> str:
        tags = {**self.begin["tags"], "geohydra.journal": self.begin["id"]}
        if self.begin["parent"]:
            tags["mlflow.parentRunId"] = self._above().run_id
        run = client.create_run(experiment, start_time=self.begin["time"], tags=tags, run_name=self.begin["name"])
        return str(run.info.run_id)

    def _send(self, client: MlflowClient, kind: str, group: Sequence[Event]) -> None:
        """One call for a group of events of the same kind. What MLflow refuses for good is noted and left out."""
        try:
            getattr(self, f"_send_{kind}")(client, group)
        except FileNotFoundError as error:
            self.cursor.refused.append(f"{kind}: {error.filename} is gone")
        except Exception as error:
            if not is_refusal(error):
                raise
            self.cursor.refused.append(f"{kind}: {reason(error)}")

    def _send_begin(self, client: MlflowClient, group: Sequence[Event]) -> None:
        """The run exists already: `_open` comes first."""

    def _send_unreadable(self, client: MlflowClient, group: Sequence[Event]) -> None:  # noqa: ARG002
        self.cursor.refused.append(f"{len(group)} lines of {self.folder / EVENTS} cannot be read")

    def _send_params(self, client: MlflowClient, group: Sequence[Event]) -> None:
        """In a run of somebody else's, keys get a prefix: theirs must stay free."""
        from mlflow.entities import Param

        prefix = "geo/" if self.begin["attach"] else ""
        params = [Param(key_name(prefix + key), value) for event in group for key, value in event["values"].items()]
        try:
            client.log_batch(self.cursor.run_id, params=params)
        except Exception as error:
            if not is_refusal(error):
                raise
            self._send_each(client, params)

    def _send_each(self, client: MlflowClient, params: Sequence[Any]) -> None:
        """One bad parameter must not cost the others."""
        for param in params:
            try:
                client.log_batch(self.cursor.run_id, params=[param])
            except Exception as error:
                if not is_refusal(error):
                    raise
                self.cursor.refused.append(f"param {param.key}: {reason(error)}")

    def _send_tags(self, client: MlflowClient, group: Sequence[Event]) -> None:
        tags = {key: value for event in group for key, value in event["values"].items()}
        _set_tags(client, self.cursor.run_id, tags)
        if (there := tags.get("kubeflow.url")) and there not in self.cursor.note:
            self._note(client, f"[The run on Kubeflow]({there})\n\n{self.cursor.note}")

    def _send_metrics(self, client: MlflowClient, group: Sequence[Event]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(key_name(key), value, event["time"], event["step"]) for event in group for key, value in event["values"].items()]
        for start in range(0, len(metrics), _BATCH):
            client.log_batch(self.cursor.run_id, metrics=metrics[start : start + _BATCH])

    def _send_artifact(self, client: MlflowClient, group: Sequence[Event]) -> None:
        run = client.get_run(self.cursor.run_id)
        for event in group:
            put(client, run, self.folder / event["path"], event["to"])

    def _send_report(self, client: MlflowClient, group: Sequence[Event]) -> None:
        run = client.get_run(self.cursor.run_id)
        for event in group:
            step, kept = str(event["step"]), self.folder / event["path"]
            for picture in sorted((kept / "figures").glob("*.png")):
                put(client, run, picture, f"figures/{step}")
            with tempfile.TemporaryDirectory() as scratch:
                for table in sorted((kept / "tables").glob("*.parquet")):
                    put(client, run, table, f"tables/{step}")
                    put(client, run, _readable(table, Path(scratch)), f"tables/{step}")
                if (kept / "report.html").exists():
                    page = link_or_copy(str(kept / "report.html"), str(Path(scratch) / f"{step}.html"))
                    put(client, run, Path(page), "report")

    def _send_model(self, client: MlflowClient, group: Sequence[Event]) -> None:
        run = client.get_run(self.cursor.run_id)
        for event in group:
            folder = storage.fetch(event["uri"])
            if not folder.is_dir():
                raise FileNotFoundError(ENOENT, "gone", str(folder))
            put_folder(client, run, folder, "bundle")
            version = _version(client, run, event["name"], event["uri"])
            if event["alias"] and str(event["alias"]).lower() != "latest":
                client.set_registered_model_alias(event["name"], event["alias"], version)

    def _send_promote(self, client: MlflowClient, group: Sequence[Event]) -> None:
        for event in group:
            version = _known_version(client, event["name"], event["uri"])
            if version is None:
                self.cursor.refused.append(f"{event['name']}@{event['alias']}: no version holds {event['uri']}")
                continue
            client.set_registered_model_alias(event["name"], event["alias"], version)
            _set_tags(client, self.cursor.run_id, {"geohydra.promoted": f"{event['name']}@{event['alias']} is version {version}"})

    def _send_view(self, client: MlflowClient, group: Sequence[Event]) -> None:
        last = group[-1]
        run, ascending = client.get_run(self.cursor.run_id), bool(last.get("ascending"))
        link = set_sweep_view(client, run, sort=last["sort"], columns=last["columns"], ascending=ascending)
        self._note(client, f"{sweep_note(run, link, last)}\n\n{self.cursor.note}")
        self.cursor.link = link

    def _send_end(self, client: MlflowClient, group: Sequence[Event]) -> None:
        last = group[-1]
        if last["error"]:
            _set_tags(client, self.cursor.run_id, {"geohydra.error": last["error"]})
            self._note(client, f"**{last['status'].lower()}**: {last['error']}\n\n{self.cursor.note}")
        if self.begin["attach"]:
            return
        client.set_terminated(self.cursor.run_id, last["status"], end_time=last["time"])
        if self.begin["tags"].get("geohydra.kind") == "run":
            overrides = self.begin["tags"].get("geohydra.overrides", "").split()
            overridden = [key_name(pair.partition("=")[0].lstrip("+")) for pair in overrides]
            set_experiment_view(client, client.get_run(self.cursor.run_id), overridden)

    def _note(self, client: MlflowClient, text: str) -> None:
        self.cursor.note = text
        _set_tags(client, self.cursor.run_id, {"mlflow.note.content": text})


def is_whole(folder: Path, *, uri: str = "") -> bool:
    """Whether all of a journal arrived."""
    try:
        delivery = Delivery(folder, uri=uri)
    except (IndexError, KeyError, ValueError):
        return False
    delivery.cursor = Cursor.read(folder, delivery.uri)
    return not delivery.pending


def put(client: MlflowClient, run: Run, path: Path, to: str) -> None:
    """A file or folder among the artefacts of a run: a second name for it where they lie on this disk."""
    if path.is_dir():
        put_folder(client, run, path, f"{to}/{path.name}".strip("/"))
        return
    root = _local(run.info.artifact_uri)
    if root is None:
        client.log_artifact(run.info.run_id, str(path), to or None)
        return
    target = root / to / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    link_or_copy(str(path), str(target))


def put_folder(client: MlflowClient, run: Run, folder: Path, to: str) -> None:
    """All files of a folder, under the name `to`."""
    if _local(run.info.artifact_uri) is None:
        client.log_artifacts(run.info.run_id, str(folder), to)
        return
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            put(client, run, path, (Path(to) / path.relative_to(folder).parent).as_posix())


def _local(artifact_uri: str) -> Path | None:
    parts = urlsplit(artifact_uri)
    if parts.scheme not in {"", "file"}:
        return None
    return Path(unquote(parts.path) if parts.scheme else artifact_uri)


def _grouped(events: Sequence[Event]) -> Iterator[tuple[str, list[Event]]]:
    """Neighbours of one kind together: the price of a call is the call. Files one by one, so that a cursor stands behind each."""
    group: list[Event] = []
    for event in events:
        if group and (event["event"] != group[0]["event"] or event["event"] in {"report", "model", "promote"}):
            yield group[0]["event"], group
            group = []
        group.append(event)
    if group:
        yield group[0]["event"], group


def _experiment(client: MlflowClient, begin: Event) -> str:
    """The experiment's id. It may be made by another process meanwhile, or lie in MLflow's bin: then it comes back."""
    name = str(begin["experiment"])
    known = client.get_experiment_by_name(name)
    if known is None:
        place = f"{begin['artifacts'].rstrip('/')}/{quote(name, safe='')}" if begin["artifacts"] else None
        try:
            return str(client.create_experiment(name, artifact_location=place, tags=_EXPERIMENT))
        except Exception as error:
            if not is_refusal(error):
                raise
            known = client.get_experiment_by_name(name)
            if known is None:
                raise
    if known.lifecycle_stage == "deleted":
        client.restore_experiment(known.experiment_id)
    return str(known.experiment_id)


def _find(client: MlflowClient, experiment: str, journal: str) -> str:
    found = client.search_runs([experiment], f"tags.`geohydra.journal` = '{journal}'", max_results=1)
    return str(found[0].info.run_id) if found else ""


def _set_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(key_name(key), cut(str(value), 5000)) for key, value in tags.items()])


def _version(client: MlflowClient, run: Run, name: str, output: str) -> str:
    """The version of a registered model that holds an output, whichever run brought it first; made if there is none."""
    if (known := _known_version(client, name, output)) is not None:
        return known
    try:
        client.create_registered_model(name)
    except Exception as error:
        if not is_refusal(error):
            raise
    source = f"{run.info.artifact_uri}/bundle"
    return str(client.create_model_version(name, source, run.info.run_id, tags={_OUTPUT: output}).version)


def _known_version(client: MlflowClient, name: str, output: str) -> str | None:
    quoted = name.replace("'", "")
    found = (one for one in client.search_model_versions(f"name = '{quoted}'") if one.tags.get(_OUTPUT) == output)
    return next((str(one.version) for one in found), None)


def _readable(table: Path, scratch: Path) -> Path:
    """A table as text, which MLflow shows on the page; nested columns become text."""
    import pyarrow as pa
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    content = pq.read_table(table)
    for place, column in enumerate(content.schema):
        if pa.types.is_nested(column.type):
            text = [json.dumps(value, default=str) for value in content.column(place).to_pylist()]
            content = content.set_column(place, column.name, pa.array(text))
    path = scratch / f"{table.stem}.csv"
    csv.write_csv(content, path)
    return path

"""What travels between a client and the stand-in: shapes of the published API, and how a workflow's nodes are told."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import kfp_server_api


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def faults_of(value: Any, kind: str, place: str = "") -> list[str]:
    """How a JSON value departs from a type of the published API."""
    if value is None or kind == "object":
        return []
    if found := re.fullmatch(r"list\[(.+)\]", kind):
        return (
            [fault for item in value for fault in faults_of(item, found[1], f"{place}[]")]
            if isinstance(value, list)
            else [f"{place}: no list"]
        )
    if found := re.fullmatch(r"dict\(str, (.+)\)", kind):
        return [fault for key, item in value.items() for fault in faults_of(item, found[1], f"{place}.{key}")]
    plain = {"str": str, "bool": bool, "int": int, "float": (int, float)}
    if kind in plain:
        return [] if isinstance(value, plain[kind]) else [f"{place}: {value!r} is no {kind}"]
    if kind == "datetime":
        return [] if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", str(value)) else [f"{place}: {value!r} is no time"]
    model = getattr(kfp_server_api, kind)
    if hasattr(model, "allowable_values"):
        return [] if value in model.allowable_values else [f"{place}: {value!r} is none of {model.allowable_values}"]
    names = {alias: name for name, alias in model.attribute_map.items()}
    unknown = [f"{place}.{key}: unknown field of {kind}" for key in value if key not in names]
    return unknown + [
        fault for key, item in value.items() if key in names for fault in faults_of(item, model.openapi_types[names[key]], f"{place}.{key}")
    ]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def walk(spec: Mapping[str, Any], component: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], bool]]:
    """All tasks of a graph and of those inside it; whether each is a graph itself."""
    found = []
    for name, task in component["dag"]["tasks"].items():
        inner = spec["components"][task["componentRef"]["name"]]
        found.append(((*path, name), "dag" in inner))
        if "dag" in inner:
            found += walk(spec, inner, (*path, name))
    return found


def pod_of(run: str, path: tuple[str, ...]) -> str:
    return f"workflow-{run[:5]}-{zlib.crc32('/'.join((*path, 'executor')).encode())}"


def nodes_of(spec: Mapping[str, Any], run: str, tasks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a workflow as the server tells of them: names without the graphs around them, each with those that come after it."""
    found: dict[str, dict[str, Any]] = {}

    def add(path: tuple[str, ...], name: str, state: str, message: str = "") -> str:
        identity = f"workflow-{run[:5]}-{zlib.crc32('/'.join((*path, name)).encode())}"
        known = {"run_id": run, "task_id": identity, "display_name": name, "state": state, "create_time": now(), "child_tasks": []}
        found[identity] = {**known, **({"error": {"code": 13, "message": message}} if message else {})}
        return identity

    def link(before: list[str], after: str) -> None:
        for one in before:
            found[one]["child_tasks"].append({"pod_name": after})

    def fill(path: tuple[str, ...], component: Mapping[str, Any], entry: str) -> list[str]:
        ends: dict[str, list[str]] = {}
        for name in ordered(component["dag"]["tasks"]):
            task = component["dag"]["tasks"][name]
            inner = spec["components"][task["componentRef"]["name"]]
            here = (*path, name)
            below = [one for one, _ in walk(spec, inner, here)] if "dag" in inner else [here]
            if not any("/".join(one) in tasks or one[-1] in tasks for one in below):
                continue
            told = tasks.get("/".join(here)) or tasks.get(name, {"state": "RUNNING"})
            driver = add(path, f"{name}-driver", "SUCCEEDED")
            before = [end for need in task.get("dependentTasks", []) for end in ends.get(need, [])]
            link(before or [entry], driver)
            node = add(path, name, told["state"], told.get("message", "") if "dag" not in inner else "")
            link([driver], node)
            if "dag" in inner:
                ends[name] = fill(here, inner, node) or [node]
                continue
            ends[name] = [node]
            attempts = told.get("attempts", [told])
            for place, attempt in enumerate(attempts):
                if attempt["state"] == "NONE":
                    continue
                pod = add(here, "executor" if len(attempts) == 1 else f"executor({place})", attempt["state"], attempt.get("message", ""))
                link([node], pod)
                ends[name] = [pod]
        return [end for name, many in ends.items() for end in many]

    driver = add((), "root-driver", "SUCCEEDED")
    root = add((), "root", "RUNNING")
    link([driver], root)
    fill((), spec["root"], root)
    return list(found.values())


def ordered(tasks: Mapping[str, Any]) -> list[str]:
    """Each after those that it depends on."""
    done: list[str] = []
    while len(done) < len(tasks):
        done += [name for name in tasks if name not in done and all(need in done for need in tasks[name].get("dependentTasks", []))]
    return done

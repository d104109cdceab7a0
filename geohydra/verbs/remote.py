"""Runs on a Kubeflow cluster: submit, list, watch, stop, retry, clone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from geohydra.command.arguments import Asked, add_composing, asked, parse, parser
from geohydra.command.console import table

if TYPE_CHECKING:
    from argparse import Namespace

    from geohydra.pipeline.runners.kfp_client import Server

_EXAMPLES = """  geohydra remote submit hardware=gpu          start a run, print its link, and leave (runner=kfp watches it)
  geohydra remote list                         the newest runs there
  geohydra remote watch ID                     how it stands, until it ends
  geohydra remote stop ID
  geohydra remote retry ID                     a failed run goes on where it failed
  geohydra remote clone ID --set train_lr=0.001  a new run, with another value of one of its parameters

Where the cluster is, the runner tells: runner.host=..., or KF_PIPELINES_ENDPOINT in the environment."""

_VERBS = ("submit", "list", "watch", "stop", "retry", "clone")
FAILED = 5


def main(words: Sequence[str]) -> int:
    """One of the six."""
    flags = parser("remote", "Look after runs on a Kubeflow cluster.", examples=_EXAMPLES)
    flags.add_argument("what", choices=_VERBS)
    flags.add_argument("--limit", type=int, default=20, help="runs listed (default: %(default)s)")
    flags.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="clone: another value for a parameter")
    flags.add_argument("--name", default=None, help="clone: the new run's name")
    add_composing(flags)
    given = parse(flags, words)
    place = 0 if given.what in ("submit", "list") else 1
    ids, given.overrides = given.overrides[:place], given.overrides[place:]
    wanted = asked(given)
    return 0 if wanted is None else _done(given, wanted, ids)


def _done(given: Namespace, wanted: Asked, ids: Sequence[str]) -> int:
    from geohydra.command.remote import server_of
    from geohydra.errors import ConfigError

    if given.what == "submit":
        return _submit(wanted)
    server, runner = server_of(wanted)
    if given.what == "list":
        rows = [
            (run.id, run.name, run.state.lower(), f"{run.created:%Y-%m-%d %H:%M}" if run.created else "")
            for run in server.runs(limit=given.limit)
        ]
        print(table(("id", "name", "state", "created"), rows))
        return 0
    if not ids or "=" in ids[0]:
        raise ConfigError(f"remote {given.what}", "which run?", "`geohydra remote list` prints their ids")
    if given.what == "watch":
        return _watch(server, ids[0], runner.poll)
    if given.what == "clone":
        new = server.clone(ids[0], name=given.name, parameters=dict(_value(word) for word in given.set))
        print(f"{new}: {server.link('run', new)}")
        return 0
    {"stop": server.terminate, "retry": server.retry}[given.what](ids[0])
    told = {"stop": "stopping", "retry": "goes on where it failed"}[given.what]
    print(f"{ids[0]}: {told}, {server.link('run', ids[0])}")
    return 0


def _submit(wanted: Asked) -> int:
    from geohydra.command.remote import packed
    from geohydra.pipeline.runners.kfp_package import submit

    with packed(wanted) as ready:
        identity, name, told = submit(ready.server, ready.runner, ready.file, ready.cluster, ready.name)
        print(f"{told}: {name}, {ready.server.link('run', identity)}")
        if ready.shown:
            print(f"in MLflow, once it has ended: {ready.shown}")
    return 0


def _watch(server: Server, identity: str, seconds: float) -> int:
    """A line whenever a task changes; the exit code tells how the run ended."""
    import time

    from geohydra.pipeline.runners import CANCELLED

    known: dict[str, str] = {}
    run = server.run(identity)
    print(server.link("run", identity), flush=True)
    while True:
        for node in run.nodes:
            if not node.name.endswith("-driver") and not node.name.startswith(("executor", "root")) and known.get(node.id) != node.state:
                known[node.id] = node.state
                print(f"{node.name}: {node.state.lower()}{f', {node.message}' if node.message else ''}", flush=True)
        if run.is_over:
            print(f"{run.name}: {run.state.lower()}{f', {run.error}' if run.error else ''}", flush=True)
            return {"SUCCEEDED": 0, "SKIPPED": 0, "CANCELED": CANCELLED}.get(run.state, FAILED)
        time.sleep(seconds)
        run = server.run(identity)


def _value(word: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as JSON where it is that."""
    import json

    from geohydra.errors import ConfigError

    name, sign, text = word.partition("=")
    if not sign:
        raise ConfigError("--set", f"{word!r} gives no value", "it is written NAME=VALUE")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text

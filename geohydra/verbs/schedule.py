"""Runs that a Kubeflow cluster starts again and again: create, list, pause, resume, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from geohydra.command.arguments import Asked, add_composing, asked, parse, parser
from geohydra.command.console import table

if TYPE_CHECKING:
    from argparse import Namespace

_EXAMPLES = """  geohydra schedule create --cron '0 3 * * *' store=s3://bucket/geohydra      every night at three
  geohydra schedule create --cron '0 3 * * 1' --name weekly experiment=first
  geohydra schedule list
  geohydra schedule pause ID                    also: resume ID, delete ID

A schedule starts the plan as it is now, with the files that its source finds now: what the store holds is not made again.
Create it anew, with the same name and --replace, when there are new files."""

_VERBS = ("create", "list", "pause", "resume", "delete")


def main(words: Sequence[str]) -> int:
    """One of the five."""
    flags = parser("schedule", "Let Kubeflow Pipelines start a run whenever a cron expression says so.", examples=_EXAMPLES)
    flags.add_argument("what", choices=_VERBS)
    flags.add_argument("--cron", default="", metavar="'M H D M W'", help="minute hour day month weekday (UTC); six fields: seconds first")
    flags.add_argument("--name", default="", help="the schedule's name (default: the config's)")
    flags.add_argument("--replace", action="store_true", help="delete those of the same name once the new one stands")
    flags.add_argument("--catch-up", action="store_true", help="also start what was missed while it was paused")
    add_composing(flags)
    given = parse(flags, words)
    place = 0 if given.what in ("create", "list") else 1
    ids, given.overrides = given.overrides[:place], given.overrides[place:]
    wanted = asked(given)
    return 0 if wanted is None else _done(given, wanted, ids)


def _done(given: Namespace, wanted: Asked, ids: Sequence[str]) -> int:
    from geohydra.command.remote import server_of
    from geohydra.errors import ConfigError

    if given.what == "create":
        return _create(given, wanted)
    server, _ = server_of(wanted)
    if given.what == "list":
        rows = [(one.id, one.name, one.cron, one.state, one.error) for one in server.schedules()]
        print(table(("id", "name", "cron", "state", "error"), rows))
        return 0
    if not ids or "=" in ids[0]:
        raise ConfigError(f"schedule {given.what}", "of which schedule?", "`geohydra schedule list` prints their ids")
    {"pause": server.pause, "resume": server.resume, "delete": server.delete}[given.what](ids[0])
    print(f"{ids[0]}: {given.what}d")
    return 0


def _create(given: Namespace, wanted: Asked) -> int:
    from geohydra.command.remote import packed

    cron = _six_fields(given.cron)
    with packed(wanted) as ready:
        name = given.name or ready.name
        server = ready.server
        old = [one for one in server.schedules() if one.name == name] if given.replace else []
        identity = server.schedule(
            ready.file,
            name=name,
            cron=cron,
            experiment=server.experiment(ready.experiment),
            catch_up=given.catch_up,
            service_account=ready.cluster.service_account,
        )
        for one in old:
            server.delete(one.id)
        print(f"{name}: {cron} (UTC), {server.link('recurringrun', identity)}")
    return 0


def _six_fields(cron: str) -> str:
    """As the cluster wants it: seconds first. Raises ConfigError for what is no cron expression."""
    import re

    from geohydra.errors import ConfigError

    fields = cron.split()
    fine = all(re.fullmatch(r"[\d*?/,A-Za-z-]+", one) for one in fields)
    if not fine or len(fields) not in (5, 6):
        raise ConfigError("--cron", f"{cron!r} is no cron expression", "five fields: '0 3 * * *' is every night at three (UTC)")
    return " ".join(fields if len(fields) == 6 else ["0", *fields])

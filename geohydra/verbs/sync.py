"""Ship what did not reach MLflow while it was down; nothing is sent twice."""

from __future__ import annotations

from collections.abc import Sequence

from geohydra.command.arguments import add_composing, asked, parse, parser
from geohydra.command.console import counted

_EXAMPLES = """  geohydra sync                                    everything below outputs/, to where it was meant to go
  geohydra sync outputs=elsewhere
  geohydra sync --to http://mlflow.example.org     all of it, to another server"""


def main(words: Sequence[str]) -> int:
    """The exit code is 0 when nothing waits any more."""
    flags = parser("sync", "Send to MLflow what runs have told and what did not arrive yet.", examples=_EXAMPLES)
    flags.add_argument("--to", default="", metavar="URI", help="a tracking URI, instead of the one that each run was meant for")
    add_composing(flags)
    given = parse(flags, words)
    wanted = asked(given)
    if wanted is None:
        return 0
    from geohydra.errors import StoreError
    from geohydra.storage import local_path
    from geohydra.tracking.shipper import sync

    shipped = sync(local_path(str(wanted.compose()[0].config["outputs"])), uri=given.to)
    print(f"{counted(shipped.whole, 'run')} sent, {shipped.waiting} waiting")
    if shipped.waiting:
        raise StoreError("sync", shipped.problem or "some runs did not arrive", "they stay on disk: try again later")
    return 0

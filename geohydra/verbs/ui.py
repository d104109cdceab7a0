"""Open MLflow's own pages on the store that the config names."""

from __future__ import annotations

from collections.abc import Sequence

from geohydra.command.arguments import add_composing, asked, parse, parser

_EXAMPLES = """  geohydra ui                      then open http://127.0.0.1:5000
  geohydra ui --port 0             any free port
  geohydra ui outputs=elsewhere    the runs of another folder"""


def main(words: Sequence[str]) -> int:
    """Serve until Ctrl-C."""
    flags = parser("ui", "Show the runs in a browser, with MLflow's own pages.", examples=_EXAMPLES)
    flags.add_argument("--host", default="127.0.0.1", help="who may look (default: %(default)s, this machine alone)")
    flags.add_argument("--port", type=int, default=5000, help="default: %(default)s")
    add_composing(flags)
    given = parse(flags, words)
    wanted = asked(given)
    if wanted is None:
        return 0
    from geohydra.command.stores import mlflow_tracking
    from geohydra.tracking.runs import serve_ui

    serve_ui(mlflow_tracking(wanted.compose()[0].config), host=given.host, port=given.port)
    return 0

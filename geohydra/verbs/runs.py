"""A table of the runs so far, sorted by a metric, with the parameters that you choose."""

from __future__ import annotations

from collections.abc import Sequence

from geohydra.command.arguments import add_composing, asked, parse, parser
from geohydra.command.console import table

_EXAMPLES = """  geohydra runs                                          newest first
  geohydra runs --sort test/iou -c test/iou,train.lr,model.encoder
  geohydra runs --sweep latest_sweep_name --sort val/iou -n 5
  geohydra runs --experiment '*' --csv > runs.csv
  geohydra runs tracking.uri=http://mlflow.example.org   another store"""


def main(words: Sequence[str]) -> int:
    """Ask the store that the config names."""
    flags = parser("runs", "Print the runs that MLflow knows, as a table.", examples=_EXAMPLES)
    flags.add_argument("--sort", metavar="NAME", help="a metric or parameter, the largest first (default: the newest run first)")
    flags.add_argument("--ascending", action="store_true", help="the smallest first")
    flags.add_argument("-c", "--columns", default="", metavar="A,B", help="metrics, parameters or tags to show")
    flags.add_argument("-n", "--limit", type=int, default=20, help="rows at most (default: %(default)s)")
    flags.add_argument("--experiment", metavar="NAME", help="of another experiment; '*' for all (default: the config's name)")
    flags.add_argument("--sweep", metavar="NAME", help="only the jobs of one sweep, by its name or run id")
    form = flags.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV")
    form.add_argument("--json", action="store_true", help="print JSON")
    add_composing(flags)
    given = parse(flags, words)
    wanted = asked(given)
    if wanted is None:
        return 0
    from geohydra.command.stores import mlflow_tracking
    from geohydra.tracking.runs import runs_table

    found = runs_table(
        mlflow_tracking(wanted.compose()[0].config),
        sort=given.sort,
        ascending=given.ascending,
        columns=[name for name in given.columns.split(",") if name],
        limit=given.limit,
        experiment=given.experiment,
        parent=given.sweep,
    )
    if given.csv or given.json:
        print(found.csv().rstrip("\n") if given.csv else found.json())
        return 0
    print(table(found.columns, found.rows))
    return 0

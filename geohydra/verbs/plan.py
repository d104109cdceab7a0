"""Print what would run as a tree, and what is stored already; with -o as a picture too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geohydra.command.arguments import add_composing, asked, parse, parser

if TYPE_CHECKING:
    from geohydra.plan import Plan

_EXAMPLES = """  geohydra plan
  geohydra plan task=semantic_segmentation model=fpn -o plan.svg
  geohydra plan -m train.lr=1e-2,1e-3 model=unet,fpn     one plan for four jobs
  geohydra plan --json > plan.json"""


def main(words: Sequence[str]) -> int:
    """Compose, check, lock, plan, print."""
    flags = parser(
        "plan", "Print the plan: which steps would run, in which order, and which of them are stored already.", examples=_EXAMPLES
    )
    flags.add_argument("-o", "--output", type=Path, metavar="FILE", help="draw the plan, as .svg or .png")
    flags.add_argument("--json", action="store_true", help="print the plan as JSON, with the config of every step")
    add_composing(flags)
    given = parse(flags, words)
    wanted = asked(given)
    if wanted is None:
        return 0
    from geohydra.command.planning import plan_of, stored

    plan, store = plan_of(wanted.compose())
    done = stored(plan, store)
    if given.output is not None:
        draw(plan, done, given.output)
    print(_as_json(plan) if given.json else _as_text(plan, done))
    return 0


def draw(plan: Plan, done: Sequence[str], path: Path) -> None:
    """Save the picture. Raises ConfigError for an ending that names no picture."""
    from geohydra.command.plan_picture import save

    shown = plan.whole()
    save(shown, path, done=[step.id for step in shown.steps if step.id in done])


def _as_text(plan: Plan, done: Sequence[str]) -> str:
    from geohydra.plan import tree

    return tree(plan, done=done)


def _as_json(plan: Plan) -> str:
    import json

    from geohydra.plan import as_dict

    return json.dumps(as_dict(plan), indent=1)

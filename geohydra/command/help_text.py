"""The page that `geohydra --help` prints: verbs, groups with their options, examples. Made without composing."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Sequence

from geohydra.config.folders import groups

_HEAD = """geohydra: geospatial deep learning by configuration

usage: geohydra [COMMAND] [flags] [group=option] [key=value] ...

commands (geohydra COMMAND --help tells more):"""

_TAIL = """examples:
  geohydra                                        the demo: learns on two cores in minutes, ends with a map
  geohydra source=files source.images='images/*.tif' source.labels=roads.geojson 'task.classes=[road]'
  geohydra check source=files source.images=...   config and data, before anything costs
  geohydra plan train.lr=1e-3 -o plan.svg         what would run, and what is stored already
  geohydra -m train.lr=1e-2,1e-3 model=unet,fpn   a sweep: four jobs, steps they share run once
  geohydra predict outputs/runs/latest/bundle 'new/*.tif' -o maps
  geohydra --cfg job                              the composed config

A folder ./conf of your own adds to these groups and overrides them (geohydra init lays one down).
Tab completion: eval "$(geohydra -sc install=bash)" (zsh: the same; fish: geohydra -sc install=fish | source)"""


def overview(verbs: Sequence[str]) -> str:
    """All of the page."""
    return "\n".join([_HEAD, *(f"  {verb:<10}{_summary(verb)}" for verb in verbs), "", _options(), "", _TAIL])


def _summary(verb: str) -> str:
    """The first line of the verb's docstring."""
    text = importlib.import_module(f"geohydra.verbs.{verb}").__doc__ or ""
    return text.splitlines()[0] if text else ""


def _options() -> str:
    """A line a group."""
    known = groups()
    wide = max(len(group) for group in known) + 2
    lines = ["groups and their options (group=option):"]
    for group, options in known.items():
        lines += textwrap.wrap(", ".join(options), 110, initial_indent=f"  {group:<{wide}}", subsequent_indent=" " * (wide + 2))
    return "\n".join(lines)

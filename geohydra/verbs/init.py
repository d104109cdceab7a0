"""Lay down a small project of your own: its own conf/, a first experiment, a README. Overwrites nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from geohydra.command.arguments import parse, parser
from geohydra.command.console import near_path

_EXAMPLES = """  geohydra init                here
  geohydra init my_project     in a folder of that name"""

_SOURCE = """\
# My imagery and labels. Chosen with source=mine; `geohydra check source=mine` says what is wrong with it.
_target_: geohydra.sources.files.Files
images: data/images/*.tif      # *, **, ?, {a,b}; also s3://, gs://, https://
labels: data/labels.geojson    # any vector file, or label rasters by a pattern like the one above
"""

_EXPERIMENT = """\
# @package _global_
# My first run: geohydra experiment=first. Only what differs from the defaults stands here.
defaults:
  - override /source: mine
  - override /hardware: cpu

name: first

task:
  classes: [building]          # the classes of the labels, in the order of their ids

train:
  epochs: 20
"""

_README = """\
# {name}

A project for geohydra: what is asked stands in `conf/`, and adds to the choices that geohydra brings.

    data/images/*.tif            put imagery here (or change conf/source/mine.yaml)
    data/labels.geojson          and labels

    geohydra check experiment=first      is everything right?
    geohydra plan experiment=first       what would run?
    geohydra experiment=first            run it; results lie in outputs/runs/latest/
    geohydra ui                          look at it

`geohydra --help` lists all choices, `geohydra experiment=first --cfg job` prints the whole config. A file here shadows
geohydra's own of the same name.
"""

_FILES = {"conf/source/mine.yaml": _SOURCE, "conf/experiment/first.yaml": _EXPERIMENT, "README.md": _README, ".gitignore": "outputs/\n"}


def main(words: Sequence[str]) -> int:
    """Write the files that are not there yet, and tell of each."""
    flags = parser("init", "Lay down a small project: conf/source/mine.yaml, conf/experiment/first.yaml, README.md.", examples=_EXAMPLES)
    flags.add_argument("folder", nargs="?", type=Path, default=Path(), help="where (default: here)")
    folder: Path = parse(flags, words).folder
    from geohydra.storage import writing

    with writing(str(folder)):
        for name, text in _FILES.items():
            print(_lay(folder / name, text.format(name=folder.resolve().name) if name == "README.md" else text))
        (folder / "data" / "images").mkdir(parents=True, exist_ok=True)
    first = "" if folder == Path() else f"cd {folder}; "
    print(f"next: {first}put imagery into data/images/, set the classes in conf/experiment/first.yaml, geohydra check experiment=first")
    return 0


def _lay(path: Path, text: str) -> str:
    if path.exists():
        return f"kept     {near_path(path)} (it was there already)"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return f"created  {near_path(path)}"

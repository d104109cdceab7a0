"""Where configs lie: the shipped `conf/`, and a user's own beside it. Standard library only, so that help is quick."""

from __future__ import annotations

import os
from pathlib import Path

from geohydra.errors import ConfigError

_HERE = Path(__file__).resolve().parents[1]


def shipped_conf() -> Path:
    """The shipped configs: inside the installed package, or beside it in a checkout."""
    for place in (_HERE / "conf", _HERE.parent / "conf"):
        if (place / "geohydra.yaml").is_file():
            return place.resolve()
    raise FileNotFoundError("geohydra's own conf/ is missing from this install")


def user_conf() -> Path | None:
    """The folder `conf/` where the user stands, or the one that GEOHYDRA_CONF names; None where there is none."""
    named = os.environ.get("GEOHYDRA_CONF")
    mine = Path(named or "conf").resolve()
    if named and not mine.is_dir():
        raise ConfigError("GEOHYDRA_CONF", f"there is no folder {named}", "name the folder of your own configs, or unset it")
    return mine if mine.is_dir() and mine != shipped_conf() else None


def folders() -> list[Path]:
    """Both, the user's first: what it holds shadows the shipped file of the same name."""
    mine = user_conf()
    return [shipped_conf()] if mine is None else [mine, shipped_conf()]


def groups() -> dict[str, list[str]]:
    """The options of every group, by listing the folders: nothing is composed. Defaults by task (`model/for`) are no options."""
    found: dict[str, set[str]] = {}
    for folder in folders():
        for path in folder.glob("**/*.yaml"):
            group = path.parent.relative_to(folder).as_posix()
            if group != "." and not group.endswith("/for"):
                found.setdefault(group, set()).add(path.stem)
    return {group: sorted(options) for group, options in sorted(found.items())}

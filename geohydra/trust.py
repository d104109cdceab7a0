"""Which packages may be named by a config: a config file from a stranger must not run code."""

from __future__ import annotations

import os
from functools import cache
from importlib import metadata


def trusted() -> frozenset[str]:
    """Top-level packages whose classes and functions a config may name."""
    named = {name.strip() for name in os.environ.get("GEOHYDRA_PLUGINS", "").split(",") if name.strip()}
    return _installed() | named


@cache
def _installed() -> frozenset[str]:
    """geohydra, and packages that say of themselves when they are installed that they extend it."""
    plugins = {point.value.split(":")[0].split(".")[0] for point in metadata.entry_points(group="geohydra.plugins")}
    return frozenset({"geohydra"} | plugins)

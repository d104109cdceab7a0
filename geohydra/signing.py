"""Addresses that need a signature to be read: the address names the hook that signs it, the signature is never kept.

`https://host/a.tif#sign=package.module.function` is signed each time it is opened; what stands in locks, catalogues and
logs is this text.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from importlib import metadata

from geohydra.errors import ConfigError
from geohydra.trust import trusted

Hook = Callable[[str], str]

GROUP = "geohydra.signers"
_MARK = "#sign="


def marked(uri: str, hook: str | None) -> str:
    """The address with the name of the hook that is to sign it."""
    return uri if hook is None else f"{uri}{_MARK}{hook}"


def bare(uri: str) -> str:
    """The address alone: not signed, and without the name of a hook."""
    return uri.partition(_MARK)[0]


def is_marked(uri: str) -> bool:
    """Whether the address has to be signed to be read."""
    return _MARK in uri


def signed(uri: str) -> str:
    """What to open. It may hold a secret: it must not be written anywhere."""
    address, mark, hook = uri.partition(_MARK)
    return find(hook)(address) if mark else uri


def scrubbed(text: str, uri: str) -> str:
    """A message about an address, without the signature that the address was opened with."""
    if not is_marked(uri):
        return text
    import re

    return re.sub(re.escape(bare(uri)) + r"[^\s'\"]*", bare(uri), text)


@cache
def find(name: str) -> Hook:
    """The hook of a name: an entry point of the group `geohydra.signers`, or a function of a trusted package other than geohydra.

    Raises ConfigError for what is not there, not trusted, or not callable.
    """
    points = {point.name: point for point in metadata.entry_points(group=GROUP)}
    if name in points:
        hook: Hook = points[name].load()
        return hook
    path, _, last = name.replace(":", ".").rpartition(".")
    package = path.split(".")[0]
    if package not in trusted() or package == "geohydra":
        known = f"known are {', '.join(sorted(points))}; " if points else ""
        raise ConfigError("sign", f"{name!r} is no known signer", f"{known}to trust a function, set GEOHYDRA_PLUGINS={package or name}")
    try:
        found = getattr(importlib.import_module(path), last, None)
    except ModuleNotFoundError as cause:
        raise ConfigError("sign", f"there is no module {cause.name}", "check the spelling, or install it") from cause
    if not callable(found) or isinstance(found, type) or getattr(found, "__module__", "").split(".")[0] != package:
        raise ConfigError("sign", f"{name!r} is no function", "name one that takes an address and returns a signed one")
    return found  # type: ignore[no-any-return]

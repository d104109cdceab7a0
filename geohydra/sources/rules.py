"""Regular expressions of a config that take a part of an address or an id."""

from __future__ import annotations

import re

from geohydra.errors import ConfigError


def compiled(rule: str | None, *, group: str, example: str) -> re.Pattern[str] | None:
    """The rule of the config key that is called like its group. Raises ConfigError for one that cannot be read or has no such group."""
    if rule is None:
        return None
    try:
        pattern = re.compile(rule)
    except re.error as cause:
        raise ConfigError(group, f"is no regular expression ({cause})", f"such as {example}") from cause
    if group not in pattern.groupindex:
        raise ConfigError(group, f"needs a group of the name `{group}`", f"such as {example}")
    return pattern

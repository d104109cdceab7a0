"""What Hydra says of a mistake, in one line that tells the place, the fact and the likely remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from geohydra.build import near
from geohydra.config.folders import groups
from geohydra.errors import ConfigError

if TYPE_CHECKING:
    from hydra.errors import MissingConfigException
    from omegaconf import DictConfig

Again = Callable[[list[str]], "DictConfig"]
"""Composes with other overrides: asked only once something is wrong, to learn which keys there are."""


@contextmanager
def explained(overrides: Sequence[str], again: Again) -> Iterator[None]:
    """Inside, every error of Hydra, OmegaConf and yaml leaves as a ConfigError."""
    from hydra.errors import HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        yield
    except OverrideParseException as cause:
        raise ConfigError(cause.override, "this word cannot be understood", _grammar(cause)) from cause
    except MissingConfigException as cause:
        raise _missing(cause) from cause
    except HydraException as cause:
        raise _composition(cause, overrides, again) from cause
    except OmegaConfBaseException as cause:
        raise _resolution(cause) from cause
    except YAMLError as cause:
        mark = getattr(cause, "problem_mark", None)
        where = f"{mark.name}:{mark.line + 1}" if mark else "a config file"
        raise ConfigError(where, f"this is not yaml: {getattr(cause, 'problem', cause)}", "check indents, colons and quotes") from cause


def suggestion(key: str, known: Iterable[str]) -> str:
    """The likeliest of the known dotted keys: the same last part, else a close whole, else a close last part."""
    keys = list(dict.fromkeys(known))
    last = key.rpartition(".")[2]
    same = [other for other in keys if other.rpartition(".")[2] == last]
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.75)
    tails = {other.rpartition(".")[2]: other for other in reversed(keys)}
    parts = [tails[tail] for tail in difflib.get_close_matches(last, tails, n=1, cutoff=0.7)]
    found = sorted(same, key=len) + close + parts
    return f"did you mean {found[0]!r}?" if found else ""


def dotted(config: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Every key of a nested config, dotted, outer ones first."""
    for key, value in config.items():
        place = f"{above}{key}"
        yield place
        if isinstance(value, Mapping):
            yield from dotted(value, f"{place}.")


def _grammar(cause: Exception) -> str:
    text = str(getattr(cause, "override", ""))
    if "=" not in text:
        return "an override is written key=value, or +key=value for a new key"
    key, _, value = text.partition("=")
    if re.search(r"""[{,]\s*['"][^'"]*['"]\s*:""", value):
        return "inside of { } the word before a colon has no quotes: {road: 4, *: 1}"
    quoted = value.strip("'\"")
    return f"quote a value that holds = ( ) {{ }} : or spaces: '{key}=\"{quoted}\"'"


def _missing(cause: MissingConfigException) -> ConfigError:
    wanted = str(cause.missing_cfg_file or "")
    group, _, option = wanted.rpartition("/")
    if not group:
        return ConfigError("--config-name", f"there is no config called {wanted!r}", "it is a file in your own conf/ folder")
    if group.endswith("/for"):
        group = group.removesuffix("/for")
        hint = f"choose {group}=OPTION (there are {', '.join(groups()[group])}), or say in conf/{group}/for/{option}.yaml what suits it"
        return ConfigError(group, f"task={option} has no {group} of its own", hint)
    options = sorted(cause.options or groups().get(group, []))
    hint = near(option, options)
    if hint.startswith("did you mean"):
        hint += f" (there are {', '.join(options)})"
    return ConfigError(group, f"there is no option {option!r}", hint)


def _composition(cause: Exception, overrides: Sequence[str], again: Again) -> ConfigError:
    text = str(cause)
    if (match := re.search(r"Could not (?:override|delete from config\.) '([^']+)'", text)) is not None:
        return _unknown_key(match[1].partition("@")[0], overrides, again)
    if (match := re.search(r"Ambiguous value for argument '([^']+)'|Sweep parameters '([^']+)'", text)) is not None:
        word = match[1] or match[2]
        key, _, value = word.partition("=")
        return ConfigError(key, f"{value} is several values", f"add -m to run each of them, or write {key}=[{value}] for a list")
    if (match := re.search(r"An item is already at '([^']+)'", text)) is not None:
        return ConfigError(match[1], "this key exists already", "leave out the +")
    if (match := re.search(r"Multiple values for ([^\s.]+)", text)) is not None:
        return ConfigError(match[1], "this group is chosen already", f"leave out the +: {match[1]}=OPTION")
    inner = cause.__cause__
    if inner is not None and getattr(inner, "full_key", None):
        return _resolution(inner)
    return ConfigError("config", _first_line(text) or type(cause).__name__)


def _unknown_key(key: str, overrides: Sequence[str], again: Again) -> ConfigError:
    known = [*groups(), *_known_keys(overrides, again, key)]
    if key in groups():
        options = ", ".join(groups()[key])
        return ConfigError(key, "this group is not among the chosen ones", f"write +{key}=OPTION (there are {options})")
    if key in known:
        return ConfigError(key, "it does not hold such a key yet", f"write +{key}=... to add one")
    hint = suggestion(key, known) or f"write +{key}=... if you mean to add it"
    return ConfigError(key, "there is no such key", hint)


def _known_keys(overrides: Sequence[str], again: Again, bad: str) -> list[str]:
    """The keys of the config as it would be without the bad word; made only once something is wrong."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    chosen = groups()
    kept = [word for word in overrides if word.lstrip("+~").partition("=")[0] in chosen and "," not in word]
    kept = [word for word in kept if word.lstrip("+~").partition("=")[0] != bad]
    try:
        config = again(kept)
    except (HydraException, OmegaConfBaseException):
        return []
    values: Any = OmegaConf.to_container(config, resolve=False)
    return [key for key in dotted(values) if not key.startswith("hydra")] if isinstance(values, Mapping) else []


def _resolution(cause: BaseException) -> ConfigError:
    told = re.search(r"full_key: (\S+)", str(cause))
    where = str(getattr(cause, "full_key", "") or (told[1] if told else "config"))
    text = _first_line(str(getattr(cause, "msg", None) or cause))
    return ConfigError(where, text[:1].lower() + text[1:])


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "").rstrip(".")

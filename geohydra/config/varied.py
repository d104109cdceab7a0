"""From Hydra's grammar of sweeps to what a search may try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geohydra.errors import ConfigError
from geohydra.sweeping.space import Choices, Numbers, is_wide

if TYPE_CHECKING:
    from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep


def dimension(override: Override, usual: Any = None) -> Numbers | Choices:
    """`interval` is numbers, `range` numbers that lie a step apart, all else words. `tag(log, ...)` and `int(...)` count.

    `usual` is the value that the key has otherwise: where that is a whole number, so are those of an interval with whole ends.
    """
    value = override.value()
    if override.is_interval_sweep():
        return _interval(override, value, usual)  # type: ignore[arg-type]
    if override.is_range_sweep() and not value.shuffle:  # type: ignore[union-attr]
        return _range(override, value)  # type: ignore[arg-type]
    return Choices(tuple(dict.fromkeys(override.sweep_string_iterator())))


def _interval(override: Override, sweep: IntervalSweep, usual: Any) -> Numbers:
    low, high = float(sweep.start or 0), float(sweep.end or 0)
    if low >= high:
        raise ConfigError(override.get_key_element(), f"from {low:g} to {high:g} is no interval", "write interval(low,high)")
    tags = _tags(override, sweep.tags)
    whole = _is_whole(sweep.start) or (_is_whole(usual) and low.is_integer() and high.is_integer())
    log = "log" in tags or ("linear" not in tags and not whole and is_wide(low, high))
    if log and low <= 0:
        raise ConfigError(override.get_key_element(), f"a logarithmic scale does not hold {low:g}", "begin above 0")
    return Numbers(low, high, log=log, whole=whole)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _range(override: Override, sweep: RangeSweep) -> Numbers | Choices:
    """The end of a range does not belong to it."""
    words = list(override.sweep_string_iterator())
    step = float(sweep.step or 1)
    if len(words) < 2 or step <= 0 or "log" in _tags(override, sweep.tags):
        return Choices(tuple(words))
    whole = all(isinstance(value, int) for value in (sweep.start, sweep.stop, sweep.step))
    return Numbers(float(words[0]), float(words[-1]), whole=whole, step=step)


def _tags(override: Override, tags: set[str]) -> set[str]:
    if unknown := tags - {"log", "linear"}:
        raise ConfigError(override.get_key_element(), f"the tag {min(unknown)!r} means nothing here", "there are log and linear")
    return tags

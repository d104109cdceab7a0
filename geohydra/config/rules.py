"""What must fit together across parts of a config, told in terms of the protocols only.

A rule about one class lives with that class: any part may have a method
`check(parts) -> Iterable[GeohydraError]`, which is asked with all parts that the pipeline uses, by config key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from geohydra.build import near
from geohydra.errors import ConfigError, GeohydraError
from geohydra.plan import Stage
from geohydra.work import Config

Parts = Mapping[str, Any]
"""Built objects by config key: `source`, `task`, `model`, ...; only those that could be built."""

BYTES_PER_PIXEL = 800
"""Memory that a training step takes at the very least for a pixel of its batch: activations and gradients, float32.
Measured: 1300 (FPN, resnet18), 1900 (U-Net, resnet18), 3500 (U-Net, resnet50). A model may know better (`bytes_per_pixel`)."""


def broken_rules(parts: Parts, config: Config, stages: Sequence[Stage]) -> list[GeohydraError]:
    """Every contradiction between parts."""
    found: list[GeohydraError] = [*_bands(parts), *_classes(parts), *_strides(parts), *_memory(parts, config, stages)]
    for part in parts.values():
        if callable(own := getattr(part, "check", None)):
            found += own(parts)
    return found


def _bands(parts: Parts) -> Iterator[ConfigError]:
    has = tuple(getattr(parts.get("source"), "bands", None) or ())
    for key, part in parts.items():
        wanted = getattr(part, "bands", None)
        if not has or key == "source" or not isinstance(wanted, tuple | list):
            continue
        for band in wanted:
            if band not in has:
                yield ConfigError(f"{key}.bands", f"the source has no band {band!r}", near(str(band), map(str, has)))


def _classes(parts: Parts) -> Iterator[ConfigError]:
    brings = getattr(parts.get("source"), "classes", None)
    asked = getattr(parts.get("task"), "labels", None)
    if brings is None or asked is None:
        return
    for name in asked:
        if name not in brings:
            yield ConfigError("task.classes", f"the source's labels have no class {name!r}", _of_these(name, brings))


def _of_these(name: str, brings: Iterable[str]) -> str:
    """The likeliest class; where none is like it, how those to learn are named."""
    hint = near(name, brings)
    return f"{hint}; name those to learn in 'task.classes=[...]'" if hint.startswith("known") else hint


def _strides(parts: Parts) -> Iterator[ConfigError]:
    stride = getattr(parts.get("model"), "stride", None)
    if not isinstance(stride, int):
        return
    smallest = getattr(parts.get("model"), "smallest", stride)
    for key, name in (("chip", "size"), ("predict", "window")):
        for length in _lengths(getattr(parts.get(key), name, None))[:1]:
            fitting = max(-(-smallest // stride), round(length / stride)) * stride
            if length % stride:
                yield ConfigError(f"{key}.{name}", f"{length} px is no multiple of {stride}, as this model needs", f"take {fitting}")
            elif length < smallest:
                yield ConfigError(f"{key}.{name}", f"{length} px is less than the {smallest} that this model needs", f"take {fitting}")


def _memory(parts: Parts, config: Config, stages: Sequence[Stage]) -> Iterator[ConfigError]:
    batch = getattr(parts.get("train"), "batch_size", None)
    lengths = _lengths(getattr(parts.get("chip"), "size", None))
    roles = [stage.role for stage in stages if {"train", "chip"} <= set(stage.uses)]
    if not isinstance(batch, int) or not lengths or not roles:
        return
    role = (config.get("hardware") or {}).get(roles[0])
    if not isinstance(role, Mapping) or role.get("gpu") or not isinstance(role.get("memory"), int | float):
        return
    per_pixel = getattr(parts.get("model"), "bytes_per_pixel", None) or BYTES_PER_PIXEL
    needed = batch * lengths[0] * lengths[-1] * per_pixel / 1e9
    if needed > role["memory"]:
        yield ConfigError(
            "train.batch_size",
            f"{batch} chips of {lengths[0]} x {lengths[-1]} px take {needed:.0f} GB or more ({per_pixel} bytes a pixel),"
            f" and hardware.{roles[0]}.memory is {role['memory']:g} GB",
            f"take {max(1, int(batch * role['memory'] / needed))} or fewer, or smaller chips",
        )


def _lengths(size: Any) -> tuple[int, ...]:
    """Rows and columns, however a part keeps them."""
    if isinstance(size, int) and not isinstance(size, bool):
        return (size,)
    if hasattr(size, "rows") and hasattr(size, "cols"):
        return (int(size.rows), int(size.cols))
    if isinstance(size, tuple | list) and all(isinstance(item, int) for item in size):
        return tuple(size)
    return ()

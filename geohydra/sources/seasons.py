"""How fields of the demo world look through the year: each crop greens, flowers and ripens at its own time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from geohydra.sources.painting import spectral_noise

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Crop:
    """Days of the year on which a crop is half green and half ripe, how green it gets, when it flowers (0: never to be seen), and its usual
    yield in tonnes a hectare (of beet that of sugar)."""

    up: float
    down: float
    green: float
    flowers: float
    harvest: float


CROPS: Mapping[str, Crop] = MappingProxyType(
    {
        "barley": Crop(88, 158, 0.86, 0, 6.5),
        "wheat": Crop(98, 186, 0.92, 0, 7.8),
        "rape": Crop(82, 172, 0.95, 122, 3.9),
        "maize": Crop(166, 262, 0.97, 0, 10.5),
        "beet": Crop(150, 292, 0.93, 0, 12.5),
    }
)

_SOIL = (1650.0, 1330.0, 1010.0, 2050.0)
_LEAVES = (430.0, 830.0, 370.0, 4300.0)
_STRAW = (2250.0, 1850.0, 1200.0, 3050.0)
_BLOOM = (1900.0, 1950.0, 560.0, 4000.0)
_GREENING, _RIPENING = 7.0, 9.0


@dataclass(frozen=True, slots=True)
class Field:
    """One parcel in one year: its crop, how many days early or late it is, how well it grows (about 1), and the tone of its soil."""

    crop: str
    shift: float
    vigour: float
    soil: float

    @property
    def harvest(self) -> float:
        """Tonnes a hectare: what grows well and long yields most."""
        crop = CROPS[self.crop]
        return round(crop.harvest * (0.25 + 0.75 * self.vigour**2) * (1 - 0.004 * self.shift), 2)


def grown(count: int, rng: np.random.Generator, *, season: float) -> list[Field]:
    """What grows on so many parcels in a year that is `season` days late."""
    names = list(CROPS)
    return [
        Field(
            names[rng.integers(len(names))],
            season + rng.normal(0, 6),
            float(np.clip(rng.normal(0.92, 0.13), 0.5, 1.2)),
            rng.uniform(0.75, 1.2),
        )
        for _ in range(count)
    ]


def tone(field: Field, day: float) -> Floats:
    """Reflectance times 10000 of a field on a day of the year: red, green, blue, near infrared."""
    crop, when = CROPS[field.crop], day - field.shift
    green = crop.green * min(1.0, field.vigour) * _rise(when - crop.up, _GREENING) * (1 - _rise(when - crop.down, _RIPENING))
    stubble = _rise(when - crop.down, _RIPENING) * (1 - _rise(when - crop.down - 45, 8.0)) * 0.75
    bloom = 0.75 * np.exp(-(((when - crop.flowers) / 9.0) ** 2)) if crop.flowers else 0.0
    bare = np.asarray(_SOIL, np.float32) * field.soil
    mixed = bare * (1 - stubble) + np.asarray(_STRAW, np.float32) * stubble
    leafy = np.asarray(_LEAVES, np.float32) * (1 - bloom) + np.asarray(_BLOOM, np.float32) * bloom
    return np.asarray(mixed * (1 - green) + leafy * green, np.float32)


def other_land(base: Floats, day: float) -> Floats:
    """All that is no field `(band, row, col)`: leaves come in spring and fall in autumn, so that green land changes and roads do not."""
    red, nir = base[0], base[3]
    leafy = np.clip((nir - red) / np.maximum(nir + red, 1) * 1.6, 0, 1)
    now = 0.45 + 0.55 * _rise(day - 100, 12.0) * (1 - _rise(day - 290, 14.0)) - 0.15 * np.exp(-(((day - 215) / 30) ** 2))
    winter = np.stack([base[0] * 1.35, base[1] * 1.1, base[2] * 1.2, base[3] * 0.62])
    share = (leafy * (1 - now))[None]
    return np.asarray(base * (1 - share) + winter * share, np.float32)


def fields_at(numbers: NDArray[np.int32], fields: Sequence[Field], day: float, texture: Floats) -> Floats:
    """Pixels `(band, row, col)` of fields by their numbers from 1; 0 is no field."""
    tones = np.array([tone(field, day) for field in fields], np.float32).T
    painted = tones[:, np.maximum(numbers - 1, 0)]
    return np.asarray(painted * (1 + 0.09 * texture), np.float32)


def seen(pixels: Floats, rng: np.random.Generator) -> NDArray[np.uint16]:
    """What a sensor makes of it on one day: light, haze that is not the same everywhere, noise; never 0, which is nodata."""
    size = pixels.shape[-1]
    haze = rng.uniform(0, 260) * (1 + 0.5 * spectral_noise(rng, size, 2.0)) * np.array([1.0, 1.2, 1.6, 0.4])[:, None, None]
    gain = rng.normal(1, 0.025, (4, 1, 1)) * rng.uniform(0.93, 1.07)
    noise = rng.standard_normal(pixels.shape, np.float32) * 45
    return np.asarray(np.clip(pixels * gain + haze + noise, 1, 10000), np.uint16)


def clouds(size: int, cover: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Where clouds are `(row, col)`: about the share that is asked for."""
    if cover <= 0:
        return np.zeros((size, size), np.bool_)
    field = spectral_noise(rng, size, 2.2)
    return np.asarray(field > np.quantile(field, 1 - min(cover, 1.0)))


def acquisitions(rng: np.random.Generator, *, every: float = 12.0) -> list[tuple[int, float]]:
    """Days of a year, from March to October, and the share of clouds on each; how many there are and when differs from call to call.

    Days that are wholly cloudy are left out.
    """
    found = []
    day = 62.0 + rng.uniform(0, every)
    while day < 300:
        cover = float(np.clip(rng.beta(0.55, 0.9) * 1.15 - 0.1, 0, 1))
        if cover < 0.9:
            found.append((round(day), cover))
        day += rng.choice([0.5, 1.0, 1.0, 1.5]) * every
    return found


def _rise(days: float | Floats, length: float) -> float:
    """From 0 to 1 around day 0."""
    return float(1 / (1 + np.exp(-np.clip(days / length, -40, 40))))

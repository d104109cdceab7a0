"""How a place of the demo world looks from above: four bands of reflectance, with shadows, texture and noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely import affinity
from shapely.geometry import Point
from shapely.geometry.base import BaseGeometry

from geohydra.sources.world import CROPS, Place

Floats = NDArray[np.float32]

BANDS = ("red", "green", "blue", "nir")

_GRASS, _DRY, _YARD, _WOOD = (820, 1080, 620, 2900), (1500, 1430, 960, 2450), (1350, 1400, 1000, 2500), (420, 620, 360, 2400)
_CROWN, _DEEP, _SHALLOW = (400, 640, 330, 3000), (290, 420, 520, 190), (520, 700, 640, 420)
_ASPHALT, _GRAVEL = (1180, 1160, 1150, 1330), (2050, 1850, 1500, 2300)
_CROP_TONES = {
    "wheat": (2150, 1800, 1120, 2950),
    "maize": (520, 930, 410, 4200),
    "rape": (1750, 1850, 640, 3900),
    "bare": (1780, 1480, 1120, 2200),
    "ploughed": (1150, 920, 760, 1350),
    "young": (1000, 1380, 700, 3500),
    "beet": (620, 1180, 520, 4600),
}
_ROOF_TONES = {
    "tile": (2200, 1150, 880, 2350),
    "grey": (1450, 1450, 1480, 1650),
    "slate": (760, 770, 820, 900),
    "white": (3300, 3250, 3200, 3400),
    "brown": (1550, 1130, 900, 1800),
}
SUN = np.array([0.64, 0.77])
"""Where shadows fall: to the north-east."""


class Canvas:
    """Reflectance times 10000, float32 `(band, row, col)`, painted layer by layer from the ground up."""

    def __init__(self, place: Place, rng: np.random.Generator, *, size: int) -> None:
        self.place = place
        self.rng = rng
        self.size = size
        self.pixel = place.extent / size
        self.transform = (self.pixel, 0.0, 0.0, 0.0, -self.pixel, place.extent)
        steps = (np.arange(size, dtype=np.float32) + 0.5) * self.pixel
        self.x, self.y = np.meshgrid(steps, place.extent - steps)
        self.pixels = np.zeros((len(BANDS), size, size), np.float32)

    def burn(self, areas: Sequence[BaseGeometry]) -> NDArray[np.int32]:
        """Numbers from 1 of the areas that cover the pixels' centres, the last one above; 0 where there is none."""
        shapes = [(area, number) for number, area in enumerate(areas, start=1) if not area.is_empty]
        if not shapes:
            return np.zeros((self.size, self.size), np.int32)
        return np.asarray(rasterize(shapes, out_shape=(self.size, self.size), transform=_affine(self.transform), dtype="int32"))

    def paint(self, where: NDArray[np.bool_], tone: Floats | Sequence[float], *, light: Floats | float = 1.0) -> None:
        """Cover pixels with one tone `(band,)` or with a tone each `(band, row, col)`, brighter or darker by `light`."""
        tones = np.asarray(tone, np.float32)
        tones = tones if tones.ndim == 3 else np.broadcast_to(tones[:, None, None], self.pixels.shape)
        np.copyto(self.pixels, tones * np.float32(light), where=where)

    def shade(self, where: NDArray[np.bool_], light: float) -> None:
        """Make pixels darker."""
        self.pixels[:, where] *= np.float32(light)

    def noise(self, roughness: float, *, smallest: float = 2.0) -> Floats:
        """A random field of mean 0 and deviation 1; a higher roughness gives larger patches."""
        return spectral_noise(self.rng, self.size, roughness, cut=self.pixel / smallest)


def paint(place: Place, rng: np.random.Generator, *, size: int, also: Callable[[Canvas], None] | None = None) -> NDArray[np.uint16]:
    """The place as a picture `(band, row, col)` of `size` x `size` pixels; never 0, which is kept for nodata. `also` paints what stands
    on top of all."""
    canvas = Canvas(place, rng, size=size)
    _meadows(canvas)
    _fields(canvas)
    _water(canvas)
    _roads(canvas)
    _crowns_and_roofs(canvas)
    if also is not None:
        also(canvas)
    return _sensor(canvas)


def spectral_noise(rng: np.random.Generator, size: int, roughness: float, *, cut: float = 1.0) -> Floats:
    """Noise with a power law spectrum: amplitude falls as frequency to the minus `roughness`."""
    rows = np.fft.fftfreq(size)[:, None]
    cols = np.fft.rfftfreq(size)[None, :]
    frequency = np.hypot(rows, cols)
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * frequency**-roughness * np.exp(-((frequency / cut) ** 2))
    spectrum[0, 0] = 0.0
    field = np.fft.irfft2(spectrum, s=(size, size))
    scaled: Floats = (field / field.std()).astype(np.float32)
    return scaled


def _meadows(canvas: Canvas) -> None:
    """Grass with dry patches, gardens in the village, the floor of the woods."""
    patches = np.clip(0.5 + 0.32 * canvas.noise(1.4), 0, 1)
    fine = 1 + 0.07 * canvas.noise(0.4)
    everywhere = np.ones((canvas.size, canvas.size), bool)
    canvas.paint(everywhere, _blend(_GRASS, _DRY, patches * 0.75), light=fine)
    yards = canvas.burn([canvas.place.village]) > 0
    canvas.paint(yards, _blend(_GRASS, _YARD, np.clip(0.45 + 0.4 * canvas.noise(0.9), 0, 1)), light=1 + 0.09 * canvas.noise(0.3))
    woods = canvas.burn(canvas.place.forest) > 0
    canvas.paint(woods, _WOOD, light=1 + 0.16 * canvas.noise(0.5))


def _fields(canvas: Canvas) -> None:
    """Crops: a tone a parcel, soil patches, rows along the working direction, tramlines."""
    parcels = canvas.place.parcels
    if not parcels:
        return
    number = canvas.burn([parcel.area for parcel in parcels])
    tones = np.array([_CROP_TONES[parcel.crop] for parcel in parcels], np.float32)
    tones *= (canvas.rng.normal(1, 0.08, (len(parcels), 1)) * canvas.rng.normal(1, 0.03, tones.shape)).astype(np.float32)
    angles = np.array([parcel.angle for parcel in parcels], np.float32)
    rows = np.array([4.5 if parcel.crop in CROPS[1::2] else 3.2 for parcel in parcels], np.float32)
    depth = canvas.rng.uniform(0.02, 0.08, len(parcels)).astype(np.float32)
    inside = number > 0
    here = np.maximum(number - 1, 0)
    across = canvas.y * np.cos(angles)[here] - canvas.x * np.sin(angles)[here] + 1.2 * canvas.noise(1.6, smallest=20)
    light = 1 + depth[here] * np.sin(2 * np.pi * across / rows[here]) + 0.07 * canvas.noise(1.3) + 0.03 * canvas.noise(0.2)
    tram = np.abs(across % 21.0 - 10.5)
    light -= 0.14 * ((tram > 0.7) & (tram < 1.7))
    canvas.paint(inside, np.moveaxis(tones[here], -1, 0), light=light)


def _water(canvas: Canvas) -> None:
    """Dark water, brighter and greener towards the bank, with a soft shore."""
    bodies = canvas.place.water
    shore = canvas.burn([body.buffer(3.5) for body in bodies]) > 0
    canvas.paint(shore, _blend(_YARD, _WOOD, np.clip(0.5 + 0.3 * canvas.noise(0.7), 0, 1)))
    canvas.paint(canvas.burn(bodies) > 0, _SHALLOW, light=1 + 0.06 * canvas.noise(1.0))
    deep = canvas.burn([body.buffer(-4) for body in bodies]) > 0
    canvas.paint(deep, _blend(_DEEP, _SHALLOW, np.clip(0.3 + 0.2 * canvas.noise(1.5), 0, 1)), light=1 + 0.04 * canvas.noise(0.2))


def _roads(canvas: Canvas) -> None:
    """Gravel tracks with a green middle, then paved streets with worn lanes."""
    tracks = [road for road in canvas.place.roads if not road.paved]
    streets = [road for road in canvas.place.roads if road.paved]
    canvas.paint(canvas.burn([road.area for road in tracks]) > 0, _GRAVEL, light=1 + 0.08 * canvas.noise(0.5))
    canvas.shade(canvas.burn([road.line.buffer(0.6) for road in tracks]) > 0, 0.8)
    canvas.paint(canvas.burn([road.line.buffer(road.width / 2 + 1.2) for road in streets]) > 0, _YARD)
    canvas.paint(canvas.burn([road.area for road in streets]) > 0, _ASPHALT, light=1 + 0.06 * canvas.noise(0.8))
    main = streets[:1]
    canvas.paint(canvas.burn([road.line.buffer(0.55) for road in main]) > 0, (1750, 1740, 1720, 1900))


def _crowns_and_roofs(canvas: Canvas) -> None:
    """Shadows first, then crowns, then roofs: a house hides the tree behind it."""
    place = canvas.place
    discs = [Point(x, y).buffer(radius, quad_segs=3) for x, y, radius in place.trees]
    cast = [affinity.translate(disc, *(SUN * radius * 1.1)) for disc, radius in zip(discs, place.trees[:, 2], strict=True)]
    for house in place.buildings:
        cast += [affinity.translate(house.area, *(SUN * house.height * step)) for step in (0.25, 0.5, 0.75, 1.0)]
    canvas.shade(canvas.burn(cast) > 0, 0.5)
    _crowns(canvas, discs)
    _roofs(canvas)


def _crowns(canvas: Canvas, discs: Sequence[BaseGeometry]) -> None:
    """Round crowns, lit from the south-west."""
    if not discs:
        return
    number = canvas.burn(discs)
    here = np.maximum(number - 1, 0)
    x, y, radius = (canvas.place.trees[:, column].astype(np.float32)[here] for column in range(3))
    slope = ((canvas.x - x) * SUN[0] + (canvas.y - y) * SUN[1]) / radius
    own = canvas.rng.normal(1, 0.12, len(discs)).astype(np.float32)[here]
    canvas.paint(number > 0, _CROWN, light=own * (1 - 0.38 * slope) * (1 + 0.1 * canvas.noise(0.2)))


def _roofs(canvas: Canvas) -> None:
    """Gable roofs: the side towards the sun is brighter; a dark line along the ridge."""
    houses = canvas.place.buildings
    if not houses:
        return
    number = canvas.burn([house.area for house in houses])
    here = np.maximum(number - 1, 0)
    centres = np.array([(house.area.centroid.x, house.area.centroid.y) for house in houses], np.float32)
    angles = np.array([house.angle for house in houses], np.float32)[here]
    across = (canvas.y - centres[here, 1]) * np.cos(angles) - (canvas.x - centres[here, 0]) * np.sin(angles)
    sunny = np.sin(angles) * SUN[0] - np.cos(angles) * SUN[1]
    light = 1 + 0.2 * np.sign(across) * sunny - 0.12 * (np.abs(across) < 0.6) + 0.035 * canvas.noise(0.1)
    tones = np.array([_ROOF_TONES[house.roof] for house in houses], np.float32)
    tones *= canvas.rng.normal(1, 0.07, (len(houses), 1)).astype(np.float32)
    canvas.paint(number > 0, np.moveaxis(tones[here], -1, 0), light=light)


def _sensor(canvas: Canvas) -> NDArray[np.uint16]:
    """What a camera makes of it: a slight blur, a gain a band, haze, noise."""
    pixels = canvas.pixels
    for axis in (1, 2):
        pixels = 0.5 * pixels + 0.25 * (_moved(pixels, axis, 1) + _moved(pixels, axis, -1))
    gain = canvas.rng.normal(1, 0.03, (len(BANDS), 1, 1)) * canvas.rng.uniform(0.93, 1.07)
    haze = canvas.rng.uniform(20, 90) * np.array([1.0, 1.25, 1.6, 0.5])[:, None, None]
    noise = canvas.rng.standard_normal(pixels.shape, np.float32) * 28
    return np.clip(pixels * gain + haze + noise, 1, 10000).astype(np.uint16)


def _moved(pixels: Floats, axis: int, by: int) -> Floats:
    """Pixels moved by one, edges repeated."""
    index = np.clip(np.arange(pixels.shape[axis]) + by, 0, pixels.shape[axis] - 1)
    return np.take(pixels, index, axis=axis)


def _blend(low: Sequence[float], high: Sequence[float], share: Floats) -> Floats:
    """Between two tones, pixel by pixel `(band, row, col)`."""
    first, last = (np.asarray(tone, np.float32)[:, None, None] for tone in (low, high))
    blended: Floats = first + (last - first) * share[None]
    return blended


def _affine(transform: tuple[float, ...]) -> object:
    from rasterio import Affine

    return Affine(*transform)

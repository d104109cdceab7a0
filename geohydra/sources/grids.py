"""The target grid of a source: onto which CRS, resolution and lattice its scenes are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from geohydra.errors import ConfigError, DataError

if TYPE_CHECKING:
    from geohydra.raster.target import Extent
    from geohydra.types import Grid

Size = Annotated[float, Field(gt=0)]


class TargetGrid:
    """How the grids of scenes are made. Without any of this each scene keeps the CRS, resolution and lattice of its reference.

    `crs`: the CRS of all scenes, as EPSG:CODE; `utm`: of each its UTM zone, polar stereographic beyond 84 N and 80 S; `most`: that of most
    scenes. `resolution`: the size of a pixel in units of the CRS, or [height, width]; by default that of the finest scene. `like`: a
    raster whose CRS, resolution and lattice are taken, or the band of each scene that is its reference. `align`: all scenes share pixel
    edges: those of most scenes that need not be warped, else whole multiples of the resolution; false: each begins at its own
    corner. `bounds`: [left, bottom, right, top] in the CRS; scenes are cut to it, and left out where they lie outside.
    """

    def __init__(
        self,
        *,
        crs: str | None = None,
        resolution: Size | Annotated[list[Size], Field(min_length=2, max_length=2)] | None = None,
        like: str | None = None,
        align: bool = True,
        bounds: Annotated[list[float], Field(min_length=4, max_length=4)] | None = None,
    ) -> None:
        self._crs = crs
        self._resolution = _pair(resolution)
        self._like = like if like and _is_uri(like) else None
        self.reference = like if like and not _is_uri(like) else None
        self._align = align
        self._bounds = bounds
        self._check()

    @property
    def given(self) -> bool:
        """Whether scenes are brought onto something other than their own references."""
        return any(choice is not None for choice in (self._crs, self._resolution, self._like, self._bounds))

    def grids(self, extents: Sequence[Extent]) -> list[Grid | None]:
        """A grid for each scene, in their order; None where it lies outside of the bounds. Raises DataError."""
        from geohydra.raster.target import Lattice, bounds_in, check_size, own_grid

        if not self.given:
            return [own_grid(extent) for extent in extents]
        self._refuse_unplaced(extents)
        crs = self._crs_of(extents)
        sizes = self._sizes(extents, crs)
        corners = {code: self._corner(extents, code, size) for code, size in sizes.items()} if self._align or self._like else {}
        found: list[Grid | None] = []
        for extent, code in zip(extents, crs, strict=True):
            bounds = bounds_in(extent.all, code, extent.scene)
            cut = _cut(bounds, self._bounds)
            origin = corners.get(code, (bounds[0], bounds[3]))
            grid = Lattice(code, sizes[code], origin).cover(cut) if cut else None
            found.append(check_size(grid, extent.scene) if grid else None)
        return found

    def _crs_of(self, extents: Sequence[Extent]) -> list[str]:
        from geohydra.raster.header import probe
        from geohydra.raster.target import zone_of
        from geohydra.raster.warp import known_crs

        own = [extent.reference.crs for extent in extents]
        if self._like is not None:
            return [probe(self._like).grid.crs] * len(extents)
        if self._crs == "utm":
            return [zone_of(extent.reference, extent.scene) for extent in extents]
        if self._crs == "most":
            return [Counter(own).most_common(1)[0][0]] * len(extents) if own else []
        if self._crs is not None:
            known_crs(self._crs)
            return [self._crs] * len(extents)
        return own

    def _sizes(self, extents: Sequence[Extent], crs: Sequence[str]) -> dict[str, tuple[float, float]]:
        """Height and width of a pixel in each CRS: the finest of all scenes where nothing says more."""
        from geohydra.raster.header import probe
        from geohydra.raster.target import resolution_in
        from geohydra.raster.warp import known_crs

        if self._like is not None or self._resolution is not None:
            given = self._resolution or probe(str(self._like)).grid.resolution
            return dict.fromkeys(crs, given)
        units = {code: bool(known_crs(code).is_geographic) for code in set(crs)}
        finest: dict[bool, tuple[float, float]] = {}
        for extent, code in zip(extents, crs, strict=True):
            size = resolution_in(extent.reference, code, extent.scene)
            before = finest.get(units[code], size)
            finest[units[code]] = min(size, before, key=lambda pair: pair[0] * pair[1])
        return {code: finest[units[code]] for code in crs}

    def _corner(self, extents: Sequence[Extent], crs: str, size: tuple[float, float]) -> tuple[float, float]:
        from geohydra.raster.header import probe
        from geohydra.raster.target import common_origin, lattice_of, north_up

        if self._like is not None:
            return lattice_of(north_up(probe(self._like).grid)).origin
        return common_origin([extent.reference for extent in extents], crs, size)

    def _refuse_unplaced(self, extents: Sequence[Extent]) -> None:
        for extent in extents:
            if not all(grid.crs for grid in extent.all):
                problem = "has no CRS, so that it cannot be brought onto source.grid"
                raise DataError(extent.scene, problem, "state its CRS with source.crs, or leave source.grid empty")

    def _check(self) -> None:
        if self._like and (self._crs or self._resolution):
            raise ConfigError("like", "the raster it names tells the CRS and the resolution, which are given too", "give one or the other")
        if (self._bounds and not (self._crs or self._like)) or (self._bounds and self._crs == "utm"):
            raise ConfigError("bounds", "are in units of one CRS, and none is given", "such as crs=EPSG:32632")
        if self._bounds and not (self._bounds[0] < self._bounds[2] and self._bounds[1] < self._bounds[3]):
            raise ConfigError("bounds", f"{self._bounds} enclose nothing", "write [left, bottom, right, top]")


def _pair(size: float | list[float] | None) -> tuple[float, float] | None:
    if size is None:
        return None
    return (size[0], size[1]) if isinstance(size, list | tuple) else (float(size), float(size))


def _is_uri(text: str) -> bool:
    return "/" in text or "." in text


def _cut(bounds: tuple[float, float, float, float], given: Sequence[float] | None) -> tuple[float, float, float, float] | None:
    """What two rectangles share; None where that is nothing."""
    if given is None:
        return bounds
    left, bottom = max(bounds[0], given[0]), max(bounds[1], given[1])
    right, top = min(bounds[2], given[2]), min(bounds[3], given[3])
    return (left, bottom, right, top) if left < right and bottom < top else None

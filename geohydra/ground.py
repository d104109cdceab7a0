"""The ground of a scene, whatever its labels are kept in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from geohydra.errors import DataError
from geohydra.task import Ground
from geohydra.types import Grid, LabelAsset, Scene


def open_ground(scene: Scene) -> Ground | None:
    """What is known of the ground below a scene; None where it has no labels."""
    if scene.labels is None:
        return None
    kind = _KINDS.get(scene.labels.kind)
    if kind is None:
        raise DataError(scene.id, f"its labels are of the unknown kind {scene.labels.kind!r}", f"known are {', '.join(_KINDS)}")
    return kind(scene.labels, scene.grid)


def _vector(labels: LabelAsset, grid: Grid) -> Ground:
    from geohydra.vector.labels import VectorGround

    return VectorGround(labels.uri, grid)


def _raster(labels: LabelAsset, grid: Grid) -> Ground:
    from geohydra.raster.labels import RasterGround

    return RasterGround(labels.uri, grid, labels.values)


_KINDS: Mapping[str, Callable[[LabelAsset, Grid], Ground]] = MappingProxyType({"vector": _vector, "raster": _raster})

"""Objects of a label raster: pixels of one class that hang together by their sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize, shapes

from geohydra.task import Instances, Objects


def components(mask: NDArray[np.uint8], names: Sequence[str]) -> Instances:
    """Each area of one class of a mask `(row, col)` whose ids are places in `names`; other ids are nothing.

    Only the window is looked at: `numbers` count within it, and what its edge cuts off is an object by itself, of share 1.
    """
    found = [(area, int(value)) for area, value in shapes(mask, mask=mask < len(names), connectivity=4)]
    if not found:
        return Instances(np.zeros(mask.shape, np.uint16), Objects.none())
    ids = rasterize([(area, place) for place, (area, _) in enumerate(found, start=1)], out_shape=mask.shape, dtype=np.uint32)
    outer = [np.array(area["coordinates"][0]) for area, _ in found]
    boxes = np.array([[*points.min(axis=0)[::-1], *points.max(axis=0)[::-1]] for points in outer])
    objects = Objects(np.arange(len(found)), tuple(names[value] for _, value in found), boxes, np.ones(len(found)))
    return Instances(ids.astype(np.uint16) if len(found) < 1 << 16 else ids, objects)

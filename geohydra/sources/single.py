"""A scene from one file, by its header."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from geohydra.errors import GeohydraError
from geohydra.sources.bands import Wanted
from geohydra.sources.headers import Draft, Rules, try_draft
from geohydra.sources.pairing import BandFile, SceneFiles
from geohydra.types import Scene

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """How headers are read."""

    bands: Wanted = None
    nodata: float | Literal["nan"] | None = None
    crs: str | None = None
    allow_no_crs: bool = True


def scenes_of(
    names: Sequence[tuple[str, str]], reading: Reading, progress: Callable[[int, int, str], None]
) -> tuple[list[Scene | None], list[GeohydraError]]:
    """A scene for each id and URI, in order and in parallel, None where it cannot be used; and why."""
    rules = Rules(bands=reading.bands, nodata=reading.nodata, crs=reading.crs, allow_no_crs=reading.allow_no_crs)
    files = [SceneFiles(name, (BandFile(uri),)) for name, uri in names]
    scenes: list[Scene | None] = []
    errors: list[GeohydraError] = []
    with warnings.catch_warnings(), ThreadPoolExecutor(min(_AT_ONCE, max(1, len(files)))) as pool:
        warnings.filterwarnings("ignore", "Dataset has no geotransform")  # threads would undo each other's filters
        for number, answer in enumerate(pool.map(lambda one: try_draft(one, rules), files), start=1):
            scenes.append(answer.scene if isinstance(answer, Draft) else None)
            if not isinstance(answer, Draft):
                errors.append(answer)
            progress(number, len(files), files[number - 1].id)
    return scenes, errors

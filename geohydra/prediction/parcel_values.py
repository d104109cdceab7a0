"""A number for each parcel of a scene: a table, what parcels looked like, and a map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra.prediction.parcel_sets import laid, outputs_of, whole_network, without_parcels
from geohydra.types import PIXEL, Scene, Shape, Window

if TYPE_CHECKING:
    from geohydra.prediction.parcels import Parcels
    from geohydra.prediction.series import Onlooker
    from geohydra.prediction.settings import Prediction
    from geohydra.prediction.value_maps import ValueMap
    from geohydra.task import Trained
    from geohydra.work import Work

_ROWS = 256


def predict_values(
    scene: Scene, trained: Trained, settings: Prediction, watch: Onlooker, name: str, *, out: Path, work: Work
) -> dict[str, Any]:
    """Write `parcels.parquet` (the value in a column of its name; what the file tells of it stands in `source_NAME`), curves, and the map
    `values.tif`; the folder `out` appears whole or not at all. Raises DataError where there are no parcels."""
    from geohydra.prediction.dense import Tiling, check_scene, import_rasterio, scene_pictures, whole_folder
    from geohydra.prediction.value_maps import ValueMap

    if watch.parcels is None:
        raise without_parcels(scene)
    check_scene(scene, trained, Tiling(PIXEL, Shape(settings.window, settings.window), 0.0))
    import_rasterio()
    network = whole_network(trained)
    found, counts = outputs_of(scene, trained, network.network, watch, size=settings.window, work=work)
    values = np.where(counts > 0, network.scaled(found.to(network.mean.device))[:, 0].cpu().numpy(), np.nan).astype(np.float32)
    kind = ValueMap(name)
    with whole_folder(out) as folder:
        numbers = _write_map(watch.parcels, values, folder, kind)
        (folder / "quicklook.png").write_bytes(kind.picture(folder, scene_pictures(scene)))
    row = {"scene": scene.id, "values": f"{out.name}/{kind.file}", "quicklook": f"{out.name}/quicklook.png"} | numbers
    return row | watch.write_parcels(out, {name: values, "pixels": counts})


def _write_map(parcels: Parcels, values: NDArray[np.float32], folder: Path, kind: ValueMap) -> dict[str, Any]:
    """The value of its parcel in every pixel; outside of parcels nothing is known."""
    from geohydra.prediction.merging import Form, Strip
    from geohydra.prediction.outputs import map_writer

    grid = parcels.ground.grid
    with map_writer(folder, kind, grid=grid, form=Form("none")) as writer:
        for row in range(0, grid.shape.rows, _ROWS):
            window = Window(row, 0, Shape(min(_ROWS, grid.shape.rows - row), grid.shape.cols))
            places, owners = parcels.pixels(window)
            writer.write(Strip(row, laid(window, places, values[owners], np.nan), None))
        return dict(writer.tally.row(PIXEL))

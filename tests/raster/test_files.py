"""Rasters that lie elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from geohydra.errors import DataError
from geohydra.raster.read import SceneReader, probe
from geohydra.raster.write import write_image
from geohydra.types import Asset, Grid, Scene, Shape, Window

GRID = Grid("EPSG:32618", (10.0, 0.0, 500000.0, 0.0, -10.0, 4000000.0), Shape(600, 700))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on a server of this machine that speaks S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "ENDPOINT_URL": f"http://{host}:{port}",
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b",
        "DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    boto3.client("s3").create_bucket(Bucket="images")
    yield "images"
    server.stop()


def test_windows_are_read_from_an_object_store(tmp_path: Path, bucket: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1, 600, 700), np.uint8)
    write_image(tmp_path / "a.tif", pixels, grid=GRID)
    boto3.client("s3").upload_file(str(tmp_path / "a.tif"), bucket, "some/a.tif")
    header = probe(f"s3://{bucket}/some/a.tif")

    with SceneReader(Scene("s", header.grid, (Asset(header.uri, ("a",), (1,), "uint8"),))) as reader:
        image = reader.read(Window(300, 400, Shape(50, 60)))

    np.testing.assert_array_equal(image.pixels, pixels[:, 300:350, 400:460])


def test_an_object_that_is_not_there_is_refused(bucket: str) -> None:
    with pytest.raises(DataError, match=r"cannot be opened .* credentials"):
        probe(f"s3://{bucket}/none.tif")

"""Registered models by their addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from geohydra.errors import ConfigError, StoreError
from geohydra.tracking.client import connect
from geohydra.tracking.mlflow import MlflowTracking
from geohydra.tracking.registry import registered_model


@pytest.mark.parametrize("address", ["models:/name", "models:/a/b", "models:/@champion", "models:/name@"])
def test_an_address_without_a_version_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="names no version"):
        registered_model(address, MlflowTracking(folder=str(tmp_path)))


@pytest.mark.slow
def test_a_version_is_found_by_number_and_by_alias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tracking = MlflowTracking(folder=str(tmp_path))
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "model.json").write_text("{}")
    client = connect(tracking.uri)
    client.create_registered_model("roads")
    client.create_model_version("roads", bundle.as_uri())
    client.set_registered_model_alias("roads", "champion", "1")

    assert Path(registered_model("models:/roads/1", tracking)) == bundle
    assert Path(registered_model("models:/roads@champion", tracking)) == bundle
    with pytest.raises(StoreError, match="alias nope not found; is the name right"):
        registered_model("models:/roads@nope", tracking)

"""Registered models: from `models:/NAME@ALIAS` or `models:/NAME/VERSION` to a folder."""

from __future__ import annotations

import re

from geohydra.errors import ConfigError, StoreError
from geohydra.tracking.client import connect, reason
from geohydra.tracking.mlflow import MlflowTracking

_PLACE = re.compile(r"^models:/(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>\d+))$")


def registered_model(uri: str, tracking: MlflowTracking) -> str:
    """The local folder of a registered model; fetched where the store is remote.

    Raises ConfigError for an address that names no version, StoreError where the store has none such or does not answer.
    """
    place = _PLACE.match(uri)
    if place is None:
        raise ConfigError(uri, "this names no version of a registered model", "write models:/NAME@ALIAS or models:/NAME/VERSION")
    try:
        client = connect(tracking.uri)
        if place["alias"] is not None:
            version = str(client.get_model_version_by_alias(place["name"], place["alias"]).version)
        else:
            version = place["version"]
        source = client.get_model_version_download_uri(place["name"], version)
        return _fetched(source, tracking)
    except Exception as cause:
        raise StoreError(
            uri, f"it cannot be had from {tracking.uri}: {reason(cause).rstrip('.')}", "is the name right, and has it this alias?"
        ) from cause


def _fetched(source: str, tracking: MlflowTracking) -> str:
    import mlflow

    return str(mlflow.artifacts.download_artifacts(artifact_uri=source, tracking_uri=tracking.uri))

"""Where a config keeps its runs."""

from __future__ import annotations

from geohydra.build import build
from geohydra.errors import ConfigError
from geohydra.tracking.mlflow import MlflowTracking
from geohydra.work import Config


def mlflow_tracking(config: Config) -> MlflowTracking:
    """The tracking that the config names. Raises ConfigError where it keeps no runs that could be asked for."""
    tracking = build(config["tracking"], where="tracking")
    if not isinstance(tracking, MlflowTracking):
        raise ConfigError("tracking", "this tracking keeps no runs", "choose tracking=mlflow")
    return tracking

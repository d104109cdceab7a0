"""Tracking URIs: which are understood, and that none holds a password."""

from __future__ import annotations

from urllib.parse import urlsplit

from geohydra.errors import ConfigError

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def check_uri(uri: str, *, where: str) -> None:
    """A URI ends up in files, logs and parameters: a password must not stand in it. It is not repeated here either."""
    parts = urlsplit(uri)
    if not parts.scheme and uri != "databricks":
        raise ConfigError(where, f"{uri!r} is no address", "for example http://localhost:5000 or sqlite:////home/me/mlflow.db")
    if parts.scheme == "file":
        raise ConfigError(where, "MLflow keeps no runs in plain folders any more", "use sqlite:///FOLDER/mlflow.db")
    if parts.scheme.startswith("http") and (parts.username or parts.password):
        hint = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, in the environment"
        raise ConfigError(where, "the address holds a user name or a password", hint)
    if parts.password:
        raise ConfigError(where, "the address holds a password", "put it where the database's own tools look for it, such as PGPASSWORD")


def is_served(uri: str) -> bool:
    """Whether a server stands there, which decides on artefacts itself; else it is a database."""
    return not uri.startswith(_DATABASES)

"""Which model and which files a run stands on beside its source: found once, before planning, and told by their content."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from geohydra import storage
from geohydra.build import resolve
from geohydra.errors import DataError
from geohydra.identity import digest
from geohydra.work import Config

_CARD = "model.json"
_PLACES = ("", "bundle", "model", "results/bundle/bundle", "results/train/model", "results/model")
"""Where a model folder may lie below what a user names: itself, the output of a bundle or train step, the folder of a
run that made one or used one."""


def with_pinned_bundle(config: Config) -> Config:
    """The config with `bundle.uri` as the place of a model folder and `bundle.digest` as what it holds now; of a list, of all of them.

    Without a `bundle.uri` it stays as it is. Raises DataError where no model is found.
    """
    node = config.get("bundle")
    if not isinstance(node, dict) or not node.get("uri"):
        return config
    if isinstance(node["uri"], list):
        uris = [find_model(str(uri)) for uri in node["uri"]]
        return {**config, "bundle": {**node, "uri": uris, "digest": digest([read_card(uri) for uri in uris])}}
    uri = find_model(str(node["uri"]))
    return {**config, "bundle": {**node, "uri": uri, "digest": digest(read_card(uri))}}


def find_model(uri: str) -> str:
    """The address of the model folder at or below a place."""
    for place in _PLACES:
        found = storage.absolute(storage.join(uri, place) if place else uri)
        if storage.exists(storage.join(found, _CARD)):
            return str(storage.local_path(found).resolve()) if storage.is_local(found) else found
    raise DataError(uri, "there is no model", f"name a folder that holds {_CARD}: a bundle, or the folder of a run that made one")


def read_card(uri: str) -> dict[str, Any]:
    """The card of a model folder, as it was written."""
    try:
        return dict(json.loads(storage.read_bytes(storage.join(uri, _CARD))))
    except ValueError as cause:
        raise DataError(storage.join(uri, _CARD), f"it cannot be read ({cause})", "the file was cut or changed") from cause


def with_pinned_files(config: Config) -> Config:
    """The config with a `digest` beside the files that its classes read themselves: those in the arguments that `pinned` names.

    Raises DataError where one is not there.
    """
    return {key: _with_digest(value) for key, value in config.items()}


def _with_digest(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    node = {key: _with_digest(item) for key, item in value.items()}
    if "_target_" not in node:
        return node
    arguments = getattr(resolve(node["_target_"], where="_target_"), "pinned", ())
    uris = sorted(uri for name in arguments for uri in _uris(node.get(name)))
    return node | {"digest": digest([_content(uri) for uri in uris])} if uris else node


def _uris(value: Any) -> list[str]:
    return [str(uri) for uri in value.values()] if isinstance(value, dict) else [str(value)] if value else []


def _content(uri: str) -> str:
    try:
        return hashlib.sha256(storage.read_bytes(uri)).hexdigest()
    except OSError as cause:
        raise DataError(uri, "there is no such file", "check the folder and the spelling") from cause

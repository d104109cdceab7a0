"""Which model a run stands on: found below what a user names, told by its content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geohydra.config.pinning import find_model, with_pinned_bundle
from geohydra.errors import DataError


def model(folder: Path, **card: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(card))
    return folder


@pytest.mark.parametrize("place", ["", "bundle", "model", "results/bundle/bundle", "results/train/model", "results/model"])
def test_a_model_is_found_below_what_is_named(tmp_path: Path, place: str) -> None:
    model(tmp_path / place)
    assert find_model(str(tmp_path)) == str(tmp_path / place)


def test_links_are_followed_to_what_stays(tmp_path: Path) -> None:
    model(tmp_path / "run-1")
    (tmp_path / "latest").symlink_to("run-1")
    assert find_model(str(tmp_path / "latest")) == str(tmp_path / "run-1")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no model"):
        find_model(str(tmp_path))


def test_another_model_at_the_same_place_is_another_model(tmp_path: Path) -> None:
    config = {"bundle": {"uri": str(model(tmp_path, sha256="a"))}}
    before = with_pinned_bundle(config)["bundle"]
    model(tmp_path, sha256="b")
    after = with_pinned_bundle(config)["bundle"]
    assert before["uri"] == after["uri"]
    assert before["digest"] != after["digest"]


@pytest.mark.parametrize("config", [{}, {"bundle": None}, {"bundle": {"uri": None}}])
def test_a_run_that_brings_no_model_stays_as_it_is(config: dict[str, object]) -> None:
    assert with_pinned_bundle(config) == config


def test_a_cut_card_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"a":')
    with pytest.raises(DataError, match="cannot be read"):
        with_pinned_bundle({"bundle": {"uri": str(tmp_path)}})

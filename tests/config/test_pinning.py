"""Which model a run stands on: found below what a user names, told by its content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geohydra.config.pinning import find_model, with_pinned_bundle, with_pinned_files
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


def test_files_of_a_split_are_told_by_their_content(tmp_path):
    listed = tmp_path / "list.csv"
    node = {"_target_": "geohydra.chips.given.Listed", "lists": {"train": str(listed)}}
    config = {"chip": {"_target_": "geohydra.chips.sampling.Sliding", "split": node}, "name": "a"}
    pinned = []
    for text in ("a", "b", "a"):
        listed.write_text(text)
        pinned.append(with_pinned_files(config)["chip"]["split"]["digest"])

    assert pinned[0] == pinned[2] != pinned[1]
    assert with_pinned_files({"name": "a", "chip": {"size": 3}}) == {"name": "a", "chip": {"size": 3}}


def test_a_file_of_a_split_that_is_not_there_is_told(tmp_path):
    node = {"_target_": "geohydra.chips.areas.ByArea", "areas": str(tmp_path / "none.gpkg")}

    with pytest.raises(DataError, match=r"none\.gpkg: there is no such file"):
        with_pinned_files({"chip": {"split": node}})

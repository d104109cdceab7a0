"""The words of `predict`: a bundle, images, overrides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geohydra.config.checking import check
from geohydra.config.compose import compose
from geohydra.errors import ConfigError, DataError
from geohydra.verbs.predict import overrides, quoted


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "model.json").write_text(json.dumps({"bands": ["red", "nir"]}))
    return str(tmp_path / "bundle")


def test_bundle_and_images_become_overrides_with_the_models_bands(bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = compose(overrides([bundle, "a b/*.tif", "c{1,2}.tif"], [])).config
    assert config["bundle"]["uri"] == bundle
    assert config["source"]["images"] == ["a b/*.tif", "c{1,2}.tif"]
    assert config["source"]["bands"] == ["red", "nir"]
    assert list(config["pipeline"]["steps"]) == ["ingest", "predict"]
    assert check(config) == []


def test_what_the_user_overrides_counts(bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = compose(overrides([bundle, "a.tif"], ["source.bands=[x,y]", "predict=fast", "name=mine", "tracking=mlflow"])).config
    assert config["source"]["bands"] == ["x", "y"]
    assert config["name"] == "mine"


def test_overrides_alone_will_do() -> None:
    words = overrides([], ["bundle.uri=b", "source.images=a.tif"])
    assert words[-2:] == ["bundle.uri=b", "source.images=a.tif"]


@pytest.mark.parametrize(("places", "given", "said"), [([], [], "a bundle is needed"), ([], ["bundle.uri=b"], "no images are named")])
def test_what_is_missing_is_told(places: list[str], given: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        overrides(places, given)


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no model"):
        overrides([str(tmp_path), "a.tif"], [])


@pytest.mark.parametrize("text", ["a b", 'say "x"', "a,b", "x=(1)", "C:\\new", "C:\\", '\\"', "{a,b}", "POINT(1 2)"])
def test_any_text_can_be_quoted(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert compose([f"task.background={quoted(text)}"]).config["task"]["background"] == text


def test_named_images_are_those_of_the_source_within_a_series(bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = compose(overrides([bundle, "new/*.tif"], ["source=series", r"source.place='(?P<place>T32U)'"])).config

    assert config["source"]["of"]["images"] == ["new/*.tif"]
    assert config["source"]["of"]["bands"] == ["red", "nir"]

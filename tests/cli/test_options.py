"""Every shipped option of every group composes, and checks against the classes that it names."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from geohydra.config.checking import check, make_job
from geohydra.config.compose import compose
from geohydra.config.folders import groups, shipped_conf
from geohydra.errors import ConfigError, GeohydraError
from geohydra.plan import make_plan

OPTIONS = [(group, path.stem) for group in groups() for path in sorted((shipped_conf() / group).glob("*.yaml"))]


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=[f"{group}={option}" for group, option in OPTIONS])
def test_every_shipped_option_composes_and_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, option: str) -> None:
    """What only a user can know may be missing; nothing else may be wrong."""
    monkeypatch.chdir(tmp_path)

    wanted = [*COMPANY.get(group, []), *COMPANY.get(f"{group}={option}", []), f"{group}={option}"]

    errors = check(compose(wanted).config)

    assert [str(error) for error in errors if not _of_the_user(error, group)] == []


COMPANY = {
    "source/labels": ["source=chips", "source.images=x.tif"],
    "source/clouds": ["source=series", "source.of.images=x.tif"],
    "source=frames": ["source.images=x.jpg"],
    "loss=asymmetric_focal": ["task.multi_label=true"],
    "loss=huber": ["task=regression"],
    "loss=l1": ["task=regression"],
    "loss=l2": ["task=regression"],
    "model=encoder_head": ["task=coarse_segmentation"],
    "model=classifier": ["task=classification"],
    "model=small_classifier": ["task=classification"],
    "model=siamese": ["task=change_detection"],
    "model=faster_rcnn": ["task=detection"],
    "model=fcos": ["task=detection"],
    "model=retinanet": ["task=detection"],
    "model=mask_rcnn": ["task=instance_segmentation"],
    "model=clip_r3d": ["task=video_clips"],
    "model=clip_small": ["task=video_clips"],
    "model=ltae": ["task=time_series"],
    "model=tempcnn": ["task=time_series"],
    "model=utae": ["task=time_series", "task.unit=window"],
    "model=shared_encoder": ["task=time_series", "task.unit=window"],
    "model=pixel_set": ["task=time_series", "task.unit=parcel"],
}
"""What an option is chosen with."""


@pytest.mark.parametrize("source", ["files source.images=x.tif", "stac source.catalog=x.json", "series source.of.images=x.tif"])
def test_clouds_are_chosen_as_a_group_or_as_a_value(source: str) -> None:
    words = f"source={source}".split()

    assert compose(words).config["source"]["clouds"] is None
    assert compose([*words, "source/clouds=sentinel2"]).config["source"]["clouds"]["band"] == "scl"
    node = "source.clouds={_target_: geohydra.raster.clouds.CloudMask, band: scl, classes: [cloud_high]}"
    assert compose([*words, node]).config["source"]["clouds"]["classes"] == ["cloud_high"]


def test_classes_that_labels_do_not_have_are_told_how_to_choose() -> None:
    found = [str(error) for error in check(compose(["task=change_detection", "source=demo_pairs", "task.classes=[zzz]"]).config)]

    assert any("have no class 'zzz'; known are " in text and "name those to learn in 'task.classes=[...]'" in text for text in found)


def _of_the_user(error: GeohydraError, group: str) -> bool:
    """A value that only a user can know; the classes that a source of its own labels brings."""
    if not isinstance(error, ConfigError):
        return False
    return error.problem == "a value is needed" or (group.startswith("source") and error.where == "task.classes")


def test_the_default_is_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = make_plan("geohydra", [make_job(compose([]))])
    assert [step.id for step in plan.steps] == ["ingest", "analyze", "chip", "train", "predict", "evaluate", "bundle"]


def test_no_option_inherits_from_another() -> None:
    """A file that is read alone tells all; only experiments stand on others. A part may have a group of its own, as chip/split has."""
    heirs = [f"{group}/{option}: {line}" for group, option in OPTIONS if group != "experiment" for line in _stands_on(group, option)]
    assert heirs == []


def _stands_on(group: str, option: str) -> list[str]:
    lines = yaml.safe_load(_text(group, option)).get("defaults", [])
    return [
        str(line)
        for line in lines
        if line != "_self_" and not (isinstance(line, dict) and all(f"{group}/{key}" in groups() or "@" in key for key in line))
    ]


def test_every_option_says_what_it_is_in_its_first_line() -> None:
    assert [f"{group}/{option}" for group, option in OPTIONS if not _text(group, option).startswith("# ")] == []


def _text(group: str, option: str) -> str:
    return (shipped_conf() / group / f"{option}.yaml").read_text()

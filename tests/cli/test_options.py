"""Every shipped option of every group composes, and checks against the classes that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from geohydra.config.checking import check, make_job
from geohydra.config.compose import compose
from geohydra.config.folders import groups, shipped_conf
from geohydra.errors import ConfigError
from geohydra.plan import make_plan

OPTIONS = [(group, path.stem) for group in groups() for path in sorted((shipped_conf() / group).glob("*.yaml"))]


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=[f"{group}={option}" for group, option in OPTIONS])
def test_every_shipped_option_composes_and_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, option: str) -> None:
    """What only a user can know may be missing; nothing else may be wrong."""
    monkeypatch.chdir(tmp_path)

    errors = check(compose([f"{group}={option}"]).config)

    assert [str(error) for error in errors if not (isinstance(error, ConfigError) and error.problem == "a value is needed")] == []


def test_the_default_is_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = make_plan("geohydra", [make_job(compose([]))])
    assert [step.id for step in plan.steps] == ["ingest", "analyze", "chip", "train", "predict", "evaluate", "bundle"]


def test_no_option_inherits_from_another() -> None:
    """A file that is read alone tells all; only experiments stand on others."""
    heirs = [f"{group}/{option}" for group, option in OPTIONS if group != "experiment" and "defaults:" in _text(group, option)]
    assert heirs == []


def test_every_option_says_what_it_is_in_its_first_line() -> None:
    assert [f"{group}/{option}" for group, option in OPTIONS if not _text(group, option).startswith("# ")] == []


def _text(group: str, option: str) -> str:
    return (shipped_conf() / group / f"{option}.yaml").read_text()

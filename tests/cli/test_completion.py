"""Tab completion knows verbs, groups, options and keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from geohydra.cli import main
from geohydra.command.completion import completed_verbs, without_verb

VERBS = ["check", "compile", "plan"]


@pytest.mark.parametrize(
    ("line", "verbs"),
    [("geohydra ", VERBS), ("geohydra c", ["check", "compile"]), ("geohydra plan ", []), ("geohydra plan mo", []), ("geohydra x", [])],
)
def test_a_verb_is_completed_in_the_first_place_only(line: str, verbs: list[str]) -> None:
    assert completed_verbs(line, VERBS) == verbs


@pytest.mark.parametrize(
    ("line", "cut"),
    [
        ("geohydra plan mod", "geohydra mod"),
        ("geohydra plan ", "geohydra "),
        ("geohydra plan", "geohydra plan"),
        ("geohydra model=u", "geohydra model=u"),
        ("geohydra plan -m train.lr=1 model=", "geohydra -m train.lr=1 model="),
    ],
)
def test_the_verb_is_cut_out_of_the_line(line: str, cut: str) -> None:
    assert without_verb(line, VERBS) == cut


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("geohydra pl", "plan"),
        ("geohydra plan mod", "model="),
        ("geohydra chi", "chip="),
        ("geohydra chi", "chip/split="),
        ("geohydra model=cu", "model=cube"),
        ("geohydra check train.l", "train.lr="),
    ],
)
def test_bash_is_answered(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, found: str
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert main(["-sc", "query=bash"]) == 0
    assert found in capsys.readouterr().out.split()


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_the_script_to_install_is_printed(project: Path, capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert main(["-sc", f"install={shell}"]) == 0
    assert f"-sc query={shell}" in capsys.readouterr().out

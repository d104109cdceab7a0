"""Plain text for a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from geohydra.command.console import counted, error_lines, near_path, table
from geohydra.errors import ConfigError, DataError


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    assert table(("name", "value"), [("a", 1), ("bcd", None), ("e", 0.123456)]).splitlines() == [
        "name   value",
        "----  ------",
        "a          1",
        "bcd",
        "e     0.1235",
    ]


def test_a_table_without_rows_is_its_head() -> None:
    assert table(("a", "b"), []) == "a  b\n-  -"


def test_errors_that_say_the_same_of_many_places_are_counted() -> None:
    errors = [DataError(f"{place}.tif", "is cut", "copy it again") for place in range(10)]
    lines = error_lines([*errors, ConfigError("train.lr", "x")])
    assert len(lines) == 5
    assert lines[3] == "geohydra: ... and 7 more of which the same is true, the last is 9.tif"


def test_a_path_is_shown_as_one_would_type_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert near_path(tmp_path / "a" / "b") == "a/b"
    assert near_path("/x") == "/x"


def test_one_is_singular() -> None:
    assert (counted(1, "step"), counted(0, "step")) == ("1 step", "0 steps")

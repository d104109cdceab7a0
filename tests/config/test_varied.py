"""Hydra's grammar of sweeps as what a search may try."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from geohydra.config.varied import dimension
from geohydra.errors import ConfigError
from geohydra.sweeping.space import Choices, Numbers


def read(word: str, usual: Any = None) -> Numbers | Choices:
    return dimension(OverridesParser.create().parse_override(word), usual)


@pytest.mark.parametrize(
    ("word", "usual", "expected"),
    [
        ("a=interval(1e-4,1e-2)", 1e-3, Numbers(1e-4, 1e-2, log=True)),
        ("a=tag(linear,interval(1e-4,1e-2))", 1e-3, Numbers(1e-4, 1e-2)),
        ("a=interval(0.1,0.9)", 0.5, Numbers(0.1, 0.9)),
        ("a=tag(log,interval(0.1,0.9))", 0.5, Numbers(0.1, 0.9, log=True)),
        ("a=interval(1,8)", 4, Numbers(1, 8, whole=True)),
        ("a=interval(1,8)", 4.0, Numbers(1, 8)),
        ("a=int(interval(1,8))", None, Numbers(1, 8, whole=True)),
        ("a=range(4,17,4)", 8, Numbers(4, 16, whole=True, step=4)),
        ("a=range(0,1,0.25)", 0.5, Numbers(0, 0.75, step=0.25)),
        ("a=x,y,x", None, Choices(("x", "y"))),
        ("a=choice(1,[2,3],{b:4})", None, Choices(("1", "[2,3]", "{b:4}"))),
        ("a=shuffle(range(1,2))", None, Choices(("1",))),
    ],
)
def test_words_are_numbers_or_choices(word: str, usual: Any, expected: Numbers | Choices) -> None:
    assert read(word, usual) == expected


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("a=interval(2,1)", "from 2 to 1 is no interval"),
        ("a=tag(log,interval(0,1))", "a logarithmic scale does not hold 0"),
        ("a=tag(long,interval(0,1))", "the tag 'long' means nothing here"),
    ],
)
def test_what_cannot_be_searched_is_told(word: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        read(word)

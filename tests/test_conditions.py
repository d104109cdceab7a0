"""Conditions on metrics: read by a parser of their own, and as Python would read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geohydra.conditions import parse_condition
from geohydra.errors import ConfigError

METRICS = {"test/iou": 0.71, "test/f1": 0.8, "test/iou/water": 0.4, "loss": -1e-3}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("test/iou >= 0.7", True),
        ("test/iou>=0.71", True),
        ("test/iou > 0.71", False),
        ("0.5 < test/iou", True),
        ("test/iou >= 0.7 and test/iou/water > 0.5", False),
        ("test/iou >= 0.7 or test/iou/water > 0.5", True),
        ("not (test/iou < 0.7 or test/f1 != 0.8)", True),
        ("not test/iou < 0.7 and loss < 0", True),
        ("loss >= -1e-3", True),
        ("always", True),
        ("test/unknown > 0", False),
        ("not test/unknown > 0", True),
    ],
)
def test_a_condition_holds_or_not(text: str, holds: bool) -> None:
    assert parse_condition(text, where="deploy.when").holds(METRICS) is holds


@pytest.mark.parametrize(
    "text",
    [
        *["", "test/iou", "test/iou >=", ">= 0.7", "test/iou >= 0.7 and", "(test/iou > 1", "test/iou > 1)", "test/iou > 1 test/f1 > 2"],
        *["test/iou = 0.7", "__import__('os')", "a.b() > 1", "test/iou > 0.7; 1", "'a' > 1", "1 < test/iou < 2", "not " * 200 + "a > 1"],
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_condition(text, where="deploy.when")

    assert caught.value.where == "deploy.when"


def test_missing_metrics_are_told() -> None:
    condition = parse_condition("test/iou > 0.5 and test/x > 0", where="w")

    assert condition.missing(METRICS) == ("test/x",)
    assert condition.told(METRICS) == "test/iou > 0.5 and test/x > 0 (test/iou is 0.71, there is no test/x)"


comparisons = st.builds(
    lambda name, sign, number: (f"{name} {sign} {number!r}", f"m[{name!r}] {sign} {number!r}"),
    st.sampled_from(sorted(METRICS)),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.floats(-2, 2, allow_nan=False),
)


def joined(parts: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[tuple[str, str]]:
    both = st.builds(
        lambda a, word, b: (f"({a[0]}) {word} {b[0]}", f"({a[1]}) {word} {b[1]}"), parts, st.sampled_from(["and", "or"]), parts
    )
    return both | st.builds(lambda a: (f"not ({a[0]})", f"not ({a[1]})"), parts)


@given(st.recursive(comparisons, joined, max_leaves=6))
def test_it_means_what_it_would_in_python(pair: tuple[str, str]) -> None:
    ours, python = pair

    assert parse_condition(ours, where="w").holds(METRICS) is bool(eval(python, {"m": METRICS}))

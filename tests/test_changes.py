"""Differences between configs, and single values given later."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geohydra.changes import changed, changes_between, chosen_values, restored, with_values

values = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-1, 1) | st.text("ab.", max_size=2) | st.lists(st.integers(0, 2), max_size=2)
)
configs = st.recursive(
    st.dictionaries(st.text("abc.", min_size=1, max_size=2), values, max_size=3),
    lambda inner: st.dictionaries(st.text("abc.", min_size=1, max_size=2), values | inner, max_size=3),
    max_leaves=8,
)


@given(configs, configs)
def test_changes_make_the_other_config_of_the_base(base: dict[str, Any], other: dict[str, Any]) -> None:
    assert repr(sorted_deep(changed(base, changes_between(base, other)))) == repr(sorted_deep(other))


@given(configs)
def test_equal_configs_have_no_changes(config: dict[str, Any]) -> None:
    assert changes_between(config, config) == []


def sorted_deep(value: Any) -> Any:
    return {key: sorted_deep(value[key]) for key in sorted(value)} if isinstance(value, dict) else value


@pytest.mark.parametrize(
    ("given", "before", "after"),
    [
        *[(1, 0.5, 1.0), (2.0, 1, 2), (2.5, 1, 2.5), (0.1, 0.1, 0.1), (True, False, True), ("a", "b", "a"), ("null", None, None)],
        *[("[1, 2]", [3], [1, 2]), ("3", "4", "3"), (3.0, None, 3), ("words", None, "words")],
    ],
)
def test_a_value_comes_back_as_it_was_before_a_pipeline_changed_its_type(given: Any, before: Any, after: Any) -> None:
    found = restored(given, before)

    assert (found, type(found)) == (after, type(after))


def test_a_value_goes_to_all_keys_that_follow_it_and_to_no_others() -> None:
    chosen = chosen_values(["train.lr+optimizer.lr", "seed"], {"train_lr": 0.5, "seed": 3.0})

    config = with_values({"train": {"lr": 0.1, "epochs": 2}, "optimizer": {"lr": 0.1}}, chosen)

    assert config == {"train": {"lr": 0.5, "epochs": 2}, "optimizer": {"lr": 0.5}}

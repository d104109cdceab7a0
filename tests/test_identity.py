"""Fingerprints: equal for what is equal, different for what is different, the same after a way through JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geohydra.identity import canonical, digest, fingerprint

keys = st.text(max_size=5) | st.integers(-20, 20)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12)
configs = st.dictionaries(st.text(max_size=5), values, max_size=5)


def shuffled(value: Any) -> Any:
    """The same value with the keys of every mapping in the opposite order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(list(value))}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


def clash(value: Any) -> bool:
    """Whether two keys of one mapping are the same text, such as 1 and "1"."""
    if isinstance(value, dict):
        return len({str(key) for key in value}) < len(value) or any(map(clash, value.values()))
    return isinstance(value, list) and any(map(clash, value))


@given(values)
def test_the_order_of_keys_does_not_matter(value: Any) -> None:
    if not clash(value):
        assert digest(value) == digest(shuffled(value))


@given(values)
def test_a_way_through_json_does_not_matter(value: Any) -> None:
    if not clash(value):
        assert digest(json.loads(json.dumps(value))) == digest(value)


@given(values, values)
def test_different_texts_are_different_values(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (canonical(one) == canonical(other))


@given(configs, st.text(min_size=1, max_size=5), st.integers())
def test_another_value_of_one_key_is_another_output(config: dict[str, Any], key: str, value: int) -> None:
    one = fingerprint("chip", version=1, config={**config, key: value}, needs={})
    other = fingerprint("chip", version=1, config={**config, key: value + 1}, needs={})

    assert one != other


@given(configs)
def test_step_version_config_and_needs_all_count(config: dict[str, Any]) -> None:
    variants = [
        fingerprint("chip", version=1, config=config, needs={"ingest": "a"}),
        fingerprint("train", version=1, config=config, needs={"ingest": "a"}),
        fingerprint("chip", version=2, config=config, needs={"ingest": "a"}),
        fingerprint("chip", version=1, config={**config, "a longer key": 1}, needs={"ingest": "a"}),
        fingerprint("chip", version=1, config=config, needs={"ingest": "b"}),
        fingerprint("chip", version=1, config=config, needs={"analyze": "a"}),
    ]

    assert len(set(variants)) == len(variants)


def test_numeric_keys_sort_as_the_text_that_json_makes_of_them() -> None:
    assert canonical({"values": {2: "b", 10: "a"}}) == canonical({"values": {"10": "a", "2": "b"}})


def test_keys_of_several_kinds_may_stand_together() -> None:
    assert canonical({"values": {1: "road", "other": "none"}}) == '{"values":{"1":"road","other":"none"}}'


def test_tuples_are_lists() -> None:
    assert digest({"size": (1, 2)}) == digest({"size": [1, 2]})


def test_whole_and_broken_numbers_differ() -> None:
    assert digest(1) != digest(1.0)
    assert digest(True) != digest(1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        digest({"lr": value})


def test_text_from_a_command_line_that_is_not_utf8_has_a_digest() -> None:
    assert len(digest({"images": "caf\udce9/*.tif"})) == 16


def test_another_process_computes_the_same() -> None:
    code = "from geohydra.identity import digest; print(digest({'b': [1, 2.5, None], 'a': 'ü'}))"

    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)},
    )

    assert answer.stdout.strip() == digest({"a": "ü", "b": [1, 2.5, None]})

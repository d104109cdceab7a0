"""Conditions on properties."""

from __future__ import annotations

import numpy as np
import pytest

from geohydra.vector.where import Where

COLUMNS = {
    "height": np.array([5, 12.0, None, 30], dtype=object),
    "type": np.array(["a", "b", None, "c"], dtype=object),
    "text": np.array(["5", "12", "no", "30.5"], dtype=object),
    "addr:street": np.array(["x", None, "y", "x"], dtype=object),
    "low": np.array([6, 6, 6, 6], dtype=object),
}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("height > 10", [1, 3]),
        ("10 < height", [1, 3]),
        ("height != 12", [0, 3]),
        ("height > 10 and type in ('a', 'b')", [1]),
        ("height <= 5 or type == 'c'", [0, 3]),
        ("type not in ('a',)", [1, 3]),
        ("not type == 'a'", [1, 2, 3]),
        ("type is None", [2]),
        ("type is not None and height >= -1.5", [0, 1, 3]),
        ("text > 10", [1, 3]),
        ("text == '12'", [1]),
        ("`addr:street` == 'x'", [0, 3]),
        ("height > low", [1, 3]),
        ("height in (5, 30)", [0, 3]),
        ("type > 'a'", [1, 3]),
    ],
)
def test_a_condition_chooses_features(text: str, fits: list[int]) -> None:
    where = Where(text)

    assert np.flatnonzero(where(COLUMNS)).tolist() == fits
    assert where.properties <= set(COLUMNS)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')",
        "height.real > 1",
        "height",
        "1 == 1",
        "height > (lambda: 1)()",
        "a[0] == 1",
        "height >",
        "",
        "f'{x}' == a",
    ],
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no condition"):
        Where(text)


def test_a_single_equal_sign_is_told() -> None:
    with pytest.raises(ValueError, match="equal is written =="):
        Where("type = 'a'")

from __future__ import annotations

import numpy as np
import pytest

from geohydra.errors import ConfigError
from geohydra.raster.expressions import Expression


def test_an_index_of_bands_is_computed_in_floats() -> None:
    bands = {"nir": np.array([200, 0], np.uint8), "red": np.array([100, 0], np.uint8)}

    values = Expression("(nir - red) / (nir + red)")(bands)

    np.testing.assert_allclose(values, [1 / 3, np.nan])


def test_names_are_those_of_bands_alone() -> None:
    assert Expression("-max(B04, abs(B8A)) ** 2 + 0.5 * B04").names == ("B04", "B8A")


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "a.b", "a if b else c", "[a]", "lambda: 1", "a < b", "eval(a)", "abs(a, b)", "a @ b", "'a'", "True", "", "a +"],
)
def test_all_but_arithmetic_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="arithmetic"):
        Expression(text)


def test_very_long_expressions_are_refused() -> None:
    with pytest.raises(ConfigError, match="longer"):
        Expression("(" * 300 + "a" + ")" * 300)

"""What is summed up over objects is what their pixels say, in whatever strips they come."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.prediction.object_table import EVERY, Sums
from geohydra.raster.flooding import SEED


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 9999), st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 20))
def test_pixels_areas_classes_and_scores_are_those_of_the_pixels(seed: int, heights: list[int], cols: int) -> None:
    draw = np.random.default_rng(seed)
    rows, seeds = sum(heights), 4
    ids = np.repeat(draw.integers(0, seeds + 3, (rows, 1 + cols // 3)), 3, axis=1)[:, :cols].astype(np.uint32)
    parts = np.stack([draw.integers(1, 3, (rows, cols)), draw.integers(1, SEED + 1, (rows, cols)), draw.integers(0, 255, (rows, cols))])
    areas = draw.uniform(1, 2, rows)
    sums, top = Sums(seeds, 3, areas), 0
    for height in heights:
        sums.add(ids[top : top + height], parts[:, top : top + height].astype(np.uint8), top)
        top += height

    numbers, table = sums.finished(np.arange(3, dtype=np.uint32), EVERY)

    for old, new in enumerate(numbers.tolist()):
        own = ids == old
        if new:
            assert table.pixels[new] == own.sum()
            assert np.isclose(table.areas[new], (own * areas[:, None]).sum())
            assert table.classes[new] == np.bincount(parts[0][own], minlength=3).argmax()
            assert np.isclose(table.scores[new], parts[2][own].mean() / 254)
        elif old:
            assert own.sum() < 4 or not (parts[1][own] == SEED).any()

"""Windows are read in runs of bounded width, and batched in order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geohydra.prediction.scan import Block, batches, groups
from geohydra.raster.windows import WindowPlan
from geohydra.types import Shape


@given(st.integers(1, 500), st.integers(1, 64), st.integers(1, 64), st.integers(1, 200))
def test_runs_hold_every_window_once_and_are_short(length: int, size: int, stride: int, longest: int) -> None:
    plan = WindowPlan(Shape(1, length), Shape(1, size), Shape(1, min(stride, size)))
    runs = groups(plan.col_starts, size, longest=longest)

    assert [place for run in runs for place in run] == list(range(len(plan.col_starts)))
    assert all(plan.col_starts[run[-1]] + size - plan.col_starts[run[0]] <= max(longest, size) for run in runs)


def block(row: int, *, empty: bool = False) -> Block:
    return Block(row, range(0), 0, None if empty else np.zeros((3, 4, 5), np.float32), np.full((4, 5), not empty))


def pieces(*counts: int) -> list[tuple[Block, list[tuple[int, NDArray[np.float32]]]]]:
    """Rows of so many windows, each full of its own number."""
    first = np.cumsum([0, *counts]).tolist()
    return [
        (block(row, empty=not count), [(place, np.full((3, 4, 5), first[row] + place, np.float32)) for place in range(count)])
        for row, count in enumerate(counts)
    ]


def test_what_is_left_of_a_block_goes_with_the_first_of_the_next() -> None:
    seen = [
        ([(part.block.row, part.places) for part in batch.parts], [] if batch.pixels is None else batch.pixels[:, 0, 0, 0].tolist())
        for batch in batches(pieces(3, 3, 1, 0, 1), 2)
    ]

    assert seen == [
        ([(0, [0, 1])], [0, 1]),
        ([(0, [2]), (1, [0])], [2, 3]),
        ([(1, [1, 2])], [4, 5]),
        ([(2, [0])], [6]),
        ([(3, [])], []),
        ([(4, [0])], [7]),
    ]


def test_windows_with_other_planes_begin_a_batch_of_their_own() -> None:
    rows = pieces(3, 2, 1)
    more = Block(1, range(0), 0, np.zeros((6, 4, 5), np.float32), np.ones((4, 5), bool))
    rows[1] = (more, [(place, np.concatenate([pixels, pixels])) for place, pixels in rows[1][1]])

    seen = [
        ([(part.block.row, part.places) for part in batch.parts], batch.pixels.shape)
        for batch in batches(rows, 2)
        if batch.pixels is not None
    ]

    assert seen == [
        ([(0, [0, 1])], (2, 3, 4, 5)),
        ([(0, [2])], (1, 3, 4, 5)),
        ([(1, [0, 1])], (2, 6, 4, 5)),
        ([(2, [0])], (1, 3, 4, 5)),
    ]


@given(st.lists(st.integers(0, 7), max_size=8), st.integers(1, 9))
def test_batches_hold_every_window_once_in_order(counts: list[int], size: int) -> None:
    made = list(batches(pieces(*counts), size))

    places = [(part.block.row, place) for batch in made for part in batch.parts for place in part.places]
    assert places == [(row, place) for row, count in enumerate(counts) for place in range(count)]
    assert [number for batch in made if batch.pixels is not None for number in batch.pixels[:, 0, 0, 0].tolist()] == list(
        range(sum(counts))
    )
    assert all(1 <= len(batch.pixels) <= size and batch.pixels.shape[1:] == (3, 4, 5) for batch in made if batch.pixels is not None)
    assert [batch.parts[0].block.row for batch in made if batch.pixels is None] == [row for row, count in enumerate(counts) if not count]
    assert sum(batch.pixels is not None and len(batch.pixels) < size for batch in made) <= counts.count(0) + 1

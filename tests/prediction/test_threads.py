"""Items pass through threads in order; errors come out; nobody is left waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable
from functools import partial

import pytest

from geohydra.prediction.threads import Behind, ahead, one_ahead, side_by_side


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name in {"reader", "writer"}]


def put_all(call: Callable[[int], None], numbers: Iterable[int]) -> None:
    with Behind(call, depth=2) as behind:
        for number in numbers:
            behind.put(number)


def test_items_arrive_in_order() -> None:
    assert list(ahead(iter(range(100)), depth=2)) == list(range(100))
    assert alive() == []


def test_the_reader_is_never_further_ahead_than_asked() -> None:
    made: list[int] = []

    def make() -> Generator[int, None, None]:
        for number in range(10):
            made.append(number)
            yield number

    items = ahead(make(), depth=2)
    next(items)
    time.sleep(0.3)

    assert len(made) <= 4
    items.close()
    assert alive() == []


def test_of_large_items_the_next_one_is_made_and_no_more() -> None:
    made: list[int] = []
    ended = threading.Event()

    def make() -> Generator[int, None, None]:
        try:
            for number in range(10):
                made.append(number)
                yield number
        finally:
            ended.set()

    items = one_ahead(make())
    assert next(items) == 0
    time.sleep(0.2)
    assert made == [0, 1]
    assert list(items) == list(range(1, 10))
    assert list(one_ahead(make())) == list(range(10))

    ended.clear()
    items = one_ahead(make())
    next(items)
    items.close()
    assert ended.is_set()


@pytest.mark.parametrize("ahead", [partial(ahead, depth=2), one_ahead], ids=["some", "one"])
def test_an_error_of_the_reader_is_raised_after_its_items(ahead: Callable[[Generator[int, None, None]], Iterable[int]]) -> None:
    def make() -> Generator[int, None, None]:
        yield 1
        raise OSError("gone")

    seen: list[int] = []
    with pytest.raises(OSError, match="gone"):
        seen.extend(ahead(make()))
    assert seen == [1]
    assert alive() == []


def test_leaving_early_closes_what_is_read() -> None:
    closed = threading.Event()

    def make() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    items = ahead(make(), depth=1)
    next(items)
    items.close()

    assert closed.is_set()


def test_everything_is_written_before_the_block_ends() -> None:
    seen: list[int] = []
    with Behind(seen.append, depth=2) as behind:
        for number in range(50):
            behind.put(number)

    assert seen == list(range(50))
    assert alive() == []


def test_an_error_of_the_writer_is_raised() -> None:
    def fail(_: int) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        put_all(fail, range(100))
    assert alive() == []


def test_an_error_of_the_block_is_not_hidden_and_ends_the_writer() -> None:
    def numbers() -> Generator[int, None, None]:
        yield 0
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        put_all(time.sleep, numbers())
    assert alive() == []


def test_answers_side_by_side_keep_their_order() -> None:
    def slow(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0.0)
        return number * number

    assert list(side_by_side(slow, range(30), workers=3)) == [(number, number * number) for number in range(30)]


def test_no_more_answers_are_begun_than_are_wanted() -> None:
    begun: list[int] = []

    def note(number: int) -> int:
        begun.append(number)
        return number

    answers = side_by_side(note, range(100), workers=2)
    next(answers)
    answers.close()
    assert len(begun) <= 3


def test_an_error_of_an_answer_is_raised() -> None:
    def fail(number: int) -> int:
        raise ValueError(str(number))

    with pytest.raises(ValueError, match="0"):
        list(side_by_side(fail, range(5), workers=2))

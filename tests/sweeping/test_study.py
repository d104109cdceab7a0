"""A study: the same seed gives the same, on disk it goes on, hopeless trials are given up, importance is found."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.errors import StoreError
from geohydra.sweeping.goals import Goal
from geohydra.sweeping.settings import Optuna, Study, Tried
from geohydra.sweeping.space import Choices, Numbers
from geohydra.sweeping.study import importance

SPACE = {"lr": Numbers(1e-4, 1e-1, log=True), "model": Choices(("unet", "fpn")), "size": Numbers(2, 8, whole=True, step=2)}
Words = tuple[str, ...]


def score(words: Words) -> float:
    lr = float(words[0].partition("=")[2])
    return -abs(math.log10(lr) + 2) + (0.5 if words[1] == "model=fpn" else 0.0)


def search(study: Study, *, batches: int = 1000) -> list[tuple[int, Words]]:
    """What was tried, until it is over or killed before the end of a batch."""
    tried: list[tuple[int, Words]] = []
    for number in range(batches):
        if not (batch := study.batch()):
            break
        tried += batch
        if number < batches - 1:
            study.tell([Tried(number, "done", words, {"val/iou": score(words)}) for number, words in batch])
    study.close()
    return tried


def opened(folder: Path | None = None, *goals: Goal, **more: Any) -> Study:
    return Optuna(**{"trials": 18, "parallel": 4, "startup": 6, **more}).open_study(SPACE, goals or (Goal("val/iou"),), folder)


def test_the_same_seed_suggests_the_same_and_another_one_does_not() -> None:
    assert search(opened()) == search(opened())
    assert search(opened()) != search(opened(seed=1))


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_a_study_that_was_killed_suggests_what_one_that_was_not_would(tmp_path: Path, sampler: str) -> None:
    whole = search(opened(sampler=sampler))

    begun = search(opened(tmp_path, sampler=sampler), batches=3)
    rest = search(opened(tmp_path, sampler=sampler))

    assert begun[:8] + rest == whole
    assert rest[:4] == begun[8:12]


def test_a_journal_whose_writer_was_killed_in_a_line_is_read(tmp_path: Path) -> None:
    search(opened(tmp_path), batches=2)
    with (tmp_path / "study.log").open("a") as stream:
        stream.write('{"op_code": 5, "half')

    assert len(search(opened(tmp_path))) == 14


def test_two_processes_do_not_share_a_study(tmp_path: Path) -> None:
    study = opened(tmp_path)
    with pytest.raises(StoreError, match="another process runs this search"):
        opened(tmp_path)
    study.close()
    opened(tmp_path).close()


def test_the_sampler_learns() -> None:
    tried = search(opened(trials=40, seed=3))
    late = [score(words) for _, words in tried[-12:]]
    early = [score(words) for _, words in tried[:6]]
    assert sum(late) / 12 > sum(early) / 6 + 0.2


def given_up(study: Study, values: Callable[[int, int], float], *, goals: int = 1) -> set[int]:
    found = set()
    while batch := study.batch():
        for number, _ in batch:
            for epoch in range(4):
                study.hear(number, epoch, {"val/iou": values(number, epoch)})
            if study.gives_up(number):
                found.add(number)
        study.tell([Tried(n, "pruned" if n in found else "done", w, {"val/iou": values(n, 3), "cost": 1.0}) for n, w in batch])
    return found


def test_a_trial_below_the_median_of_earlier_ones_is_given_up_but_not_before_its_time() -> None:
    def values(number: int, epoch: int) -> float:
        return -1.0 if number == 9 and epoch > 2 else float(epoch)

    assert given_up(opened(trials=12), values) == {9}
    assert given_up(opened(trials=12, startup=10), values) == set()
    assert given_up(opened(trials=12, warmup=4), values) == set()
    assert given_up(opened(trials=12, prune=False), values) == set()


def test_with_several_goals_none_is_given_up() -> None:
    assert given_up(opened(None, Goal("val/iou"), Goal("cost", down=True), trials=12), lambda number, epoch: -number * 1.0) == set()


def test_failed_and_stopped_trials_are_told_apart(tmp_path: Path) -> None:
    study = opened(tmp_path, parallel=3)
    (first, second, third) = study.batch()
    study.tell(
        [Tried(first[0], "failed", first[1], {}), Tried(second[0], "cancelled", second[1], {}), Tried(third[0], "done", third[1], {})]
    )
    assert [(one.number, one.status) for one in study.tried()] == [(0, "failed"), (2, "done")]
    study.close()

    again = opened(tmp_path, parallel=3)
    assert again.batch()[0] == second


@given(value=st.floats(1e-4, 1e-1))
@settings(max_examples=50)
def test_a_written_number_lies_in_its_interval(value: float) -> None:
    numbers = Numbers(1e-4, 1e-1, log=True)
    assert 1e-4 <= float(numbers.word(value)) <= 1e-1
    assert float(numbers.word(value)) == pytest.approx(value, rel=1e-3)


def test_what_counts_is_found() -> None:
    space = {
        "strong": [place / 20 for place in range(20)],
        "weak": [place * 7 % 20 for place in range(20)],
        "word": ["a", "b"] * 10,
        "same": [1] * 20,
    }
    scores = [strong + 0.05 * (word == "a") for strong, word in zip(space["strong"], space["word"], strict=True)]

    shares = importance(space, scores)

    assert next(iter(shares)) == "strong"
    assert shares["strong"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert "same" not in shares


def test_too_few_or_equal_scores_tell_nothing() -> None:
    assert importance({"a": [1, 2, 3]}, [0.1, 0.2, 0.3]) == {}
    assert importance({"a": [1, 2, 3, 4, 5, 6]}, [0.5] * 6) == {}

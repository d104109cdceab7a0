"""A job as a file of conf/experiment: it composes to the same config, whatever was chosen and overridden."""

from __future__ import annotations

from pathlib import Path

import pytest

from geohydra.command.arguments import Asked
from geohydra.config.compose import Composed, compose
from geohydra.config.recipe import PLACES, recipe


def jobs_of(*words: str) -> list[Composed]:
    return Asked(words, multirun=True, name="geohydra").compose()


@pytest.mark.parametrize(
    "words",
    [
        ("train.lr=1e-5,2",),
        ("model=power,cube", "train.epochs=3"),
        ("experiment=big", "train.lr=7,8"),
        ("+train.new={a:[1,2],b:null}", "name=mine,yours"),
        ("source.bands=[red],[green,blue]", "source.path='a b: c'"),
        ("model.kind=fancy", "sweep.promote=champion", "outputs=elsewhere"),
    ],
    ids=lambda words: " ".join(words),
)
def test_an_experiment_composes_to_the_same_config(project: Path, words: tuple[str, ...]) -> None:
    job = jobs_of(*words)[-1]
    (project / "conf" / "experiment" / "best.yaml").write_text(recipe(job, title="The best."))

    again = compose(["experiment=best"])

    assert {key: value for key, value in again.config.items() if key not in PLACES} == {
        key: value for key, value in job.config.items() if key not in PLACES
    }


def test_where_something_runs_is_left_open(project: Path) -> None:
    text = recipe(jobs_of("train.lr=2,3", "runner.parallel=7", "outputs=elsewhere")[0], title="The best.")
    assert "parallel" not in text
    assert "elsewhere" not in text
    assert text.startswith("# @package _global_\n# The best.\n")


def test_what_no_file_can_take_away_is_told(project: Path) -> None:
    assert "# To be the same, it also needs the override ~train.batch_size" in recipe(
        jobs_of("~train.batch_size", "train.lr=1,2")[0], title="x"
    )


def test_the_shipped_configs_make_recipes_too() -> None:
    job = jobs_of("task=classification", "model=classifier", "optimizer=sgd,adam", "chip=sliding", "augment=strong")[0]
    text = recipe(job, title="x")
    assert "  - override /optimizer: sgd" in text
    assert "  - override /task: classification" in text


def test_values_may_stand_in_a_file_of_the_users(project: Path) -> None:
    (project / "conf" / "sweep").mkdir()
    (project / "conf" / "sweep" / "mine.yaml").write_text("defaults: [grid, _self_]\nspace: {train.lr: '1,2', model: [power, cube]}\n")

    assert [job.overrides[:2] for job in jobs_of("sweep=mine")][:2] == [("train.lr=1", "model=power"), ("train.lr=1", "model=cube")]
    assert {job.overrides[0] for job in jobs_of("sweep=mine", "train.lr=5")} == {"train.lr=5"}

"""The jobs of a sweep side by side."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from geohydra.tracking import Journal
from geohydra.tracking.comparison import Comparison, JobRow, tell, write
from geohydra.tracking.comparison_pictures import draw
from geohydra.tracking.journal import read_events


def job(place: int, lr: str, model: str, iou: float | None) -> JobRow:
    metrics = {} if iou is None else {"test/iou": iou - 0.01, "val/loss": 1 - iou, "val/iou": iou, "val/iou/water": 0.1, "hp/train.lr": 1.0}
    return JobRow(f"job-{place}", "failed" if iou is None else "done", [f"train.lr={lr}", f"model={model}", "train.epochs=3"], metrics)


@pytest.fixture
def sweep() -> Comparison:
    rows = [job(0, "1e-2", "unet", 0.4), job(1, "1e-3", "unet", 0.6), job(2, "1e-2", "fpn", None), job(3, "1e-4", "fpn", 0.5)]
    return Comparison(rows, "val/iou")


def test_only_what_differs_is_a_choice(sweep: Comparison):
    assert sweep.choices == ["train.lr", "model"]


def test_the_objective_comes_first_and_single_classes_never(sweep: Comparison):
    assert sweep.scores == ["val/iou", "test/iou", "val/loss"]


def test_the_best_job_is_first_and_a_failed_one_last(sweep: Comparison):
    assert [row.name for row in sweep.ranked] == ["job-1", "job-3", "job-0", "job-2"]


def test_numbers_are_numbers_in_the_table(sweep: Comparison):
    columns = sweep.columns()

    assert columns["train.lr"] == [0.001, 0.0001, 0.01, 0.01]
    assert columns["model"] == ["unet", "fpn", "unet", "fpn"]
    assert columns["val/iou"] == [0.6, 0.5, 0.4, None]


def test_table_page_and_pictures_are_written(sweep: Comparison, tmp_path: Path):
    paths = write(sweep, tmp_path)

    names = [path.name for path in paths]
    assert names == ["comparison.csv", "comparison.parquet", "comparison.html", "parallel_coordinates.png", "choices.png"]
    with (tmp_path / "comparison.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert (rows[0]["job"], rows[0]["train.lr"], rows[-1]["val/iou"]) == ("job-1", "0.001", "")
    page = (tmp_path / "comparison.html").read_text()
    assert "4 jobs, the best by val/iou first" in page
    assert "src='http" not in page


@pytest.mark.parametrize(
    "rows",
    [
        [job(0, "1e-2", "unet", 0.4)],
        [job(0, "1e-2", "unet", None), job(1, "1e-3", "unet", None)],
        [job(0, "1e-2", "unet", 0.4), job(1, "1e-2", "unet", 0.4)],
    ],
    ids=["one job", "no score", "no difference"],
)
def test_where_there_is_nothing_to_compare_there_is_no_picture(rows: list[JobRow], tmp_path: Path):
    assert draw(Comparison(rows)) == {}
    assert len(write(Comparison(rows), tmp_path)) == 3


def test_equal_scores_and_a_missing_override_are_drawn(tmp_path: Path):
    rows = [JobRow("a", "done", ["x=1"], {"val/iou": 0.5}), JobRow("b", "done", [], {"val/iou": 0.5})]

    assert set(draw(Comparison(rows))) == {"parallel_coordinates", "choices"}


def test_markup_in_a_value_stays_text(tmp_path: Path):
    rows = [JobRow("<b>a", "done", ["x=<i>"], {"val/iou": 0.5}), JobRow("b", "done", ["x=2"], {"val/iou": 0.6})]

    write(Comparison(rows), tmp_path)

    page = (tmp_path / "comparison.html").read_text()
    assert "<b>a" not in page
    assert "<i>" not in page


def test_the_sweep_is_told_of_its_best_job_and_how_to_show_all(sweep: Comparison, tmp_path: Path):
    journal = Journal.create(tmp_path / "journal", experiment="e", run_name="sweep", tags={})

    tell(journal, sweep, tmp_path / "comparison")

    events = read_events(tmp_path / "journal")
    told = {key: value for event in events if event["event"] in ("metrics", "tags") for key, value in event["values"].items()}
    assert told == {"geohydra.jobs": "4", "geohydra.jobs_failed": "1", "geohydra.best": "job-1", "best/val/iou": 0.6}
    assert events[-1]["columns"] == ["val/iou", "test/iou", "val/loss", "hp/train.lr", "model"]
    lines = events[-1]["table"].splitlines()
    assert [word.replace("&ensp;", "").strip() for word in lines[0].strip("|").split("|")][:3] == ["job", "train.lr", "model"]
    assert lines[2].startswith("| job-1&ensp; |")
    assert len(lines) == 2 + 4
    assert (events[-1]["page"], events[-1]["picture"]) == ("comparison/comparison.html", "comparison/parallel_coordinates.png")
    assert sum(event["event"] == "artifact" for event in events) == 5


def test_what_counts_and_the_front_are_drawn_where_they_are_known(sweep: Comparison):
    told = Comparison(sweep.jobs, "val/iou", ("val/loss",), frozenset({"val/loss"}), {"train.lr": 0.9, "model": 0.1})

    assert list(draw(told)) == ["parallel_coordinates", "choices", "importance", "front"]


def test_less_is_shown_first_where_less_is_better(sweep: Comparison, tmp_path: Path):
    journal = Journal.create(tmp_path / "journal", experiment="e", run_name="sweep", tags={})

    tell(journal, Comparison(sweep.jobs, "val/loss", downward=frozenset({"val/loss"})), tmp_path / "comparison")

    view = next(event for event in read_events(tmp_path / "journal") if event["event"] == "view")
    assert (view["sort"], view["ascending"]) == ("val/loss", True)

"""What a step says of its work."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from geohydra.report import Report, read_curves, read_metrics

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report(tmp_path / "report")


def test_metrics_are_on_disk_as_soon_as_they_are_told(report: Report) -> None:
    report.metrics({"val/iou": 0.5})
    report.metrics({"val/f1": np.float32(0.25), "val/iou": 0.75})

    assert read_metrics(report.folder) == {"val/f1": 0.25, "val/iou": 0.75}


def test_what_is_not_a_finite_number_is_left_out(report: Report) -> None:
    report.metrics({"iou": float("nan"), "loss": float("inf"), "f1": 1})
    report.curve({"iou": float("nan"), "loss": 2.0}, step=0)

    assert read_metrics(report.folder) == {"f1": 1.0}
    assert read_curves(report.folder) == [{"step": 0, "metrics": {"loss": 2.0}}]


def test_a_curve_is_kept_and_told_at_once(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    report = Report(tmp_path / "report", emit=lambda event: told.append(dict(event)))

    report.curve({"val/iou": 0.1}, step=0)
    report.curve({"val/iou": 0.2}, step=1)

    assert told == read_curves(report.folder) == [{"step": n, "metrics": {"val/iou": (n + 1) / 10}} for n in range(2)]


def test_a_line_that_a_killed_step_left_half_written_does_not_spoil_the_others(report: Report) -> None:
    report.curve({"val/iou": 0.1}, step=0)
    with (report.folder / "curves.jsonl").open("a") as stream:
        stream.write('{"step": 1, "met')

    assert read_curves(report.folder) == [{"step": 0, "metrics": {"val/iou": 0.1}}]


def test_a_report_of_nothing_reads_as_nothing(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == {}
    assert read_curves(tmp_path) == []


def test_tables_are_parquet(report: Report) -> None:
    report.table("per_class", {"class": ["road", "water"], "iou": [0.5, None], "pixels": np.array([3, 4])})

    table = pq.read_table(report.folder / "tables" / "per_class.parquet")
    assert table.to_pydict() == {"class": ["road", "water"], "iou": [0.5, None], "pixels": [3, 4]}


def test_the_page_holds_all_and_needs_no_other_file(report: Report) -> None:
    report.metrics({"val/iou": 0.123456})
    report.table("per_class", {"class": ["<road>"], "iou": [0.5]})
    report.figure("quick_look", PNG)
    report.note("Three scenes & a half.")

    report.close("train <1>")

    page = (report.folder / "report.html").read_text()
    assert "train &lt;1&gt;" in page
    assert "0.1235" in page
    assert "&lt;road&gt;" in page
    assert base64.b64encode(PNG).decode() in page
    assert "Three scenes &amp; a half." in page
    assert "http" not in page


def test_a_long_table_is_cut_on_the_page_and_the_page_says_so(report: Report) -> None:
    report.table("roc", {"threshold": list(range(70))})

    report.close("evaluate")

    page = (report.folder / "report.html").read_text()
    assert page.count("<tr>") == 51
    assert "20 more rows in roc.parquet" in page

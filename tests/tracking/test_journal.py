"""The journal: on disk first, one writer, whole lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from geohydra.errors import StoreError
from geohydra.report import Report
from geohydra.tracking import Journal, NullTracking
from geohydra.tracking.journal import abandoned, read_events


def new(folder: Path) -> Journal:
    return Journal.create(folder, experiment="e", run_name="r", tags={"a": "b"})


def events(folder: Path) -> list[dict[str, object]]:
    return [{key: value for key, value in event.items() if key not in {"next", "time"}} for event in read_events(folder)]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A step's output with a report."""
    report = Report(tmp_path / "output" / "report")
    report.metrics({"val/iou": 0.5})
    for step in range(3):
        report.curve({"train/loss": 1.0 / (step + 1)}, step=step)
    report.table("per_class", {"class": ["a"], "iou": [0.5]})
    report.figure("chips", b"png")
    report.close("train")
    return tmp_path / "output"


def test_the_first_event_says_which_run_it_is(tmp_path: Path):
    new(tmp_path / "j")

    (begin,) = read_events(tmp_path / "j")
    assert (begin["event"], begin["experiment"], begin["name"], begin["tags"]) == ("begin", "e", "r", {"a": "b"})


def test_what_is_no_finite_number_is_left_out(tmp_path: Path):
    new(tmp_path).metrics({"a": 1, "b": float("nan"), "c": float("inf")}, step=4)

    assert events(tmp_path)[1] == {"event": "metrics", "values": {"a": 1.0}, "step": 4}


def test_an_artefact_is_copied_at_once(tmp_path: Path):
    (tmp_path / "a.txt").write_text("first")
    journal = new(tmp_path / "j")

    journal.artifact(tmp_path / "a.txt", "notes")
    (tmp_path / "a.txt").write_text("second")

    event = read_events(tmp_path / "j")[-1]
    assert (tmp_path / "j" / event["path"]).read_text() == "first"
    assert event["to"] == "notes"


def test_text_may_lie_in_a_folder(tmp_path: Path):
    new(tmp_path).text("logs/train.log", "fine")

    event = read_events(tmp_path)[-1]
    assert (Path(event["path"]).name, event["to"]) == ("train.log", "logs")


def test_a_report_brings_metrics_curves_and_files(tmp_path: Path, output: Path):
    new(tmp_path / "j").report("train", str(output))

    found = events(tmp_path / "j")
    assert [event["step"] for event in found[1:4]] == [0, 1, 2]
    assert found[4] == {"event": "metrics", "values": {"val/iou": 0.5}, "step": 0}
    assert found[5] == {"event": "report", "step": "train", "path": "reports/train"}
    assert (tmp_path / "j/reports/train/figures/chips.png").read_bytes() == b"png"


def test_a_report_outlives_its_store(tmp_path: Path, output: Path):
    import shutil

    new(tmp_path / "j").report("train", str(output))
    shutil.rmtree(output)

    assert (tmp_path / "j/reports/train/report.html").exists()


def test_curves_that_were_told_live_are_not_told_again(tmp_path: Path, output: Path):
    journal = new(tmp_path / "j")
    journal.metrics({"train/loss": 1.0}, step=0)

    journal.report("train", str(output))

    told = [event["step"] for event in events(tmp_path / "j") if "train/loss" in event.get("values", {})]
    assert told == [0, 1, 2]


def test_a_last_word_stands_at_the_end_of_its_curve(tmp_path: Path):
    journal = new(tmp_path)
    for epoch in range(3):
        journal.metrics({"val/iou": 0.1}, step=epoch)

    journal.metrics({"val/iou": 0.5, "test/iou": 0.4})

    assert [(event["step"], event["values"]) for event in events(tmp_path)[-2:]] == [(2, {"val/iou": 0.5}), (0, {"test/iou": 0.4})]


def test_an_output_without_a_report_is_no_event(tmp_path: Path):
    new(tmp_path / "j").report("train", str(tmp_path))

    assert len(events(tmp_path / "j")) == 1


def test_half_a_line_of_a_killed_writer_is_cut_off(tmp_path: Path):
    new(tmp_path).end("FAILED")
    with (tmp_path / "events.jsonl").open("a") as stream:
        stream.write('{"event": "met')

    new(tmp_path).metrics({"a": 1})

    assert [event["event"] for event in events(tmp_path)] == ["begin", "end", "metrics"]


def test_half_a_line_is_not_read_yet(tmp_path: Path):
    (tmp_path / "events.jsonl").write_bytes(b'{"event":"a"}\n{"eve')

    (event,) = read_events(tmp_path)
    assert event["next"] == len(b'{"event":"a"}\n')


def test_a_line_that_a_full_disk_cut_costs_no_other(tmp_path: Path):
    (tmp_path / "events.jsonl").write_bytes(b'{"event":"a"}\n{"event":{"event":"b"}\n{"event":"c"}\n')

    assert [event["event"] for event in read_events(tmp_path)] == ["a", "unreadable", "c"]


def test_a_second_writer_is_refused(tmp_path: Path):
    first = new(tmp_path)

    with pytest.raises(StoreError, match="another process writes"):
        new(tmp_path)
    first.end("FINISHED")


def test_a_journal_of_a_killed_process_is_abandoned(tmp_path: Path):
    code = (
        "import sys, time; from pathlib import Path; from geohydra.tracking import Journal\n"
        "j = Journal.create(Path(sys.argv[1]), experiment='e', run_name='r', tags={}); print('up', flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=root)
    assert writer.stdout is not None
    with writer.stdout:
        writer.stdout.readline()

        assert not abandoned(tmp_path)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    assert abandoned(tmp_path)


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        new(tmp_path / "file" / "journal")


def test_lines_are_json_without_a_config_in_sight(tmp_path: Path):
    new(tmp_path).params({"a.b": "1"})

    assert json.loads((tmp_path / "events.jsonl").read_text().splitlines()[1]) == {"event": "params", "values": {"a.b": "1"}}


def test_tracking_nobody_leaves_nothing(tmp_path: Path):
    record = NullTracking().open(tmp_path / "j", name="r", kind="run", config={})
    record.metrics({"a": 1})
    record.end("FINISHED")

    assert NullTracking().start_shipper().wait(1).waiting == 0
    assert not (tmp_path / "j").exists()

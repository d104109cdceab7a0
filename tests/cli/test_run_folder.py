"""The folder of a run: new each time, with what was asked and links to what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from geohydra.command.run_folder import link_results, make_run_folder, write_request
from geohydra.errors import StoreError
from geohydra.plan import Job, Plan, Stage, make_plan

STAGE = Stage("ingest", "ingest", 1, (), ("source",), "io")


def plan_of(*sources: str) -> Plan:
    jobs = [Job(f"demo-{place}", {"source": name, "lock": [{"uri": name}]}, (STAGE,)) for place, name in enumerate(sources)]
    return make_plan("demo", jobs)


def test_two_runs_in_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    first, second = (make_run_folder(str(tmp_path), "my run") for _ in range(2))
    assert first != second
    assert first.name.endswith("-my-run")
    assert (tmp_path / "runs" / "latest").resolve() == second


def test_a_single_run_keeps_its_config_and_lock(tmp_path: Path) -> None:
    write_request(tmp_path, plan_of("a"), done=[])
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == {"source": "a"}
    assert json.loads((tmp_path / "lock.json").read_text()) == [{"uri": "a"}]
    assert (tmp_path / "plan.txt").read_text().startswith("demo: 1 step, 0 stored\n")


def test_a_sweep_keeps_the_config_and_lock_of_every_job(tmp_path: Path) -> None:
    write_request(tmp_path, plan_of("a", "b"), done=[])
    assert yaml.safe_load((tmp_path / "jobs" / "demo-1" / "config.yaml").read_text()) == {"source": "b"}
    assert json.loads((tmp_path / "lock.json").read_text()) == {"demo-0": [{"uri": "a"}], "demo-1": [{"uri": "b"}]}


def test_results_are_links_into_the_store(tmp_path: Path) -> None:
    (tmp_path / "store" / "train").mkdir(parents=True)
    link_results(tmp_path / "run", {"demo": {"train": str(tmp_path / "store" / "train"), "remote": "s3://bucket/x"}})
    assert [path.name for path in (tmp_path / "run" / "results").iterdir()] == ["train"]
    assert (tmp_path / "run" / "results" / "train").resolve() == tmp_path / "store" / "train"


def test_a_run_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        make_run_folder(str(tmp_path / "outputs"), "demo")
